//! Places for those who are not known yet: a bounded number, shared fairly among the networks that they come from.
//!
//! Nobody is refused. When all places are taken, somebody gives way who came earlier from the network that holds the
//! most: who opens connections and says nothing only drives out his own. No sockets and no clock are in here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// What an address is counted by: itself in IPv4, its /64 in IPv6, which one host has whole.
#[must_use]
pub fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A place that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u64);

/// The places. `T` is what tells the holder of one to give way.
#[derive(Debug)]
pub struct Places<T> {
    capacity: usize,
    per_source_max: usize,
    next: u64,
    /// Places that are taken, the oldest first.
    taken: BTreeMap<Place, (IpAddr, T)>,
    counts: HashMap<IpAddr, usize>,
}

impl<T> Places<T> {
    /// So many places, and so many for one source; both at least one.
    #[must_use]
    pub fn new(capacity: usize, per_source_max: usize) -> Self {
        let (capacity, per_source_max) = (capacity.max(1), per_source_max.max(1));
        Self { capacity, per_source_max, next: 0, taken: BTreeMap::new(), counts: HashMap::new() }
    }

    /// Takes a place for whoever comes from there. Gives who has to give way for it, if anybody has to.
    pub fn enter(&mut self, source: IpAddr, holder: T) -> (Place, Option<T>) {
        let leaving = self.who_gives_way(source).and_then(|place| self.leave(place));
        let place = Place(self.next);
        self.next += 1;
        self.taken.insert(place, (source, holder));
        *self.counts.entry(source).or_default() += 1;
        (place, leaving)
    }

    /// Gives a place back. One that was given back already is left alone.
    pub fn leave(&mut self, place: Place) -> Option<T> {
        let (source, holder) = self.taken.remove(&place)?;
        if let Some(count) = self.counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&source);
            }
        }
        Some(holder)
    }

    /// Places that are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether no place is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Places that one source holds.
    #[must_use]
    pub fn held_by(&self, source: IpAddr) -> usize {
        self.counts.get(&source).copied().unwrap_or_default()
    }

    fn who_gives_way(&self, source: IpAddr) -> Option<Place> {
        let own = self.held_by(source);
        if own < self.per_source_max && self.taken.len() < self.capacity {
            return None;
        }
        let most = self.counts.values().copied().max().unwrap_or_default();
        // With the newcomer its own source holds the most: it gets no more than its share.
        if own >= self.per_source_max || (own > 0 && own + 1 >= most) {
            return self.oldest(|holder| holder == source);
        }
        self.oldest(|holder| self.held_by(holder) == most)
    }

    fn oldest(&self, wanted: impl Fn(IpAddr) -> bool) -> Option<Place> {
        self.taken.iter().find(|(_, (source, _))| wanted(*source)).map(|(place, _)| *place)
    }
}

/// The sources that somebody who proved himself came from, the latest ones, in memory only.
#[derive(Debug)]
pub struct Remembered {
    capacity: usize,
    sources: VecDeque<IpAddr>,
}

impl Remembered {
    /// A memory for at most so many.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, sources: VecDeque::new() }
    }

    /// Somebody from there proved himself.
    pub fn remember(&mut self, source: IpAddr) {
        self.sources.retain(|known| *known != source);
        if self.sources.len() >= self.capacity {
            self.sources.pop_front();
        }
        self.sources.push_back(source);
    }

    /// Whether anybody from there did.
    #[must_use]
    pub fn knows(&self, source: IpAddr) -> bool {
        self.sources.contains(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn an_address_counts_by_itself_and_a_whole_64_of_ipv6_as_one() {
        let of = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
    }

    #[test]
    fn as_many_as_there_are_places_stay_and_one_more_drives_out_the_oldest() {
        let mut places = Places::new(3, 3);
        for n in 0..3 {
            assert_eq!(places.enter(source(n), n).1, None);
        }
        assert_eq!(places.enter(source(9), 9).1, Some(0));
        assert_eq!(places.len(), 3);
    }

    #[test]
    fn one_source_has_its_limit_and_past_it_drives_out_its_own() {
        let mut places = Places::new(100, 2);
        assert_eq!(places.enter(source(1), 'a').1, None);
        assert_eq!(places.enter(source(1), 'b').1, None);
        assert_eq!(places.enter(source(1), 'c').1, Some('a'));
        assert_eq!(places.held_by(source(1)), 2);
    }

    /// Symptom: silent connections, ten a second, kept a restarted Home off the link for as long as they came. Cause: 64
    /// handshakes could be under way, for all together, and the next one waited. Analysis: who comes last is not the
    /// one to wait; who holds the most has to give way.
    #[test]
    fn a_flood_from_fifty_sources_never_drives_out_the_one_that_holds_one_place() {
        let mut places = Places::new(16, 8);
        for round in 0..200_u32 {
            for n in 0..50 {
                places.enter(source(n), None);
                // Most of the time only a few of them crowd.
                if round % 3 != 0 && n == 3 {
                    break;
                }
            }
            let home = IpAddr::from([203, 0, 113, 9]);
            let (place, _) = places.enter(home, Some("home"));
            for _ in 0..500 {
                for n in 0..3 {
                    assert_ne!(places.enter(source(n), None).1, Some(Some("home")));
                }
            }
            assert_eq!(places.leave(place), Some(Some("home")));
        }
        assert_eq!(places.len(), 15);
    }

    #[test]
    fn a_place_is_given_back_once() {
        let mut places = Places::new(2, 2);
        let (place, _) = places.enter(source(1), ());
        assert_eq!(places.leave(place), Some(()));
        assert_eq!(places.leave(place), None);
        assert_eq!((places.len(), places.held_by(source(1)), places.is_empty()), (0, 0, true));
    }

    #[test]
    fn the_latest_who_proved_themselves_are_remembered() {
        let mut known = Remembered::new(2);
        for n in [1, 2, 1, 3] {
            known.remember(source(n));
        }
        assert_eq!([1, 2, 3].map(|n| known.knows(source(n))), [true, false, true]);
    }
}
