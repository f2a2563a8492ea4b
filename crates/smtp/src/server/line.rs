//! Command lines out of the input: bounded, ended by CRLF and by nothing else.

use bytes::{Buf as _, BytesMut};
use memchr::memchr2;

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// No whole line yet.
    NeedInput,
    /// A line, its CRLF removed.
    Whole(BytesMut),
    /// A line past the limit. It is still in the input: [`skip_line`] throws it away.
    TooLong,
    /// A line with a bare CR or LF. It is still in the input.
    BareLineEnd,
}

/// Takes one line of at most `limit` octets, CRLF included.
pub(super) fn take_line(input: &mut BytesMut, limit: usize) -> Line {
    let window = &input[..input.len().min(limit)];
    let at = memchr2(b'\r', b'\n', window);
    match at.map(|at| (at, window.get(at), window.get(at + 1))) {
        Some((at, Some(b'\r'), Some(b'\n'))) => {
            let line = input.split_to(at);
            input.advance(2);
            Line::Whole(line)
        }
        Some((_, Some(b'\r'), None)) | None if input.len() < limit => Line::NeedInput,
        Some((_, Some(b'\r'), None)) | None => Line::TooLong,
        Some(_) => Line::BareLineEnd,
    }
}

/// Throws away the rest of a refused line; true when its CRLF was found.
pub(super) fn skip_line(input: &mut BytesMut) -> bool {
    match memchr::memmem::find(input, b"\r\n") {
        Some(at) => {
            input.advance(at + 2);
            true
        }
        None => {
            // A CR at the end may be the first half of the CRLF.
            let kept = usize::from(input.last() == Some(&b'\r'));
            input.advance(input.len() - kept);
            false
        }
    }
}

/// Whether the line's start is another protocol's: TLS where none is spoken yet, or HTTP (ALPACA attacks).
/// No SMTP command looks like either.
pub(super) fn is_foreign(line: &[u8]) -> bool {
    const METHODS: [&str; 10] =
        ["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "DELETE", "TRACE", "PATCH", "PRI"];
    const TLS_HANDSHAKE: u8 = 0x16;
    if line.first() == Some(&TLS_HANDSHAKE) {
        return true;
    }
    let word = line.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
    let field_name = word.len() > 1 && word.ends_with(b":");
    field_name || METHODS.iter().any(|method| word.eq_ignore_ascii_case(method.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str, limit: usize) -> Line {
        take_line(&mut BytesMut::from(text), limit)
    }

    #[test]
    fn a_line_at_the_limit_is_taken_and_a_longer_one_is_not() {
        assert_eq!(take("12345678\r\n", 10), Line::Whole(BytesMut::from("12345678")));
        assert_eq!(take("123456789\r\n", 10), Line::TooLong);
        assert_eq!(take("123456789\r", 10), Line::TooLong);
        assert_eq!(take("12345678\r", 10), Line::NeedInput);
        assert_eq!(take("123456789", 10), Line::NeedInput);
        assert_eq!(take("1234567890", 10), Line::TooLong);
    }

    #[test]
    fn bare_line_ends_do_not_end_a_line() {
        for text in ["a\nb\r\n", "a\rb\r\n", "a\r\r\n", "\n"] {
            assert_eq!(take(text, 10), Line::BareLineEnd, "{text:?}");
        }
    }

    #[test]
    fn skipping_keeps_no_more_than_a_carriage_return() {
        let mut input = BytesMut::from("junk\njunk\r");
        assert!(!skip_line(&mut input));
        assert_eq!(&input[..], b"\r");
        input.extend_from_slice(b"\nNOOP\r\n");
        assert!(skip_line(&mut input));
        assert_eq!(&input[..], b"NOOP\r\n");
    }
}
