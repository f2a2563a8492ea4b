//! Who was told what, and what is where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use testkit::message;
use testkit::numbered::Told;

use super::sink_numbers;
use crate::world::World;

/// Characters of a reply that are shown.
const REASON_SHOWN: usize = 90;

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    told: Told,
    /// How often each arrived.
    arrived: BTreeMap<u32, u32>,
    /// Of which a failure was reported to the sender.
    reported: BTreeSet<u32>,
    /// How many copies beyond the first may be explained.
    window: u32,
}

/// Both.
pub(crate) struct Books {
    inbound: Direction,
    outbound: Direction,
}

impl Books {
    /// Counts, when nothing is under way any more.
    pub(crate) fn close(world: &World, inbound: Told, outbound: Told) -> Self {
        let mut arrived = world.numbers_of("bob", "in");
        for subject in world.mailbox("bob").subjects("Junk") {
            let number = subject.trim().strip_prefix("in-").and_then(|number| number.parse().ok());
            *arrived.entry(number.unwrap_or_default()).or_default() += 1;
        }
        let inbound = Direction { told: inbound, arrived, ..Direction::default() };
        let mut arrived = BTreeMap::new();
        for number in sink_numbers(world) {
            *arrived.entry(number).or_default() += 1;
        }
        let outbound = Direction {
            told: outbound,
            arrived,
            reported: reported(world),
            window: world.forgotten_attempts(),
        };
        Self { inbound, outbound }
    }

    /// Whether every acknowledged message is in exactly one place, and no other one is anywhere but those that were in
    /// doubt. All of both directions must have been tried.
    pub(crate) fn balance(&self) -> bool {
        self.inbound.balances() && self.outbound.balances()
    }
}

impl Direction {
    fn lost(&self) -> Vec<u32> {
        let somewhere = |number: &u32| self.arrived.contains_key(number) || self.reported.contains(number);
        self.told.taken.iter().filter(|number| !somewhere(number)).copied().collect()
    }

    /// In two places: there, and reported as failed.
    fn both(&self) -> Vec<u32> {
        self.reported.iter().filter(|number| self.arrived.contains_key(number)).copied().collect()
    }

    /// There, though its sender was told that it was not taken.
    fn unowned(&self) -> Vec<u32> {
        let known = |number: &u32| self.told.taken.contains(number) || self.told.doubt.contains(number);
        self.arrived.keys().filter(|number| !known(number)).copied().collect()
    }

    fn extra(&self) -> u32 {
        self.arrived.values().map(|times| times - 1).sum()
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
        !self.told.taken.is_empty()
            && self.lost().is_empty()
            && self.both().is_empty()
            && self.unowned().is_empty()
            && self.extra() <= self.window
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} taken, {} refused, {} in doubt; {} arrived, {} reported as failed\n    lost {:?}, both {:?}, \
             arrived though refused {:?}, extra copies {} (at most {} are explained)",
            self.told.taken.len(),
            self.told.refused.len(),
            self.told.doubt.len(),
            self.arrived.len(),
            self.reported.len(),
            self.lost(),
            self.both(),
            self.unowned(),
            self.extra(),
            self.window
        )?;
        self.reasons()
            .iter()
            .try_for_each(|(reason, times)| write!(f, "\n    refused {times} times: {reason}"))
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in:  {}\nout: {}", self.inbound, self.outbound)
    }
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
