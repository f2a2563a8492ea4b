//! TLSA records: which certificates they vouch for (RFC 6698 section 2, RFC 7672 section 3.1).

use std::fmt;

use sha2::{Digest as _, Sha256, Sha512};

use crate::certificate::subject_public_key_info;

/// A TLSA record as DNS has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage (RFC 6698 section 2.1.1). 2: a trust anchor (DANE-TA), 3: the host's own certificate
    /// (DANE-EE). 0 and 1 are not for SMTP (RFC 7672 section 3.1.3).
    pub usage: u8,
    /// Selector (RFC 6698 section 2.1.2). 0: the whole certificate, 1: its public key.
    pub selector: u8,
    /// Matching type (RFC 6698 section 2.1.3). 0: as it is, 1: its SHA-256, 2: its SHA-512.
    pub matching: u8,
    /// The certificate association data (RFC 6698 section 2.1.4).
    pub data: Vec<u8>,
}

/// The certificate that a usable record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// DANE-TA: who signed the certificate.
    TrustAnchor,
    /// DANE-EE: the certificate itself.
    EndEntity,
}

impl Tlsa {
    /// The record for a host's own certificate, in DER, by the digest of its key: `3 1 1` (RFC 7671 section 5.1). It holds
    /// for as long as the key does. `None` when it is no certificate.
    #[must_use]
    pub fn of_own_key(certificate: &[u8]) -> Option<Self> {
        let key = subject_public_key_info(certificate)?;
        Some(Self { usage: 3, selector: 1, matching: 1, data: Sha256::digest(key).to_vec() })
    }

    /// What it says, as zone files have it: three numbers and hexadecimal digits (RFC 6698 section 2.2).
    #[must_use]
    pub fn text(&self) -> String {
        let hex: String = self.data.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("{} {} {} {hex}", self.usage, self.selector, self.matching)
    }

    /// Whom it speaks of. `None` for a record that SMTP can't use (RFC 7672 section 3.1.3) or that is broken: it
    /// is as if it were not there.
    #[must_use]
    pub fn usable(&self) -> Option<Usage> {
        let octets = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == Sha256::output_size(),
            2 => self.data.len() == Sha512::output_size(),
            _ => false,
        };
        match self.usage {
            2 if octets && self.selector <= 1 => Some(Usage::TrustAnchor),
            3 if octets && self.selector <= 1 => Some(Usage::EndEntity),
            _ => None,
        }
    }

    /// Whether the record is about this certificate, in DER.
    #[must_use]
    pub fn matches(&self, certificate: &[u8]) -> bool {
        let selected = match self.selector {
            0 => Some(certificate),
            1 => subject_public_key_info(certificate),
            _ => None,
        };
        selected.is_some_and(|octets| match self.matching {
            0 => octets == self.data,
            1 => Sha256::digest(octets)[..] == self.data[..],
            2 => Sha512::digest(octets)[..] == self.data[..],
            _ => false,
        })
    }
}

impl Tlsa {
    /// The trust anchor that is in the record as a whole, where it is not a digest: then the host need not send it (RFC
    /// 7671 section 5.2).
    #[must_use]
    pub fn whole_anchor(&self) -> Option<WholeAnchor<'_>> {
        match (self.usable()?, self.selector, self.matching) {
            (Usage::TrustAnchor, 0, 0) => Some(WholeAnchor::Certificate(&self.data)),
            (Usage::TrustAnchor, 1, 0) => Some(WholeAnchor::Key(&self.data)),
            _ => None,
        }
    }
}

/// A trust anchor that the record holds whole, in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeAnchor<'a> {
    /// A certificate.
    Certificate(&'a [u8]),
    /// A SubjectPublicKeyInfo: whoever's it is, what it signed counts.
    Key(&'a [u8]),
}

impl fmt::Display for Tlsa {
    /// Writes it as a zone file has it (RFC 6698 section 2.2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::shaped;

    fn record(usage: u8, selector: u8, matching: u8, data: &[u8]) -> Tlsa {
        Tlsa { usage, selector, matching, data: data.to_vec() }
    }

    #[test]
    fn each_selector_and_matching_type_finds_its_certificate_and_no_other() {
        let (mine, other) = (shaped(b"mine", true), shaped(b"other", true));
        let key = subject_public_key_info(&mine).unwrap();
        let wholes = [mine.clone(), Sha256::digest(&mine).to_vec(), Sha512::digest(&mine).to_vec()];
        let keys = [key.to_vec(), Sha256::digest(key).to_vec(), Sha512::digest(key).to_vec()];
        for (matching, (whole, key)) in (0..).zip(wholes.iter().zip(&keys)) {
            for (selector, data) in [(0, whole), (1, key)] {
                let tlsa = record(3, selector, matching, data);
                assert_eq!(tlsa.usable(), Some(Usage::EndEntity), "{tlsa}");
                assert!(tlsa.matches(&mine) && !tlsa.matches(&other), "{tlsa}");
                assert!(!record(3, 1 - selector, matching, data).matches(&mine), "{tlsa}");
            }
        }
    }

    #[test]
    fn a_renewed_certificate_with_the_same_key_still_matches_its_key() {
        let (old, new) = (shaped(b"key", false), shaped(b"key", true));
        let digest = Sha256::digest(subject_public_key_info(&old).unwrap());
        assert_ne!(old, new);
        assert!(record(3, 1, 1, &digest).matches(&new));
        assert!(!record(3, 0, 1, &Sha256::digest(&old)).matches(&new));
    }

    #[test]
    fn records_that_smtp_can_not_use_are_told_apart() {
        let digest = [7; 32];
        assert_eq!(record(2, 0, 1, &digest).usable(), Some(Usage::TrustAnchor));
        for (usage, selector, matching, octets) in [
            (0, 1, 1, 32),
            (1, 1, 1, 32),
            (4, 1, 1, 32),
            (255, 1, 1, 32),
            (3, 2, 1, 32),
            (3, 1, 3, 32),
            (3, 1, 1, 31),
            (3, 1, 1, 33),
            (3, 1, 2, 32),
            (3, 1, 0, 0),
        ] {
            let tlsa = record(usage, selector, matching, &vec![7; octets]);
            assert_eq!(tlsa.usable(), None, "{tlsa}");
        }
    }

    #[test]
    fn an_anchor_is_in_the_record_where_it_is_no_digest() {
        assert_eq!(record(2, 0, 0, b"c").whole_anchor(), Some(WholeAnchor::Certificate(b"c")));
        assert_eq!(record(2, 1, 0, b"k").whole_anchor(), Some(WholeAnchor::Key(b"k")));
        for none in [record(2, 1, 1, &[7; 32]), record(3, 1, 0, b"k"), record(2, 1, 0, b"")] {
            assert_eq!(none.whole_anchor(), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_certificate_matches_no_key() {
        assert!(!record(3, 1, 0, b"").matches(b"rubbish"));
        assert!(!record(3, 1, 1, &Sha256::digest(b"")).matches(b""));
    }
}
