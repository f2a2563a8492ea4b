//! Changes that filters make in the header: bounded, and safe to write into a message.

use mail::header;

/// Octets of the name of a field.
const NAME_OCTETS_MAX: usize = 256;
/// Octets of the value of a field that is added; the rest is cut.
const VALUE_OCTETS_MAX: usize = 16 * 1024;
/// Octets of one line, RFC 5322's limit with room for the line end and a fold.
const LINE_OCTETS_MAX: usize = 990;
/// Fields that one message gets from all its filters.
pub(super) const FIELDS_MAX: usize = 256;
/// Octets of all fields that one message gets from its filters.
pub(super) const OCTETS_MAX: usize = 128 * 1024;
/// Fields that are removed or replaced.
pub(super) const REWRITES_MAX: usize = 256;

/// A whole field with its line end, made of what a filter gave: nothing in it can end the header or begin
/// another field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field(Vec<u8>);

impl Field {
    /// `None` when no field can have this name.
    pub(super) fn new(name: &str, value: &[u8]) -> Option<Self> {
        let plain = |octet: u8| octet.is_ascii_graphic() && octet != b':';
        if name.is_empty() || name.len() > NAME_OCTETS_MAX || !name.bytes().all(plain) {
            return None;
        }
        let value = value.get(..VALUE_OCTETS_MAX).unwrap_or(value);
        let mut field = [name.as_bytes(), b":"].concat();
        let lines = value.split(|octet| matches!(octet, b'\r' | b'\n')).map(<[u8]>::trim_ascii);
        // A line that does not begin with white space would be another field; each gets its own.
        for (place, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            field.extend_from_slice(if place == 0 { b" " } else { b"\r\n\t" });
            for (part, octets) in line.chunks(LINE_OCTETS_MAX - NAME_OCTETS_MAX).enumerate() {
                if part > 0 {
                    field.extend_from_slice(b"\r\n\t");
                }
                field.extend(octets.iter().filter(|octet| !octet.is_ascii_control() || **octet == b'\t'));
            }
        }
        field.extend_from_slice(b"\r\n");
        Some(Self(field))
    }

    /// The field as it is written, with its line end.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// The fields with one name that an edit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All fields of the name.
    All,
    /// The field of this number, the first being 1.
    Nth(usize),
    /// The field of this number from the end, the last being 1.
    FromEnd(usize),
}

/// One change of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// A field more, at the end of those added before, or at this place among them.
    Add(Option<usize>, Field),
    /// A field that came with the message is removed, or replaced.
    Rewrite(Rewrite),
}

/// A field that came with the message and is removed, or replaced by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrite {
    pub(super) name: String,
    pub(super) which: Which,
    pub(super) field: Option<Field>,
}

/// The header with these changes; the rest of it stays as it is, octet for octet.
pub(crate) fn rewrite(header_section: &[u8], rewrites: &[Rewrite]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header_section.len());
    let mut copied = 0;
    let mut seen: Vec<usize> = vec![0; rewrites.len()];
    let counts: Vec<usize> =
        rewrites.iter().map(|rewrite| header::count(header_section, &rewrite.name)).collect();
    for field in header::fields(header_section) {
        let mut change = None;
        for ((rewrite, seen), count) in rewrites.iter().zip(&mut seen).zip(&counts) {
            if !field.is(&rewrite.name) {
                continue;
            }
            *seen += 1;
            let meant = match rewrite.which {
                Which::All => true,
                Which::Nth(place) => place == *seen,
                Which::FromEnd(place) => count + 1 == *seen + place,
            };
            if meant {
                change = Some(&rewrite.field);
            }
        }
        if let Some(change) = change {
            out.extend_from_slice(header_section.get(copied..field.offset).unwrap_or_default());
            out.extend_from_slice(change.as_ref().map_or(&[], Field::octets));
            copied = field.offset + field.raw.len();
        }
    }
    out.extend_from_slice(header_section.get(copied..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> String {
        String::from_utf8(Field::new(name, value.as_bytes()).unwrap().0).unwrap()
    }

    #[test]
    fn a_value_can_not_end_the_header_or_begin_another_field() {
        assert_eq!(field("X-A", "v"), "X-A: v\r\n");
        assert_eq!(field("X-A", " v;\r\n\tw\n x "), "X-A: v;\r\n\tw\r\n\tx\r\n");
        assert_eq!(field("X-A", "v\r\nBcc: eve\r\n\r\nbody"), "X-A: v\r\n\tBcc: eve\r\n\tbody\r\n");
        assert_eq!(field("X-A", "a\0b\u{7}\rc"), "X-A: ab\r\n\tc\r\n");
        assert_eq!(field("X-A", ""), "X-A:\r\n");
        for name in ["", "X A", "X:", "X\r\nY", "Ü", &"x".repeat(NAME_OCTETS_MAX + 1)] {
            assert_eq!(Field::new(name, b"v"), None, "{name:?}");
        }
        assert!(Field::new(&"x".repeat(NAME_OCTETS_MAX), b"v").is_some());
    }

    #[test]
    fn long_values_are_folded_and_cut() {
        let long = field("X-A", &"y".repeat(VALUE_OCTETS_MAX + 1));
        assert!(long.lines().all(|line| line.len() <= LINE_OCTETS_MAX + 8), "{long}");
        assert_eq!(long.matches('y').count(), VALUE_OCTETS_MAX);
    }

    const HEADER: &[u8] = b"Subject: a\r\n b\r\nodd line\r\nX: 1\r\nx: 2\r\nX: 3\r\n\r\n";

    fn rewritten(name: &str, which: Which, value: Option<&str>) -> String {
        let field = value.map(|value| Field::new(name, value.as_bytes()).unwrap());
        let rewrites = [Rewrite { name: name.to_owned(), which, field }];
        String::from_utf8(rewrite(HEADER, &rewrites)).unwrap()
    }

    #[test]
    fn fields_are_removed_and_replaced_by_their_place() {
        let whole = String::from_utf8(HEADER.to_vec()).unwrap();
        let without = |part: &str| whole.replacen(part, "", 1);
        assert_eq!(rewritten("X", Which::Nth(2), None), without("x: 2\r\n"));
        assert_eq!(rewritten("x", Which::FromEnd(1), None), without("X: 3\r\n"));
        assert_eq!(rewritten("X", Which::FromEnd(4), None), whole);
        assert_eq!(rewritten("X", Which::All, None), without("X: 1\r\nx: 2\r\nX: 3\r\n"));
        assert_eq!(rewritten("Y", Which::All, None), whole);
        let replaced = whole.replacen("Subject: a\r\n b\r\n", "Subject: c\r\n", 1);
        assert_eq!(rewritten("Subject", Which::Nth(1), Some("c")), replaced);
        assert_eq!(rewrite(HEADER, &[]), HEADER);
    }
}
