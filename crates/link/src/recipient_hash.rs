//! Recipients as Edge knows them while Home is away: keyed hashes, from which no address can be read.

use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Octets kept of each recipient's HMAC-SHA-256: too many to collide, too few to waste memory.
const HASH_OCTETS: usize = 16;

/// The key under which recipients are hashed; drawn by Home, new for each Edge.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipientKey(#[serde(with = "key_text")] [u8; 32]);

impl RecipientKey {
    /// The key that these 32 random octets are.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The hash of one canonical address (`local@domain`, lower case).
    #[must_use]
    pub fn hash(&self, canonical: &str) -> RecipientHash {
        let mut hash = [0; HASH_OCTETS];
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            mac.update(canonical.as_bytes());
            let full = mac.finalize().into_bytes();
            hash.copy_from_slice(full.get(..HASH_OCTETS).unwrap_or(&[0; HASH_OCTETS]));
        }
        RecipientHash(hash)
    }
}

impl std::fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecipientKey(…)")
    }
}

/// The keyed hash of one recipient address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecipientHash([u8; HASH_OCTETS]);

pub(crate) mod key_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use base64::Engine as _;

    use super::BASE64;

    pub(crate) fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(key))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = BASE64.decode(text).map_err(D::Error::custom)?;
        octets.try_into().map_err(|_| D::Error::custom("a key has 32 octets"))
    }
}

/// Hashes as one base64 string: a list of 700,000 JSON strings would cost ten times as much to read.
pub(crate) mod hash_text {
    use std::collections::HashSet;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use base64::Engine as _;

    use super::{BASE64, HASH_OCTETS, RecipientHash};

    pub(crate) fn serialize<S: Serializer>(
        hashes: &HashSet<RecipientHash>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut sorted: Vec<_> = hashes.iter().collect();
        sorted.sort_unstable();
        let octets: Vec<u8> = sorted.into_iter().flat_map(|hash| hash.0).collect();
        serializer.serialize_str(&BASE64.encode(octets))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HashSet<RecipientHash>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = BASE64.decode(text).map_err(D::Error::custom)?;
        let (hashes, rest) = octets.as_chunks::<HASH_OCTETS>();
        if rest.is_empty() {
            Ok(hashes.iter().copied().map(RecipientHash).collect())
        } else {
            Err(D::Error::custom("recipient hashes have 16 octets each"))
        }
    }
}
