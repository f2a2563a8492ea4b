//! Encoded words (RFC 2047) as text, for looking through only.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The text with its encoded words decoded; `None` when there are none. White space between two of them is no part of the
/// text (RFC 2047 section 6.2), so a name that is cut in two is whole again. Character sets matter little here: what is looked
/// for is ASCII, and octets of zero are left out for the sake of those with two octets a character.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let (mut out, mut rest, mut after_word, mut found) = (String::new(), text, false, false);
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let word = word(from);
        if !(after_word && word.is_some() && before.trim().is_empty()) {
            out.push_str(before);
        }
        after_word = word.is_some();
        found |= after_word;
        rest = match word {
            Some((octets, after)) => {
                let octets: Vec<u8> = octets.into_iter().filter(|octet| *octet != 0).collect();
                out.push_str(&String::from_utf8_lossy(&octets));
                after
            }
            None => {
                out.push_str("=?");
                from.get(2..).unwrap_or_default()
            }
        };
    }
    out.push_str(rest);
    found.then_some(out)
}

/// Longest encoded word that is read, in octets: RFC 2047 allows 75, and some write longer ones. Without a limit text that
/// only begins words would be searched to its end for each of them.
const WORD_OCTETS_MAX: usize = 512;

/// The octets of the encoded word that `from` starts with, and what follows it.
fn word(from: &str) -> Option<(Vec<u8>, &str)> {
    let window = from.get(..from.floor_char_boundary(WORD_OCTETS_MAX))?;
    let (charset, after) = window.strip_prefix("=?")?.split_once('?')?;
    let (encoding, after) = after.split_once('?')?;
    let content = after.split_once("?=")?.0;
    let length = 2 + charset.len() + 1 + encoding.len() + 1 + content.len() + 2;
    // Nothing of it holds white space (RFC 2047 section 2): an end far away is the end of another one.
    if [charset, encoding, content].iter().any(|part| part.contains([' ', '\t', '?'])) {
        return None;
    }
    let octets = match encoding {
        "B" | "b" => base64(content),
        "Q" | "q" => quoted(content.as_bytes()),
        _ => return None,
    };
    Some((octets, from.get(length..)?))
}

fn base64(content: &str) -> Vec<u8> {
    let known = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    let mut digits: Vec<u8> = content.bytes().filter(known).collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    LENIENT.decode(digits).unwrap_or_default()
}

fn quoted(content: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(content.len()), content);
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| *first == b'=').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
            u8::from_str_radix(text, 16).ok()
        });
        out.push(escaped.unwrap_or(if *first == b'_' { b' ' } else { *first }));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_read_and_joined() {
        for (text, plain) in [
            ("=?utf-8?q?nas=2Elan?=", "nas.lan"),
            ("x =?UTF-8?B?bmFzLmxhbg==?= y", "x nas.lan y"),
            ("=?us-ascii?Q?nas?= \t =?utf-8?b?LmxhbgA?=", "nas.lan"),
            ("=?utf-16be?b?AG4AYQBz?=", "nas"),
            ("=?utf-8?q?a_b?= c =?utf-8?q?=zz=4?=", "a b c =zz=4"),
            ("=? x =?utf-8?q?d?=", "=? x d"),
            ("=?a?q?b=?utf-8?q?d?=", "=?a?q?bd"),
        ] {
            let expected = (text != plain).then(|| plain.to_owned());
            assert_eq!(decoded(text), expected, "{text}");
        }
        for text in ["", "=?", "=?a?b?c", "=?utf-8?x?a?=", "=?utf-8?q?a b?=", "?="] {
            assert_eq!(decoded(text), None, "{text}");
        }
        assert_eq!(decoded(&"=?a?b x".repeat(150_000)), None);
    }

    #[test]
    fn a_word_is_read_at_its_limit_and_not_past_it() {
        let word = |content: usize| format!("=?utf-8?q?{}?=", "x".repeat(content));
        let most = WORD_OCTETS_MAX - "=?utf-8?q??=".len();
        assert_eq!(decoded(&word(most)).map(|text| text.len()), Some(most));
        assert_eq!(decoded(&word(most + 1)), None);
    }
}
