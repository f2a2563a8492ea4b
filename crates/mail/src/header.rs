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

    /// Whether more than blanks stand between the name and its colon: then it is no field, see [`look_alikes`].
    #[must_use]
    pub fn is_only_alike(&self) -> bool {
        let behind = self.raw.get(self.name.len()..).unwrap_or_default();
        behind.iter().take_while(|octet| **octet != b':').any(|octet| !matches!(octet, b' ' | b'\t'))
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

/// The fields of a message, or of its header section alone, in order. Lines that are no field (no colon, or a name
/// that no field has) are passed over; the walk ends at the empty line. Blanks may stand before the colon, a fold may
/// not (RFC 5322 section 4.5).
#[must_use]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0, names: Names::OnOneLine }
}

/// As [`fields`], and with them what is none only because a line ends, or other white space than blanks stands, between
/// its name and its colon. Some programs take that for a field. For whoever takes fields out, or asks whether another program may see one: never for reading.
#[must_use]
pub fn look_alikes(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0, names: Names::FoldedAsWell }
}

/// What may stand between a name and its colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Blanks.
    OnOneLine,
    /// Any white space, line ends too.
    FoldedAsWell,
}

/// See [`fields`] and [`look_alikes`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    names: Names,
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
                let name = self.names.trim_end(&raw[..colon]);
                if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
                    let value = strip_line_end(&raw[colon + 1..]);
                    return Some(Field { name, value, raw, offset: start });
                }
            }
        }
    }
}

impl Names {
    fn trim_end(self, name: &[u8]) -> &[u8] {
        let is_part = |octet: &u8| match self {
            Self::OnOneLine => !matches!(octet, b' ' | b'\t'),
            Self::FoldedAsWell => !octet.is_ascii_whitespace(),
        };
        let end = name.iter().rposition(is_part).map_or(0, |last| last + 1);
        name.get(..end).unwrap_or_default()
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

/// The number of header fields with this name, in any case.
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

    /// Symptom: `From`, a line end, a blank and `: ann@far.example` was the author for DMARC, for ENVELOPE and for
    /// signatures. Cause: all white space was cut off a name, line ends too. Analysis: RFC 5322 section 4.5 has blanks
    /// there; programs do not agree on a fold, so it is nobody's author, and what is taken out is taken out so, too.
    #[test]
    fn a_name_that_is_folded_before_its_colon_is_no_field_but_looks_like_one() {
        let message = b"From\r\n : a\r\nTo \t: b\r\nX-Y\r\n\t\r\n : c\r\n\td\r\nA\r\n b: e\r\nZ: f\r\n";
        let names = |found: Fields<'_>| {
            found
                .map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.is_only_alike()))
                .collect::<Vec<_>>()
        };
        let named = |name: &str, folded| (name.to_owned(), folded);
        assert_eq!(names(fields(message)), [named("To", false), named("Z", false)]);
        let all = [named("From", true), named("To", false), named("X-Y", true), named("Z", false)];
        assert_eq!(names(look_alikes(message)), all);
        let folded = look_alikes(message).nth(2).unwrap();
        assert_eq!((folded.raw, folded.value), (&b"X-Y\r\n\t\r\n : c\r\n\td\r\n"[..], &b" c\r\n\td"[..]));
        assert!(find(message, "From").is_none());
    }

    #[test]
    fn counting_ignores_case_and_the_body() {
        assert_eq!(count(MESSAGE, "received"), 1);
        assert_eq!(count(MESSAGE, "body"), 0);
    }
}
