//! How many messages pass in a minute, out of what a daemon has counted since it began.

use std::collections::VecDeque;

/// Seconds that are looked back on.
pub(super) const WINDOW_SECS: u64 = 60;

/// Counts of the last minute: in taken, in not taken, out taken, out not taken.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(u64, [u64; 4])>);

impl Pace {
    /// The daemon has counted so much at this second.
    pub(super) fn count(&mut self, at: u64, counts: [u64; 4]) {
        // One that began anew, or a clock that was set back, begins anew here as well.
        if let Some((last, before)) = self.0.back()
            && (at < *last || counts.iter().zip(before).any(|(now, then)| now < then))
        {
            self.0.clear();
        }
        self.0.push_back((at, counts));
        while self.0.front().is_some_and(|(first, _)| at - first > WINDOW_SECS) {
            self.0.pop_front();
        }
    }

    /// Messages in the last minute, or in as much of it as was seen.
    pub(super) fn a_minute(&self) -> [u64; 4] {
        match (self.0.front(), self.0.back()) {
            (Some((_, first)), Some((_, last))) => {
                let mut passed = *last;
                passed.iter_mut().zip(first).for_each(|(now, then)| *now -= then);
                passed
            }
            _ => [0; 4],
        }
    }

    /// Messages of all kinds in each second, the newest last.
    pub(super) fn by_second(&self) -> Vec<u64> {
        let sums: Vec<(u64, u64)> = self.0.iter().map(|(at, counts)| (*at, counts.iter().sum())).collect();
        sums.windows(2)
            .map(|pair| match pair {
                [(before, then), (at, now)] => (now - then) / (at - before).max(1),
                _ => 0,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_counted_and_what_was_before_is_not() {
        let mut pace = Pace::default();
        assert_eq!(pace.a_minute(), [0; 4]);
        pace.count(100, [5, 0, 1, 0]);
        assert_eq!(pace.a_minute(), [0; 4], "what was before this began");
        pace.count(130, [7, 1, 1, 0]);
        pace.count(160, [8, 1, 4, 0]);
        assert_eq!(pace.a_minute(), [3, 1, 3, 0]);
        pace.count(161, [8, 1, 4, 0]);
        assert_eq!(pace.a_minute(), [1, 0, 3, 0]);
        assert_eq!(pace.by_second(), [0, 0]);
        pace.count(162, [13, 1, 4, 2]);
        assert_eq!(pace.by_second(), [0, 0, 7]);
    }

    #[test]
    fn a_daemon_that_begins_anew_and_a_clock_that_is_set_back_begin_the_minute_anew() {
        let mut pace = Pace::default();
        for (at, counts) in
            [(100, [5, 0, 0, 0]), (101, [1, 0, 0, 0]), (102, [2, 0, 0, 0]), (50, [3, 0, 0, 0])]
        {
            pace.count(at, counts);
        }
        assert_eq!((pace.a_minute(), pace.0.len()), ([0; 4], 1));
    }
}
