//! Whether somebody has set the clock. Times of the schedule are times of day: they outlive the program. When the clock
//! jumps, they say nothing any more, and what waits for one that is far away now would wait for ever.

use std::time::Duration;

use mail::UnixTime;
use tokio::time::Instant;

/// The interval between two looks at the clock.
pub(super) const LOOKED_AT_EVERY: Duration = Duration::from_secs(15);
/// A clock that is kept right by small steps is not one that was set.
const STEP_MIN_SECS: u64 = 30;

/// The time of day beside a clock that nobody can set.
#[derive(Debug)]
pub(super) struct SetClock {
    day: UnixTime,
    steady: Instant,
}

impl SetClock {
    /// The two clocks as they are now.
    pub(super) const fn new(day: UnixTime, steady: Instant) -> Self {
        Self { day, steady }
    }

    /// By how many seconds the time of day was set since the last look; `None` when it was not. A machine that slept
    /// counts as one whose clock was set forward.
    pub(super) fn look(&mut self, day: UnixTime, steady: Instant) -> Option<i64> {
        let passed = u64::try_from(steady.duration_since(self.steady).as_micros()).unwrap_or(u64::MAX);
        let expected = self.day.0.saturating_add(passed);
        *self = Self::new(day, steady);
        let secs = i64::try_from(day.0.abs_diff(expected) / 1_000_000).unwrap_or(i64::MAX);
        let by = if day.0 < expected { -secs } else { secs };
        (secs.unsigned_abs() >= STEP_MIN_SECS).then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_once_and_one_that_drifts_is_not() {
        let (day, steady) = (UnixTime::from_secs(1_000_000), Instant::now());
        let mut clock = SetClock::new(day, steady);
        let at = |secs| steady + Duration::from_secs(secs);
        assert_eq!(clock.look(day.plus_secs(10), at(10)), None);
        assert_eq!(clock.look(day.plus_secs(40), at(20)), None, "20 seconds are a drift");
        assert_eq!(clock.look(day.plus_secs(86_450), at(30)), Some(86_400));
        assert_eq!(clock.look(day.plus_secs(86_460), at(40)), None);
        assert_eq!(clock.look(day.plus_secs(70), at(50)), Some(-86_400));
        assert_eq!(clock.look(UnixTime(0), at(60)), Some(-1_000_080));
    }
}
