//! A home that is away for long while mail waits for it: the operator is told before it is too late.

use std::collections::HashMap;
use std::time::Duration;

use mail::UnixTime;

use super::Homes;

/// A home that is away for too long is said again after so many seconds.
const AGAIN_AFTER_SECS: u64 = 24 * 3600;

/// A home that is away while mail waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// The home's name at Edge.
    pub home: String,
    /// When it was last here; `None` when it never was.
    pub last_here: Option<UnixTime>,
    /// Messages that wait for it.
    pub sealed: u64,
}

impl Away {
    /// The sentence for `status` and the log.
    pub fn warning(&self) -> String {
        let since = self.last_here.map_or_else(|| "never".to_owned(), |last| format!("last on {last}"));
        format!(
            "home {} is away ({since} here) and {} message(s) wait for it; if it does not come back: postern edge homes list",
            self.home, self.sealed
        )
    }
}

impl Homes {
    /// The homes that are away for `limit` seconds or longer while mail waits for them.
    pub fn away(&self, now: UnixTime, limit: u64) -> Vec<Away> {
        let waiting = self.list().into_iter().filter(|home| home.live().is_none() && home.sealed.count() > 0);
        let away = waiting.map(|home| Away {
            last_here: home.last_here(now),
            sealed: home.sealed.count() as u64,
            home: home.name.clone(),
        });
        away.filter(|away| away.last_here.is_none_or(|last| now.secs_since(last) >= limit)).collect()
    }
}

/// Says it in the log, each home at most once a day.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    said: HashMap<String, UnixTime>,
}

impl Watch {
    /// Those of the homes that are to be said now.
    pub(crate) fn due(&mut self, away: Vec<Away>, now: UnixTime) -> Vec<Away> {
        self.said.retain(|home, _| away.iter().any(|away| &away.home == home));
        let is_due =
            |said: Option<&UnixTime>| said.is_none_or(|said| now.secs_since(*said) >= AGAIN_AFTER_SECS);
        let due: Vec<_> = away.into_iter().filter(|away| is_due(self.said.get(&away.home))).collect();
        self.said.extend(due.iter().map(|away| (away.home.clone(), now)));
        due
    }

    /// How often to look, for a limit of so many seconds.
    pub(crate) fn pause(limit: u64) -> Duration {
        Duration::from_secs((limit / 4).clamp(1, 3600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_stays_away_is_said_once_a_day_and_anew_when_it_was_back() {
        let away = Away { home: "ab".to_owned(), last_here: Some(UnixTime(0)), sealed: 3 };
        let mut watch = Watch::default();
        let day = AGAIN_AFTER_SECS;
        let at = |secs| UnixTime::from_secs(secs);
        assert_eq!(watch.due(vec![away.clone()], at(0)).len(), 1);
        assert_eq!(watch.due(vec![away.clone()], at(day - 1)).len(), 0);
        assert_eq!(watch.due(vec![away.clone()], at(day)).len(), 1);
        assert_eq!(watch.due(Vec::new(), at(day + 1)).len(), 0);
        assert_eq!(watch.due(vec![away.clone()], at(day + 2)).len(), 1);
        assert!(away.warning().contains("last on 1970-01-01") && away.warning().contains("3 message(s)"));
    }

    #[test]
    fn the_limit_is_looked_at_often_enough_and_not_all_the_time() {
        assert_eq!(Watch::pause(1), Duration::from_secs(1));
        assert_eq!(Watch::pause(3 * 24 * 3600), Duration::from_secs(3600));
    }
}
