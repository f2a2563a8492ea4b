//! When each item that rests is to be tried: times and ids only, however many items there are.

use std::collections::{BTreeSet, HashMap};

use mail::{ItemId, UnixTime};

/// What an item that rests waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// The time.
    Until(UnixTime),
    /// An edge whose link is up, or this time.
    EdgeOrUntil(UnixTime),
}

impl Rest {
    const fn time(self) -> UnixTime {
        match self {
            Self::Until(time) | Self::EdgeOrUntil(time) => time,
        }
    }
}

/// Items that rest, by their time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(UnixTime, ItemId)>,
    rests: HashMap<ItemId, Rest>,
}

impl Schedule {
    /// Has an item wait; what it waited for before is forgotten.
    pub(super) fn put(&mut self, item: ItemId, rest: Rest) {
        self.take(item);
        self.by_time.insert((rest.time(), item));
        self.rests.insert(item, rest);
    }

    /// Takes an item off; whether it was there.
    pub(super) fn take(&mut self, item: ItemId) -> bool {
        let Some(rest) = self.rests.remove(&item) else { return false };
        self.by_time.remove(&(rest.time(), item));
        true
    }

    /// The time of the item that is due first.
    pub(super) fn first(&self) -> Option<UnixTime> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// Takes the item that is due first, if it is due.
    pub(super) fn pop_due(&mut self, now: UnixTime) -> Option<ItemId> {
        let (_, item) = *self.by_time.first().filter(|(time, _)| *time <= now)?;
        self.take(item);
        Some(item)
    }

    /// Makes the items due that wait for an edge.
    pub(super) fn edge_came(&mut self, now: UnixTime) {
        self.wake(now, |rest| matches!(rest, Rest::EdgeOrUntil(_)));
    }

    /// Makes every item due; tells how many there are.
    pub(super) fn wake_all(&mut self, now: UnixTime) -> usize {
        self.wake(now, |_| true);
        self.rests.len()
    }

    fn wake(&mut self, now: UnixTime, which: impl Fn(&Rest) -> bool) {
        let woken: Vec<ItemId> =
            self.rests.iter().filter(|(_, rest)| which(rest)).map(|(item, _)| *item).collect();
        for item in woken {
            self.put(item, Rest::Until(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ItemId {
        ItemId::from_bytes([n; 16])
    }

    #[test]
    fn items_come_when_they_are_due_in_the_order_of_time() {
        let mut schedule = Schedule::default();
        schedule.put(id(1), Rest::Until(UnixTime(30)));
        schedule.put(id(2), Rest::Until(UnixTime(10)));
        schedule.put(id(1), Rest::Until(UnixTime(20)));
        assert_eq!(schedule.first(), Some(UnixTime(10)));
        assert_eq!(schedule.pop_due(UnixTime(9)), None);
        assert_eq!(schedule.pop_due(UnixTime(99)), Some(id(2)));
        assert_eq!(schedule.pop_due(UnixTime(99)), Some(id(1)));
        assert_eq!(schedule.pop_due(UnixTime(99)), None);
    }

    #[test]
    fn an_edge_wakes_those_that_wait_for_one() {
        let mut schedule = Schedule::default();
        schedule.put(id(1), Rest::EdgeOrUntil(UnixTime(30)));
        schedule.put(id(2), Rest::Until(UnixTime(30)));
        schedule.edge_came(UnixTime(5));
        assert_eq!(schedule.pop_due(UnixTime(5)), Some(id(1)));
        assert_eq!(schedule.pop_due(UnixTime(5)), None);
        assert_eq!(schedule.wake_all(UnixTime(5)), 1);
        assert_eq!(schedule.pop_due(UnixTime(5)), Some(id(2)));
        assert!(!schedule.take(id(2)));
    }
}
