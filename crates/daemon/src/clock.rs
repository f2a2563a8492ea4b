//! The clock and the machine's randomness as a value, for what is to run in simulated time as well.

use std::sync::Arc;

use mail::{ItemId, UnixTime};

use crate::system;

/// Where time and randomness come from.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, in microseconds since 1970.
    fn now(&self) -> UnixTime;

    /// A random number, for jitter and shuffling; not for keys.
    fn random_u64(&self) -> u64;

    /// A new item id: the time and octets of randomness.
    fn new_item_id(&self) -> ItemId;
}

/// The machine's own clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The clock behind an `Arc`, as the roles share it.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        system::now()
    }

    fn random_u64(&self) -> u64 {
        system::random_u64()
    }

    fn new_item_id(&self) -> ItemId {
        system::new_item_id()
    }
}
