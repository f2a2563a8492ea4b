//! Room for attempts: the destinations, shared by all rounds, and who is told when there is room again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use mail::{Domain, Outcome, UnixTime};
use tokio::sync::mpsc;

use super::destinations::{Destinations, Entry, Sign};
use crate::settings::Settings;

/// There is, or will be, room for so many attempts to a domain.
#[derive(Debug)]
pub(super) struct Freed {
    pub(super) domain: Domain,
    pub(super) at: UnixTime,
    pub(super) count: usize,
}

/// A domain has no room for an attempt now.
pub(super) struct Full;

/// All destinations. Cloning shares them.
#[derive(Clone)]
pub(super) struct Rooms(Arc<Inner>);

struct Inner {
    destinations: Mutex<Destinations>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    freed: mpsc::UnboundedSender<Freed>,
}

impl Rooms {
    pub(super) fn new(settings: Settings, clock: Arc<dyn Clock>) -> (Self, mpsc::UnboundedReceiver<Freed>) {
        // Bounded by the rooms, of which there is one an attempt under way: each says once that it is free.
        let (freed, receiver) = mpsc::unbounded_channel();
        let destinations = Mutex::new(Destinations::new(settings.per_domain));
        (Self(Arc::new(Inner { destinations, settings, clock, freed })), receiver)
    }

    fn destinations(&self) -> MutexGuard<'_, Destinations> {
        self.0.destinations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one attempt.
    ///
    /// # Errors
    /// There is none now.
    pub(super) fn enter(&self, domain: &Domain) -> Result<Room, Full> {
        match self.destinations().enter(domain, self.0.clock.now()) {
            Entry::Go => Ok(Room { rooms: self.clone(), domain: domain.clone(), sign: None }),
            Entry::Full | Entry::Rests(_) => Err(Full),
        }
    }

    /// When there is room, and for how many.
    pub(super) fn next(&self, domain: &Domain) -> Freed {
        let (at, count) = self.destinations().next(domain, self.0.clock.now());
        Freed { domain: domain.clone(), at, count }
    }

    /// The outcome for which a domain rests.
    pub(super) fn why(&self, domain: &Domain) -> Option<Outcome> {
        self.destinations().why(domain)
    }

    /// The operator wants everything tried now.
    pub(super) fn wake_all(&self) {
        self.destinations().wake_all();
    }
}

/// Room that an attempt takes up until this is dropped.
pub(super) struct Room {
    rooms: Rooms,
    domain: Domain,
    sign: Option<(Sign, Outcome)>,
}

impl Room {
    /// Notes the outcomes of the attempt; they count when this is dropped.
    pub(super) fn learn(&mut self, outcomes: &[Outcome]) {
        self.sign = Sign::of(outcomes).zip(outcomes.first().cloned());
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let (settings, clock) = (&self.rooms.0.settings, &self.rooms.0.clock);
        let wait = |failures| Duration::from_micros(settings.backoff(failures, clock.random_u64()));
        let now = clock.now();
        let (at, count) = self.rooms.destinations().leave(&self.domain, self.sign.take(), now, wait);
        // Fails when the dispatcher has ended.
        let _ = self.rooms.0.freed.send(Freed { domain: self.domain.clone(), at, count });
    }
}
