//! The clock and the machine's randomness as a value, for what is to run in simulated time as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// A clock that stands until it is told how much time passes, for tests. Its randomness is a count.
#[derive(Debug)]
pub struct ManualClock {
    micros: AtomicU64,
    drawn: AtomicU64,
}

impl ManualClock {
    /// One that says this time.
    #[must_use]
    pub fn at(now: UnixTime) -> Arc<Self> {
        Arc::new(Self { micros: AtomicU64::new(now.0), drawn: AtomicU64::new(0) })
    }

    /// So much time passes.
    pub fn pass(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.micros.load(Ordering::Relaxed))
    }

    fn random_u64(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }

    fn new_item_id(&self) -> ItemId {
        let mut random = [0; 10];
        random.iter_mut().zip(self.random_u64().to_be_bytes()).for_each(|(to, octet)| *to = octet);
        ItemId::new(self.now(), random)
    }
}
