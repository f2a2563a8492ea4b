//! Places for the clients of a port, and who gets one: so many in all, for an address and for its network, and a share
//! that is kept for those who are known.
//!
//! As the places of strangers fill, each address may have fewer of them and has less time: many addresses that take all
//! they can get leave room for one that wants a single place. Counted is who is inside, so there are never more
//! entries than twice the places.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::patience::Pressure;

/// Of so many places one is kept for clients that are known.
const KEPT_ONE_OF: usize = 4;
/// A network may have so many times what an address may.
pub const NETWORK_FACTOR: u32 = 4;
/// What is left to an address when there is hardly a place: a mail host or mail program gets by with it.
const LEAST_PER_ADDRESS: u32 = 2;

/// The network of an address: what one customer usually gets, a /24 of IPv4, a /64 of IPv6.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xff).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// An address or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// One address.
    Address(IpAddr),
    /// The network of one.
    Network(IpAddr),
}

impl Who {
    /// An address and its network, and how many times as much each may do.
    pub fn both(ip: IpAddr) -> [(Self, u32); 2] {
        [(Self::Address(ip.to_canonical()), 1), (Self::Network(network(ip)), NETWORK_FACTOR)]
    }
}

/// The trust in a client, by what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A client of which nothing good is known.
    Stranger,
    /// It has been good before: it delivered mail, or logged in.
    Known,
}

/// The reasons why a client gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The address or its network has as many as it may.
    OneClient,
    /// All places that such a client may have are taken.
    Full,
}

impl NoPlace {
    /// The reason in words, for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneClient => "too many of one address or network",
            Self::Full => "too many in all",
        }
    }
}

/// Something that the operator is told once in a minute at most.
#[derive(Debug, Default)]
pub struct SeldomTold(AtomicU64);

impl SeldomTold {
    /// Whether it is to be told at `now` seconds.
    pub fn is_due(&self, now: u64) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= 60 || now < last;
        due && self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The places of a port.
#[derive(Debug)]
pub struct Places {
    all: usize,
    strangers_max: usize,
    per_address: u32,
    inside: Mutex<Inside>,
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct Inside {
    taken: usize,
    strangers: usize,
    by: HashMap<Who, u32>,
}

/// How many places there are and are taken, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Places in all.
    pub all: usize,
    /// Places that are taken.
    pub taken: usize,
    /// Places that strangers have taken.
    pub strangers: usize,
    /// Most places that strangers may have taken.
    pub strangers_max: usize,
    /// Clients that found no place since the start.
    pub turned_away: u64,
}

/// [`Count`] as `status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ShownCount {
    places: usize,
    taken: usize,
    by_strangers: usize,
    for_strangers: usize,
    state: &'static str,
    turned_away: u64,
}

impl Count {
    /// The count as `status` shows it.
    #[must_use]
    pub fn shown(&self) -> ShownCount {
        let state = match Pressure::of(self.strangers, self.strangers_max).steps() {
            0 => "free",
            1..8 => "filling",
            _ => "full",
        };
        ShownCount {
            places: self.all,
            taken: self.taken,
            by_strangers: self.strangers,
            for_strangers: self.strangers_max,
            state,
            turned_away: self.turned_away,
        }
    }
}

impl Places {
    /// So many, with so many for one address.
    pub fn new(all: usize, per_address: u32) -> Arc<Self> {
        let strangers_max = (all - all / KEPT_ONE_OF).max(1);
        let (inside, turned_away) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { all, strangers_max, per_address, inside, turned_away })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a client.
    ///
    /// # Errors
    /// The reason why there is no place.
    pub fn take(self: &Arc<Self>, ip: IpAddr, standing: Standing) -> Result<Place, NoPlace> {
        let taken = self.try_take(ip, standing);
        if taken.is_err() {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn try_take(self: &Arc<Self>, ip: IpAddr, standing: Standing) -> Result<Place, NoPlace> {
        let mut inside = self.inside();
        let stranger = standing == Standing::Stranger;
        if inside.taken >= self.all || stranger && inside.strangers >= self.strangers_max {
            return Err(NoPlace::Full);
        }
        let steps = self.pressure_of(&inside, standing).steps();
        let least = LEAST_PER_ADDRESS.min(self.per_address);
        let most = (self.per_address >> steps).max(least);
        for (who, factor) in Who::both(ip) {
            if inside.by.get(&who).is_some_and(|open| *open >= most.saturating_mul(factor)) {
                return Err(NoPlace::OneClient);
            }
        }
        for (who, _) in Who::both(ip) {
            *inside.by.entry(who).or_default() += 1;
        }
        inside.taken += 1;
        inside.strangers += usize::from(stranger);
        drop(inside);
        Ok(Place { places: Arc::clone(self), ip, standing })
    }

    fn pressure_of(&self, inside: &Inside, standing: Standing) -> Pressure {
        let all = Pressure::of(inside.taken, self.all);
        match standing {
            Standing::Known => all,
            Standing::Stranger => all.max(Pressure::of(inside.strangers, self.strangers_max)),
        }
    }

    /// How full they are, for such a client.
    pub fn pressure(&self, standing: Standing) -> Pressure {
        self.pressure_of(&self.inside(), standing)
    }

    /// The numbers that an operator is shown.
    pub fn count(&self) -> Count {
        let inside = self.inside();
        Count {
            all: self.all,
            taken: inside.taken,
            strangers: inside.strangers,
            strangers_max: self.strangers_max,
            turned_away: self.turned_away.load(Ordering::Relaxed),
        }
    }
}

/// A client that is inside. Dropped, it has left.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    ip: IpAddr,
    standing: Standing,
}

impl Place {
    /// The address of the client that has the place.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The client has turned out to be good: it leaves the places of strangers to others.
    pub fn know(&mut self) {
        if std::mem::replace(&mut self.standing, Standing::Known) == Standing::Stranger {
            let mut inside = self.places.inside();
            inside.strangers = inside.strangers.saturating_sub(1);
        }
    }

    /// How full the places are, for this client.
    pub fn pressure(&self) -> Pressure {
        self.places.pressure(self.standing)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.places.inside();
        inside.taken = inside.taken.saturating_sub(1);
        if self.standing == Standing::Stranger {
            inside.strangers = inside.strangers.saturating_sub(1);
        }
        for (who, _) in Who::both(self.ip) {
            let left = inside.by.get_mut(&who).map(|open| {
                *open = open.saturating_sub(1);
                *open
            });
            if left == Some(0) {
                inside.by.remove(&who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Known, Stranger};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// One address in each network.
    fn host(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0001 + number * 256).into()
    }

    #[test]
    fn an_address_has_so_many_places_and_its_network_four_times_as_many() {
        let places = Places::new(1000, 2);
        let inside: Vec<Place> = (0..2).map(|_| places.take(ip("192.0.2.1"), Stranger).unwrap()).collect();
        assert_eq!(places.take(ip("192.0.2.1"), Stranger).unwrap_err(), NoPlace::OneClient);
        let more: Vec<Place> =
            (2..8).map(|host| places.take(ip(&format!("192.0.2.{host}")), Stranger).unwrap()).collect();
        assert!(places.take(ip("192.0.2.9"), Stranger).is_err(), "eight in the network");
        assert!(places.take(ip("192.0.3.1"), Stranger).is_ok(), "another network");
        drop((inside, more));
        assert!(places.take(ip("::ffff:192.0.2.1"), Stranger).is_ok(), "all have left");
        assert!(places.inside().by.is_empty(), "and are forgotten");
    }

    #[test]
    fn the_last_quarter_is_for_those_who_are_known() {
        let places = Places::new(8, 100);
        let strangers: Vec<Place> = (0..6).map(|n| places.take(host(n), Stranger).unwrap()).collect();
        assert_eq!(places.take(host(6), Stranger).unwrap_err(), NoPlace::Full);
        let known: Vec<Place> = (0..2).map(|n| places.take(host(10 + n), Known).unwrap()).collect();
        assert_eq!(places.take(host(12), Known).unwrap_err(), NoPlace::Full);
        assert_eq!(places.count().turned_away, 2);
        drop(known);
        drop(strangers);
        let count = places.count();
        assert_eq!((count.taken, count.strangers, count.strangers_max), (0, 0, 6));
    }

    #[test]
    fn who_becomes_known_leaves_its_place_to_a_stranger() {
        let places = Places::new(8, 100);
        let mut strangers: Vec<Place> = (0..6).map(|n| places.take(host(n), Stranger).unwrap()).collect();
        strangers[0].know();
        strangers[0].know();
        let seventh = places.take(host(6), Stranger).unwrap();
        assert_eq!(places.take(host(7), Stranger).unwrap_err(), NoPlace::Full);
        drop((strangers, seventh));
        assert_eq!((places.count().taken, places.count().strangers), (0, 0));
    }

    /// Symptom: 100 addresses that held 20 places each left every honest sender a 421. Cause: what an address may have
    /// did not depend on how many there were.
    /// Security lesson: Slowloris (CVE-2007-6750).
    #[test]
    fn two_hundred_addresses_that_take_what_they_get_leave_places_for_others() {
        let places = Places::new(2000, 20);
        let mut inside = Vec::new();
        for _ in 0..25 {
            inside.extend((0..200).filter_map(|n| places.take(host(n), Stranger).ok()));
        }
        let count = places.count();
        assert!(count.strangers > 900, "{count:?}");
        assert!(count.strangers < count.strangers_max - 300, "{count:?}");
        assert!(places.take(host(999), Stranger).is_ok());
        assert!(places.take(host(1000), Known).is_ok());
    }

    #[test]
    fn patience_is_full_with_places_free_and_shrinks_for_strangers_first() {
        let places = Places::new(100, 100);
        let mut inside: Vec<Place> = (0..37).map(|n| places.take(host(n), Stranger).unwrap()).collect();
        assert_eq!(places.pressure(Stranger), Pressure::NONE, "37 of 75");
        inside.push(places.take(host(37), Stranger).unwrap());
        assert_eq!(places.pressure(Stranger).steps(), 1, "38 of 75");
        assert_eq!(places.pressure(Known), Pressure::NONE);
        inside.extend((38..75).map(|n| places.take(host(n), Stranger).unwrap()));
        assert_eq!(places.pressure(Stranger).steps(), 8);
        assert!(places.pressure(Known).steps() < 8);
    }

    #[test]
    fn the_operator_is_told_once_in_a_minute() {
        let told = SeldomTold::default();
        assert_eq!(
            [100, 101, 159, 160, 161, 50].map(|now| told.is_due(now)),
            [true, false, false, true, false, true]
        );
    }

    #[test]
    fn one_place_is_for_anybody() {
        let places = Places::new(1, 20);
        let only = places.take(host(1), Stranger).unwrap();
        assert_eq!(places.take(host(2), Known).unwrap_err(), NoPlace::Full);
        drop(only);
        assert!(places.take(host(2), Stranger).is_ok());
    }
}
