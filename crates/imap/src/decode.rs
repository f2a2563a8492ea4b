//! Text as a person would read it, so that SEARCH finds it: transfer encodings, encoded words, character sets.
//!
//! Nothing that is sent to a client goes through here.

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

/// Octets in a character set as text in lower case. Sets that are not known are taken as UTF-8.
pub(crate) fn lowercase(octets: &[u8], charset: &[u8]) -> String {
    let charset = charset.to_ascii_lowercase();
    if charset.starts_with(b"iso-8859-1") || charset == b"latin1" || charset == b"windows-1252" {
        return octets.iter().map(|octet| char::from(*octet)).collect::<String>().to_lowercase();
    }
    String::from_utf8_lossy(octets).to_lowercase()
}

/// The octets of a part's body.
pub(crate) fn transfer(octets: Vec<u8>, encoding: &[u8]) -> Vec<u8> {
    if encoding.eq_ignore_ascii_case(b"base64") {
        base64(&octets)
    } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
        quoted_printable(&octets)
    } else {
        octets
    }
}

/// As much as can be decoded; octets outside the alphabet are skipped.
fn base64(octets: &[u8]) -> Vec<u8> {
    let known = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    let mut digits: Vec<u8> = octets.iter().copied().filter(known).collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    LENIENT.decode(digits).unwrap_or_default()
}

fn quoted_printable(octets: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'=' {
            decoded.push(*first);
        } else if let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            rest = after;
        } else if let Some(octet) = rest.first_chunk::<2>().and_then(hexadecimal) {
            decoded.push(octet);
            rest = rest.get(2..).unwrap_or_default();
        } else {
            decoded.push(b'=');
        }
    }
    decoded
}

fn hexadecimal(digits: &[u8; 2]) -> Option<u8> {
    std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
}

/// The value of a header field in lower case, unfolded, its encoded words decoded (RFC 2047).
pub(crate) fn header_lowercase(value: &[u8]) -> String {
    let mut unfolded = crate::fields::unfold(value);
    unfolded.retain(|octet| *octet != 0);
    let mut text = String::with_capacity(unfolded.len());
    let mut rest = unfolded.as_slice();
    let mut after_word = false;
    while let Some(start) = memchr::memmem::find(rest, b"=?") {
        let (before, from) = rest.split_at(start);
        match encoded_word(from) {
            Some((word, length)) => {
                // White space between two encoded words is not part of the text.
                if !(after_word && before.trim_ascii().is_empty()) {
                    text.push_str(&lowercase(before, b""));
                }
                text.push_str(&word);
                rest = from.get(length..).unwrap_or_default();
                after_word = true;
            }
            None => {
                text.push_str(&lowercase(before, b""));
                text.push_str("=?");
                rest = from.get(2..).unwrap_or_default();
                after_word = false;
            }
        }
    }
    text.push_str(&lowercase(rest, b""));
    text
}

/// The encoded word that `from` starts with, decoded, and its octets.
fn encoded_word(from: &[u8]) -> Option<(String, usize)> {
    // RFC 2047 allows 75 octets; some write longer ones.
    let window = from.get(..from.len().min(512))?;
    let mut fields = window.get(2..)?.splitn(4, |octet| *octet == b'?');
    let (charset, encoding, content, end) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if !end.starts_with(b"=") {
        return None;
    }
    let octets = match encoding {
        b"B" | b"b" => base64(content),
        b"Q" | b"q" => {
            let spaced: Vec<u8> =
                content.iter().map(|octet| if *octet == b'_' { b' ' } else { *octet }).collect();
            quoted_printable(&spaced)
        }
        _ => return None,
    };
    let length = 2 + charset.len() + 1 + encoding.len() + 1 + content.len() + 2;
    Some((lowercase(&octets, charset), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_read_and_joined() {
        let cases = [
            ("=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?UTF-8?b?YXVz?= Wien", "grüßeaus wien"),
            ("=?iso-8859-1?q?Gr=FC=DFe_x?=", "grüße x"),
            ("a =?x? b =?utf-8?z?q?= c", "a =?x? b =?utf-8?z?q?= c"),
            ("=?", "=?"),
        ];
        for (value, text) in cases {
            assert_eq!(header_lowercase(value.as_bytes()), text);
        }
        header_lowercase("=?".repeat(50_000).as_bytes());
    }

    #[test]
    fn bodies_are_decoded_as_far_as_they_go() {
        assert_eq!(transfer(b"Zm9v\r\nYmFy!".to_vec(), b"BASE64"), b"foobar");
        assert_eq!(transfer(b"a=3Db=\r\nc=zz=".to_vec(), b"quoted-printable"), b"a=bc=zz=");
        assert_eq!(transfer(b"a=3D".to_vec(), b"8bit"), b"a=3D");
    }
}
