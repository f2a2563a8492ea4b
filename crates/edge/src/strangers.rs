//! Keys that are not paired and ask for a link: said in the log, but not once for each.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::session::key_name;
use tokio::time::Instant;

/// After one is said, those of so long are only counted.
const QUIET: Duration = Duration::from_secs(60);

/// Counts peers with keys that are not paired, so that the log says it seldom.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    said: Option<Instant>,
    unsaid: u64,
}

impl Strangers {
    /// Logs one that was turned away, or only counts it.
    pub(crate) fn turned_away(&self, key: &[u8; 32], now: Instant) {
        if let Some(others) = self.count(now) {
            tracing::warn!(key = %key_name(key), others, "a key that is not paired was turned away");
        }
    }

    /// The number of those that were not said, when it is time to say something.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.said.is_some_and(|said| now.saturating_duration_since(said) < QUIET) {
            counted.unsaid += 1;
            return None;
        }
        counted.said = Some(now);
        Some(std::mem::take(&mut counted.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_strangers_are_two_lines_and_none_is_forgotten() {
        let strangers = Strangers::default();
        let begun = Instant::now();
        assert_eq!(strangers.count(begun), Some(0));
        for _ in 0..1000 {
            assert_eq!(strangers.count(begun + QUIET - Duration::from_millis(1)), None);
        }
        assert_eq!(strangers.count(begun + QUIET), Some(1000));
        assert_eq!(strangers.count(begun + QUIET + QUIET), Some(0));
    }
}
