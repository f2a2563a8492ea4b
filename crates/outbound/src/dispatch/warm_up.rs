//! A new sending address has no reputation: large receivers take little from it at first. So it sends little at
//! first, and more every day.
//!
//! Counted are recipients, for each edge, in days of UTC. What was counted is written to a file, at most once a
//! second: a crash may forget that much.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use daemon::json_file;
use daemon::problem::Problem;
use mail::UnixTime;
use serde::{Deserialize, Serialize};

use crate::settings::WarmUpSettings;

const DAY: u64 = 86_400;
/// A day's limit from which on there is none.
const WARM: f64 = 50_000.0;
/// Over how many seconds of the next day those that wait are spread.
const SPREAD: u64 = 3600;

/// The schedule, and how far each edge is.
#[derive(Debug)]
pub(super) struct WarmUp {
    first_day: u32,
    growth: f64,
    file: PathBuf,
    edges: Mutex<Edges>,
}

#[derive(Debug, Default)]
struct Edges {
    by_name: HashMap<String, Edge>,
    written: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Edge {
    /// The day it first sent on, since 1970.
    first: u64,
    /// The day that is counted.
    day: u64,
    sent: u32,
}

impl WarmUp {
    /// As configured; `file` says how far the edges are. A file that can't be read counts as none.
    ///
    /// # Errors
    /// When a newer version wrote it.
    pub(super) fn new(settings: &WarmUpSettings) -> Result<Self, Problem> {
        let file = settings.file.clone();
        let by_name = match std::fs::read(&file) {
            Ok(octets) => {
                json_file::check_format(&file, &octets)?;
                serde_json::from_slice(&octets).unwrap_or_else(|error| {
                    tracing::warn!(file = %file.display(), %error, "can't be read: the warm-up begins again");
                    HashMap::new()
                })
            }
            Err(_) => HashMap::new(),
        };
        let edges = Mutex::new(Edges { by_name, written: 0 });
        Ok(Self { first_day: settings.first_day, growth: settings.growth, file, edges })
    }

    /// Counts an attempt for so many recipients. `random` spreads those that wait.
    ///
    /// # Errors
    /// When it may be made: today's share of the edge is used up. A day's first attempt is always made.
    pub(super) fn take(
        &self,
        edge: &str,
        recipients: usize,
        now: UnixTime,
        random: u64,
    ) -> Result<(), UnixTime> {
        if self.first_day == 0 {
            return Ok(());
        }
        let today = now.as_secs() / DAY;
        let mut edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Edge { first: today, day: today, sent: 0 };
        let known = edges.by_name.entry(edge.to_owned()).or_insert(fresh);
        if known.day != today {
            (known.day, known.sent) = (today, 0);
        }
        let after = known.sent.saturating_add(u32::try_from(recipients).unwrap_or(u32::MAX));
        if known.sent > 0 && self.limit(today.saturating_sub(known.first)).is_some_and(|limit| after > limit)
        {
            return Err(UnixTime::from_secs((today + 1) * DAY + random % SPREAD));
        }
        known.sent = after;
        if edges.written != now.as_secs() {
            edges.written = now.as_secs();
            self.write(&edges.by_name);
        }
        Ok(())
    }

    /// The limit of a day; `None` when it is over.
    fn limit(&self, day: u64) -> Option<u32> {
        let limit = f64::from(self.first_day) * self.growth.powf(day as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below WARM, above 0")]
        (limit < WARM).then_some(limit as u32)
    }

    fn write(&self, by_name: &HashMap<String, Edge>) {
        let written = json_file::replace_plain(&self.file, by_name);
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "how far the warm-up is could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64, seconds: u64) -> UnixTime {
        UnixTime::from_secs((20_000 + day) * DAY + seconds)
    }

    fn next(result: Result<(), UnixTime>) -> Option<u64> {
        result.err().map(|time| time.as_secs() / DAY - 20_000)
    }

    #[test]
    fn a_new_edge_sends_more_every_day_and_a_restart_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let settings = WarmUpSettings { first_day: 10, growth: 2.0, file: dir.path().join("warm_up.json") };
        let open = || WarmUp::new(&settings).unwrap();
        let warm_up = open();
        assert_eq!(next(warm_up.take("one", 8, at(0, 0), 7)), None);
        assert_eq!(next(warm_up.take("one", 3, at(0, 1), 7)), Some(1));
        assert_eq!(next(warm_up.take("one", 2, at(0, 2), 7)), None);
        assert_eq!(next(warm_up.take("two", 10, at(0, 3), 7)), None, "each edge has its own");
        let warm_up = open();
        assert_eq!(next(warm_up.take("one", 1, at(0, 4), 7)), Some(1));
        assert_eq!(
            next(warm_up.take("one", 500, at(1, 0), 7)),
            None,
            "one message is never too large for ever"
        );
        assert_eq!(next(warm_up.take("one", 1, at(1, 1), 7)), Some(2));
        assert_eq!(next(warm_up.take("one", 79, at(3, 0), 7)), None);
        assert_eq!(next(warm_up.take("one", 1, at(3, 1), 7)), None);
        assert_eq!(next(warm_up.take("one", 1, at(3, 2), 7)), Some(4));
        for _ in 0..10 {
            assert_eq!(next(warm_up.take("one", 100_000, at(13, 0), 7)), None, "warm");
        }
    }

    #[test]
    fn without_a_schedule_nothing_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("warm_up.json");
        let warm_up = WarmUp::new(&WarmUpSettings { first_day: 0, growth: 1.5, file: file.clone() }).unwrap();
        assert!((0..10).all(|_| warm_up.take("one", 1_000_000, at(0, 0), 7).is_ok()));
        assert!(!file.exists());
    }

    #[test]
    fn what_a_newer_version_wrote_is_not_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("warm_up.json");
        let settings = WarmUpSettings { first_day: 10, growth: 1.5, file: file.clone() };
        let newer = r#"{"format":2,"edges":{}}"#;
        std::fs::write(&file, newer).unwrap();
        assert!(WarmUp::new(&settings).unwrap_err().to_string().contains("newer version"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
    }
}
