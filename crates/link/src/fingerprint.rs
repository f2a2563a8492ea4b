//! The fingerprint of a raw public key: 32 octets of SHA-256, written as 64 hexadecimal digits.

use std::fmt::Write as _;

/// Octets of a fingerprint (SHA-256).
pub const FINGERPRINT_OCTETS: usize = 32;

/// Octets as hexadecimal digits, two for each, in lower case.
#[must_use]
pub fn to_hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a `String` can't fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// The fingerprint that these 64 hexadecimal digits of either case say. `None` for any other text.
#[must_use]
pub fn from_hex(text: &str) -> Option<[u8; FINGERPRINT_OCTETS]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * FINGERPRINT_OCTETS {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut octets = [0; FINGERPRINT_OCTETS];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *octet = value(high)? << 4 | value(low)?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_was_written_and_nothing_else_is() {
        let octets: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8).unwrap());
        let text = to_hex(&octets);
        assert_eq!((text.len(), &text[..8]), (64, "00081018"));
        assert_eq!(from_hex(&text), Some(octets));
        assert_eq!(from_hex(&text.to_uppercase()), Some(octets));
        let no_digit = format!("+{}", &text[1..]);
        for wrong in [&text[..63], &format!("{text}0"), "", &no_digit, &"\u{e9}".repeat(32)] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
