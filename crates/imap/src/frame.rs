//! Finds where a command ends among the octets that come in: at the first line end outside a literal.

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// Whether the client waits for a go-ahead before it sends a literal (RFC 7888).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Yes,
    No,
}

/// The state of the input: whole commands, or what is missing of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// More octets are needed.
    More,
    /// The command is complete, in [`Frame::command`], without its last line end.
    Command,
    /// A literal of so many octets is announced; [`Frame::command`] ends after the line that announces it.
    /// Go on with [`Frame::take_literal`] or [`Frame::clear`].
    Literal(u64, Waits),
    /// There are more octets than a command may have.
    TooLong,
}

/// Gathers one command after the other.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    command: Vec<u8>,
    literal_left: usize,
    /// Octets of the input that are known to have no line end.
    searched: usize,
}

impl Frame {
    /// The command so far.
    pub(crate) fn command(&self) -> &[u8] {
        &self.command
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The literal that was announced is part of the command, so many octets.
    pub(crate) fn take_literal(&mut self, octets: usize) {
        self.literal_left = octets;
    }

    /// Takes octets from `input`; a command may have up to `most`.
    pub(crate) fn advance(&mut self, input: &mut BytesMut, most: usize) -> Framed {
        let taken = self.literal_left.min(input.len());
        self.command.extend_from_slice(&input[..taken]);
        input.advance(taken);
        self.literal_left -= taken;
        if self.literal_left > 0 {
            return Framed::More;
        }
        self.searched = self.searched.min(input.len());
        let Some(end) = memchr(b'\n', &input[self.searched..]) else {
            self.searched = input.len();
            return if self.command.len() + input.len() > most { Framed::TooLong } else { Framed::More };
        };
        let line = input.split_to(self.searched + end + 1);
        self.searched = 0;
        self.command.extend_from_slice(&line);
        if self.command.len() > most {
            return Framed::TooLong;
        }
        match announced(&line) {
            Some((octets, waits)) => Framed::Literal(octets, waits),
            None => {
                let content = without_line_end(&self.command).len();
                self.command.truncate(content);
                Framed::Command
            }
        }
    }
}

/// The next line without its line end, when it is complete. `Err` when it is longer than `most`.
pub(crate) fn line(input: &mut BytesMut, most: usize) -> Result<Option<BytesMut>, TooLong> {
    match memchr(b'\n', input) {
        Some(end) if end <= most => {
            let mut line = input.split_to(end + 1);
            let content = without_line_end(&line).len();
            line.truncate(content);
            Ok(Some(line))
        }
        None if input.len() <= most => Ok(None),
        _ => Err(TooLong),
    }
}

/// A line is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

fn without_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line)
}

/// The literal that the line announces: `{12}`, `{12+}`.
fn announced(line: &[u8]) -> Option<(u64, Waits)> {
    let inside = without_line_end(line).strip_suffix(b"}")?;
    let start = memchr::memrchr(b'{', inside)?;
    let digits = inside.get(start + 1..)?;
    let (digits, waits) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, Waits::No),
        None => (digits, Waits::Yes),
    };
    if !(1..=18).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_at_the_line_end_outside_literals() {
        let mut frame = Frame::default();
        let mut input = BytesMut::from("a LOGIN {3}\r\n\r\nx {2+}\r\nyy\r\nb NOOP\n");
        assert_eq!(frame.advance(&mut input, 100), Framed::Literal(3, Waits::Yes));
        frame.take_literal(3);
        assert_eq!(frame.advance(&mut input, 100), Framed::Literal(2, Waits::No));
        frame.take_literal(2);
        assert_eq!(frame.advance(&mut input, 100), Framed::Command);
        assert_eq!(frame.command(), b"a LOGIN {3}\r\n\r\nx {2+}\r\nyy");
        frame.clear();
        assert_eq!(frame.advance(&mut input, 100), Framed::Command);
        assert_eq!(frame.command(), b"b NOOP");
    }

    #[test]
    fn a_command_at_the_limit_is_taken_and_one_past_it_is_not() {
        for (length, found) in [(10, Framed::Command), (11, Framed::TooLong)] {
            let mut input = BytesMut::from(format!("{}\r\n", "x".repeat(length - 2)).as_str());
            assert_eq!(Frame::default().advance(&mut input, 10), found);
        }
        let mut endless = BytesMut::from("xxxxxxxxxxx");
        assert_eq!(Frame::default().advance(&mut endless, 10), Framed::TooLong);
    }

    #[test]
    fn what_only_looks_like_a_literal_is_text() {
        for text in ["{}", "{a}", "{-1}", "{1", "1}", "{1234567890123456789}", "{+}"] {
            assert_eq!(announced(text.as_bytes()), None, "{text}");
        }
    }
}
