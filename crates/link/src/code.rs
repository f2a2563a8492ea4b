//! The one-time pairing code: how Home and Edge first learn each other's key.
//!
//! The code holds where Edge is, the fingerprint of Edge's key, and a secret. Home dials, checks the key
//! against the fingerprint, and proves the secret without sending it: an HMAC over both keys, so that a proof
//! is of use on this connection only.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::served::ServedDomains;

const PREFIX: &str = "postern1-";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const SECRET_OCTETS: usize = 16;
const FINGERPRINT_OCTETS: usize = 32;
const CHECK_OCTETS: usize = 2;

/// Octets of `host:port` that a code may hold.
const ADDRESS_MAX: usize = 255 + 6;

/// SHA-256 of a raw public key's SubjectPublicKeyInfo (RFC 7250).
#[must_use]
pub fn key_fingerprint(spki: &[u8]) -> [u8; FINGERPRINT_OCTETS] {
    Sha256::digest(spki).into()
}

/// What the operator carries from Edge to Home.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode {
    /// `host:port` of Edge's link.
    pub address: String,
    /// Fingerprint of Edge's key.
    pub fingerprint: [u8; FINGERPRINT_OCTETS],
    /// The one-time secret.
    pub secret: [u8; SECRET_OCTETS],
}

/// Why a text is no pairing code. The operator typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The text does not start with `postern1-`.
    #[error("a pairing code starts with postern1-")]
    Prefix,
    /// A character that no code has.
    #[error("a pairing code has only the letters a-z and the digits 2-7; check that it was copied whole")]
    Character,
    /// Cut off or with a typing error.
    #[error("the pairing code is incomplete or has a typing error; copy it again")]
    Damaged,
}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = Vec::with_capacity(64);
        octets.extend_from_slice(&self.secret);
        octets.extend_from_slice(&self.fingerprint);
        octets.extend_from_slice(self.address.as_bytes());
        octets.extend_from_slice(&check(&octets));
        f.write_str(PREFIX)?;
        f.write_str(&to_base32(&octets))
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairingCode({}, …)", self.address)
    }
}

impl FromStr for PairingCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
        let octets = from_base32(compact.strip_prefix(PREFIX).ok_or(CodeError::Prefix)?)?;
        let (octets, checked) = octets.split_last_chunk::<CHECK_OCTETS>().ok_or(CodeError::Damaged)?;
        if *checked != check(octets) {
            return Err(CodeError::Damaged);
        }
        let (secret, rest) = octets.split_first_chunk().ok_or(CodeError::Damaged)?;
        let (fingerprint, address) = rest.split_first_chunk().ok_or(CodeError::Damaged)?;
        let address = std::str::from_utf8(address).map_err(|_| CodeError::Damaged)?;
        if address.is_empty() || address.len() > ADDRESS_MAX {
            return Err(CodeError::Damaged);
        }
        Ok(Self { address: address.to_owned(), fingerprint: *fingerprint, secret: *secret })
    }
}

fn check(octets: &[u8]) -> [u8; CHECK_OCTETS] {
    let digest = Sha256::digest(octets);
    [digest[0], digest[1]]
}

fn to_base32(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in octets {
        bits = (bits << 8) | u32::from(*octet);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[((bits >> held) & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(ALPHABET[((bits << (5 - held)) & 31) as usize]));
    }
    text
}

fn from_base32(text: &str) -> Result<Vec<u8>, CodeError> {
    let mut octets = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for c in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == c).ok_or(CodeError::Character)?;
        bits = (bits << 5) | u32::try_from(value).unwrap_or(0);
        held += 5;
        if held >= 8 {
            held -= 8;
            octets.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
            bits &= (1 << held) - 1;
        }
    }
    // A letter more than the octets take, or bits that are none of theirs, is a slip of the pen.
    if held >= 5 || bits != 0 { Err(CodeError::Damaged) } else { Ok(octets) }
}

/// Home's proof that it holds the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proof([u8; 32]);

impl Proof {
    /// HMAC-SHA-256 under the secret over Edge's and Home's raw public keys.
    #[must_use]
    pub fn new(secret: &[u8; SECRET_OCTETS], edge_spki: &[u8], home_spki: &[u8]) -> Self {
        let mut proof = [0; 32];
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
            mac.update(b"postern pairing 1");
            mac.update(&key_fingerprint(edge_spki));
            mac.update(&key_fingerprint(home_spki));
            proof = mac.finalize().into_bytes().into();
        }
        Self(proof)
    }

    /// Whether the two proofs are the same, compared in constant time.
    #[must_use]
    pub fn matches(&self, expected: &Self) -> bool {
        self.0.ct_eq(&expected.0).into()
    }
}

/// Home asks to be paired. Its key is the one it opened the connection with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingRequest {
    /// The proof that the home has the code.
    pub proof: Proof,
    /// Home's domains, for the operator to see at Edge.
    pub domains: Vec<mail::Domain>,
}

/// Edge's answer to a pairing request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairingResult {
    /// Both keys are pinned now; the code is dead.
    Paired {
        /// Edge's host name, which becomes its name at Home.
        hostname: String,
        /// The domains that the home does not get, at most [`crate::SERVED_AT_PAIRING_MAX`] of them; `None` from an
        /// Edge that knows of no such thing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        served: Option<ServedDomains>,
    },
    /// Not paired; a sentence for the operator.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> PairingCode {
        PairingCode { address: "mx.example.org:443".to_owned(), fingerprint: [9; 32], secret: [4; 16] }
    }

    #[test]
    fn a_code_survives_being_copied_in_capitals_and_with_line_breaks() {
        let text = code().to_string();
        assert_eq!(text.parse(), Ok(code()));
        let (first, last) = text.split_at(40);
        assert_eq!(format!(" {}\n  {last}\n", first.to_uppercase()).parse(), Ok(code()));
    }

    #[test]
    fn damage_is_noticed_and_named() {
        let text = code().to_string();
        assert_eq!("hello".parse::<PairingCode>(), Err(CodeError::Prefix));
        assert_eq!("postern1-".parse::<PairingCode>(), Err(CodeError::Damaged));
        assert_eq!(text[..text.len() - 2].parse::<PairingCode>(), Err(CodeError::Damaged));
        assert_eq!(format!("{text}0").parse::<PairingCode>(), Err(CodeError::Character));
        for more in ["a", "x", "aa"] {
            assert_eq!(format!("{text}{more}").parse::<PairingCode>(), Err(CodeError::Damaged), "{more}");
        }
        let mut other: Vec<char> = text.chars().collect();
        other[12] = if other[12] == 'a' { 'b' } else { 'a' };
        assert_eq!(other.into_iter().collect::<String>().parse::<PairingCode>(), Err(CodeError::Damaged));
    }

    #[test]
    fn a_proof_is_bound_to_secret_and_both_keys() {
        let proof = Proof::new(&[1; 16], b"edge", b"home");
        assert!(proof.matches(&Proof::new(&[1; 16], b"edge", b"home")));
        assert!(!proof.matches(&Proof::new(&[2; 16], b"edge", b"home")));
        assert!(!proof.matches(&Proof::new(&[1; 16], b"edge", b"else")));
        assert!(!proof.matches(&Proof::new(&[1; 16], b"else", b"home")));
    }

    #[test]
    fn an_answer_of_an_older_edge_is_read_and_one_to_an_older_home_is_no_longer_than_it_was() {
        let old = r#"{"paired":{"hostname":"mx.example.org"}}"#;
        let paired = PairingResult::Paired { hostname: "mx.example.org".to_owned(), served: None };
        assert_eq!(serde_json::from_str::<PairingResult>(old).unwrap(), paired);
        assert_eq!(serde_json::to_string(&paired).unwrap(), old);
    }

    #[test]
    fn the_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", code()), "PairingCode(mx.example.org:443, …)");
    }
}
