//! Times and limits of sending.

use std::path::PathBuf;
use std::time::Duration;

use mail::UnixTime;

/// How long an item rests when a step of our own failed.
pub const PAUSE: Duration = Duration::from_secs(60);
/// What is made of a wait between attempts, at least and at most.
const BACKOFF_PER_MILLE_MIN: u64 = 800;
const BACKOFF_PER_MILLE_MAX: u64 = 1200;

/// How a new edge begins: with a few recipients a day, and more every day.
#[derive(Debug, Clone)]
pub struct WarmUpSettings {
    /// Recipients on the first day; 0: as many as there are.
    pub first_day: u32,
    /// The factor from one day's number to the next day's.
    pub growth: f64,
    /// The file that keeps how far each edge is.
    pub file: PathBuf,
}

/// Waits and limits of the dispatcher.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Waits between attempts; the last one is repeated.
    pub retry: Vec<Duration>,
    /// The time for which a message is tried.
    pub expire: Duration,
    /// After how long the sender is told that it takes long.
    pub warn_after: Duration,
    /// How long an edge that is away is waited for, when it may have delivered a message.
    pub edge_gone: Duration,
    /// Most attempts under way at one time.
    pub attempts: usize,
    /// Most attempts under way to one domain.
    pub per_domain: usize,
    /// The amount of mail that a new edge sends, day by day.
    pub warm_up: WarmUpSettings,
    /// How long an item rests when a step of our own failed.
    pub pause: Duration,
}

impl Settings {
    /// When an item is tried that is recorded as due at `next_due`. Nothing is put off for longer than the longest wait:
    /// what is was recorded while the clock was wrong.
    pub(crate) fn due(&self, next_due: UnixTime, now: UnixTime) -> UnixTime {
        let longest = self.retry.iter().copied().max().unwrap_or(PAUSE);
        let latest = now.0.saturating_add(micros(longest) / 1000 * BACKOFF_PER_MILLE_MAX);
        if next_due.0 > latest { now } else { next_due }
    }

    pub(crate) fn deadline(&self, submitted: UnixTime) -> UnixTime {
        UnixTime(submitted.0.saturating_add(micros(self.expire)))
    }

    pub(crate) fn delay(&self, submitted: UnixTime) -> UnixTime {
        UnixTime(submitted.0.saturating_add(micros(self.warn_after)))
    }

    /// Microseconds to wait after so many attempts: as configured, 20 % more or less by `random`, so that
    /// items that failed together do not come back together.
    pub(crate) fn backoff(&self, attempts: u32, random: u64) -> u64 {
        let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = micros(self.retry.get(place).or(self.retry.last()).copied().unwrap_or(PAUSE));
        let per_mille = BACKOFF_PER_MILLE_MIN + random % (BACKOFF_PER_MILLE_MAX - BACKOFF_PER_MILLE_MIN + 1);
        wait / 1000 * per_mille
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(retry: Vec<Duration>) -> Settings {
        let day = Duration::from_secs(86_400);
        Settings {
            retry,
            expire: day,
            warn_after: day,
            edge_gone: day,
            attempts: 3,
            per_domain: 3,
            warm_up: WarmUpSettings { first_day: 0, growth: 1.5, file: PathBuf::new() },
            pause: PAUSE,
        }
    }

    #[test]
    fn waits_grow_as_configured_and_vary_by_a_fifth() {
        let retry = [1, 2, 5].map(Duration::from_secs).to_vec();
        let settings = with(retry);
        for (attempts, secs) in [(0, 1), (1, 1), (2, 2), (3, 5), (99, 5)] {
            assert_eq!(settings.backoff(attempts, 0), secs * 800_000);
            assert_eq!(settings.backoff(attempts, 400), secs * 1_200_000);
            assert_eq!(settings.backoff(attempts, 401), secs * 800_000);
        }
    }

    #[test]
    fn what_was_recorded_while_the_clock_was_ahead_is_due_at_once() {
        let retry = vec![Duration::from_secs(60), Duration::from_secs(3600)];
        let settings = with(retry);
        let now = UnixTime::from_secs(1_000_000);
        for (recorded, due) in [(0, 0), (999_999, 999_999), (1_004_320, 1_004_320), (1_004_321, 1_000_000)] {
            assert_eq!(
                settings.due(UnixTime::from_secs(recorded), now),
                UnixTime::from_secs(due),
                "{recorded}"
            );
        }
    }
}
