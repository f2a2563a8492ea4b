//! Wrong proofs of a pairing code, counted by who sends them and when.
//!
//! A code of 128 bits is not guessed, so no number of wrong proofs kills it: that would let any stranger do it. What is
//! bounded is the work and the lines in the log that one source makes. No clock is in here.

use std::collections::HashMap;
use std::net::IpAddr;

use mail::UnixTime;

/// Wrong proofs of one source within [`WINDOW_SECS`]; after them it is not listened to until that is over.
pub(super) const WRONG_MAX: u32 = 5;
/// Seconds after the first wrong proof of a source until it counts from nothing again.
pub(super) const WINDOW_SECS: u64 = 600;
/// Sources that are counted at one time. Past it the one that began first is forgotten.
const COUNTED_MAX: usize = 1024;

/// Who was wrong lately, and how often.
#[derive(Debug, Default)]
pub(super) struct Tries(HashMap<IpAddr, (UnixTime, u32)>);

impl Tries {
    /// Whether a source may try.
    pub(super) fn may(&self, source: IpAddr, now: UnixTime) -> bool {
        self.0.get(&source).is_none_or(|(since, wrong)| is_over(*since, now) || *wrong < WRONG_MAX)
    }

    /// A source was wrong; gives how often in this window.
    pub(super) fn wrong(&mut self, source: IpAddr, now: UnixTime) -> u32 {
        self.0.retain(|_, (since, _)| !is_over(*since, now));
        if self.0.len() >= COUNTED_MAX && !self.0.contains_key(&source) {
            let first = self.0.iter().min_by_key(|(_, (since, _))| *since).map(|(source, _)| *source);
            first.and_then(|source| self.0.remove(&source));
        }
        let (_, wrong) = self.0.entry(source).or_insert((now, 0));
        *wrong += 1;
        *wrong
    }
}

/// A clock that was set back ends a window too: nobody is to be shut out until it has caught up.
fn is_over(since: UnixTime, now: UnixTime) -> bool {
    now < since || now.secs_since(since) >= WINDOW_SECS
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_source_may_be_wrong_so_often_and_no_more_until_the_window_is_over() {
        let mut tries = Tries::default();
        let at = |secs| UnixTime::from_secs(1_000_000 + secs);
        for n in 1..=WRONG_MAX {
            assert!(tries.may(HERE, at(u64::from(n))));
            assert_eq!(tries.wrong(HERE, at(u64::from(n))), n);
        }
        assert!(!tries.may(HERE, at(WINDOW_SECS)));
        assert!(tries.may(ELSEWHERE, at(WINDOW_SECS)), "others are not counted with it");
        assert!(tries.may(HERE, at(WINDOW_SECS + 1)));
        assert_eq!(tries.wrong(HERE, at(WINDOW_SECS + 1)), 1);
        for _ in 0..WRONG_MAX {
            tries.wrong(HERE, at(WINDOW_SECS + 2));
        }
        assert!(tries.may(HERE, at(0)), "a clock that was set back shuts nobody out");
    }

    #[test]
    fn a_full_table_forgets_who_was_counted_first() {
        let mut tries = Tries::default();
        let source = |n: usize| IpAddr::from(std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap()));
        let at = |n: usize| UnixTime(1_000_000_000 + n as u64);
        for n in 0..COUNTED_MAX {
            for _ in 0..WRONG_MAX {
                tries.wrong(source(n), at(n));
            }
        }
        assert!(!tries.may(source(0), at(COUNTED_MAX)));
        tries.wrong(source(COUNTED_MAX), at(COUNTED_MAX));
        assert!(tries.may(source(0), at(COUNTED_MAX)) && !tries.may(source(1), at(COUNTED_MAX)));
        assert_eq!(tries.0.len(), COUNTED_MAX);
    }
}
