//! Who may have a handshake under way at the link's port.
//!
//! Whether somebody is a paired home shows only when its handshake is done, so none is refused for the number of
//! others: TCP and QUIC have places of their own, shared fairly among strangers (see [`crate::places`]), and whoever
//! comes from where a paired home was linked before has places that no stranger can take.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Transport;
use crate::places::{Place, Places, Remembered};

/// Handshakes of strangers that may be under way at one time, on each transport.
pub(super) const STRANGERS_MAX: usize = 96;
/// Handshakes from where a paired home was linked before, on each transport.
const KNOWN_MAX: usize = 32;
/// Handshakes of one source, on each transport.
pub(super) const PER_SOURCE_MAX: usize = 8;
/// Sources of paired homes that are remembered, in memory only: nothing on Edge's disk is to tell where Home is.
const REMEMBERED_MAX: usize = 64;
/// With so many handshakes under way a QUIC client has to show that it is where it says it is (RFC 9000 section 8.1).
pub(super) const CALM_MAX: usize = 8;
/// QUIC handshakes that one source may begin at once, and in each second after that. A connection that broke off keeps
/// its memory for some seconds, so the number at one time is no bound.
pub(super) const BEGUN_AT_ONCE: u32 = 8;
const BEGUN_PER_SECOND: f64 = 2.0;
/// Sources whose handshakes are counted at one time. Past it a source is not counted.
const COUNTED_MAX: usize = 4096;

/// What becomes of the first packet of a QUIC connection.
pub(super) enum Initial {
    /// The handshake begins.
    Begin(Admission),
    /// The client has to come again with a token, which proves its address.
    Retry,
    /// Nothing: it is not answered.
    Ignore,
}

/// A handshake that may go on, until [`Admission::gives_way`]. Dropped, its place is free.
pub(super) struct Admission {
    reception: Arc<Reception>,
    pool: Pool,
    place: Place,
    told: CancellationToken,
}

impl Admission {
    /// Waits until somebody else needs the place.
    pub(super) async fn gives_way(&self) {
        self.told.cancelled().await;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.reception.lock().pool(self.pool).leave(self.place);
    }
}

/// A number of places that are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pool {
    transport: Transport,
    known: bool,
}

/// The reception of all listeners of the link.
pub(super) struct Reception(Mutex<Desk>);

struct Desk {
    tcp: [Places<CancellationToken>; 2],
    quic: [Places<CancellationToken>; 2],
    known: Remembered,
    begun: HashMap<IpAddr, Begun>,
}

/// Handshakes that a source began lately: a level that leaks away.
#[derive(Debug, Clone, Copy)]
struct Begun {
    level: f64,
    at: Instant,
}

impl Begun {
    fn level_at(self, now: Instant) -> f64 {
        let leaked = now.saturating_duration_since(self.at).as_secs_f64() * BEGUN_PER_SECOND;
        (self.level - leaked).max(0.0)
    }
}

impl Reception {
    pub(super) fn new() -> Arc<Self> {
        let places = || [Places::new(STRANGERS_MAX, PER_SOURCE_MAX), Places::new(KNOWN_MAX, PER_SOURCE_MAX)];
        Arc::new(Self(Mutex::new(Desk {
            tcp: places(),
            quic: places(),
            known: Remembered::new(REMEMBERED_MAX),
            begun: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A paired home was linked from there.
    pub(super) fn remember(&self, source: IpAddr) {
        self.lock().known.remember(source);
    }

    /// Lets a handshake begin; another may have to give way.
    pub(super) fn admit(self: &Arc<Self>, transport: Transport, source: IpAddr) -> Admission {
        let mut desk = self.lock();
        let pool = Pool { transport, known: desk.known.knows(source) };
        let told = CancellationToken::new();
        let (place, leaving) = desk.pool(pool).enter(source, told.clone());
        drop(desk);
        if let Some(leaving) = leaving {
            leaving.cancel();
        }
        Admission { reception: Arc::clone(self), pool, place, told }
    }

    /// Judges the first packet of a QUIC connection. `validated` says whether the client has shown where it is.
    pub(super) fn initial(self: &Arc<Self>, source: IpAddr, validated: bool, now: Instant) -> Initial {
        let mut desk = self.lock();
        let known = desk.known.knows(source);
        if !validated && desk.is_busy(source, known) {
            return Initial::Retry;
        }
        // Who has not shown where it is can't be counted: it would count against somebody else.
        if validated && !known && !desk.may_begin(source, now) {
            return Initial::Ignore;
        }
        drop(desk);
        Initial::Begin(self.admit(Transport::Quic, source))
    }
}

impl Desk {
    fn pool(&mut self, pool: Pool) -> &mut Places<CancellationToken> {
        let [strangers, known] = match pool.transport {
            Transport::Tcp => &mut self.tcp,
            Transport::Quic => &mut self.quic,
        };
        if pool.known { known } else { strangers }
    }

    fn is_busy(&mut self, source: IpAddr, known: bool) -> bool {
        let pool = self.pool(Pool { transport: Transport::Quic, known });
        pool.len() >= CALM_MAX || pool.held_by(source) > 1
    }

    fn may_begin(&mut self, source: IpAddr, now: Instant) -> bool {
        if self.begun.len() >= COUNTED_MAX {
            self.begun.retain(|_, begun| begun.level_at(now) > 0.0);
        }
        if self.begun.len() >= COUNTED_MAX && !self.begun.contains_key(&source) {
            return true;
        }
        let begun = self.begun.entry(source).or_insert(Begun { level: 0.0, at: now });
        let level = begun.level_at(now) + 1.0;
        let may = level <= f64::from(BEGUN_AT_ONCE);
        *begun = Begun { level: if may { level } else { level - 1.0 }, at: now };
        may
    }
}

/// How long a handshake may take. Home has its part of it ready when the connection is there.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn begins(initial: Initial) -> Option<Admission> {
        match initial {
            Initial::Begin(admission) => Some(admission),
            Initial::Retry | Initial::Ignore => None,
        }
    }

    #[tokio::test]
    async fn with_few_handshakes_nobody_is_asked_and_with_one_more_all_are() {
        let reception = Reception::new();
        let now = Instant::now();
        let quick = u8::try_from(CALM_MAX).unwrap();
        let held: Vec<_> = (0..quick).map(|n| begins(reception.initial(source(n), false, now))).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(matches!(reception.initial(source(99), false, now), Initial::Retry));
        assert!(begins(reception.initial(source(99), true, now)).is_some());
        drop(held);
        assert!(begins(reception.initial(source(99), false, now)).is_some());
    }

    #[tokio::test]
    async fn a_source_begins_so_many_quic_handshakes_at_once_and_then_two_a_second() {
        let reception = Reception::new();
        let now = Instant::now();
        let mut begun = 0;
        for _ in 0..100 {
            begun += u32::from(begins(reception.initial(source(1), true, now)).is_some());
        }
        assert_eq!(begun, BEGUN_AT_ONCE);
        let later = now + Duration::from_secs(1);
        let again = (0..9).filter(|_| begins(reception.initial(source(1), true, later)).is_some()).count();
        assert_eq!(again, 2);
        assert!(
            begins(reception.initial(source(2), true, later)).is_some(),
            "others are not counted with it"
        );
    }

    #[tokio::test]
    async fn a_flood_of_strangers_takes_no_place_from_where_a_home_was_linked_before() {
        let reception = Reception::new();
        let now = Instant::now();
        reception.remember(source(200));
        let of_home = reception.admit(Transport::Tcp, source(200));
        let mut crowd = Vec::new();
        for n in 0..200 {
            for _ in 0..20 {
                crowd.push(reception.admit(Transport::Tcp, source(n)));
                crowd.extend(begins(reception.initial(source(n), true, now)));
            }
        }
        assert!(!of_home.told.is_cancelled());
        assert!(begins(reception.initial(source(200), false, now)).is_some(), "it is asked for no token");
        let staying = crowd.iter().filter(|admission| !admission.told.is_cancelled()).count();
        assert_eq!(staying, 2 * STRANGERS_MAX);
    }

    #[tokio::test]
    async fn tcp_takes_no_place_of_quic() {
        let reception = Reception::new();
        let crowd: Vec<_> = (0..250).map(|n| reception.admit(Transport::Tcp, source(n))).collect();
        assert!(begins(reception.initial(source(251), false, Instant::now())).is_some());
        drop(crowd);
        assert!(reception.lock().tcp.iter().all(Places::is_empty), "places are given back");
    }
}
