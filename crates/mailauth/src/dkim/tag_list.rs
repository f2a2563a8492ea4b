//! Lists of `tag=value` (RFC 6376 section 3.2): the form of signatures, seals and key records.

use std::ops::Range;

/// Tags read from one list; a list with more is refused.
pub(crate) const TAGS_MAX: usize = 64;

/// One `tag=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    /// The name; case matters.
    pub(crate) name: &'a str,
    /// The value, without white space at its ends.
    pub(crate) value: &'a str,
    /// Where the value stands in the list, white space included: from after the `=` to the next `;`.
    pub(crate) place: Range<usize>,
}

/// The tags of a list, in order, each name once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagList<'a>(Vec<Tag<'a>>);

impl<'a> TagList<'a> {
    /// Reads a list. One `;` may stand at the end.
    ///
    /// # Errors
    /// What is wrong with it, in words that hold nothing of the list.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(text).map_err(|_| "tag list is not UTF-8")?;
        let mut tags: Vec<Tag<'a>> = Vec::new();
        let mut start = 0;
        for spec in text.split(';') {
            let end = start + spec.len();
            if end == text.len() && !tags.is_empty() && trim(spec).is_empty() {
                break;
            }
            let tag = parse_tag(spec, start)?;
            if tags.iter().any(|known| known.name == tag.name) {
                return Err("a tag is given twice");
            }
            if tags.len() == TAGS_MAX {
                return Err("too many tags");
            }
            tags.push(tag);
            start = end + 1;
        }
        Ok(Self(tags))
    }

    /// The tag of this name.
    pub(crate) fn tag(&self, name: &str) -> Option<&Tag<'a>> {
        self.0.iter().find(|tag| tag.name == name)
    }

    /// The value of the tag of this name.
    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.tag(name).map(|tag| tag.value)
    }

    /// Whether the list starts with the tag of this name.
    pub(crate) fn starts_with(&self, name: &str) -> bool {
        self.0.first().is_some_and(|tag| tag.name == name)
    }
}

fn parse_tag(spec: &str, offset: usize) -> Result<Tag<'_>, &'static str> {
    let (name, rest) = spec.split_once('=').ok_or("a tag without a value")?;
    let place = offset + name.len() + 1..offset + spec.len();
    let (name, value) = (trim(name), trim(rest));
    let mut letters = name.bytes();
    if !letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    {
        return Err("a tag has a name that is none");
    }
    if has_controls(value) {
        return Err("a control character in a tag");
    }
    Ok(Tag { name, value, place })
}

/// Whether there is a control character that is no white space. Long values are ASCII, nearly always.
fn has_controls(value: &str) -> bool {
    if value.is_ascii() {
        return value.bytes().any(|octet| octet.is_ascii_control() && !is_white(char::from(octet)));
    }
    value.chars().any(|c| c.is_control() && !is_white(c))
}

/// White space of a folded line. The line ends in it are those of folding: the field was found by them.
pub(crate) const fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Without white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_white)
}

/// The entries of a list parted by colons, white space around them removed (RFC 6376 section 3.2: FWS).
pub(crate) fn by_colon(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(trim)
}

/// What a value in dkim-quoted-printable stands for (RFC 6376 section 2.11): white space is dropped, and `=` with two
/// hexadecimal digits is an octet. `None` when a `=` is anything else, or the octets are no text: not UTF-8 (RFC 8616
/// section 5), or with control characters.
pub(crate) fn quoted_printable(value: &str) -> Option<String> {
    let mut octets = value.bytes().filter(|octet| !is_white(char::from(*octet)));
    let mut text = Vec::with_capacity(value.len());
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'=' => {
                let mut digit = || octets.next().and_then(|digit| char::from(digit).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            octet => octet,
        };
        text.push(octet);
    }
    String::from_utf8(text).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<(&str, &str)>, &'static str> {
        TagList::parse(text.as_bytes()).map(|list| list.0.iter().map(|tag| (tag.name, tag.value)).collect())
    }

    #[test]
    fn white_space_may_stand_around_names_and_values() {
        let tags = names(" a = 1 2\r\n\t3 ;\r\n b=;c_2\t=\tx=y;\r\n ");
        assert_eq!(tags, Ok(vec![("a", "1 2\r\n\t3"), ("b", ""), ("c_2", "x=y")]));
    }

    #[test]
    fn names_keep_their_case() {
        let list = TagList::parse(b"S=1; s=2").unwrap();
        assert_eq!(list.value("s"), Some("2"));
        assert_eq!(list.value("S"), Some("1"));
    }

    #[test]
    fn the_place_of_a_value_has_its_white_space() {
        let text = b"a=1; b = x\r\n y ; c=2";
        let list = TagList::parse(text).unwrap();
        assert_eq!(&text[list.tag("b").unwrap().place.clone()], b" x\r\n y ");
        assert_eq!(&text[list.tag("c").unwrap().place.clone()], b"2");
    }

    #[test]
    fn each_malformed_list_is_refused() {
        for list in [
            "", " ", ";", "a", "a;", "=1", "a=1;;", "a=1;;b=2", ";a=1", "1a=1", "_=1", "a b=1", "a-b=1",
            "a=1;a=2", "a=1; a=1", "a=\u{1}", "a=\u{7f}",
        ] {
            assert!(names(list).is_err(), "{list:?}");
        }
        assert!(TagList::parse(b"a=\xff").is_err());
    }

    #[test]
    fn a_list_of_the_most_tags_is_read_and_one_more_refused() {
        let list = |count: usize| (0..count).map(|n| format!("a{n}=1;")).collect::<String>();
        assert!(names(&list(TAGS_MAX)).is_ok());
        assert_eq!(names(&list(TAGS_MAX + 1)), Err("too many tags"));
    }

    #[test]
    fn quoted_printable_text_is_decoded_and_what_is_none_is_refused() {
        for (value, text) in [
            ("joe@example.org", "joe@example.org"),
            ("a=3Bb@example.org", "a;b@example.org"),
            ("joe=40example.org", "joe@example.org"),
            ("a=3d=3D@x.org", "a==@x.org"),
            ("j o\r\n\te=20x@y.org", "joe x@y.org"),
            ("= 3 B", ";"),
            ("J=C3=B6rg@x.org", "J\u{f6}rg@x.org"),
            ("J\u{f6}rg@x.org", "J\u{f6}rg@x.org"),
            ("", ""),
        ] {
            assert_eq!(quoted_printable(value).as_deref(), Some(text), "{value:?}");
        }
        for value in ["=", "a=3", "a=@x.org", "=3G", "=+1", "a=0D=0Ab", "=00", "=7F", "=C3@x.org", "=FF"] {
            assert_eq!(quoted_printable(value), None, "{value:?}");
        }
    }
}
