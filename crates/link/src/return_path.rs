//! Signed reverse-paths: `prvs=KDDDSSSSSS=local@domain` (draft-levine-smtp-batv-01), so that a notification
//! about mail that was never sent can be told from one about mail that was.
//!
//! Home signs, Edge checks, both with one key: what is secret is only secret to the rest of the world. `K` is the
//! key's number, `DDD` the day on which the tag expires, in days since 1970 modulo 1000, and `SSSSSS` the first
//! three octets of a keyed hash. The draft's hash is HMAC-SHA-1; nobody but us ever computes it, so ours is
//! HMAC-SHA-256. It covers the canonical address: hosts on the way that fold its case do no harm.

use std::collections::HashSet;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use mail::{Address, Domain, UnixTime};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::recipient_hash::{RecipientHash, hash_text, key_text};

/// Days for which a tag is good: longer than any queue keeps a message and reports on it.
pub const TAG_DAYS: u64 = 7;
/// Days after signing began in which untagged notifications are taken: they are about mail from before.
pub const GRACE_DAYS: u64 = 8;
/// Octets that a tag adds to a local part.
const TAG_OCTETS: usize = "prvs=KDDDSSSSSS=".len();
const PREFIX: &str = "prvs=";
/// `KDDD` and the six digits of the hash.
const DIGITS: usize = 10;
const DAY_SECS: u64 = 86_400;
const DAYS_MODULUS: u64 = 1000;

/// The key that tags are made with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnPathKey {
    /// Its number, 0 to 9: the tag's first digit.
    number: u8,
    #[serde(with = "key_text")]
    key: [u8; 32],
}

impl std::fmt::Debug for ReturnPathKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReturnPathKey({}, …)", self.number)
    }
}

/// Why a tag is none of ours any more, or never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// It was good once, or claims to become good.
    #[error("the tag has expired")]
    Expired,
    /// The tag was not made with a key of this home.
    #[error("the tag is wrong")]
    Wrong,
}

/// A local part taken apart.
struct Tagged<'a> {
    /// The key's number and the day, as `KDDD`.
    stamp: &'a str,
    /// The hash's hexadecimal digits.
    hash: &'a str,
    plain: Address,
}

impl ReturnPathKey {
    /// From 32 random octets. The number is taken modulo 10.
    #[must_use]
    pub const fn new(number: u8, key: [u8; 32]) -> Self {
        Self { number: number % 10, key }
    }

    /// The address with a tag that is good for [`TAG_DAYS`]; the same all day, so that a greylist that saw it
    /// knows it again. `None` when the local part has no room for a tag within its 64 octets.
    #[must_use]
    pub fn sign(&self, address: &Address, now: UnixTime) -> Option<Address> {
        if !has_room(address) {
            return None;
        }
        let expires = (day(now) + TAG_DAYS) % DAYS_MODULUS;
        let stamp = format!("{}{expires:03}", self.number);
        let tag = format!("{PREFIX}{stamp}{}=", self.hash(&stamp, address));
        // A quoted string stays one: the tag goes inside.
        let local = match address.local().strip_prefix('"') {
            Some(rest) => format!("\"{tag}{rest}"),
            None => format!("{tag}{}", address.local()),
        };
        Address::at(&local, address.domain()).ok()
    }

    fn check(&self, tagged: &Tagged<'_>, now: UnixTime) -> Result<(), TagError> {
        let known = self.hash(tagged.stamp, &tagged.plain);
        let given = tagged.hash.to_ascii_lowercase();
        if !bool::from(known.as_bytes().ct_eq(given.as_bytes())) {
            return Err(TagError::Wrong);
        }
        // The hash covers the stamp, so that this is a stamp that was made here.
        let (number, expires) = tagged.stamp.split_at_checked(1).ok_or(TagError::Wrong)?;
        let expires: u64 = expires.parse().map_err(|_| TagError::Wrong)?;
        if number != self.number.to_string() {
            return Err(TagError::Wrong);
        }
        let left = (expires + DAYS_MODULUS - day(now) % DAYS_MODULUS) % DAYS_MODULUS;
        if left <= TAG_DAYS { Ok(()) } else { Err(TagError::Expired) }
    }

    fn hash(&self, stamp: &str, address: &Address) -> String {
        let mut text = String::with_capacity(6);
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) {
            mac.update(stamp.as_bytes());
            mac.update(address.canonical().as_bytes());
            for octet in mac.finalize().into_bytes().iter().take(3) {
                // Writing to a String can't fail.
                let _ = write!(text, "{octet:02x}");
            }
        }
        text
    }
}

const fn day(now: UnixTime) -> u64 {
    now.as_secs() / DAY_SECS
}

fn has_room(address: &Address) -> bool {
    address.local().len() + TAG_OCTETS <= mail::LOCAL_PART_MAX
}

/// Takes an address apart that has the form of a tagged one; `None` for every other.
fn parse(address: &Address) -> Option<Tagged<'_>> {
    let local = address.local();
    let (quote, inner) = match local.strip_prefix('"') {
        Some(inner) => ("\"", inner),
        None => ("", local),
    };
    let (prefix, rest) = inner.split_at_checked(PREFIX.len())?;
    let (digits, rest) = rest.split_at_checked(DIGITS)?;
    let (stamp, hash) = digits.split_at_checked(4)?;
    let formed = prefix.eq_ignore_ascii_case(PREFIX)
        && stamp.bytes().all(|octet| octet.is_ascii_digit())
        && hash.bytes().all(|octet| octet.is_ascii_hexdigit());
    let plain = rest.strip_prefix('=').filter(|_| formed)?;
    let plain = Address::at(&format!("{quote}{plain}"), address.domain()).ok()?;
    Some(Tagged { stamp, hash, plain })
}

/// What Edge needs to know of a home's signed reverse-paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnPaths {
    /// With which tags are checked, whether or not they are made now.
    pub key: ReturnPathKey,
    /// Since when everything that leaves the home is signed; `None` while it is not.
    #[serde(default)]
    pub signing_since: Option<UnixTime>,
    /// Hashes, under the snapshot's recipient key, of the addresses that are never signed.
    #[serde(with = "hash_text")]
    pub unsigned: HashSet<RecipientHash>,
}

impl ReturnPaths {
    /// The address without its tag: `None` when it has none. An address has no tag unless its form is exact.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn open(&self, address: &Address, now: UnixTime) -> Option<Result<Address, TagError>> {
        let tagged = parse(address)?;
        Some(self.key.check(&tagged, now).map(|()| tagged.plain))
    }

    /// The address without its tag, good or not: for one that was found good before.
    #[must_use]
    pub fn strip(&self, address: &Address) -> Option<Address> {
        parse(address).map(|tagged| tagged.plain)
    }

    /// Whether mail from this address has been signed for so long that a notification to the plain address is
    /// about mail that was not sent from here. `is_unsigned` says whether the address, under its name or
    /// without its sub-address, is among those never signed.
    pub(crate) fn expects_tag(&self, address: &Address, now: UnixTime, is_unsigned: bool) -> bool {
        let grace_over =
            self.signing_since.is_some_and(|since| now >= since.plus_secs(GRACE_DAYS * DAY_SECS));
        grace_over && has_room(address) && !is_unsigned
    }
}

/// Which addresses of a home are not signed, by name or without their sub-address.
#[must_use]
pub fn names_of(address: &Address, separators: &str) -> [Option<String>; 2] {
    let local = address.canonical_local();
    let base = base_of(&local, separators).map(|base| at(base, address.domain()));
    [Some(at(&local, address.domain())), base]
}

/// The local part before the first separator, when there is one and something stands before it.
pub(crate) fn base_of<'a>(local: &'a str, separators: &str) -> Option<&'a str> {
    let end = local.find(|c| separators.contains(c))?;
    local.get(..end).filter(|base| !base.is_empty())
}

fn at(local: &str, domain: &Domain) -> String {
    format!("{local}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(20_996 * DAY_SECS + 5);

    fn at(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn days(days: u64) -> UnixTime {
        NOW.plus_secs(days * DAY_SECS)
    }

    fn paths() -> ReturnPaths {
        ReturnPaths {
            key: ReturnPathKey::new(3, [7; 32]),
            signing_since: Some(NOW),
            unsigned: HashSet::new(),
        }
    }

    #[test]
    fn a_tag_says_key_and_day_and_stands_before_the_local_part() {
        let signed = paths().key.sign(&at("Bob+x@example.org"), NOW).unwrap();
        // Expiry: day 20,996 + 7 = 21,003. Hash: HMAC-SHA-256 of "3003bob+x@example.org" under 32 octets of 7.
        assert_eq!(signed.to_string(), "prvs=30034af62b=Bob+x@example.org");
        assert_eq!(paths().open(&signed, NOW), Some(Ok(at("Bob+x@example.org"))));
    }

    #[test]
    fn a_tag_is_good_to_its_last_day_and_not_a_day_longer() {
        let signed = paths().key.sign(&at("bob@example.org"), NOW).unwrap();
        let open = |now| paths().open(&signed, now).unwrap();
        assert_eq!(open(days(TAG_DAYS)), Ok(at("bob@example.org")));
        assert_eq!(open(days(TAG_DAYS + 1)), Err(TagError::Expired));
        assert_eq!(open(UnixTime::from_secs(NOW.as_secs() - DAY_SECS)), Err(TagError::Expired));
    }

    #[test]
    fn another_address_day_key_or_number_makes_a_tag_wrong() {
        let signed = paths().key.sign(&at("bob@example.org"), NOW).unwrap();
        let text = signed.to_string();
        let number = text.replacen("=3", "=4", 1);
        let day = text.replacen("=3003", "=3004", 1);
        for forged in [text.replace("bob@", "eve@"), text.replace(".org", ".net"), number, day] {
            assert_eq!(paths().open(&at(&forged), NOW), Some(Err(TagError::Wrong)), "{forged}");
        }
        for key in [ReturnPathKey::new(3, [8; 32]), ReturnPathKey::new(4, [7; 32])] {
            let other = ReturnPaths { key, ..paths() };
            assert_eq!(other.open(&signed, NOW), Some(Err(TagError::Wrong)));
        }
    }

    #[test]
    fn hosts_that_fold_case_or_drop_needless_quotes_do_no_harm() {
        let signed = paths().key.sign(&at("Bob@example.org"), NOW).unwrap().to_string();
        for changed in [signed.to_lowercase(), signed.to_uppercase()] {
            assert!(paths().open(&at(&changed), NOW).unwrap().is_ok(), "{changed}");
        }
        let quoted = paths().key.sign(&at("\"bob\"@example.org"), NOW).unwrap();
        assert_eq!(quoted.local().matches('"').count(), 2);
        let unquoted = quoted.to_string().replace('"', "");
        assert_eq!(paths().open(&at(&unquoted), NOW), Some(Ok(at("bob@example.org"))));
    }

    #[test]
    fn a_quoted_local_part_stays_one() {
        let signed = paths().key.sign(&at("\"b \\\" b\"@example.org"), NOW).unwrap();
        assert!(signed.local().starts_with("\"prvs=3003") && signed.local().ends_with("=b \\\" b\""));
        assert_eq!(paths().open(&signed, NOW), Some(Ok(at("\"b \\\" b\"@example.org"))));
    }

    #[test]
    fn a_local_part_is_signed_at_its_limit_and_sent_plain_past_it() {
        let long = |octets| at(&format!("{}@example.org", "a".repeat(octets)));
        assert_eq!(paths().key.sign(&long(48), NOW).unwrap().local().len(), mail::LOCAL_PART_MAX);
        assert_eq!(paths().key.sign(&long(49), NOW), None);
        let later = days(GRACE_DAYS);
        assert!(paths().expects_tag(&long(48), later, false));
        assert!(!paths().expects_tag(&long(49), later, false));
    }

    #[test]
    fn what_has_not_the_exact_form_has_no_tag() {
        for plain in [
            "bob@example.org",
            "prvs=bob@example.org",
            "prvs=30034af62b@example.org",
            "prvs=30034af62b=@example.org",
            "prvs=3003zzzzzz=bob@example.org",
            "prvs=x0034af62b=bob@example.org",
            "prvs=30034af62bc=bob@example.org",
            "prvs=300é4bb1a=bob@example.org",
        ] {
            let parsed = Address::parse(plain).unwrap();
            assert_eq!(paths().open(&parsed, NOW), None, "{plain}");
        }
    }

    #[test]
    fn a_tag_is_expected_when_the_grace_is_over() {
        let bob = at("bob@example.org");
        assert!(!paths().expects_tag(&bob, days(GRACE_DAYS - 1), false));
        assert!(paths().expects_tag(&bob, days(GRACE_DAYS), false));
        assert!(!paths().expects_tag(&bob, days(GRACE_DAYS), true));
        let off = ReturnPaths { signing_since: None, ..paths() };
        assert!(!off.expects_tag(&bob, days(100), false));
    }
}
