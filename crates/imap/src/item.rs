//! What FETCH is asked for (RFC 9051 section 6.4.5).

use crate::cursor::{Cursor, Malformed, Parsed};
use crate::envelope::Form;
use crate::mime::DEPTH_MAX;
use crate::write;

/// Most elements of a list in a command.
pub(crate) const LIST_MAX: usize = 256;

/// Most items of one FETCH.
const ITEMS_MAX: usize = 100;

/// One data item of a FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Flags,
    InternalDate,
    Size,
    Uid,
    Modseq,
    Envelope,
    Structure(Form),
    Section(Section),
}

/// Octets of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// How the response names it, the start of a partial included.
    pub(crate) label: Vec<u8>,
    /// The numbers of the part; none for the message.
    pub(crate) path: Vec<u32>,
    pub(crate) text: Text,
    /// First octet and most octets.
    pub(crate) partial: Option<(u64, u64)>,
    pub(crate) seen: Seen,
}

/// Which octets of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    /// All of the message, or the body of a part.
    Whole,
    /// The header section of the message, with its empty line.
    Header,
    /// Those of its fields that have one of these names.
    Fields(Vec<Vec<u8>>),
    /// Those that have none of them.
    FieldsNot(Vec<Vec<u8>>),
    /// What follows the header section of the message.
    Content,
    /// The header section of a part.
    Mime,
}

/// Whether fetching it sets `\Seen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Set,
    Leave,
}

/// A list of items, a single one, or a macro.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Vec<Item>> {
    if cursor.peek() == Some(b'(') {
        let items = cursor.list(ITEMS_MAX, item)?;
        return if items.is_empty() { Err(Malformed("nothing is asked for")) } else { Ok(items) };
    }
    let fast = [Item::Flags, Item::InternalDate, Item::Size];
    if cursor.eat_word("FAST") {
        return Ok(fast.into());
    }
    if cursor.eat_word("ALL") {
        return Ok(fast.into_iter().chain([Item::Envelope]).collect());
    }
    if cursor.eat_word("FULL") {
        return Ok(fast.into_iter().chain([Item::Envelope, Item::Structure(Form::Basic)]).collect());
    }
    Ok(vec![item(cursor)?])
}

fn item(cursor: &mut Cursor<'_>) -> Parsed<Item> {
    let whole = |label: &str, text, seen| {
        Item::Section(Section { label: label.into(), path: Vec::new(), text, partial: None, seen })
    };
    Ok(match cursor.word()?.as_str() {
        "FLAGS" => Item::Flags,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "UID" => Item::Uid,
        "MODSEQ" => Item::Modseq,
        "ENVELOPE" => Item::Envelope,
        "BODYSTRUCTURE" => Item::Structure(Form::Extended),
        "RFC822" => whole("RFC822", Text::Whole, Seen::Set),
        "RFC822.HEADER" => whole("RFC822.HEADER", Text::Header, Seen::Leave),
        "RFC822.TEXT" => whole("RFC822.TEXT", Text::Content, Seen::Set),
        "BODY" if cursor.peek() != Some(b'[') => Item::Structure(Form::Basic),
        "BODY" => Item::Section(section(cursor, Seen::Set)?),
        "BODY.PEEK" => Item::Section(section(cursor, Seen::Leave)?),
        _ => return Err(Malformed("the item is not known")),
    })
}

fn section(cursor: &mut Cursor<'_>, seen: Seen) -> Parsed<Section> {
    cursor.expect(b'[', "[ is missing")?;
    let mut label = b"BODY[".to_vec();
    let mut path = Vec::new();
    let mut text = Text::Whole;
    while cursor.peek() != Some(b']') {
        if !path.is_empty() {
            cursor.expect(b'.', "the section is not known")?;
            label.push(b'.');
        }
        if !cursor.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            text = section_text(cursor, &path, &mut label)?;
            break;
        }
        let number = cursor.number()?;
        if number == 0 || path.len() >= 2 * DEPTH_MAX {
            return Err(Malformed("there is no such part"));
        }
        label.extend_from_slice(number.to_string().as_bytes());
        path.push(number);
    }
    cursor.expect(b']', "] is missing")?;
    label.push(b']');
    let mut partial = None;
    if cursor.eat(b'<') {
        let start = cursor.number64()?;
        cursor.expect(b'.', "a partial is written as <start.octets>")?;
        let octets = cursor.number64()?;
        cursor.expect(b'>', "a partial is written as <start.octets>")?;
        if octets == 0 {
            return Err(Malformed("a partial has at least one octet"));
        }
        label.extend_from_slice(format!("<{start}>").as_bytes());
        partial = Some((start, octets));
    }
    Ok(Section { label, path, text, partial, seen })
}

fn section_text(cursor: &mut Cursor<'_>, path: &[u32], label: &mut Vec<u8>) -> Parsed<Text> {
    let word = cursor.word()?;
    label.extend_from_slice(word.as_bytes());
    match word.as_str() {
        "HEADER" => Ok(Text::Header),
        "TEXT" => Ok(Text::Content),
        "MIME" if !path.is_empty() => Ok(Text::Mime),
        "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
            cursor.space()?;
            let names = cursor.list(LIST_MAX, Cursor::astring)?;
            if names.is_empty() {
                return Err(Malformed("no field is named"));
            }
            for (place, name) in names.iter().enumerate() {
                label.extend_from_slice(if place == 0 { b" (" } else { b" " });
                if name.iter().all(|octet| crate::cursor::is_atom(*octet)) && !name.is_empty() {
                    label.extend_from_slice(name);
                } else {
                    write::string(label, name);
                }
            }
            label.push(b')');
            Ok(if word == "HEADER.FIELDS" { Text::Fields(names) } else { Text::FieldsNot(names) })
        }
        _ => Err(Malformed("the section is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Parsed<Item> {
        let mut cursor = Cursor::new(text.as_bytes());
        let items = parse(&mut cursor)?;
        cursor.end()?;
        Ok(items[0].clone())
    }

    fn label(text: &str) -> String {
        match one(text) {
            Ok(Item::Section(section)) => String::from_utf8(section.label).unwrap(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn sections_are_named_in_the_response_without_peek_and_with_the_start_only() {
        assert_eq!(label("body.peek[]<0.100>"), "BODY[]<0>");
        assert_eq!(label("BODY[1.2.mime]"), "BODY[1.2.MIME]");
        assert_eq!(
            label("BODY.PEEK[HEADER.FIELDS (\"From\" \"a b\")]"),
            "BODY[HEADER.FIELDS (From \"a b\")]"
        );
        assert_eq!(label("BODY[1.HEADER.FIELDS.NOT (To)]"), "BODY[1.HEADER.FIELDS.NOT (To)]");
        assert_eq!(label("RFC822"), "RFC822");
    }

    #[test]
    fn macros_stand_for_their_items() {
        let count = |text: &str| parse(&mut Cursor::new(text.as_bytes())).unwrap().len();
        assert_eq!((count("FAST"), count("all"), count("FULL"), count("(UID FLAGS)")), (3, 4, 5, 2));
    }

    #[test]
    fn malformed_items_are_refused() {
        for text in [
            "",
            "()",
            "FOO",
            "BODY[",
            "BODY[0]",
            "BODY[MIME]",
            "BODY[1.]",
            "BODY[1 2]",
            "BODY[FOO]",
            "BODY[]<1>",
            "BODY[]<0.0>",
            "BODY[HEADER.FIELDS ()]",
            "BODY[HEADER.FIELDS]",
            "(FLAGS",
            "(FAST)",
            "BODY[TEXT.1]",
        ] {
            assert!(one(text).is_err(), "{text}");
        }
        let deep = |levels| one(&format!("BODY[{}]", vec!["1"; levels].join(".")));
        assert!(deep(2 * DEPTH_MAX).is_ok());
        assert!(deep(2 * DEPTH_MAX + 1).is_err());
        let many =
            |items| parse(&mut Cursor::new(format!("({})", vec!["UID"; items].join(" ")).as_bytes())).is_ok();
        assert!(many(ITEMS_MAX) && !many(ITEMS_MAX + 1));
    }
}
