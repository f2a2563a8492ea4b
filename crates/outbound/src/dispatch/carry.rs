//! One item under way: one round of attempts, from the moment it is due until it is settled or rests again.
//!
//! A task per item, so that the records of many items become durable in the same batches. The order is what
//! matters here: an attempt is recorded before it is ordered, an outcome is recorded before Edge may forget
//! it, a report is committed before the original is removed. A crash between any two steps only repeats one.

mod conclude;
mod left_over;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use link::{AttemptState, Outcomes, TraceStep};
use mail::{Domain, EnhancedCode, ItemId, Outcome, UnixTime, Why};
use tlspolicy::report::Results;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use self::left_over::LeftOver;
use super::Shared;
use super::destinations::Sign;
use super::room::Room;
use super::schedule::Rest;
use crate::carriers::{CarrierName, Carriers};
use crate::house::{House, Leaving};
use crate::items::ItemsError;
use crate::queue::{QueueError, QueueState, RunningAttempt, Turn, readdressed};
use crate::reporter::Reporter;
use crate::settings::micros;

/// How long a round that goes on leaves a domain without room alone.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// A note to the round of an item that is under way.
#[derive(Debug)]
pub(super) enum Note {
    /// A link came up.
    Up(CarrierName),
    /// A link went down.
    Down(CarrierName),
    /// An edge tells what came of an attempt.
    Outcomes { carrier: CarrierName, outcomes: Outcomes },
    /// An edge answers a question.
    Known { carrier: CarrierName, attempt: ItemId, state: AttemptState },
    /// There is room for what had no attempt yet; the rest is not due.
    Room,
    /// The operator keeps the item back, or lets it go.
    Hold(bool, oneshot::Sender<Result<(), QueueError>>),
}

/// The end of a round.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The item is not in the queue any more.
    Gone,
    /// It rests, and has its turn like this afterwards.
    Rests(Rest, Turn),
}

/// The state of the recipients abroad when attempts have been begun.
enum Abroad {
    /// Everything had its attempt.
    Tried,
    /// No edge is up for the rest.
    NoEdge,
}

pub(super) struct Round<C, H, R> {
    shared: Arc<Shared<C, H, R>>,
    state: QueueState,
    notes: mpsc::Receiver<Note>,
    /// The slot that the round began with, until an attempt takes it.
    slot: Option<OwnedSemaphorePermit>,
    /// The slots of attempts whose link is up, and their room at the domain.
    slots: HashMap<ItemId, (OwnedSemaphorePermit, Room)>,
    /// Running attempts whose edge has to be asked.
    in_doubt: HashSet<ItemId>,
    /// Domains that had their attempt in this round.
    tried: HashSet<Domain>,
    /// Recipients of such domains that had none.
    left_over: LeftOver,
    /// Whether it comes before its time, for recipients that had no attempt yet.
    early: bool,
    /// Domains that have no room for an attempt now.
    full: HashSet<Domain>,
    /// When the edge may send more: it is new and has had its share of today.
    cold: Option<UnixTime>,
    /// Edges that took no order, until their link comes up again.
    deaf: HashSet<CarrierName>,
    /// Whether the state says more than its record.
    unsaved: bool,
    /// Attempts whose outcomes are not in the record yet.
    unrecorded: Vec<Unrecorded>,
}

/// An attempt that is over, of which the record does not say so yet: its carrier has to keep the outcomes.
struct Unrecorded {
    carrier: CarrierName,
    attempt: ItemId,
    domain: Option<Domain>,
    tls: Results,
}

/// Carries an item through one round, which reads its record unless that is `fresh`. `slot` is missing for an item
/// that is in doubt at start.
pub(super) async fn carry<C: Carriers, H: House, R: Reporter>(
    shared: Arc<Shared<C, H, R>>,
    item: ItemId,
    fresh: Option<Box<QueueState>>,
    slot: Option<OwnedSemaphorePermit>,
    notes: mpsc::Receiver<Note>,
) -> Ending {
    let state = match fresh {
        Some(state) => Ok(*state),
        None => shared.queue.show(item).await,
    };
    match state {
        Ok(state) => Box::pin(Round::new(shared, state, slot, notes).run()).await,
        Err(QueueError::Items(ItemsError::NoItem(_))) => Ending::Gone,
        Err(error) => {
            tracing::error!(%item, %error, "a queued message can't be read; it is tried again");
            Ending::Rests(Rest::Until(shared.after_pause()), Turn::Patient)
        }
    }
}

impl<C: Carriers, H: House, R: Reporter> Round<C, H, R> {
    fn new(
        shared: Arc<Shared<C, H, R>>,
        state: QueueState,
        slot: Option<OwnedSemaphorePermit>,
        notes: mpsc::Receiver<Note>,
    ) -> Self {
        let in_doubt = state.running.iter().map(|running| running.attempt).collect();
        Self {
            shared,
            state,
            notes,
            slot,
            slots: HashMap::new(),
            in_doubt,
            tried: HashSet::new(),
            left_over: LeftOver::default(),
            early: false,
            full: HashSet::new(),
            cold: None,
            deaf: HashSet::new(),
            unsaved: false,
            unrecorded: Vec::new(),
        }
    }

    async fn run(mut self) -> Ending {
        for running in &self.state.running {
            self.shared.owners().insert(running.attempt, self.state.item);
            self.tried.extend(self.domain_of(running));
            self.shared.carriers.ask(&running.carrier, running.attempt);
        }
        // What the operator wants comes before anything is tried.
        while let Ok(note) = self.notes.try_recv() {
            self.handle_note(note).await;
        }
        self.deliver_here().await;
        match self.deliver_abroad().await {
            Ok(abroad) => self.conclude(&abroad).await,
            Err(error) => self.rest_a_while("record an attempt", &error),
        }
    }

    fn domain_of(&self, running: &RunningAttempt) -> Option<Domain> {
        let queued = running.recipients.first().and_then(|place| self.state.recipients.get(*place));
        queued.map(|queued| queued.recipient.address.domain().clone())
    }

    /// Recipients of domains that are ours: straight into their mailboxes.
    async fn deliver_here(&mut self) {
        if self.state.held {
            return;
        }
        let waiting = self.state.waiting_by_domain();
        let here: Vec<usize> = waiting
            .into_iter()
            .filter(|(domain, _)| self.shared.house.is_local(domain))
            .flat_map(|(_, places)| places)
            .collect();
        if here.is_empty() {
            return;
        }
        let (mut places, mut recipients) = (Vec::new(), Vec::new());
        for place in here {
            let Some(queued) = self.state.recipients.get(place) else { continue };
            let recipient = queued.recipient.clone();
            match self.shared.house.resolve(&recipient.address, self.state.submitted) {
                None => {
                    let none = Outcome::failed(EnhancedCode(5, 1, 1), "there is no such address here");
                    self.settle(place, none, "here");
                }
                Some(reached) => {
                    // The message is its sender's own: it goes on under his reverse-path, with nothing changed.
                    let outside = reached.outside.iter().map(|to| readdressed(&recipient, to));
                    self.state.add_recipients(outside);
                    if reached.accounts.is_empty() {
                        self.settle(place, handed_on(), "here");
                    } else {
                        places.push(place);
                        recipients.push((recipient.address, reached.accounts));
                    }
                }
            }
        }
        if places.is_empty() {
            return;
        }
        let outcomes = match self.leaving() {
            Ok(message) => self.shared.house.deliver(message, recipients).await,
            Err(error) => vec![Outcome::deferred(EnhancedCode(4, 3, 0), error.to_string()); places.len()],
        };
        for (place, outcome) in places.into_iter().zip(outcomes) {
            self.settle(place, outcome, "here");
        }
    }

    fn leaving(&self) -> Result<Leaving, QueueError> {
        let (item, reverse_path) = (self.state.item, self.state.envelope.reverse_path.clone());
        Ok(Leaving { item, reverse_path, content: self.shared.queue.content(item)? })
    }

    /// Orders an attempt per domain, as slots and edges allow, and waits until none is running.
    async fn deliver_abroad(&mut self) -> Result<Abroad, QueueError> {
        let mut again = None;
        loop {
            let wanted = self.domains_to_try();
            let edge = self.edge(&wanted);
            if self.state.running.is_empty() {
                match (wanted.is_empty(), &edge) {
                    (true, _) => return Ok(Abroad::Tried),
                    (false, None) => return Ok(Abroad::NoEdge),
                    (false, Some(_)) => {}
                }
            }
            let edge = edge.filter(|_| !wanted.is_empty());
            if self.slot.is_some()
                && let Some(edge) = &edge
            {
                self.begin(edge, wanted).await?;
                continue;
            }
            // A round that only waits leaves its slot to others.
            self.slot = None;
            again = again.or_else(|| self.next_try());
            let full = !self.full.is_empty();
            let gone = self.gone_at();
            let slots = Arc::clone(&self.shared.slots);
            tokio::select! {
                note = self.notes.recv() => match note {
                    Some(note) => self.handle_note(note).await,
                    None => return Ok(Abroad::NoEdge),
                },
                slot = slots.acquire_owned(), if edge.is_some() => self.slot = slot.ok(),
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    again = None;
                    self.try_again().await;
                }
                // A slow domain must not keep the others waiting.
                () = tokio::time::sleep(FULL_PAUSE), if full => self.full.clear(),
                () = tokio::time::sleep(gone.unwrap_or_default()), if gone.is_some() => {
                    self.give_up_on_gone_edges(self.shared.settings.edge_gone);
                }
            }
        }
    }

    /// How long until an attempt in doubt is not waited for any longer.
    fn gone_at(&self) -> Option<Duration> {
        if self.in_doubt.is_empty() {
            return None;
        }
        let up = self.shared.carriers.up();
        let gone = self.state.running.iter().filter(|running| self.in_doubt.contains(&running.attempt));
        let first =
            gone.filter(|running| !up.contains(&running.carrier)).map(|running| running.started).min()?;
        let at = first.0.saturating_add(micros(self.shared.settings.edge_gone));
        Some(Duration::from_micros(at.saturating_sub(self.shared.clock.now().0)))
    }

    /// Gives up the attempts in doubt whose edge is away and that are at least this old: their recipients are
    /// tried again, and may get the message twice.
    fn give_up_on_gone_edges(&mut self, age: Duration) {
        let (up, now) = (self.shared.carriers.up(), self.shared.clock.now());
        let old = |started: UnixTime| now.0.saturating_sub(started.0) >= micros(age);
        let running = self.state.running.iter().filter(|running| self.in_doubt.contains(&running.attempt));
        let gone = running.filter(|running| !up.contains(&running.carrier) && old(running.started));
        let gone: Vec<(ItemId, CarrierName)> =
            gone.map(|running| (running.attempt, running.carrier.clone())).collect();
        for (attempt, edge) in gone {
            if let Some(running) = self.forget(attempt)
                && let Some(domain) = self.domain_of(&running)
            {
                let detail =
                    format!("attempt {attempt} for {domain}: {edge} is away too long; it may have delivered");
                self.trace(TraceStep::GivenUp, detail);
                self.tried.remove(&domain);
            }
        }
    }

    /// When the recipients that had their attempt are tried again although the round is not over: an attempt
    /// in doubt may keep it open for days.
    fn next_try(&self) -> Option<Instant> {
        let all_in_doubt = self.state.running.iter().all(|running| self.in_doubt.contains(&running.attempt));
        let tried = self
            .state
            .waiting_by_domain()
            .into_keys()
            .any(|domain| self.tried.contains(&domain) || self.shared.house.is_local(&domain));
        (all_in_doubt && tried).then(|| Instant::now() + Duration::from_micros(self.backoff()))
    }

    async fn try_again(&mut self) {
        self.tried = self.state.running.iter().filter_map(|running| self.domain_of(running)).collect();
        self.deliver_here().await;
    }

    fn backoff(&self) -> u64 {
        self.shared.settings.backoff(self.state.attempts_max(), self.shared.clock.random_u64())
    }

    fn edge(&self, wanted: &[(Domain, Vec<usize>)]) -> Option<CarrierName> {
        let up = match wanted {
            [(domain, _)] => self.shared.carriers.up_for(domain),
            _ => self.shared.carriers.up(),
        };
        let up = self.shared.health().order(up, self.shared.clock.now());
        up.into_iter().find(|edge| !self.deaf.contains(edge))
    }

    /// Records attempts for as many domains as there are slots, then orders them.
    async fn begin(
        &mut self,
        edge: &CarrierName,
        wanted: Vec<(Domain, Vec<usize>)>,
    ) -> Result<(), QueueError> {
        let mut begun = Vec::new();
        for (domain, recipients) in wanted {
            let slot = self.slot.take().or_else(|| Arc::clone(&self.shared.slots).try_acquire_owned().ok());
            let Some(slot) = slot else { break };
            let Ok(room) = self.shared.rooms.enter(&domain) else {
                self.full.insert(domain);
                self.slot = Some(slot);
                continue;
            };
            // Last, for it counts what is sent.
            if let Err(until) = self.shared.warm_up.take(
                edge.as_str(),
                recipients.len(),
                self.shared.clock.now(),
                self.shared.clock.random_u64(),
            ) {
                self.cold = Some(until);
                self.full.insert(domain);
                self.slot = Some(slot);
                continue;
            }
            let attempt = self.shared.clock.new_item_id();
            self.state.running.push(RunningAttempt {
                attempt,
                carrier: edge.clone(),
                recipients,
                started: self.shared.clock.now(),
            });
            self.slots.insert(attempt, (slot, room));
            begun.push((attempt, domain));
        }
        if begun.is_empty() {
            return Ok(());
        }
        self.shared.queue.update(&self.state).await?;
        self.unsaved = false;
        for (attempt, domain) in begun {
            if self.order(edge, attempt, &domain)? {
                self.left_over.forget(&domain);
                self.tried.insert(domain);
            } else {
                self.deaf.insert(edge.clone());
                self.forget(attempt);
            }
        }
        Ok(())
    }

    /// Tells the edge. `false`: its link is down, nothing has left.
    fn order(&self, edge: &CarrierName, attempt: ItemId, domain: &Domain) -> Result<bool, QueueError> {
        let item = self.state.item;
        let content = self.shared.queue.content(item)?;
        let running = self.state.running.iter().find(|running| running.attempt == attempt);
        let places = running.map(|running| running.recipients.as_slice()).unwrap_or_default();
        let mut envelope = self.state.envelope_for(places);
        // Here and not when it was handed in: the tag's days begin with the attempt.
        if self.state.forwarded.is_none() {
            envelope.reverse_path = (self.shared.sign)(envelope.reverse_path);
        }
        let order = link::Attempt {
            attempt,
            item,
            domain: domain.clone(),
            envelope,
            octets: self.state.octets,
            eight_bit: self.state.eight_bit,
            utf8_header: self.state.utf8_header,
            tls_optional: self.state.tls_optional,
        };
        self.shared.owners().insert(attempt, item);
        let started = self.shared.carriers.start(edge, order, content);
        if started {
            self.trace(TraceStep::Attempted, format!("{domain} by {edge}, attempt {attempt}"));
        }
        Ok(started)
    }

    /// An attempt that nobody carries out. Its recipients wait as if it had not been.
    fn forget(&mut self, attempt: ItemId) -> Option<RunningAttempt> {
        self.shared.owners().remove(&attempt);
        self.slots.remove(&attempt);
        self.in_doubt.remove(&attempt);
        self.unsaved = true;
        self.state.take_running(attempt)
    }

    async fn handle_note(&mut self, note: Note) {
        match note {
            Note::Up(edge) => {
                self.deaf.remove(&edge);
                let in_doubt = self.running_on(&edge).filter(|attempt| self.in_doubt.contains(attempt));
                in_doubt.for_each(|attempt| {
                    // A link that is down again comes up once more.
                    self.shared.carriers.ask(&edge, attempt);
                });
            }
            Note::Down(edge) => {
                let lost: Vec<ItemId> = self.running_on(&edge).collect();
                for attempt in lost {
                    self.slots.remove(&attempt);
                    self.in_doubt.insert(attempt);
                }
            }
            Note::Outcomes { carrier, outcomes } => self.handle_outcomes(&carrier, outcomes).await,
            Note::Known { carrier, attempt, state } => self.handle_known(&carrier, attempt, state),
            Note::Room => {
                self.early = self.shared.clock.now() < self.state.next_due;
                if self.early {
                    self.tried.extend(self.state.tried_domains());
                }
            }
            Note::Hold(held, answer) => {
                self.state.held = held;
                if !held {
                    self.give_up_on_gone_edges(Duration::ZERO);
                }
                let saved = self.shared.queue.update(&self.state).await;
                self.trace(
                    if held { TraceStep::Held } else { TraceStep::Released },
                    "by the operator".to_owned(),
                );
                // Who asked may have gone.
                let _ = answer.send(saved.map(drop));
            }
        }
    }

    fn running_on(&self, edge: &CarrierName) -> impl Iterator<Item = ItemId> {
        let running = self.state.running.iter().filter(move |running| running.carrier == *edge);
        running.map(|running| running.attempt).collect::<Vec<_>>().into_iter()
    }

    async fn handle_outcomes(&mut self, edge: &CarrierName, outcomes: Outcomes) {
        let attempt = outcomes.attempt;
        let running = self.state.running.iter().find(|running| running.attempt == attempt);
        if running.is_some_and(|running| running.carrier != *edge) {
            tracing::warn!(%edge, %attempt, "an edge told outcomes of another edge's attempt; they are ignored");
            return;
        }
        if let Some(running) = self.state.take_running(attempt) {
            if let Some(sign) = Sign::of(&outcomes.outcomes) {
                self.shared.health().learn(edge, sign, self.shared.clock.now());
            }
            if let Some((_slot, room)) = &mut self.slots.remove(&attempt) {
                room.learn(&outcomes.outcomes);
            }
            self.in_doubt.remove(&attempt);
            let domain = self.domain_of(&running);
            self.settle_all(edge, &running, &outcomes);
            let (carrier, tls) = (edge.clone(), outcomes.tls);
            self.unrecorded.push(Unrecorded { carrier, attempt, domain, tls });
            // What ends the message, and owes nobody a word, is recorded by its removal.
            if !self.is_over() {
                self.save_in_the_end().await;
            }
            return;
        }
        self.shared.carriers.settled(edge, attempt);
    }

    /// Whether all that is left is to remove the message.
    fn is_over(&self) -> bool {
        self.state.is_settled() && self.state.running.is_empty() && !self.shared.reporter.owes(&self.state)
    }

    /// The outcomes are on the disk, or the message is gone from it: carriers may forget them.
    fn recorded(&mut self) {
        self.unsaved = false;
        for Unrecorded { carrier, attempt, domain, tls } in self.unrecorded.drain(..) {
            if let Some(domain) = domain {
                (self.shared.count_tls)(&domain, tls);
            }
            self.shared.owners().remove(&attempt);
            self.shared.carriers.settled(&carrier, attempt);
        }
    }

    fn handle_known(&mut self, edge: &CarrierName, attempt: ItemId, known: AttemptState) {
        let asked =
            self.in_doubt.contains(&attempt) && self.running_on(edge).any(|running| running == attempt);
        if !asked {
            return;
        }
        match known {
            AttemptState::Running => {
                self.in_doubt.remove(&attempt);
            }
            // Edge never had it, or died over it before an outcome was on its disk. In the second case the
            // message may have left: the window in which a crash of Edge can double a message.
            AttemptState::Unknown => {
                if let Some(running) = self.forget(attempt)
                    && let Some(domain) = self.domain_of(&running)
                {
                    self.trace(
                        TraceStep::Forgotten,
                        format!("{edge} does not know attempt {attempt} for {domain}"),
                    );
                    self.tried.remove(&domain);
                }
            }
        }
    }

    fn settle(&mut self, place: usize, outcome: Outcome, by: &str) {
        let step = match &outcome {
            Outcome::Delivered(_) => TraceStep::Delivered,
            Outcome::Deferred(_) => TraceStep::Deferred,
            Outcome::Failed(_) => TraceStep::Failed,
        };
        if let Some(queued) = self.state.recipients.get(place) {
            self.trace(step, format!("{} by {by}: {}", queued.recipient.address, outcome.why()));
        }
        self.state.apply(place, outcome);
        self.unsaved = true;
    }

    fn trace(&self, step: TraceStep, detail: String) {
        self.shared.trace.event(Some(self.state.item), step, detail);
    }

    /// Makes the state durable, however long the disk refuses: Edge keeps the outcomes until then. Of a message that is gone
    /// after all, a removal that failed half way for example, there is nothing left to record.
    async fn save_in_the_end(&mut self) {
        while let Err(error) = self.shared.queue.update(&self.state).await {
            if matches!(error, QueueError::Items(ItemsError::NoItem(_))) {
                break;
            }
            tracing::error!(item = %self.state.item, %error, "an outcome could not be recorded; trying again");
            tokio::time::sleep(self.shared.settings.pause).await;
        }
        self.recorded();
    }
}

/// For an alias that leads to addresses elsewhere only, which are recipients now.
fn handed_on() -> Outcome {
    let (status, cause) = (EnhancedCode(2, 1, 5), "an alias: handed on to where it leads".to_owned());
    Outcome::Delivered(Why { mta: None, status, reply: None, cause, reports: false })
}
