//! Replies on the wire (RFC 5321 section 4.2): written by the server, read by the client.
//!
//! A peer's reply is as hostile as its commands: lines, their length and the text kept are bounded, and
//! control characters never get past [`ReplyReader`].

use std::fmt::Write as _;

use bytes::{Buf as _, BufMut as _, BytesMut};
use mail::{EnhancedCode, Reply};
use memchr::memchr;

/// Longest reply line in octets, CRLF included (RFC 5321 section 4.5.3.1.5).
pub const LINE_OCTETS: usize = 512;
/// Most lines of a reply that [`write()`] writes. Longer texts are cut.
pub const LINES_WRITTEN: usize = 100;
/// Most octets of text that [`ReplyReader`] keeps of one reply; whole lines past it are dropped.
pub const TEXT_OCTETS: usize = 4096;

/// Which characters a reply may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// ASCII only; other characters become `?`.
    Ascii,
    /// In a transaction under SMTPUTF8 (RFC 6531 section 3.7.4).
    Utf8,
}

/// Appends `reply` to `out`, each line at most [`LINE_OCTETS`] long. Long lines are continued on the next
/// one; control characters, CR among them, become spaces.
pub fn write(reply: &Reply, charset: Charset, out: &mut BytesMut) {
    let code = reply.code.clamp(200, 599);
    let prefix = reply.enhanced.map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
    let room = LINE_OCTETS - "250-\r\n".len() - prefix.len();
    let mut lines = reply.text.split('\n').flat_map(|line| wrap(line, room)).take(LINES_WRITTEN).peekable();
    while let Some(line) = lines.next() {
        let separator = if lines.peek().is_some() { '-' } else { ' ' };
        // Writing to a BytesMut can't fail.
        let _ = write!(out, "{code}{separator}{prefix}");
        put_text(line, charset, out);
        out.put_slice(b"\r\n");
    }
}

/// `line` in pieces of at most `room` octets, at least one piece.
fn wrap(line: &str, room: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let (piece, after) = rest?.split_at(rest?.floor_char_boundary(room));
        rest = Some(after).filter(|after| !after.is_empty());
        Some(piece)
    })
}

fn put_text(line: &str, charset: Charset, out: &mut BytesMut) {
    if line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        out.put_slice(line.as_bytes());
        return;
    }
    for c in line.chars() {
        let c = match c {
            c if c.is_control() => ' ',
            c if !c.is_ascii() && charset == Charset::Ascii => '?',
            c => c,
        };
        out.put_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Limits on what a server may reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Octets of one line, line end included. Default: [`LINE_OCTETS`].
    pub line_octets: usize,
    /// Lines of one reply. Default: 200.
    pub lines: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { line_octets: LINE_OCTETS, lines: 200 }
    }
}

/// What a server sent is no reply. The session can't go on, since what comes next can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line longer than [`ReplyLimits::line_octets`].
    #[error("a reply line is too long")]
    LineTooLong,
    /// More lines than [`ReplyLimits::lines`].
    #[error("a reply has too many lines")]
    TooManyLines,
    /// A line that does not start with three digits, 2 to 5 first, and then a space, a hyphen or its end.
    #[error("a reply line does not start with a reply code")]
    NoCode,
    /// Lines of one reply with different codes.
    #[error("the lines of one reply have different codes")]
    CodesDiffer,
}

/// Reads replies from a stream of octets. Lines end in CRLF; a bare LF is taken as well, since nothing
/// but the reply's own text can be smuggled that way.
#[derive(Debug)]
pub struct ReplyReader {
    limits: ReplyLimits,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: String,
    lines: usize,
    full: bool,
}

impl ReplyReader {
    /// A reader at the start of a reply.
    #[must_use]
    pub const fn new(limits: ReplyLimits) -> Self {
        Self { limits, partial: None }
    }

    /// Takes the next whole reply from `input`; `None` when more octets are needed.
    ///
    /// # Errors
    /// The peer's fault as [`ReplyError`]; nothing that follows can be trusted to be a reply.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        loop {
            let window = &input[..input.len().min(self.limits.line_octets)];
            let Some(end) = memchr(b'\n', window) else {
                let too_long = input.len() >= self.limits.line_octets;
                return if too_long { Err(ReplyError::LineTooLong) } else { Ok(None) };
            };
            let line = &window[..end];
            let last = self.take_line(line.strip_suffix(b"\r").unwrap_or(line))?;
            input.advance(end + 1);
            if last {
                return Ok(self.partial.take().map(Partial::into_reply));
            }
        }
    }

    /// Takes one line without its end; true when it is the last of its reply.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let (code, last, text) = split_line(line).ok_or(ReplyError::NoCode)?;
        let partial = self.partial.get_or_insert_with(|| Partial {
            code,
            enhanced: enhanced_of(code, text).map(|(enhanced, _)| enhanced),
            text: String::new(),
            lines: 0,
            full: false,
        });
        if partial.code != code {
            return Err(ReplyError::CodesDiffer);
        }
        if partial.lines >= self.limits.lines {
            return Err(ReplyError::TooManyLines);
        }
        partial.push(text);
        Ok(last)
    }
}

impl Partial {
    fn push(&mut self, text: &[u8]) {
        let text = match enhanced_of(self.code, text) {
            Some((enhanced, rest)) if self.enhanced == Some(enhanced) => rest,
            _ => text,
        };
        let text = sanitised(text);
        self.full |= self.text.len() + text.len() + 1 > TEXT_OCTETS && self.lines > 0;
        if !self.full {
            if self.lines > 0 {
                self.text.push('\n');
            }
            self.text.push_str(&text[..text.floor_char_boundary(TEXT_OCTETS)]);
        }
        self.lines += 1;
    }

    fn into_reply(self) -> Reply {
        Reply { code: self.code, enhanced: self.enhanced, text: self.text }
    }
}

/// Code, whether it is the last line, and text.
fn split_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = code.iter().fold(0_u16, |code, digit| code * 10 + u16::from(digit - b'0'));
    if !(200..600).contains(&code) {
        return None;
    }
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}

/// The enhanced code that starts `text`, if its class is that of `code`, and what follows it.
fn enhanced_of(code: u16, text: &[u8]) -> Option<(EnhancedCode, &[u8])> {
    let end = memchr(b' ', text).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let enhanced: EnhancedCode = std::str::from_utf8(word).ok()?.parse().ok()?;
    let same_class = u16::from(enhanced.0) == code / 100;
    same_class.then(|| (enhanced, rest.strip_prefix(b" ").unwrap_or(rest)))
}

fn sanitised(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, charset: Charset) -> String {
        let mut out = BytesMut::new();
        write(reply, charset, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn read(text: &str) -> Result<Option<Reply>, ReplyError> {
        ReplyReader::new(ReplyLimits::default()).read(&mut BytesMut::from(text))
    }

    #[test]
    fn a_reply_of_several_lines_repeats_its_codes() {
        let reply = Reply::new(550, (5, 7, 1), "no\nreally");
        assert_eq!(written(&reply, Charset::Ascii), "550-5.7.1 no\r\n550 5.7.1 really\r\n");
        assert_eq!(written(&Reply::bare(334, ""), Charset::Ascii), "334 \r\n");
    }

    #[test]
    fn text_can_not_break_out_of_its_line() {
        let reply = Reply::new(550, (5, 7, 1), "a\r\n250 b\0c");
        assert_eq!(written(&reply, Charset::Ascii), "550-5.7.1 a \r\n550 5.7.1 250 b c\r\n");
    }

    #[test]
    fn only_smtputf8_sessions_get_utf8() {
        let reply = Reply::new(550, (5, 1, 1), "dédé");
        assert_eq!(written(&reply, Charset::Ascii), "550 5.1.1 d?d?\r\n");
        assert_eq!(written(&reply, Charset::Utf8), "550 5.1.1 dédé\r\n");
    }

    #[test]
    fn a_line_of_512_octets_is_written_whole_and_a_longer_one_is_continued() {
        let room = LINE_OCTETS - "250 2.0.0 \r\n".len();
        let text = written(&Reply::new(250, (2, 0, 0), "x".repeat(room)), Charset::Ascii);
        assert_eq!((text.len(), text.lines().count()), (LINE_OCTETS, 1));
        let text = written(&Reply::new(250, (2, 0, 0), "é".repeat(room)), Charset::Utf8);
        assert!(text.split_inclusive("\r\n").all(|line| line.len() <= LINE_OCTETS));
        assert_eq!(text.matches('é').count(), room);
        let text = written(&Reply::new(250, (2, 0, 0), "x\n".repeat(500)), Charset::Ascii);
        assert_eq!(text.lines().count(), LINES_WRITTEN);
        assert!(text.lines().last().unwrap().starts_with("250 "));
    }

    #[test]
    fn replies_are_read_with_their_enhanced_code_and_all_lines() {
        let reply = read("550-5.7.1 no\r\n550 5.7.1 really\r\n250").unwrap().unwrap();
        assert_eq!(reply, Reply::new(550, (5, 7, 1), "no\nreally"));
        assert_eq!(read("250\r\n").unwrap().unwrap(), Reply::bare(250, ""));
        assert_eq!(read("250 ok\n").unwrap().unwrap(), Reply::bare(250, "ok"));
        assert_eq!(read("550 2.1.1 odd\r\n").unwrap().unwrap(), Reply::bare(550, "2.1.1 odd"));
        assert_eq!(read("250-a\r\n"), Ok(None));
    }

    /// Security lesson: OpenSMTPD CVE-2020-8794, Postfix CVE-2026-43964.
    #[test]
    fn control_characters_of_a_reply_are_removed() {
        assert_eq!(read("550 a\x1b[31m\0b\rc\r\n").unwrap().unwrap().text, "a[31mbc");
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for text in
            ["HTTP/1.1 200\r\n", "25\r\n", "2500 x\r\n", "199 x\r\n", "600 x\r\n", "\r\n", "2x0 a\r\n"]
        {
            assert_eq!(read(text), Err(ReplyError::NoCode), "{text:?}");
        }
        assert_eq!(read("250-a\r\n251 b\r\n"), Err(ReplyError::CodesDiffer));
    }

    #[test]
    fn a_reply_line_of_512_octets_is_read_and_513_are_an_error() {
        let at_limit = format!("250 {}\r\n", "x".repeat(LINE_OCTETS - 6));
        assert_eq!(at_limit.len(), LINE_OCTETS);
        assert_eq!(read(&at_limit).unwrap().unwrap().text.len(), LINE_OCTETS - 6);
        assert_eq!(read(&format!("250 {}\r\n", "x".repeat(LINE_OCTETS - 5))), Err(ReplyError::LineTooLong));
        assert_eq!(read(&"2".repeat(LINE_OCTETS)), Err(ReplyError::LineTooLong));
    }

    /// Security lesson: OpenSMTPD CVE-2020-8794, Postfix CVE-2026-43964.
    #[test]
    fn a_reply_of_200_lines_is_read_and_201_are_an_error_and_its_text_is_bounded() {
        let line = format!("250-{}\r\n", "x".repeat(400));
        let reply = read(&format!("{}250 end\r\n", line.repeat(199))).unwrap().unwrap();
        assert!(reply.text.len() <= TEXT_OCTETS);
        assert!(reply.text.lines().all(|kept| kept.len() == 400));
        assert_eq!(read(&format!("{}250 end\r\n", line.repeat(200))), Err(ReplyError::TooManyLines));
    }
}
