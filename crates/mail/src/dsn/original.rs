//! The part of a report that holds the original or its header, in a form that its octets have.
//!
//! A header may hold octets above 127 without SMTPUTF8 ever having been asked for, and need not be UTF-8 then. What is
//! called `message/global…` has to be (RFC 6532 section 3.7, RFC 6533 section 6).

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Original;
use crate::header::body_offset;

/// Most octets of an original's header that a report carries.
pub(super) const HEADER_OCTETS_MAX: usize = 64 * 1024;
/// Octets of an encoded line at most (RFC 2045 section 6.7).
const ENCODED_LINE_OCTETS: usize = 76;

/// A part of the report as it is written.
pub(super) struct Shown<'a> {
    /// Type and subtype.
    pub(super) kind: &'static str,
    /// `Content-Transfer-Encoding`.
    pub(super) encoding: &'static str,
    pub(super) content: Cow<'a, [u8]>,
}

impl<'a> Original<'a> {
    /// Whether its header is beyond ASCII and UTF-8.
    pub(super) fn is_international(self) -> bool {
        let header = self.header();
        !header.is_ascii() && std::str::from_utf8(header).is_ok()
    }

    /// The whole header of a message that is shown whole, else as much of it as is shown.
    fn header(self) -> &'a [u8] {
        match self {
            Original::Full(message) => &message[..body_offset(message)],
            Original::Header(message) => cut_at_line(&message[..body_offset(message)], HEADER_OCTETS_MAX),
        }
    }

    /// In a report whose other parts have the forms of RFC 6533, or have not.
    pub(super) fn shown(self, international: bool) -> Shown<'a> {
        let header = self.header();
        let international = international && std::str::from_utf8(header).is_ok();
        match (self, international) {
            (Original::Full(message), true) => as_it_is("message/global", message),
            (Original::Full(message), false) => as_it_is("message/rfc822", message),
            (Original::Header(_), true) => as_it_is("message/global-headers", header),
            (Original::Header(_), false) if header.is_ascii() => as_it_is("text/rfc822-headers", header),
            // Its octets are nobody's character set, and the type is for seven bits (RFC 6522 section 4).
            (Original::Header(_), false) => Shown {
                kind: "text/rfc822-headers",
                encoding: "quoted-printable",
                content: Cow::Owned(quoted_printable(header)),
            },
        }
    }
}

fn as_it_is<'a>(kind: &'static str, content: &'a [u8]) -> Shown<'a> {
    let encoding = if content.is_ascii() { "7bit" } else { "8bit" };
    Shown { kind, encoding, content: Cow::Borrowed(content) }
}

/// The whole lines within the first `most` octets.
fn cut_at_line(text: &[u8], most: usize) -> &[u8] {
    match text.get(..most) {
        None => text,
        Some(start) => {
            let end = memchr::memrchr(b'\n', start).map_or(0, |at| at + 1);
            &start[..end]
        }
    }
}

/// RFC 2045 section 6.7. Line ends are kept; white space before one is encoded, as some hosts cut it off.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let mut width = 0;
        for (place, octet) in content.iter().enumerate() {
            let last = place + 1 == content.len();
            let plain =
                matches!(octet, b'!'..=b'<' | b'>'..=b'~') || (matches!(octet, b' ' | b'\t') && !last);
            let room = if plain { 1 } else { 3 };
            if width + room + usize::from(!last) > ENCODED_LINE_OCTETS {
                out.push_str("=\r\n");
                width = 0;
            }
            width += room;
            if plain {
                out.push(char::from(*octet));
            } else {
                // Writing to a String can't fail.
                let _ = write!(out, "={octet:02X}");
            }
        }
        if line.ends_with(b"\n") {
            out.push_str("\r\n");
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(original: Original<'_>, international: bool) -> (&'static str, &'static str, String) {
        let Shown { kind, encoding, content } = original.shown(international);
        (kind, encoding, String::from_utf8_lossy(&content).into_owned())
    }

    /// Symptom: a report with a part `message/global-headers` that was in Latin-1. Cause: whatever was beyond ASCII was
    /// taken for UTF-8.
    #[test]
    fn only_utf_8_is_called_global() {
        let (latin1, utf8) =
            (b"Subject: gr\xfcn\r\n\r\nbody\r\n", "Subject: gr\u{fc}n\r\n\r\nbody\r\n".as_bytes());
        for international in [false, true] {
            let (kind, encoding, text) = shown(Original::Header(latin1), international);
            assert_eq!((kind, encoding), ("text/rfc822-headers", "quoted-printable"));
            assert_eq!(text, "Subject: gr=FCn\r\n\r\n");
            let (kind, encoding, _) = shown(Original::Full(latin1), international);
            assert_eq!((kind, encoding), ("message/rfc822", "8bit"));
        }
        assert!(!Original::Header(latin1).is_international() && !Original::Full(latin1).is_international());
        assert!(Original::Header(utf8).is_international() && Original::Full(utf8).is_international());
        let (kind, encoding, text) = shown(Original::Header(utf8), true);
        assert_eq!(
            (kind, encoding, text.as_str()),
            ("message/global-headers", "8bit", "Subject: gr\u{fc}n\r\n\r\n")
        );
        assert_eq!(shown(Original::Full(utf8), true).0, "message/global");
        // A body of any kind makes no header international.
        assert!(!Original::Full(b"Subject: x\r\n\r\ngr\xfcn\r\n").is_international());
    }

    #[test]
    fn a_header_that_is_cut_within_a_character_is_still_utf_8() {
        let long = "X: \u{fc}\u{fc}\u{fc}\u{fc}\r\n".repeat(HEADER_OCTETS_MAX / 13 + 1);
        for most in HEADER_OCTETS_MAX - 3..=HEADER_OCTETS_MAX {
            assert!(Original::Header(&long.as_bytes()[..most]).is_international(), "{most}");
        }
    }

    #[test]
    fn what_is_cut_is_cut_at_a_line() {
        assert_eq!(cut_at_line(b"ab\r\ncd\r\n", 8), b"ab\r\ncd\r\n");
        assert_eq!(cut_at_line(b"ab\r\ncd\r\nx", 8), b"ab\r\ncd\r\n");
    }

    #[test]
    fn encoded_lines_are_short_and_end_in_nothing_that_is_lost() {
        let encoded = |text: &[u8]| String::from_utf8(quoted_printable(text)).unwrap();
        assert_eq!(encoded(b"a=b \r\n\tc\n\xff"), "a=3Db=20\r\n\tc\r\n=FF");
        assert_eq!(encoded(&[b'x'; 76]), "x".repeat(76));
        assert_eq!(encoded(&[b'x'; 77]), format!("{}=\r\nxx", "x".repeat(75)));
        let long = encoded(&[0xfc; 1000]);
        assert!(long.split("\r\n").all(|line| line.len() <= 76) && long.matches("=FC").count() == 1000);
    }
}
