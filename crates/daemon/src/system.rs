//! The clock and the machine's randomness: the only place that asks for either.

use std::time::{SystemTime, UNIX_EPOCH};

use mail::{ItemId, UnixTime};

/// The time now, by the clock of this machine.
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Random octets. A machine that has none can do no cryptography: nothing sensible is left to do.
#[allow(clippy::expect_used, reason = "without randomness no key, id or salt can be made")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).expect("the system gives no randomness");
    octets
}

/// A new item id: the time now and ten random octets.
pub fn new_item_id() -> ItemId {
    ItemId::new(now(), random())
}

/// A random number, for jitter and shuffling.
pub fn random_u64() -> u64 {
    u64::from_le_bytes(random())
}
