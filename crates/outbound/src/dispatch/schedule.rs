//! When each item that rests is to be tried: times and ids only, however many items there are.

use std::collections::{BTreeSet, HashMap};

use mail::{Domain, ItemId, UnixTime};

use crate::queue::Turn;

/// What an item that rests waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rest {
    /// This time.
    Until(UnixTime),
    /// An edge whose link is up, or this time.
    EdgeOrUntil(UnixTime),
    /// Room for an attempt to this domain, or this time.
    RoomOrUntil(Domain, UnixTime),
    /// Its turn, from this time on: there is room for what had no attempt yet.
    Room(UnixTime),
    /// The operator's word.
    Held,
}

impl Rest {
    const fn time(&self) -> Option<UnixTime> {
        match self {
            Self::Until(time) | Self::EdgeOrUntil(time) | Self::RoomOrUntil(_, time) | Self::Room(time) => {
                Some(*time)
            }
            Self::Held => None,
        }
    }
}

/// So many prompt ones go before a patient one that is due.
const PROMPT_IN_A_ROW: u32 = 8;

/// Items that rest, by their time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    prompt: BTreeSet<(UnixTime, ItemId)>,
    patient: BTreeSet<(UnixTime, ItemId)>,
    rests: HashMap<ItemId, (Rest, Turn)>,
    /// Items that wait for room, oldest first.
    by_domain: HashMap<Domain, BTreeSet<ItemId>>,
    /// When there will be room at a domain that rests.
    room: BTreeSet<(UnixTime, Domain)>,
    in_a_row: u32,
}

impl Schedule {
    /// Has an item wait; what it waited for before is forgotten.
    pub(super) fn put(&mut self, item: ItemId, rest: Rest, turn: Turn) {
        self.take(item);
        if let Some(time) = rest.time() {
            self.by_time(turn).insert((time, item));
        }
        if let Rest::RoomOrUntil(domain, _) = &rest {
            self.by_domain.entry(domain.clone()).or_default().insert(item);
        }
        self.rests.insert(item, (rest, turn));
    }

    fn by_time(&mut self, turn: Turn) -> &mut BTreeSet<(UnixTime, ItemId)> {
        match turn {
            Turn::Prompt => &mut self.prompt,
            Turn::Patient => &mut self.patient,
        }
    }

    /// Takes an item off; whether it was there.
    pub(super) fn take(&mut self, item: ItemId) -> bool {
        let Some((rest, turn)) = self.rests.remove(&item) else { return false };
        if let Some(time) = rest.time() {
            self.by_time(turn).remove(&(time, item));
        }
        if let Rest::RoomOrUntil(domain, _) = rest
            && let Some(items) = self.by_domain.get_mut(&domain)
        {
            items.remove(&item);
            if items.is_empty() {
                self.by_domain.remove(&domain);
            }
        }
        true
    }

    /// When there is something to do next.
    pub(super) fn first(&self) -> Option<UnixTime> {
        let items = [&self.prompt, &self.patient].into_iter().filter_map(|set| set.first());
        items.map(|(time, _)| *time).chain(self.room.first().map(|(time, _)| *time)).min()
    }

    /// Takes the item whose turn it is, if one is due, and what it waited for.
    pub(super) fn pop_due(&mut self, now: UnixTime) -> Option<(ItemId, Rest)> {
        while let Some((time, domain)) = self.room.first().filter(|(time, _)| *time <= now).cloned() {
            self.room.remove(&(time, domain.clone()));
            self.wake_one(&domain, now);
        }
        let due = |set: &BTreeSet<(UnixTime, ItemId)>| set.first().filter(|(time, _)| *time <= now).copied();
        let (prompt, patient) = (due(&self.prompt), due(&self.patient));
        let waited_enough = self.in_a_row >= PROMPT_IN_A_ROW;
        let (turn, item) = match (prompt, patient) {
            (Some((_, item)), patient) if patient.is_none() || !waited_enough => (Turn::Prompt, item),
            (_, Some((_, item))) => (Turn::Patient, item),
            (_, None) => return None,
        };
        self.in_a_row = if turn == Turn::Prompt { self.in_a_row.saturating_add(1) } else { 0 };
        let (rest, _) = self.rests.get(&item)?;
        let rest = rest.clone();
        self.take(item);
        Some((item, rest))
    }

    /// Makes the items due that wait for an edge.
    pub(super) fn edge_came(&mut self, now: UnixTime) {
        self.wake(now, |rest| matches!(rest, Rest::EdgeOrUntil(_)));
    }

    /// There is, or will be, room for so many attempts to a domain.
    pub(super) fn room_at(&mut self, domain: &Domain, time: UnixTime, count: usize, now: UnixTime) {
        if time > now {
            if self.by_domain.contains_key(domain) {
                self.room.insert((time, domain.clone()));
            }
            return;
        }
        (0..count).for_each(|_| self.wake_one(domain, now));
    }

    fn wake_one(&mut self, domain: &Domain, now: UnixTime) {
        let Some(item) = self.by_domain.get(domain).and_then(|items| items.first().copied()) else { return };
        if let Some((_, turn)) = self.rests.get(&item) {
            self.put(item, Rest::Room(now), *turn);
        }
    }

    /// Makes every item due but those that are held; tells how many there are.
    pub(super) fn wake_all(&mut self, now: UnixTime) -> usize {
        self.room.clear();
        self.wake(now, |rest| *rest != Rest::Held)
    }

    /// The reason why an item rests; `None` when it does not.
    pub(super) fn rest(&self, item: ItemId) -> Option<&Rest> {
        self.rests.get(&item).map(|(rest, _)| rest)
    }

    fn wake(&mut self, now: UnixTime, which: impl Fn(&Rest) -> bool) -> usize {
        let woken = self.rests.iter().filter(|(_, (rest, _))| which(rest));
        let woken: Vec<(ItemId, Turn)> = woken.map(|(item, (_, turn))| (*item, *turn)).collect();
        for (item, turn) in &woken {
            self.put(*item, Rest::Until(now), *turn);
        }
        woken.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Turn::{Patient, Prompt};
    use super::*;

    fn id(n: u8) -> ItemId {
        ItemId::from_bytes([n; 16])
    }

    fn popped(schedule: &mut Schedule, now: u64) -> Option<ItemId> {
        schedule.pop_due(UnixTime(now)).map(|(item, _)| item)
    }

    #[test]
    fn items_come_when_they_are_due_in_the_order_of_time() {
        let mut schedule = Schedule::default();
        schedule.put(id(1), Rest::Until(UnixTime(30)), Patient);
        schedule.put(id(2), Rest::Until(UnixTime(10)), Patient);
        schedule.put(id(1), Rest::Until(UnixTime(20)), Patient);
        assert_eq!(schedule.first(), Some(UnixTime(10)));
        assert_eq!(popped(&mut schedule, 9), None);
        assert_eq!(popped(&mut schedule, 99), Some(id(2)));
        assert_eq!(popped(&mut schedule, 99), Some(id(1)));
        assert_eq!(popped(&mut schedule, 99), None);
    }

    #[test]
    fn an_edge_wakes_those_that_wait_for_one() {
        let mut schedule = Schedule::default();
        schedule.put(id(1), Rest::EdgeOrUntil(UnixTime(30)), Patient);
        schedule.put(id(2), Rest::Until(UnixTime(30)), Patient);
        schedule.edge_came(UnixTime(5));
        assert_eq!(popped(&mut schedule, 5), Some(id(1)));
        assert_eq!(popped(&mut schedule, 5), None);
        assert_eq!(schedule.wake_all(UnixTime(5)), 1);
        assert_eq!(popped(&mut schedule, 5), Some(id(2)));
        assert!(!schedule.take(id(2)));
    }

    #[test]
    fn who_waits_for_a_person_goes_first_and_yet_nobody_waits_for_ever() {
        let mut schedule = Schedule::default();
        for n in 0..20 {
            schedule.put(id(n), Rest::Until(UnixTime(1)), Patient);
            schedule.put(id(100 + n), Rest::Until(UnixTime(2)), Prompt);
        }
        let order: Vec<bool> = (0..40).map(|_| popped(&mut schedule, 9).unwrap() >= id(100)).collect();
        let (ahead, behind) = order.split_at(22);
        assert_eq!(ahead.iter().filter(|prompt| !**prompt).count(), 2, "{order:?}");
        assert!(order[..8].iter().all(|prompt| *prompt) && !order[8]);
        assert!(behind.iter().all(|prompt| !prompt));
    }

    #[test]
    fn room_at_a_domain_wakes_as_many_as_there_is_room_for_oldest_first() {
        let mut schedule = Schedule::default();
        let (here, there) = (Domain::parse("a.test").unwrap(), Domain::parse("b.test").unwrap());
        for n in [3, 1, 2] {
            schedule.put(id(n), Rest::RoomOrUntil(here.clone(), UnixTime(100)), Patient);
        }
        schedule.put(id(9), Rest::RoomOrUntil(there.clone(), UnixTime(100)), Patient);
        schedule.room_at(&here, UnixTime(5), 2, UnixTime(5));
        assert_eq!([popped(&mut schedule, 5), popped(&mut schedule, 5)], [Some(id(1)), Some(id(2))]);
        assert_eq!(popped(&mut schedule, 5), None);
        schedule.room_at(&here, UnixTime(20), 1, UnixTime(5));
        schedule.room_at(&there, UnixTime(30), 1, UnixTime(5));
        assert_eq!(schedule.first(), Some(UnixTime(20)));
        assert_eq!(popped(&mut schedule, 20), Some(id(3)));
        assert!(schedule.take(id(9)));
        assert_eq!(popped(&mut schedule, 30), None);
        assert_eq!(schedule.first(), None);
    }

    #[test]
    fn what_is_held_waits_for_the_operator_alone() {
        let mut schedule = Schedule::default();
        schedule.put(id(1), Rest::Held, Patient);
        assert_eq!((schedule.first(), schedule.wake_all(UnixTime(5))), (None, 0));
        assert_eq!(schedule.rest(id(1)), Some(&Rest::Held));
        schedule.put(id(1), Rest::Until(UnixTime(6)), Patient);
        assert_eq!(popped(&mut schedule, 6), Some(id(1)));
    }
}
