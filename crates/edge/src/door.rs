//! Who may come in, and how often: limits by address and by network. How many at one time is for the places to say.
//!
//! Everything is counted in memory and forgotten after a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mail::Reply;
use net::patience::{Patience, Pressure};
use net::port_places::{Count, NoPlace, Place, Places, SeldomTold, Standing, Who};

use crate::config::DoorConfig;

/// Most addresses and networks that are counted at one time.
const COUNTED_MAX: usize = 100_000;
/// After so many seconds of silence a client is forgotten.
const MEMORY_SECONDS: u64 = 2 * 3600;
/// For so long a client with too many offences is turned away.
const BLOCK_SECONDS: u64 = 600;

/// The counters of all clients.
pub(crate) struct Door {
    config: DoorConfig,
    places: Arc<Places>,
    told: SeldomTold,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    seen: HashMap<Who, Seen>,
    /// When the table was last looked through: not more than once in a second, however full it is.
    swept: u64,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    connections: Leaking,
    errors: Leaking,
    unknown: Leaking,
    last: u64,
    blocked_until: u64,
}

/// A count that leaks away over a time.
#[derive(Debug, Clone, Copy, Default)]
struct Leaking {
    level: f64,
    at: u64,
}

impl Leaking {
    /// Adds one; gives the level. A full `most` leaks away in `seconds`. It rises to twice that and no further: who
    /// was too much for an hour is not shut out for days.
    fn add(&mut self, now: u64, most: u32, seconds: u64) -> f64 {
        let leaked = now.saturating_sub(self.at) as f64 * f64::from(most) / seconds as f64;
        self.level = ((self.level - leaked).max(0.0) + 1.0).min(2.0 * f64::from(most).max(1.0));
        self.at = now;
        self.level
    }
}

/// A client that is inside. Dropped, it has left.
pub(crate) struct Admission {
    door: Arc<Door>,
    place: Place,
}

impl Door {
    /// With these limits, before so many places.
    pub(crate) fn new(config: DoorConfig, sessions: usize) -> Arc<Self> {
        let places = Places::new(sessions, config.connections_per_address);
        Arc::new(Self { config, places, told: SeldomTold::default(), clients: Mutex::default() })
    }

    /// How full it is inside, for strangers.
    pub(crate) fn pressure(&self) -> Pressure {
        self.places.pressure(Standing::Stranger)
    }

    /// The number of places, and how many are taken.
    pub(crate) fn count(&self) -> Count {
        self.places.count()
    }

    /// Lets a client in, at `now` seconds.
    ///
    /// # Errors
    /// The 421 that turns it away.
    pub(crate) fn admit(
        self: &Arc<Self>,
        ip: IpAddr,
        standing: Standing,
        now: u64,
    ) -> Result<Admission, Reply> {
        self.knock(ip, now)?;
        let place = self.places.take(ip, standing).map_err(|none| match none {
            NoPlace::OneClient => turned_away("Too many connections at one time; close some"),
            NoPlace::Full => {
                if self.told.is_due(now) {
                    tracing::warn!(client = %ip, "all places are taken, and clients are turned away; see 'postern status' and [limits] sessions in edge.toml");
                }
                Reply::new(421, (4, 3, 2), "Too many sessions; try again later")
            }
        })?;
        Ok(Admission { door: Arc::clone(self), place })
    }

    /// Counts a client that wants to come in, and whether it may.
    fn knock(&self, ip: IpAddr, now: u64) -> Result<(), Reply> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Clients { seen, swept } = &mut *clients;
        if seen.len() >= COUNTED_MAX && *swept != now {
            *swept = now;
            seen.retain(|_, seen| now.saturating_sub(seen.last) < MEMORY_SECONDS);
        }
        // Who finds no room in the table is not counted: to turn it away would be worse.
        let full = seen.len() >= COUNTED_MAX;
        for (who, factor) in Who::both(ip) {
            if full && !seen.contains_key(&who) {
                continue;
            }
            let client = seen.entry(who).or_default();
            client.last = now;
            if client.blocked_until > now {
                return Err(turned_away("Too many errors from your address; try again later"));
            }
            let rate = self.config.connections_per_minute.saturating_mul(factor);
            if client.connections.add(now, rate, 60) > f64::from(rate) {
                return Err(turned_away("Too many connections in a short time; try again later"));
            }
        }
        Ok(())
    }

    fn offence(&self, ip: IpAddr, now: u64, most: u32, counter: impl Fn(&mut Seen) -> &mut Leaking) -> bool {
        let seen = &mut self.clients.lock().unwrap_or_else(PoisonError::into_inner).seen;
        let mut blocked = false;
        for (who, factor) in Who::both(ip) {
            let Some(client) = seen.get_mut(&who) else { continue };
            let most = most.saturating_mul(factor);
            if counter(client).add(now, most, 3600) > f64::from(most) {
                client.blocked_until = now + BLOCK_SECONDS;
                blocked = true;
            }
        }
        blocked
    }
}

fn turned_away(text: &str) -> Reply {
    Reply::new(421, (4, 7, 0), text)
}

impl Admission {
    /// Counts an error of the client. True when it has made too many: it is turned away for a while.
    pub(crate) fn error(&self, now: u64) -> bool {
        self.door.offence(self.place.ip(), now, self.door.config.errors_per_hour, |seen| &mut seen.errors)
    }

    /// Counts a recipient that does not exist. True when there were too many.
    pub(crate) fn unknown_recipient(&self, now: u64) -> bool {
        let most = self.door.config.unknown_recipients_per_hour;
        self.door.offence(self.place.ip(), now, most, |seen| &mut seen.unknown)
    }

    /// The client's address.
    pub(crate) const fn ip(&self) -> IpAddr {
        self.place.ip()
    }

    /// The client has delivered mail that was not unwanted.
    pub(crate) fn know(&mut self) {
        self.place.know();
    }

    /// How long the client is waited for, now.
    pub(crate) fn patience(&self) -> Patience {
        Patience::FULL.under(self.place.pressure())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Arc<Door> {
        let config = DoorConfig {
            connections_per_address: 2,
            connections_per_minute: 10,
            errors_per_hour: 3,
            unknown_recipients_per_hour: 2,
            ..DoorConfig::default()
        };
        Door::new(config, 2000)
    }

    impl Door {
        fn let_in(self: &Arc<Self>, address: IpAddr, now: u64) -> Result<Admission, Reply> {
            self.admit(address, Standing::Stranger, now)
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_its_network_four_times_as_many() {
        let door = door();
        let inside: Vec<Admission> = (0..2).map(|_| door.let_in(ip("192.0.2.1"), 0).ok().unwrap()).collect();
        assert_eq!(door.let_in(ip("192.0.2.1"), 0).err().unwrap().code, 421);
        let more: Vec<Admission> =
            (2..8).map(|host| door.let_in(ip(&format!("192.0.2.{host}")), 0).ok().unwrap()).collect();
        assert!(door.let_in(ip("192.0.2.9"), 0).is_err(), "eight in the network");
        assert!(door.let_in(ip("192.0.3.1"), 0).is_ok(), "another network");
        drop((inside, more));
        assert!(door.let_in(ip("::ffff:192.0.2.1"), 0).is_ok(), "all have left");
    }

    #[test]
    fn connections_in_a_minute_are_counted_and_leak_away() {
        let door = door();
        for _ in 0..10 {
            assert!(door.let_in(ip("2001:db8::1"), 5).is_ok());
        }
        assert!(door.let_in(ip("2001:db8::1"), 5).is_err());
        assert!(door.let_in(ip("2001:db8::2"), 5).is_ok(), "another address of the network");
        assert!(door.let_in(ip("2001:db8::1"), 25).is_ok());
    }

    /// Symptom: an address that had tried without a pause for an hour stayed out for weeks. Cause: each try that was
    /// turned away counted like the others, without an end.
    #[test]
    fn who_stops_trying_is_let_in_after_two_minutes_however_long_it_tried() {
        let door = door();
        for _ in 0..100_000 {
            drop(door.let_in(ip("192.0.2.1"), 5));
        }
        assert!(door.let_in(ip("192.0.2.1"), 6).is_err());
        assert!(door.let_in(ip("192.0.2.1"), 5 + 120).is_ok());
    }

    #[test]
    fn errors_and_unknown_recipients_block_for_a_while() {
        let door = door();
        let inside = door.let_in(ip("192.0.2.1"), 0).ok().unwrap();
        assert!(!inside.error(0) && !inside.error(0) && !inside.error(0));
        assert!(inside.error(0));
        assert!(door.let_in(ip("192.0.2.1"), BLOCK_SECONDS - 1).is_err());
        assert!(door.let_in(ip("192.0.2.1"), BLOCK_SECONDS).is_ok());
        let other = door.let_in(ip("198.51.100.1"), 0).ok().unwrap();
        assert!(!other.unknown_recipient(0) && !other.unknown_recipient(0));
        assert!(other.unknown_recipient(0));
        assert!(door.let_in(ip("198.51.100.2"), 1).is_ok(), "its network is not blocked yet");
    }

    #[test]
    fn the_table_is_bounded_and_a_full_one_turns_nobody_away() {
        let door = door();
        for client in 0..60_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + client * 256);
            drop(door.let_in(address.into(), 0));
        }
        assert!(door.clients.lock().unwrap().seen.len() <= COUNTED_MAX);
        assert!(door.let_in(ip("203.0.113.1"), 1).is_ok());
        assert!(door.let_in(ip("203.0.113.2"), MEMORY_SECONDS + 1).is_ok());
        assert!(door.clients.lock().unwrap().seen.len() < 10, "the silent are forgotten");
    }
}
