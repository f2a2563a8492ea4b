//! SHA-256 of a certificate: how a peer is known whose certificate nobody vouches for.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// The text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons")]
pub struct NoFingerprint;

impl Fingerprint {
    /// The fingerprint of this certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits: Vec<u8> = text.bytes().filter(|octet| *octet != b':').collect();
        let mut octets = [0; 32];
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != octets.len() {
            return Err(NoFingerprint);
        }
        for (octet, pair) in octets.iter_mut().zip(pairs) {
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return Err(NoFingerprint);
            }
            let text = std::str::from_utf8(pair).map_err(|_| NoFingerprint)?;
            *octet = u8::from_str_radix(text, 16).map_err(|_| NoFingerprint)?;
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_and_postfix_print_it() {
        let of = Fingerprint::of(&CertificateDer::from(b"abc".to_vec()));
        let shown = of.to_string();
        assert!(shown.starts_with("BA:78:16:BF:8F:01:CF:EA"), "{shown}");
        for text in [shown.clone(), shown.replace(':', ""), shown.to_lowercase()] {
            assert_eq!(text.parse(), Ok(of), "{text}");
        }
        let short = "ab".repeat(31);
        for text in ["", &short, &"ab".repeat(33), &"zz".repeat(32), &format!("{short}a"), &"+1".repeat(32)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
    }
}
