//! Writing the elements of responses (RFC 9051 section 9).

use memchr::memchr;

use mailbox::Flags;

/// Longest text that is written as a quoted string.
const QUOTED_MAX: usize = 1024;
/// What a client gets for a NUL octet of a message, as Dovecot does it.
const FOR_NUL: u8 = 0x80;

/// A string: quoted where that can hold it, else a literal.
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |octet: &u8| matches!(octet, 0x20..0x7f);
    if text.len() <= QUOTED_MAX && text.iter().all(plain) {
        out.push(b'"');
        for octet in text {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*octet);
        }
        out.push(b'"');
    } else {
        literal(out, text);
    }
}

/// Writes a string, or `NIL` for none.
pub(crate) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes a literal.
pub(crate) fn literal(out: &mut Vec<u8>, octets: &[u8]) {
    literal_head(out, octets.len() as u64);
    let start = out.len();
    out.extend_from_slice(octets);
    replace_nul(out, start);
}

/// Makes what was written from `start` on fit for a literal, whose octets are CHAR8: any but NUL (RFC 3501 section 9).
/// The message is kept as it came, and its size is what was told, so another octet takes the place.
pub(crate) fn replace_nul(out: &mut [u8], start: usize) {
    let mut rest = out.get_mut(start..).unwrap_or_default();
    while let Some(at) = memchr(0, rest) {
        rest = match rest.get_mut(at..) {
            Some([nul, after @ ..]) => {
                *nul = FOR_NUL;
                after
            }
            _ => return,
        };
    }
}

/// What announces a literal of so many octets.
pub(crate) fn literal_head(out: &mut Vec<u8>, octets: u64) {
    out.extend_from_slice(format!("{{{octets}}}\r\n").as_bytes());
}

/// A mailbox name: an atom where it can be one, as old clients expect for INBOX, else a quoted string.
pub(crate) fn mailbox(out: &mut Vec<u8>, name: &str) {
    let plain =
        !name.is_empty() && !name.eq_ignore_ascii_case("NIL") && name.bytes().all(crate::cursor::is_atom);
    if plain {
        out.extend_from_slice(name.as_bytes());
    } else if name.is_ascii() {
        string(out, name.as_bytes());
    } else {
        // Only a session that asked for UTF-8 gets here.
        out.push(b'"');
        out.extend_from_slice(name.replace('\\', "\\\\").replace('"', "\\\"").as_bytes());
        out.push(b'"');
    }
}

const SYSTEM: [(Flags, &str); 5] = [
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::SEEN, "\\Seen"),
    (Flags::DRAFT, "\\Draft"),
];

/// The flag of a system flag's name.
pub(crate) fn system_flag(name: &str) -> Option<Flags> {
    SYSTEM.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(flag, _)| *flag)
}

/// `(\Seen $Junk)`. Bits without a known keyword are left out.
pub(crate) fn flags(out: &mut Vec<u8>, flags: Flags, keywords: &[String]) {
    let system = SYSTEM.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name);
    let named = keywords.iter().enumerate().filter(|(index, _)| flags.contains(keyword(*index)));
    out.push(b'(');
    for (place, name) in system.chain(named.map(|(_, name)| name.as_str())).enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b')');
}

/// The flag of the keyword at `index`.
pub(crate) fn keyword(index: usize) -> Flags {
    let bit = u32::try_from(index).ok().and_then(|index| index.checked_add(Flags::FIRST_KEYWORD_BIT));
    // No flag contains a bit that does not exist.
    Flags(bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(1 << 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_quoted_is_a_literal() {
        let written = |text: &[u8]| {
            let mut out = Vec::new();
            string(&mut out, text);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(written(b"a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
        assert_eq!(written(b"a\r\nb"), "{4}\r\na\r\nb");
        let mut with_nul = Vec::new();
        string(&mut with_nul, b"a\0b\0");
        assert_eq!(with_nul, b"{4}\r\na\x80b\x80");
        assert_eq!(written("é".as_bytes()), "{2}\r\né");
        assert!(written(&[b'x'; QUOTED_MAX]).starts_with('"'));
        assert!(written(&[b'x'; QUOTED_MAX + 1]).starts_with('{'));
    }

    #[test]
    fn flags_are_named() {
        let mut out = Vec::new();
        flags(&mut out, Flags(1 | 16 | 512), &["a".into(), "$b".into()]);
        assert_eq!(out, b"(\\Seen \\Draft $b)");
    }
}
