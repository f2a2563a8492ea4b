//! The dispatcher: the sole owner of retries.
//!
//! It knows when each item is due and which edges are up, and starts a round for what is due while slots are
//! free. What a round does is in `carry`. Of items that rest it holds an id and a time, no more. It makes no
//! SMTP of its own: Edge carries out single attempts and keeps their outcomes until they are recorded here.

mod carry;
mod destinations;
mod health;
#[cfg(test)]
mod model;
mod room;
mod schedule;
mod set_clock;
mod warm_up;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use daemon::problem::Problem;
use daemon::trace::Trace;
use link::TraceStep;
use mail::{Domain, ItemId, ReversePath, UnixTime};
use tlspolicy::report::Results;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::carry::{Ending, Note, carry};
use self::health::Health;
use self::room::{Freed, Rooms};
use self::schedule::{Rest, Schedule};
use self::set_clock::SetClock;
use self::warm_up::WarmUp;
use crate::carriers::{CarrierEvent, Carriers};
use crate::house::House;
use crate::queue::{Command, Queue, QueueError, QueueState, Turn};
use crate::reporter::Reporter;
use crate::settings::{Settings, micros};

/// Items whose records are read at one time at start.
const START_STEP: usize = 1000;
/// Records that are kept in memory until their first round, which then reads nothing.
const FRESH_MAX: usize = 1000;
/// What may wait for one round: an outcome for each of its attempts, of which there is at most one a recipient, and the links
/// that come and go meanwhile. An edge that says more is not heard.
const NOTES_MAX: usize = 2048;
/// How long an item rests when an edge is up and yet took no order.
const DEAF_PAUSE_SECS: u64 = 1;

/// Takes note of the TLS sessions with a domain's mail hosts.
pub type CountTls = Box<dyn Fn(&Domain, Results) + Send + Sync>;

/// Gives the reverse-path under which mail with this one leaves for the world.
pub type SignReversePath = Box<dyn Fn(ReversePath) -> ReversePath + Send + Sync>;

/// What the dispatcher and its rounds share.
struct Shared<C, H, R> {
    queue: Queue,
    carriers: C,
    house: H,
    reporter: R,
    clock: Arc<dyn Clock>,
    sign: SignReversePath,
    count_tls: CountTls,
    trace: Trace,
    settings: Settings,
    rooms: Rooms,
    health: Mutex<Health>,
    warm_up: WarmUp,
    /// One for each attempt under way, and for each round that may begin one.
    slots: Arc<Semaphore>,
    /// The item of each attempt that is running.
    owners: Mutex<HashMap<ItemId, ItemId>>,
}

impl<C, H, R> Shared<C, H, R> {
    fn owners(&self) -> MutexGuard<'_, HashMap<ItemId, ItemId>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after_pause(&self) -> UnixTime {
        UnixTime(self.clock.now().0.saturating_add(micros(self.settings.pause)))
    }
}

/// The parts that a dispatcher works with.
pub struct Parts<C, H, R> {
    /// The queue.
    pub queue: Queue,
    /// Commands that the queue gives.
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// The carriers, which make attempts.
    pub carriers: C,
    /// Events of the carriers.
    pub events: mpsc::Receiver<CarrierEvent>,
    /// The mailboxes here.
    pub house: H,
    /// The reporter, which tells senders.
    pub reporter: R,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The senders' names abroad.
    pub sign: SignReversePath,
    /// The counter of TLS sessions, for reports (RFC 8460).
    pub count_tls: CountTls,
    /// The trace.
    pub trace: Trace,
    /// Waits and limits.
    pub settings: Settings,
}

/// Runs until `stop`, or until nobody is left who could tell it anything. Rounds under way are dropped then,
/// as a crash would: everything that counts is on the disk.
///
/// # Errors
/// When the queue could not be read at start, or a newer version has written how far the warm-up is.
pub async fn run<C: Carriers, H: House, R: Reporter>(
    parts: Parts<C, H, R>,
    stop: CancellationToken,
) -> Result<(), Problem> {
    let Parts { queue, commands, carriers, events, house, reporter, clock, sign, count_tls, trace, settings } =
        parts;
    let slots = Arc::new(Semaphore::new(settings.attempts.max(1)));
    let (rooms, freed) = Rooms::new(settings.clone(), Arc::clone(&clock));
    let warm_up = WarmUp::new(&settings.warm_up)?;
    let shared = Arc::new(Shared {
        queue,
        carriers,
        house,
        reporter,
        clock,
        sign,
        count_tls,
        trace,
        settings,
        rooms,
        health: Mutex::default(),
        warm_up,
        slots,
        owners: Mutex::default(),
    });
    let mut dispatcher = Dispatcher::new(shared);
    dispatcher.recall().await?;
    dispatcher.run(commands, events, freed, &stop).await;
    dispatcher.rounds.shutdown().await;
    Ok(())
}

/// A round that is under way.
struct Active {
    notes: mpsc::Sender<Note>,
    task: AbortHandle,
}

struct Dispatcher<C, H, R> {
    shared: Arc<Shared<C, H, R>>,
    schedule: Schedule,
    active: HashMap<ItemId, Active>,
    rounds: JoinSet<Ending>,
    items: HashMap<Id, ItemId>,
    /// Outcomes that came when a round had ended and was not yet seen to have.
    missed: HashMap<ItemId, Vec<Note>>,
    /// Items whose records can't be read. While there are any, no outcome counts as nobody's.
    unreadable: HashSet<ItemId>,
    /// Records of items that were just added.
    fresh: HashMap<ItemId, Box<QueueState>>,
}

impl<C: Carriers, H: House, R: Reporter> Dispatcher<C, H, R> {
    fn new(shared: Arc<Shared<C, H, R>>) -> Self {
        Self {
            shared,
            schedule: Schedule::default(),
            active: HashMap::new(),
            rounds: JoinSet::new(),
            items: HashMap::new(),
            missed: HashMap::new(),
            unreadable: HashSet::new(),
            fresh: HashMap::new(),
        }
    }

    /// Finds what the last run left: when items are due, and which are in doubt.
    async fn recall(&mut self) -> Result<(), Problem> {
        let mut after = None;
        loop {
            let queue = self.shared.queue.clone();
            let read = tokio::task::spawn_blocking(move || {
                let ids = queue.ids(after, START_STEP);
                ids.into_iter().map(|id| (id, queue.read(id))).collect::<Vec<_>>()
            });
            let read =
                read.await.map_err(|error| Problem::failed(format!("can't read the queue: {error}"), ""))?;
            let Some((last, _)) = read.last() else { return Ok(()) };
            after = Some(*last);
            for (item, state) in read {
                match state {
                    Ok(state) if state.running.is_empty() => {
                        let due = self.shared.settings.due(state.next_due, self.shared.clock.now());
                        let rest = if state.held { Rest::Held } else { Rest::Until(due) };
                        self.schedule.put(item, rest, state.turn());
                    }
                    Ok(state) => {
                        let attempts = state.running.iter().map(|running| (running.attempt, item));
                        self.shared.owners().extend(attempts);
                        self.start(item, None, None);
                    }
                    Err(error) => self.set_aside(item, &error),
                }
            }
        }
    }

    /// An item whose record is bad stays where it is, for the operator.
    fn set_aside(&mut self, item: ItemId, error: &QueueError) {
        tracing::error!(%item, %error, "a queued message is set aside; 'postern queue remove' removes it");
        self.unreadable.insert(item);
    }

    async fn run(
        &mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut events: mpsc::Receiver<CarrierEvent>,
        mut freed: mpsc::UnboundedReceiver<Freed>,
        stop: &CancellationToken,
    ) {
        let mut set_clock = SetClock::new(self.shared.clock.now(), Instant::now());
        let mut looks = tokio::time::interval(set_clock::LOOKED_AT_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wait = self.until_due();
            let slots = Arc::clone(&self.shared.slots);
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Some(event) => self.handle_carrier(event),
                    None => return,
                },
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                Some(Freed { domain, at, count }) = freed.recv() => {
                    self.schedule.room_at(&domain, at, count, self.shared.clock.now());
                }
                Some(ended) = self.rounds.join_next_with_id() => self.handle_end(ended),
                _ = looks.tick() => {
                    if let Some(by) = set_clock.look(self.shared.clock.now(), Instant::now()) {
                        self.clock_was_set(by);
                    }
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some_and(|wait| !wait.is_zero()) => {}
                slot = slots.acquire_owned(), if wait.is_some_and(|wait| wait.is_zero()) => {
                    if let Some((item, rest)) = self.schedule.pop_due(self.shared.clock.now()) {
                        let first = matches!(rest, Rest::Room(_)).then_some(Note::Room);
                        self.start(item, slot.ok(), first);
                    }
                }
            }
        }
    }

    /// What waits for a time is tried now: nobody knows how far away that time is.
    fn clock_was_set(&mut self, by: i64) {
        self.shared.rooms.wake_all();
        *self.shared.health() = Health::default();
        let count = self.schedule.wake_all(self.shared.clock.now());
        tracing::warn!(
            seconds = by,
            messages = count,
            "the clock was set: what waits in the queue is tried now"
        );
    }

    /// How long until an item is due; `None` while none waits.
    fn until_due(&self) -> Option<Duration> {
        let first = self.schedule.first()?;
        Some(Duration::from_micros(first.0.saturating_sub(self.shared.clock.now().0)))
    }

    /// Begins a round, which finds `first` before it does anything else.
    fn start(&mut self, item: ItemId, slot: Option<OwnedSemaphorePermit>, first: Option<Note>) {
        if self.active.contains_key(&item) {
            return;
        }
        let fresh = self.fresh.remove(&item);
        let (notes, told) = mpsc::channel(NOTES_MAX);
        if let Some(first) = first {
            // It can't fail: the receiver is in this function.
            let _ = notes.try_send(first);
        }
        let task = self.rounds.spawn(carry(Arc::clone(&self.shared), item, fresh, slot, told));
        self.items.insert(task.id(), item);
        self.active.insert(item, Active { notes, task });
    }

    fn handle_carrier(&mut self, event: CarrierEvent) {
        match event {
            CarrierEvent::Up(carrier) => {
                self.schedule.edge_came(self.shared.clock.now());
                self.tell_all(|| Note::Up(carrier.clone()));
            }
            CarrierEvent::Down(carrier) => self.tell_all(|| Note::Down(carrier.clone())),
            CarrierEvent::Outcomes { carrier, outcomes } => {
                let attempt = outcomes.attempt;
                let owner = self.shared.owners().get(&attempt).copied();
                match owner {
                    Some(item) => self.tell_outcomes(item, Note::Outcomes { carrier, outcomes }),
                    // Recorded before, or of an item that the operator removed: Edge need not keep it.
                    None if self.unreadable.is_empty() => {
                        self.shared.carriers.settled(&carrier, attempt);
                    }
                    None => {
                        tracing::warn!(%attempt, %carrier, "an outcome may belong to a message set aside; it is kept")
                    }
                }
            }
            CarrierEvent::Known { carrier, attempt, state } => {
                let owner = self.shared.owners().get(&attempt).copied();
                if let Some(item) = owner {
                    self.tell(item, Note::Known { carrier, attempt, state });
                }
            }
        }
    }

    fn tell(&self, item: ItemId, note: Note) {
        if let Some(active) = self.active.get(&item) {
            // A round that has just ended leaves the note; Edge says it again when its link comes up.
            let _ = active.notes.try_send(note);
        }
    }

    /// Outcomes wait for no round to begin by itself: a smarthost says them once, and a round that knows none asks, hears
    /// that nothing is known, and tries again what was delivered.
    fn tell_outcomes(&mut self, item: ItemId, outcomes: Note) {
        let Some(active) = self.active.get(&item) else { return self.start_with(item, outcomes) };
        if let Err(TrySendError::Closed(outcomes)) = active.notes.try_send(outcomes) {
            self.missed.entry(item).or_default().push(outcomes);
        }
    }

    /// Begins a round of an item that rests.
    fn start_with(&mut self, item: ItemId, first: Note) {
        if self.schedule.take(item) {
            self.start(item, None, Some(first));
        }
    }

    fn tell_all(&self, note: impl Fn() -> Note) {
        for active in self.active.values() {
            // As in `tell`: a round that has just ended leaves the note.
            let _ = active.notes.try_send(note());
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = self.shared.clock.now();
        match command {
            Command::Added(item, turn, state) => {
                let state =
                    state.filter(|_| self.fresh.len() < FRESH_MAX && !self.active.contains_key(&item));
                self.fresh.extend(state.map(|state| (item, state)));
                self.schedule.put(item, Rest::Until(now), turn);
            }
            Command::Retry(which, answer) => {
                self.shared.rooms.wake_all();
                let count = match which {
                    None => self.schedule.wake_all(now),
                    Some(item) if self.schedule.rest(item).is_some_and(|rest| *rest != Rest::Held) => {
                        self.schedule.put(item, Rest::Until(now), Turn::Prompt);
                        1
                    }
                    Some(_) => 0,
                };
                // Who asked may have gone.
                let _ = answer.send(count);
            }
            Command::Hold(item, held, answer) => {
                let note = Note::Hold(held, answer);
                if self.active.contains_key(&item) {
                    self.tell(item, note);
                } else {
                    self.start_with(item, note);
                }
            }
            Command::Remove(item, answer) => self.remove(item, answer),
        }
    }

    fn remove(&mut self, item: ItemId, answer: oneshot::Sender<Result<(), QueueError>>) {
        self.schedule.take(item);
        self.unreadable.remove(&item);
        self.fresh.remove(&item);
        if let Some(active) = self.active.remove(&item) {
            active.task.abort();
        }
        self.shared.owners().retain(|_, owner| *owner != item);
        self.shared.trace.event(Some(item), TraceStep::Removed, "by the operator; nobody is told");
        self.shared.queue.erase_for(item, answer);
    }

    fn handle_end(&mut self, ended: Result<(Id, Ending), JoinError>) {
        let (task, ending) = match ended {
            Ok((task, ending)) => (task, ending),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a round of attempts ended unexpectedly; its message stays");
                }
                (error.id(), Ending::Rests(Rest::Until(self.shared.after_pause()), Turn::Patient))
            }
        };
        let Some(item) = self.items.remove(&task) else { return };
        let missed = self.missed.remove(&item).unwrap_or_default();
        // A round that the operator cut short is not on the list any more.
        if self.active.remove(&item).is_none() {
            return;
        }
        match ending {
            Ending::Gone => {}
            // An edge that came up while the round ended would not wake the item.
            Ending::Rests(Rest::EdgeOrUntil(_), turn) if !self.shared.carriers.up().is_empty() => {
                let soon = self.shared.clock.now().plus_secs(DEAF_PAUSE_SECS);
                self.schedule.put(item, Rest::Until(soon), turn);
            }
            Ending::Rests(rest, turn) => {
                let domain = match &rest {
                    Rest::RoomOrUntil(domain, _) => Some(domain.clone()),
                    _ => None,
                };
                self.schedule.put(item, rest, turn);
                // Nor would room that came up meanwhile.
                if let Some(domain) = domain {
                    let Freed { domain, at, count } = self.shared.rooms.next(&domain);
                    self.schedule.room_at(&domain, at, count, self.shared.clock.now());
                }
            }
        }
        missed.into_iter().for_each(|outcomes| self.tell_outcomes(item, outcomes));
    }
}
