//! The header section of a message as bytes: fields are found, never rewritten (RFC 5322 section 2.2).
//!
//! Nothing here changes a byte. A field keeps its name, its folding and its line end, so that what is
//! removed or added around it leaves the rest exactly as it came.

use memchr::{memchr, memmem};

/// One header field and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without the colon, as written.
    pub name: &'a [u8],
    /// What follows the colon, folding included, without the last line end.
    pub value: &'a [u8],
    /// The whole field with its last line end.
    pub raw: &'a [u8],
    /// Where `raw` starts in the message, in octets.
    pub offset: usize,
}

impl Field<'_> {
    /// Whether the field has this name; case does not matter.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line, white space at both ends removed (RFC 5322 section 2.2.3), octets that are
    /// not UTF-8 replaced.
    #[must_use]
    pub fn unfolded(&self) -> String {
        let text: Vec<u8> = self.value.iter().copied().filter(|b| *b != b'\r' && *b != b'\n').collect();
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

/// Where the header section ends and the body starts: the octet after the empty line, or the message's
/// length when there is none.
#[must_use]
pub fn body_offset(message: &[u8]) -> usize {
    if message.starts_with(b"\r\n") {
        return 2;
    }
    memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 4)
}

/// The fields of a message, or of its header section alone, in order. Lines that are no field (no colon)
/// are passed over as part of the field before them; the walk ends at the empty line.
#[must_use]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0 }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let start = self.at;
            let rest = self.message.get(start..).filter(|rest| !rest.is_empty())?;
            if rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
                return None;
            }
            let length = field_length(rest);
            self.at = start + length;
            let raw = &rest[..length];
            if let Some(colon) = memchr(b':', raw) {
                let name = raw[..colon].trim_ascii_end();
                if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
                    let value = strip_line_end(&raw[colon + 1..]);
                    return Some(Field { name, value, raw, offset: start });
                }
            }
        }
    }
}

/// Octets of the field that starts `rest`: its first line and every line after it that starts with white space.
fn field_length(rest: &[u8]) -> usize {
    let mut length = 0;
    loop {
        match memchr(b'\n', &rest[length..]) {
            None => return rest.len(),
            Some(at) => length += at + 1,
        }
        if !matches!(rest.get(length), Some(b' ' | b'\t')) {
            return length;
        }
    }
}

fn strip_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line)
}

/// The first field of this name.
#[must_use]
pub fn find<'a>(message: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(message).find(|field| field.is(name))
}

/// How many fields have this name.
#[must_use]
pub fn count(message: &[u8], name: &str) -> usize {
    fields(message).filter(|field| field.is(name)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Received: a\r\n\tb;\r\n c\r\nSubject : hi\r\nnonsense\r\nX:\r\n\r\nBody: no\r\n";

    #[test]
    fn fields_keep_their_folding_and_their_place() {
        let all: Vec<_> = fields(MESSAGE).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].raw, b"Received: a\r\n\tb;\r\n c\r\n");
        assert_eq!(all[0].unfolded(), "a\tb; c");
        assert!(all[1].is("SUBJECT"));
        assert_eq!(all[1].unfolded(), "hi");
        assert_eq!(all[2].value, b"");
        assert_eq!(&MESSAGE[all[2].offset..all[2].offset + 2], b"X:");
    }

    #[test]
    fn the_body_starts_after_the_first_empty_line() {
        assert_eq!(&MESSAGE[body_offset(MESSAGE)..], b"Body: no\r\n");
        assert_eq!(body_offset(b"\r\nbody"), 2);
        assert_eq!(body_offset(b"A: b\r\n"), 6);
        assert_eq!(fields(b"\r\nA: b\r\n").count(), 0);
    }

    #[test]
    fn counting_ignores_case_and_the_body() {
        assert_eq!(count(MESSAGE, "received"), 1);
        assert_eq!(count(MESSAGE, "body"), 0);
    }
}
