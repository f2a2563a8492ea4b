//! What SEARCH looks for (RFC 9051 section 6.4.4).

use crate::cursor::{Cursor, Malformed, Parsed};
use crate::date::{self, Day};
use crate::set::Set;
use mailbox::Flags;

/// Deepest nesting of keys.
const DEPTH_MAX: usize = 32;
/// Most keys in one command.
const KEYS_MAX: usize = 1000;

/// A condition on a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Key {
    All,
    And(Vec<Self>),
    Or(Box<(Self, Self)>),
    Not(Box<Self>),
    Flag(Flags),
    Keyword(String),
    Numbers(Set),
    Uids(Set),
    Larger(u32),
    Smaller(u32),
    Before(Day),
    On(Day),
    Since(Day),
    SentBefore(Day),
    SentOn(Day),
    SentSince(Day),
    /// A field has the text; an empty one, that the field is there.
    Header(Vec<u8>, Vec<u8>),
    Body(Vec<u8>),
    Text(Vec<u8>),
    Modseq(u64),
}

/// Keys up to the end, all of which must hold.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Key> {
    let mut left = KEYS_MAX;
    let mut keys = vec![key(cursor, DEPTH_MAX, &mut left)?];
    while cursor.eat(b' ') {
        keys.push(key(cursor, DEPTH_MAX, &mut left)?);
    }
    Ok(Key::And(keys))
}

fn key(cursor: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Parsed<Key> {
    let depth = depth.checked_sub(1).ok_or(Malformed("the search is nested too deeply"))?;
    *left = left.checked_sub(1).ok_or(Malformed("the search has too many keys"))?;
    match cursor.peek() {
        Some(b'(') => return Ok(Key::And(cursor.list(KEYS_MAX, |cursor| key(cursor, depth, left))?)),
        Some(b'0'..=b'9' | b'*') => return Ok(Key::Numbers(Set::parse(cursor)?)),
        _ => {}
    }
    let word = cursor.word()?;
    if let Some(plain) = without_argument(&word) {
        return Ok(plain);
    }
    cursor.space()?;
    let header = |name: &str, cursor: &mut Cursor<'_>| Ok(Key::Header(name.into(), cursor.astring()?));
    match word.as_str() {
        "NOT" => Ok(Key::Not(Box::new(key(cursor, depth, left)?))),
        "OR" => {
            let one = key(cursor, depth, left)?;
            cursor.space()?;
            Ok(Key::Or(Box::new((one, key(cursor, depth, left)?))))
        }
        "KEYWORD" => Ok(Key::Keyword(keyword(cursor)?)),
        "UNKEYWORD" => Ok(Key::Not(Box::new(Key::Keyword(keyword(cursor)?)))),
        "UID" => Ok(Key::Uids(Set::parse(cursor)?)),
        "LARGER" => Ok(Key::Larger(cursor.number()?)),
        "SMALLER" => Ok(Key::Smaller(cursor.number()?)),
        "BEFORE" => Ok(Key::Before(date::parse_date(cursor)?)),
        "ON" => Ok(Key::On(date::parse_date(cursor)?)),
        "SINCE" => Ok(Key::Since(date::parse_date(cursor)?)),
        "SENTBEFORE" => Ok(Key::SentBefore(date::parse_date(cursor)?)),
        "SENTON" => Ok(Key::SentOn(date::parse_date(cursor)?)),
        "SENTSINCE" => Ok(Key::SentSince(date::parse_date(cursor)?)),
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => header(&word, cursor),
        "HEADER" => {
            let name = cursor.astring()?;
            cursor.space()?;
            Ok(Key::Header(name, cursor.astring()?))
        }
        "BODY" => Ok(Key::Body(cursor.astring()?)),
        "TEXT" => Ok(Key::Text(cursor.astring()?)),
        "MODSEQ" => Ok(Key::Modseq(cursor.number64()?)),
        _ => Err(Malformed("the search key is not known")),
    }
}

fn without_argument(word: &str) -> Option<Key> {
    let not = |flag| Key::Not(Box::new(Key::Flag(flag)));
    Some(match word {
        "ALL" | "OLD" => Key::All,
        // No message is ever recent here, which RFC 9051 made the rule.
        "RECENT" | "NEW" => Key::Not(Box::new(Key::All)),
        "ANSWERED" => Key::Flag(Flags::ANSWERED),
        "DELETED" => Key::Flag(Flags::DELETED),
        "DRAFT" => Key::Flag(Flags::DRAFT),
        "FLAGGED" => Key::Flag(Flags::FLAGGED),
        "SEEN" => Key::Flag(Flags::SEEN),
        "UNANSWERED" => not(Flags::ANSWERED),
        "UNDELETED" => not(Flags::DELETED),
        "UNDRAFT" => not(Flags::DRAFT),
        "UNFLAGGED" => not(Flags::FLAGGED),
        "UNSEEN" => not(Flags::SEEN),
        _ => return None,
    })
}

fn keyword(cursor: &mut Cursor<'_>) -> Parsed<String> {
    Ok(String::from_utf8_lossy(cursor.atom()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parsed<Key> {
        let mut cursor = Cursor::new(text.as_bytes());
        let key = parse(&mut cursor)?;
        cursor.end()?;
        Ok(key)
    }

    #[test]
    fn keys_nest_and_take_their_arguments() {
        let key = parsed("OR (FROM bob SUBJECT {2}\r\nhi) NOT 1:3 UID 7:* since 1-Feb-1994").unwrap();
        let Key::And(keys) = key else { panic!() };
        assert_eq!(keys.len(), 3);
        assert!(
            matches!(&keys[0], Key::Or(either) if matches!(&**either, (Key::And(both), Key::Not(_)) if both.len() == 2))
        );
        assert_eq!(keys[2], Key::Since(8797));
    }

    #[test]
    fn nesting_and_number_are_limited() {
        let nots = |count: usize| parsed(&format!("{}ALL", "NOT ".repeat(count)));
        assert!(nots(DEPTH_MAX - 1).is_ok());
        assert!(nots(DEPTH_MAX).is_err());
        assert!(parsed(&"(".repeat(100_000)).is_err());
        assert!(parsed(&vec!["ALL"; KEYS_MAX].join(" ")).is_ok());
        assert!(parsed(&vec!["ALL"; KEYS_MAX + 1].join(" ")).is_err());
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in
            ["", "FOO", "FROM", "OR ALL", "NOT", "SINCE yesterday", "LARGER -1", "(ALL", "ALL ", "HEADER x"]
        {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
