//! Mailbox names on the wire: modified UTF-7 (RFC 3501 section 5.1.3) or, once the client has enabled it, UTF-8.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// How a session writes mailbox names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Names {
    #[default]
    Utf7,
    Utf8,
}

impl Names {
    /// A name, or a pattern, that a client wrote. None when it is neither UTF-7 nor UTF-8.
    pub(crate) fn decode(self, written: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(written).ok()?;
        // Clients that never heard of UTF-7 send UTF-8 as it is.
        if self == Self::Utf8 || !text.is_ascii() { Some(text.to_owned()) } else { decode_utf7(text) }
    }

    /// A name as this session is to see it.
    pub(crate) fn encode(self, name: &str) -> String {
        match self {
            Self::Utf7 => encode_utf7(name),
            Self::Utf8 => name.to_owned(),
        }
    }
}

fn decode_utf7(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('&') {
        name.push_str(plain);
        let (shifted, after) = after.split_once('-')?;
        if shifted.is_empty() {
            name.push('&');
        } else {
            let octets = BASE64.decode(shifted).ok()?;
            let (pairs, odd) = octets.as_chunks::<2>();
            if !odd.is_empty() {
                return None;
            }
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            for decoded in char::decode_utf16(units) {
                name.push(decoded.ok()?);
            }
        }
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

fn encode_utf7(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if c.is_ascii_graphic() || c == ' ' {
            unshift(&mut shifted, &mut text);
            text.push(c);
            if c == '&' {
                text.push('-');
            }
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shifted.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    unshift(&mut shifted, &mut text);
    text
}

fn unshift(shifted: &mut Vec<u8>, text: &mut String) {
    if !shifted.is_empty() {
        text.push('&');
        BASE64.encode_string(&*shifted, text);
        text.push('-');
        shifted.clear();
    }
}

/// Whether `name` matches a pattern of LIST: `*` stands for anything, `%` for anything but `/`.
///
/// Time grows with the product of both lengths, not worse: each row of the table is the set of places in the
/// pattern that the name so far can be at.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut reached = vec![false; pattern.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    skip_wildcards(&pattern, &mut reached);
    for c in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (place, wanted) in pattern.iter().enumerate().filter(|(place, _)| reached[*place]) {
            match wanted {
                '*' => next[place] = true,
                '%' => next[place] |= c != '/',
                wanted => next[place + 1] |= *wanted == c,
            }
        }
        skip_wildcards(&pattern, &mut next);
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// A wildcard may stand for nothing.
fn skip_wildcards(pattern: &[char], reached: &mut [bool]) {
    for (place, wanted) in pattern.iter().enumerate() {
        if reached[place] && matches!(wanted, '*' | '%') {
            reached[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_utf7_both_ways() {
        // From RFC 3501 section 5.1.3.
        let cases = [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("a & b", "a &- b"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("😀", "&2D3eAA-"),
        ];
        for (name, text) in cases {
            assert_eq!(Names::Utf7.encode(name), text);
            assert_eq!(Names::Utf7.decode(text.as_bytes()).as_deref(), Some(name));
        }
        assert_eq!(Names::Utf8.decode("a & ü".as_bytes()).as_deref(), Some("a & ü"));
        assert_eq!(Names::Utf7.decode("ü".as_bytes()).as_deref(), Some("ü"));
    }

    #[test]
    fn malformed_names_are_refused() {
        for bad in ["&", "&AP", "&AP-", "&2D0-", "a&****-"] {
            assert_eq!(Names::Utf7.decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Names::Utf7.decode(b"\xff"), None);
    }

    #[test]
    fn patterns_match_within_and_across_levels() {
        assert!(matches("*", "a/b") && matches("%", "a") && !matches("%", "a/b"));
        assert!(matches("a/%", "a/b") && !matches("a/%", "a/b/c") && matches("a*c", "a/b/c"));
        assert!(matches("INBOX", "INBOX") && !matches("INBOX", "INBO") && matches("", ""));
        assert!(matches("%/%", "a/b") && matches("*%*", "x/y"));
        assert!(!matches(&"*a".repeat(250), &"a".repeat(249)));
    }
}
