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

/// Handshakes of strangers that may be under way at one time, on TCP, where a silent one costs a socket.
pub(super) const TCP_STRANGERS_MAX: usize = 96;
/// The same on QUIC, where each costs some 40 KiB.
pub(super) const QUIC_STRANGERS_MAX: usize = 48;
/// QUIC connections of strangers that a listener may have in any state. One that was closed stays for some seconds
/// (RFC 9000 section 10.2), so that those under way are not all.
pub(super) const OPEN_MAX: usize = 64;
/// As many more, for sources that began none lately.
pub(super) const OPEN_SPARE: usize = 32;
/// Handshakes from where a paired home was linked before, on each transport.
const KNOWN_MAX: usize = 32;
/// Handshakes of one source, on each transport.
pub(super) const PER_SOURCE_MAX: usize = 8;
/// Sources of paired homes that are remembered, in memory only: nothing on Edge's disk is to tell where Home is.
const REMEMBERED_MAX: usize = 64;
/// With so many handshakes under way a QUIC client has to show that it is where it says it is (RFC 9000 section 8.1).
pub(super) const CALM_MAX: usize = 8;
/// QUIC handshakes that one source may begin at once, and in each second after that.
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
    /// Shared by the links of paired homes.
    links: Arc<()>,
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
        let places = |strangers| [strangers, KNOWN_MAX].map(|capacity| Places::new(capacity, PER_SOURCE_MAX));
        Arc::new(Self(Mutex::new(Desk {
            tcp: places(TCP_STRANGERS_MAX),
            quic: places(QUIC_STRANGERS_MAX),
            known: Remembered::new(REMEMBERED_MAX),
            links: Arc::default(),
            begun: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A paired home is linked from there, as long as what is given is held.
    pub(super) fn remember(&self, source: IpAddr) -> Arc<()> {
        let mut desk = self.lock();
        desk.known.remember(source);
        Arc::clone(&desk.links)
    }

    /// Links of paired homes, on both transports.
    pub(super) fn trusted(&self) -> usize {
        Arc::strong_count(&self.lock().links) - 1
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

    /// Judges the first packet of a QUIC connection.
    pub(super) fn initial(self: &Arc<Self>, first: FirstPacket, now: Instant) -> Initial {
        let mut desk = self.lock();
        let known = desk.known.knows(first.source);
        if !first.validated && desk.is_busy(first, known) {
            return Initial::Retry;
        }
        // Who has not shown where it is can't be counted: it would count against somebody else.
        if first.validated && !known && !desk.may_begin(first, now) {
            return Initial::Ignore;
        }
        drop(desk);
        Initial::Begin(self.admit(Transport::Quic, first.source))
    }
}

/// What is known of a QUIC connection at its first packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstPacket {
    pub source: IpAddr,
    /// Whether the client has shown that it is there.
    pub validated: bool,
    /// Connections of strangers that the listener has, in whatever state.
    pub open: usize,
}

impl Desk {
    fn pool(&mut self, pool: Pool) -> &mut Places<CancellationToken> {
        let [strangers, known] = match pool.transport {
            Transport::Tcp => &mut self.tcp,
            Transport::Quic => &mut self.quic,
        };
        if pool.known { known } else { strangers }
    }

    fn is_busy(&mut self, first: FirstPacket, known: bool) -> bool {
        let pool = self.pool(Pool { transport: Transport::Quic, known });
        pool.len() >= CALM_MAX || pool.held_by(first.source) > 1 || (!known && first.open >= OPEN_MAX)
    }

    fn may_begin(&mut self, first: FirstPacket, now: Instant) -> bool {
        if self.begun.len() >= COUNTED_MAX {
            self.begun.retain(|_, begun| begun.level_at(now) > 0.0);
        }
        if self.begun.len() >= COUNTED_MAX && !self.begun.contains_key(&first.source) {
            return first.open < OPEN_MAX;
        }
        let begun = self.begun.entry(first.source).or_insert(Begun { level: 0.0, at: now });
        let level = begun.level_at(now);
        let room = if level > 0.0 { OPEN_MAX } else { OPEN_MAX + OPEN_SPARE };
        let may = level + 1.0 <= f64::from(BEGUN_AT_ONCE) && first.open < room;
        *begun = Begun { level: if may { level + 1.0 } else { level }, at: now };
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

    fn first(n: u8, validated: bool) -> FirstPacket {
        FirstPacket { source: source(n), validated, open: 0 }
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
        let held: Vec<_> = (0..quick).map(|n| begins(reception.initial(first(n, false), now))).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(matches!(reception.initial(first(99, false), now), Initial::Retry));
        assert!(begins(reception.initial(first(99, true), now)).is_some());
        drop(held);
        assert!(begins(reception.initial(first(99, false), now)).is_some());
    }

    #[tokio::test]
    async fn a_source_begins_so_many_quic_handshakes_at_once_and_then_two_a_second() {
        let reception = Reception::new();
        let now = Instant::now();
        let mut begun = 0;
        for _ in 0..100 {
            begun += u32::from(begins(reception.initial(first(1, true), now)).is_some());
        }
        assert_eq!(begun, BEGUN_AT_ONCE);
        let later = now + Duration::from_secs(1);
        let again = (0..9).filter(|_| begins(reception.initial(first(1, true), later)).is_some()).count();
        assert_eq!(again, 2);
        assert!(begins(reception.initial(first(2, true), later)).is_some(), "others are not counted with it");
    }

    #[tokio::test]
    async fn as_many_connections_as_may_be_open_are_and_one_more_only_of_who_began_none_lately() {
        let reception = Reception::new();
        let now = Instant::now();
        let at = |n, open| begins(reception.initial(FirstPacket { open, ..first(n, true) }, now)).is_some();
        assert!(at(1, OPEN_MAX - 1) && !at(1, OPEN_MAX));
        assert!(at(2, OPEN_MAX + OPEN_SPARE - 1) && !at(3, OPEN_MAX + OPEN_SPARE));
        assert!(!at(2, OPEN_MAX), "it is no newcomer any more");
        reception.remember(source(4));
        assert!(at(4, OPEN_MAX + OPEN_SPARE), "where a home was linked before");
        let unproved = FirstPacket { open: OPEN_MAX, ..first(5, false) };
        assert!(matches!(reception.initial(unproved, now), Initial::Retry));
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
                crowd.extend(begins(reception.initial(first(n, true), now)));
            }
        }
        assert!(!of_home.told.is_cancelled());
        assert!(begins(reception.initial(first(200, false), now)).is_some(), "it is asked for no token");
        let staying = crowd.iter().filter(|admission| !admission.told.is_cancelled()).count();
        assert_eq!(staying, TCP_STRANGERS_MAX + QUIC_STRANGERS_MAX);
    }

    #[tokio::test]
    async fn tcp_takes_no_place_of_quic() {
        let reception = Reception::new();
        let crowd: Vec<_> = (0..250).map(|n| reception.admit(Transport::Tcp, source(n))).collect();
        assert!(begins(reception.initial(first(251, false), Instant::now())).is_some());
        drop(crowd);
        assert!(reception.lock().tcp.iter().all(Places::is_empty), "places are given back");
    }
}
