//! The id that makes every hand-off idempotent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UnixTime;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 48 bits of milliseconds, then 80 random bits: sorts by time, never repeats.
///
/// Written as 26 characters of Crockford's base 32 in lower case. It is given to a message where Postern
/// first takes it and stays with it on both roles, on the link, in traces and in the `Received` field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ItemId([u8; 16]);

impl ItemId {
    /// The id of an item taken at `now`, with ten random octets.
    #[must_use]
    pub fn new(now: UnixTime, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        id[6..].copy_from_slice(&random);
        Self(id)
    }

    /// When the item was taken, by the clock of who took it; meaningless of an id that was derived from another.
    #[must_use]
    pub fn taken(&self) -> UnixTime {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        UnixTime(u64::from_be_bytes(millis).saturating_mul(1000))
    }

    /// The id that these sixteen octets are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen octets of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0_u8; 26];
        for (place, octet) in text.iter_mut().enumerate() {
            let index = (value >> (5 * (25 - place))) & 31;
            *octet = ALPHABET[usize::try_from(index).unwrap_or(0)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no item id: not 26 characters of the alphabet, or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoItemId;

impl fmt::Display for NoItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item id is 26 characters of 0-9 and a-z without i, l, o and u")
    }
}

impl std::error::Error for NoItemId {}

impl FromStr for ItemId {
    type Err = NoItemId;
    fn from_str(text: &str) -> Result<Self, NoItemId> {
        if text.len() != 26 || text.as_bytes()[0] > b'7' {
            return Err(NoItemId);
        }
        let mut value = 0_u128;
        for octet in text.bytes() {
            let digit = ALPHABET.iter().position(|known| *known == octet).ok_or(NoItemId)?;
            value = (value << 5) | digit as u128;
        }
        Ok(Self(value.to_be_bytes()))
    }
}

impl TryFrom<String> for ItemId {
    type Error = NoItemId;
    fn try_from(text: String) -> Result<Self, NoItemId> {
        text.parse()
    }
}

impl From<ItemId> for String {
    fn from(id: ItemId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_as_bytes_and_as_text() {
        let early = ItemId::new(UnixTime::from_secs(1_000), [255; 10]);
        let late = ItemId::new(UnixTime::from_secs(1_001), [0; 10]);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        let id = ItemId::new(UnixTime::from_secs(1_795_500_000), [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<ItemId>(), Err(NoItemId));
        assert_eq!("0".repeat(25).parse::<ItemId>(), Err(NoItemId));
        assert_eq!("é".repeat(13).parse::<ItemId>(), Err(NoItemId));
    }
}
