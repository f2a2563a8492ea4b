//! How many attempts may go to one domain at one time, and when a domain that does not answer is asked again.
//!
//! A domain begins with a few attempts. Each conversation that went well makes room for one more, a host that
//! says it is busy halves it, and one that can't be reached rests, longer each time, until a single attempt
//! finds it back. So a dead domain holds almost nothing that others could use, however much waits for it.

use std::collections::HashMap;
use std::time::Duration;

use mail::{Domain, EnhancedCode, Outcome, UnixTime};

/// Attempts that a domain begins with.
const FIRST: usize = 2;
/// Domains that can't be reached that are remembered; beyond it, those that rested longest ago are forgotten.
const KNOWN_MAX: usize = 10_000;

/// What an attempt says about a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// A host spoke with us and wants more, whatever it thinks of the message.
    Well,
    /// A host is busy, closes the door for now (421, 4.3.2), or went away in the middle (4.4.2).
    Busy,
    /// No host was reached, or none that does what the domain demands.
    Dead,
}

impl Sign {
    /// Of the outcomes of one attempt. `None` when they say nothing.
    pub(super) fn of(outcomes: &[Outcome]) -> Option<Self> {
        outcomes.iter().filter_map(Self::of_one).min_by_key(|sign| *sign as u8)
    }

    fn of_one(outcome: &Outcome) -> Option<Self> {
        let why = outcome.why();
        // The codes of RFC 3463 sections 3.4, 3.5 and 3.8; without a reply they are Edge's own.
        match (outcome, &why.reply, why.status) {
            (Outcome::Deferred(_), Some(reply), _) => {
                let busy = reply.code == 421 || reply.status() == EnhancedCode(4, 3, 2);
                Some(if busy { Self::Busy } else { Self::Well })
            }
            (Outcome::Deferred(_), None, EnhancedCode(_, 4, 2)) => Some(Self::Busy),
            (Outcome::Deferred(_), None, EnhancedCode(_, 4 | 7, _)) => Some(Self::Dead),
            // Edge itself would not, or could not.
            (Outcome::Deferred(_), None, _) => None,
            _ => Some(Self::Well),
        }
    }
}

/// Whether an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Yes; it counts from now on.
    Go,
    /// When another one has ended.
    Full,
    /// Not before this time: the domain rests.
    Rests(UnixTime),
}

/// All domains that have attempts, or rest.
#[derive(Debug)]
pub(super) struct Destinations {
    most: usize,
    known: HashMap<Domain, Destination>,
}

#[derive(Debug)]
struct Destination {
    limit: usize,
    running: usize,
    /// Attempts in a row that reached no host.
    failures: u32,
    rests_until: UnixTime,
    /// The outcome for which it rests.
    last: Option<Outcome>,
}

impl Destination {
    fn next(&self, now: UnixTime) -> (UnixTime, usize) {
        (self.rests_until.max(now), self.limit.saturating_sub(self.running))
    }
}

impl Destinations {
    /// At most `most` attempts to a domain.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), known: HashMap::new() }
    }

    /// Asks whether an attempt to the domain may begin now.
    pub(super) fn enter(&mut self, domain: &Domain, now: UnixTime) -> Entry {
        let most = self.most;
        let fresh = || Destination {
            limit: FIRST.min(most),
            running: 0,
            failures: 0,
            rests_until: UnixTime(0),
            last: None,
        };
        let destination = self.known.entry(domain.clone()).or_insert_with(fresh);
        if now < destination.rests_until {
            return Entry::Rests(destination.rests_until);
        }
        if destination.running >= destination.limit {
            return Entry::Full;
        }
        destination.running += 1;
        Entry::Go
    }

    /// An attempt is over. Tells when the next one may begin, and how many at that time.
    pub(super) fn leave(
        &mut self,
        domain: &Domain,
        sign: Option<(Sign, Outcome)>,
        now: UnixTime,
        backoff: impl FnOnce(u32) -> Duration,
    ) -> (UnixTime, usize) {
        let Some(destination) = self.known.get_mut(domain) else { return (now, 1) };
        destination.running = destination.running.saturating_sub(1);
        match sign {
            Some((Sign::Well, _)) => {
                destination.failures = 0;
                destination.rests_until = UnixTime(0);
                destination.limit = (destination.limit + 1).min(self.most);
            }
            Some((Sign::Busy, _)) => destination.limit = (destination.limit / 2).max(1),
            // Those that were under way together count as one.
            Some((Sign::Dead, _)) if now < destination.rests_until => {}
            Some((Sign::Dead, outcome)) => {
                destination.failures += 1;
                destination.limit = 1;
                let wait = u64::try_from(backoff(destination.failures).as_micros()).unwrap_or(u64::MAX);
                destination.rests_until = UnixTime(now.0.saturating_add(wait));
                destination.last = Some(outcome);
            }
            None => {}
        }
        let next = destination.next(now);
        if destination.running == 0 && destination.failures == 0 {
            self.known.remove(domain);
        } else if self.known.len() > KNOWN_MAX {
            self.forget_the_oldest();
        }
        next
    }

    /// When the next attempt may begin, and how many at that time.
    pub(super) fn next(&self, domain: &Domain, now: UnixTime) -> (UnixTime, usize) {
        self.known.get(domain).map_or((now, FIRST), |destination| destination.next(now))
    }

    /// The outcome for which a domain rests.
    pub(super) fn why(&self, domain: &Domain) -> Option<Outcome> {
        self.known.get(domain)?.last.clone()
    }

    /// The operator says that all is well again.
    pub(super) fn wake_all(&mut self) {
        for destination in self.known.values_mut() {
            destination.rests_until = UnixTime(0);
        }
    }

    fn forget_the_oldest(&mut self) {
        let mut times: Vec<UnixTime> = self.known.values().map(|known| known.rests_until).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        self.known.retain(|_, known| known.running > 0 || known.rests_until > middle);
    }
}

#[cfg(test)]
mod tests {
    use mail::Reply;

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_000_000 + seconds)
    }

    fn said(sign: Sign) -> Option<(Sign, Outcome)> {
        Some((sign, Outcome::deferred(EnhancedCode(4, 4, 1), "no answer")))
    }

    fn entered(all: &mut Destinations, name: &str, now: UnixTime) -> usize {
        (0..1000).take_while(|_| all.enter(&domain(name), now) == Entry::Go).count()
    }

    #[test]
    fn a_domain_that_takes_mail_gets_more_at_one_time_up_to_the_limit() {
        let (mut all, to) = (Destinations::new(8), domain("a.test"));
        let mut under_way = entered(&mut all, "a.test", at(0));
        assert_eq!(under_way, FIRST);
        let mut seen = vec![under_way];
        for _ in 0..4 {
            (0..under_way).for_each(|_| {
                all.leave(&to, said(Sign::Well), at(0), |_| WAIT);
                // Another one takes its place, so that the domain stays known.
                assert_eq!(all.enter(&to, at(0)), Entry::Go);
            });
            under_way += entered(&mut all, "a.test", at(0));
            seen.push(under_way);
        }
        assert_eq!(seen, [2, 4, 8, 8, 8]);
        assert_eq!(all.enter(&to, at(0)), Entry::Full);
        assert_eq!(all.leave(&to, said(Sign::Busy), at(0), |_| WAIT), (at(0), 0));
        for _ in 0..7 {
            all.leave(&to, None, at(0), |_| WAIT);
        }
        assert!(all.known.is_empty(), "what has nothing under way is not remembered");
    }

    #[test]
    fn a_domain_that_can_not_be_reached_rests_longer_each_time_and_is_tried_by_one() {
        let (mut all, to) = (Destinations::new(8), domain("dead.test"));
        assert_eq!(entered(&mut all, "dead.test", at(0)), FIRST);
        let backoff = |failures: u32| WAIT * failures;
        assert_eq!(all.leave(&to, said(Sign::Dead), at(10), backoff), (at(70), 0));
        assert_eq!(all.leave(&to, said(Sign::Dead), at(11), backoff), (at(70), 1), "the same failure");
        assert_eq!(all.enter(&to, at(69)), Entry::Rests(at(70)));
        assert_eq!(all.why(&to).unwrap().why().cause, "no answer");
        assert_eq!(entered(&mut all, "dead.test", at(70)), 1);
        assert_eq!(all.leave(&to, said(Sign::Dead), at(100), backoff), (at(220), 1));
        all.wake_all();
        assert_eq!(entered(&mut all, "dead.test", at(100)), 1);
        assert_eq!(all.leave(&to, said(Sign::Well), at(130), backoff), (at(130), 2));
        assert_eq!(entered(&mut all, "other.test", at(0)), FIRST, "others are not concerned");
    }

    #[test]
    fn outcomes_say_how_a_domain_is() {
        let reply = |code, status, text: &str| Outcome::from_reply(None, &Reply::new(code, status, text));
        let silent = Outcome::deferred(EnhancedCode(4, 4, 1), "refused");
        let full = reply(452, (4, 2, 2), "mailbox full");
        for (outcomes, sign) in [
            (vec![], None),
            (vec![silent.clone()], Some(Sign::Dead)),
            (vec![Outcome::deferred(EnhancedCode(4, 7, 5), "no DANE")], Some(Sign::Dead)),
            (vec![Outcome::deferred(EnhancedCode(4, 4, 2), "hung up")], Some(Sign::Busy)),
            (vec![Outcome::deferred(EnhancedCode(4, 3, 2), "too many attempts")], None),
            (vec![reply(421, (4, 3, 2), "busy"), silent.clone()], Some(Sign::Busy)),
            (vec![reply(450, (4, 3, 2), "not now")], Some(Sign::Busy)),
            (vec![full.clone()], Some(Sign::Well)),
            (vec![reply(550, (5, 1, 1), "no such user")], Some(Sign::Well)),
            (vec![silent, full], Some(Sign::Well)),
        ] {
            assert_eq!(Sign::of(&outcomes), sign, "{outcomes:?}");
        }
    }

    #[test]
    fn only_so_many_dead_domains_are_remembered() {
        let mut all = Destinations::new(8);
        for number in 0..=KNOWN_MAX {
            let to = domain(&format!("d{number}.test"));
            all.enter(&to, at(0));
            all.leave(&to, said(Sign::Dead), at(number as u64), |_| WAIT);
        }
        assert!(all.known.len() <= KNOWN_MAX / 2 + 1, "{}", all.known.len());
        assert!(all.known.contains_key(&domain(&format!("d{KNOWN_MAX}.test"))));
    }
}
