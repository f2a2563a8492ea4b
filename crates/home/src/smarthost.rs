//! The smarthost: one MTA that carries out the attempts of the dispatcher, by SMTP within TLS.
//!
//! An attempt is carried out once and its outcomes are told at once; nothing is kept here. What was under way when
//! Home stopped is not known afterwards, and the dispatcher tries it again.

mod connections;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content::Content;
use daemon::clock::Clock;
use daemon::problem::Problem;
use link::{Attempt, AttemptState, Outcomes};
use mail::ItemId;
use net::contents::Source;
use outbound::{CarrierEvent, CarrierName};
use smtp::client::{Quorum, Transaction};
use tlspolicy::report::Results;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};

use self::connections::Connections;
use crate::config::SmarthostConfig;

/// The connections to the smarthost. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Smarthost(Arc<Inner>);

struct Inner {
    /// Its address, which is its name in queue and trace.
    name: CarrierName,
    connections: Connections,
    /// One permit for each connection.
    slots: Semaphore,
    running: Mutex<HashSet<ItemId>>,
    events: mpsc::Sender<CarrierEvent>,
}

impl Smarthost {
    /// Reads certificates and passwords. `ehlo_name` is what Home calls itself; outcomes go to `events`.
    pub(crate) fn open(
        config: &SmarthostConfig,
        ehlo_name: String,
        events: mpsc::Sender<CarrierEvent>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Problem> {
        Ok(Self(Arc::new(Inner {
            name: CarrierName::smarthost(&config.address),
            connections: Connections::new(config, ehlo_name, clock)?,
            slots: Semaphore::new(config.connections),
            running: Mutex::default(),
            events,
        })))
    }

    fn running(&self) -> MutexGuard<'_, HashSet<ItemId>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its address: its name in queue and trace.
    pub(crate) fn name(&self) -> &CarrierName {
        &self.0.name
    }

    /// Carries out an attempt, and tells what came of it.
    pub(crate) fn begin(&self, attempt: Attempt, content: Content) {
        let (smarthost, id) = (self.clone(), attempt.attempt);
        self.running().insert(id);
        tokio::spawn(async move {
            let outcomes = smarthost.carry_out(attempt, content).await;
            smarthost.running().remove(&id);
            let outcomes = Outcomes { attempt: id, outcomes, tls: Results::default() };
            smarthost.tell(CarrierEvent::Outcomes { carrier: smarthost.0.name.clone(), outcomes }).await;
        });
    }

    async fn carry_out(&self, attempt: Attempt, content: Content) -> Vec<mail::Outcome> {
        // The semaphore is never closed.
        let _slot = self.0.slots.acquire().await;
        let (octets, has_8bit, needs_smtputf8) =
            (attempt.octets, attempt.eight_bit, attempt.needs_smtputf8());
        let transaction = Transaction {
            recipients: attempt.envelope.recipients.clone(),
            envelope: Arc::new(attempt.envelope),
            octets,
            has_8bit,
            needs_smtputf8,
            quorum: Quorum::One,
        };
        self.0.connections.send(transaction, Source::new(content, 0)).await
    }

    async fn tell(&self, event: CarrierEvent) {
        // The dispatcher is gone only when Home stops.
        let _ = self.0.events.send(event).await;
    }

    /// Tells whether an attempt is under way.
    pub(crate) fn ask(&self, attempt: ItemId) {
        let is_running = self.running().contains(&attempt);
        let state = if is_running { AttemptState::Running } else { AttemptState::Unknown };
        told(&self.0.events, CarrierEvent::Known { carrier: self.0.name.clone(), attempt, state });
    }
}

/// Tells the dispatcher, now or once there is room: it does not ask twice, and may be who asks.
pub(crate) fn told(events: &mpsc::Sender<CarrierEvent>, event: CarrierEvent) {
    // It is gone only when Home stops.
    if let Err(TrySendError::Full(event)) = events.try_send(event) {
        let events = events.clone();
        tokio::spawn(async move { events.send(event).await });
    }
}
