//! Who was told what, and what is where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use testkit::message;
use testkit::numbered::{Arrived, Told, message_id};

use super::excuses::Excuses;
use super::traffic::{ALICE, INBOUND, LARGE_EVERY, OUTBOUND, sink_messages};
use crate::place::Neighbour;
use crate::world::{MARKER, World};

/// Characters of a reply that are shown.
const REASON_SHOWN: usize = 90;
/// What a sender hears when Edge's disk takes nothing more.
const NOT_KEPT: [&str; 2] =
    ["451 4.3.0 The message could not be kept", "452 4.3.1 There is no room for mail now"];
/// Of each kind of message that is not as it should be, so many are traced.
const TRACED: usize = 2;

/// The books of one direction.
#[derive(Debug, Default)]
struct Direction {
    told: Told,
    arrived: Arrived,
    /// Of which a failure was reported to the sender.
    reported: BTreeSet<u32>,
    excuses: Excuses,
}

/// The books of both directions.
pub(crate) struct Books {
    inbound: Direction,
    outbound: Direction,
    /// Ways of a message that a run without faults does not take, and how often it was taken.
    ways: BTreeMap<&'static str, usize>,
}

/// What each is in the trace: its step, and what is in the detail.
const WAYS: [(&str, &str, &str); 4] = [
    ("sealed while Home was away", "sealed", "home is away"),
    ("sealed because Home did not answer in time", "sealed", "home did not answer in time"),
    ("drained and known, for Home had answered too late", "already-here", "sealed mail"),
    ("asked about at the edge that had it, and forgotten", "forgotten", ""),
];

impl Books {
    /// Counts, when nothing is under way any more.
    pub(crate) fn close(world: &World, [inbound, outbound]: [Told; 2], excused: Excuses) -> Self {
        let bob = world.mailbox("bob");
        let messages = [bob.messages("INBOX"), bob.messages("Junk")].concat();
        let arrived = Arrived::among(&messages, INBOUND, MARKER, LARGE_EVERY);
        let inbound = Direction { told: inbound, arrived, ..Direction::default() };
        let outbound = Direction {
            told: outbound,
            arrived: Arrived::among(&sink_messages(world), OUTBOUND, MARKER, LARGE_EVERY),
            reported: reported(world),
            excuses: excused.close(world),
        };
        Self { inbound, outbound, ways: ways(world) }
    }

    /// A run of all faults has led through all but what a kill has to come at the right moment for.
    ///
    /// # Panics
    /// When it has not: the faults do not reach what they are for.
    pub(crate) fn ways_were_taken(&self) {
        for (way, ..) in &WAYS[..3] {
            assert!(self.ways[way] > 0, "nothing was {way}");
        }
    }

    /// Prints the trace of some of the messages that are not as they should be.
    pub(crate) fn print_traces(&self, world: &World) {
        let you = Neighbour::Postfix.you();
        for (direction, word, from) in [(&self.inbound, INBOUND, &*you), (&self.outbound, OUTBOUND, ALICE)] {
            for number in direction.suspects() {
                world.print_trace(&message_id(word, number, from));
            }
        }
    }

    /// Whether every acknowledged message is in exactly one place, and no other one is anywhere but those that were in
    /// doubt. All of both directions must have been tried.
    pub(crate) fn balance(&self) -> bool {
        self.inbound.balances() && self.outbound.balances()
    }
}

impl Direction {
    /// Acknowledged, and nowhere as a whole.
    fn lost(&self) -> Vec<u32> {
        let somewhere =
            |number: &u32| self.arrived.times.contains_key(number) || self.reported.contains(number);
        self.told.taken.iter().filter(|number| !somewhere(number)).copied().collect()
    }

    /// There, and not as it was sent.
    fn broken(&self) -> Vec<u32> {
        self.arrived.broken.iter().copied().collect()
    }

    /// In two places: there, and reported as failed.
    fn both(&self) -> Vec<u32> {
        self.reported.iter().filter(|number| self.arrived.times.contains_key(number)).copied().collect()
    }

    /// There, though its sender was told that it was not taken.
    fn unowned(&self) -> Vec<u32> {
        let known = |number: &u32| self.told.taken.contains(number) || self.told.doubt.contains(number);
        let numbers = self.arrived.times.keys().copied();
        numbers.filter(|number| !known(number) && !self.could_not_be_kept(*number)).collect()
    }

    /// There, though its sender is to come again: the one case that `docs/src/operation.md` has of it. Home had it before
    /// Edge gave up waiting, and Edge's disk did not take it then.
    fn told_to_come_again(&self) -> Vec<u32> {
        let numbers = self.arrived.times.keys().copied();
        numbers.filter(|number| self.could_not_be_kept(*number)).collect()
    }

    fn could_not_be_kept(&self, number: u32) -> bool {
        let said = self.told.refused.get(&number);
        said.is_some_and(|said| NOT_KEPT.iter().any(|reply| said.starts_with(reply)))
    }

    /// There more often than can be explained.
    fn doubled(&self) -> Vec<u32> {
        let doubled = |(number, times): &(&u32, &u32)| {
            **times > 1 + self.excuses.of(**number) && !self.told.doubt.contains(number)
        };
        self.arrived.times.iter().filter(doubled).map(|(number, _)| *number).collect()
    }

    /// There more often than once, because its sender did not hear the reply and sent it again, and nobody knew it.
    fn sent_again(&self) -> Vec<u32> {
        let twice = self
            .arrived
            .times
            .iter()
            .filter(|(number, times)| **times > 1 && self.told.doubt.contains(number));
        twice.map(|(number, _)| *number).collect()
    }

    /// Copies beyond the first, explained or not.
    fn extra(&self) -> u32 {
        self.arrived.times.values().map(|times| times - 1).sum()
    }

    fn wrong(&self) -> [Vec<u32>; 5] {
        [self.lost(), self.broken(), self.both(), self.unowned(), self.doubled()]
    }

    fn suspects(&self) -> BTreeSet<u32> {
        self.wrong().iter().flat_map(|kind| kind.iter().take(TRACED)).copied().collect()
    }

    /// What was said to those that were refused, and how often.
    fn reasons(&self) -> BTreeMap<String, usize> {
        let mut reasons = BTreeMap::new();
        for said in self.told.refused.values() {
            *reasons.entry(said.chars().take(REASON_SHOWN).collect()).or_default() += 1;
        }
        reasons
    }

    fn balances(&self) -> bool {
        !self.told.taken.is_empty() && self.wrong().iter().all(Vec::is_empty)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lost, broken, both, unowned, doubled] = self.wrong();
        write!(
            f,
            "{} taken, {} refused, {} in doubt; {} arrived, {} reported as failed\n    lost {lost:?}, \
             not whole {broken:?}, both {both:?}, arrived though refused {unowned:?}, \
             twice without a reason {doubled:?}\n    extra copies {} (there is a reason for {} messages to come twice)\n    \
             there, and to come again because Edge could not keep it {:?}\n    \
             sent again for want of a reply, and there twice {:?}",
            self.told.taken.len(),
            self.told.refused.len(),
            self.told.doubt.len(),
            self.arrived.times.len(),
            self.reported.len(),
            self.extra(),
            self.excuses.count(),
            self.told_to_come_again(),
            self.sent_again(),
        )?;
        self.reasons()
            .iter()
            .try_for_each(|(reason, times)| write!(f, "\n    refused {times} times: {reason}"))
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in:  {}\nout: {}", self.inbound, self.outbound)?;
        self.ways.iter().try_for_each(|(way, times)| write!(f, "\n{times} {way}"))
    }
}

fn ways(world: &World) -> BTreeMap<&'static str, usize> {
    let events = world.trace_of_home();
    let count = |step: &str, part: &str| {
        let is_one = |event: &&serde_json::Value| {
            event["step"] == step && event["detail"].as_str().is_some_and(|detail| detail.contains(part))
        };
        events.iter().filter(is_one).count()
    };
    WAYS.iter().map(|(way, step, part)| (*way, count(step, part))).collect()
}

/// The numbers in reports of failure that alice has.
fn reported(world: &World) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    for report in world.mailbox("alice").messages("INBOX") {
        if !message::holds(&report, b"Action: failed") {
            continue;
        }
        let text = String::from_utf8_lossy(&report).into_owned();
        let subjects =
            text.lines().filter_map(|line| line.trim().strip_prefix("Subject: out-")?.parse().ok());
        numbers.extend(subjects.collect::<Vec<u32>>());
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four that were taken, each there once; one that was refused; one in doubt.
    fn direction() -> Direction {
        let mut direction = Direction::default();
        for number in 1..=4 {
            direction.told.taken.insert(number);
            direction.arrived.times.insert(number, 1);
        }
        direction.told.refused.insert(5, "451 4.3.0 The message could not be stored now".to_owned());
        direction.told.doubt.insert(6);
        direction
    }

    #[test]
    fn books_balance_whether_what_was_in_doubt_is_there_or_not() {
        let mut direction = direction();
        assert!(direction.balances());
        direction.arrived.times.insert(6, 1);
        assert!(direction.balances());
        direction.arrived.times.insert(6, 2);
        assert!(direction.balances() && direction.sent_again() == [6], "it was sent again, and is counted");
        assert!(!Direction::default().balances(), "nothing happened");
    }

    #[test]
    fn each_way_to_be_wrong_is_seen() {
        let wrong = |spoil: fn(&mut Direction)| {
            let mut direction = direction();
            spoil(&mut direction);
            !direction.balances()
        };
        assert!(wrong(|it| it.arrived.times.retain(|number, _| *number != 2)), "lost");
        assert!(wrong(|it| it.arrived.broken.extend([2])), "not whole");
        assert!(wrong(|it| it.reported.extend([2])), "both there and reported");
        assert!(wrong(|it| it.arrived.times.extend([(5, 1)])), "there though refused");
        assert!(wrong(|it| it.arrived.times.extend([(9, 1)])), "there though never sent");
        assert!(wrong(|it| it.arrived.times.extend([(2, 2)])), "twice");
    }

    #[test]
    fn an_excuse_is_for_its_own_number() {
        let mut direction = direction();
        direction.excuses = Excuses::from([(2, 1)]);
        direction.arrived.times.insert(2, 2);
        assert!(direction.balances());
        direction.arrived.times.insert(3, 2);
        assert_eq!(direction.doubled(), [3]);
        direction.arrived.times.insert(3, 1);
        direction.arrived.times.insert(2, 3);
        assert_eq!(direction.doubled(), [2]);
    }

    #[test]
    fn what_edge_could_not_keep_may_be_there() {
        let mut direction = direction();
        direction.arrived.times.insert(5, 1);
        direction.told.refused.insert(5, format!("{}; try again later", NOT_KEPT[0]));
        assert!(direction.balances());
        assert_eq!(direction.told_to_come_again(), [5]);
    }
}
