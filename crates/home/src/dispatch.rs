//! The dispatcher: the sole owner of retries.
//!
//! It knows when each item is due and which edges are up, and starts a round for what is due while slots are
//! free. What a round does is in `carry`. Of items that rest it holds an id and a time, no more. It makes no
//! SMTP of its own: Edge carries out single attempts and keeps their outcomes until they are recorded here.

mod carry;
mod clock;
mod destinations;
mod health;
mod local;
#[cfg(test)]
mod model;
mod room;
mod schedule;
#[cfg(test)]
mod tests;
mod warm_up;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mail::{Address, Domain, ItemId, ReversePath, UnixTime};
use tlspolicy::report::Results;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::carry::{Ending, Note, carry};
use self::clock::Clock;
use self::health::Health;
pub(crate) use self::local::{LocalMessage, Octets};
use self::room::{Freed, Rooms};
use self::schedule::{Rest, Schedule};
use self::warm_up::WarmUp;
use super::directory::{AccountId, Directory};
use super::edges::FromEdge;
use super::forward::Forwarder;
use super::keeper::Keeper;
use super::queue::{Command, Queue, QueueError, QueueState, Turn};
use crate::config::{QueueConfig, SendingConfig};
use daemon::problem::Problem;
use daemon::system;
use daemon::trace::Trace;

/// Items whose records are read at one time at start.
const START_STEP: usize = 1000;
/// How long an item rests when a step of our own failed.
const PAUSE: Duration = Duration::from_secs(60);
/// Records that are kept in memory until their first round, which then reads nothing.
const FRESH_MAX: usize = 1000;
/// What is made of a wait between attempts, at least and at most.
const BACKOFF_PER_MILLE_MIN: u64 = 800;
const BACKOFF_PER_MILLE_MAX: u64 = 1200;
/// How long an item rests when an edge is up and yet took no order.
const DEAF_PAUSE_SECS: u64 = 1;

/// The edges, or a smarthost in their place, as the dispatcher needs them. An edge is in `up` before its [`FromEdge::Up`] is given, and an
/// edge that is asked of an attempt it was ordered on the same link says that it is running.
pub(crate) trait Outbound: Send + Sync + 'static {
    /// Names of edges whose link is up, the preferred one first.
    fn up(&self) -> Vec<String>;
    /// Orders an attempt. `false`: the link is down, nothing has left.
    fn start(&self, edge: &str, attempt: link::Attempt, body: spool::Body) -> bool;
    /// Asks what is known of an attempt. `false`: the link is down.
    fn ask(&self, edge: &str, attempt: ItemId) -> bool;
    /// Lets Edge forget an attempt's outcomes. `false`: the link is down; they come again when it is up.
    fn settled(&self, edge: &str, attempt: ItemId) -> bool;
}

/// Where mail to a recipient here goes.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Accounts.
    pub accounts: Vec<String>,
    /// Addresses elsewhere that an alias stands for.
    pub outside: Vec<Address>,
}

/// The accounts, as the dispatcher needs them.
pub(crate) trait Accounts: Send + Sync + 'static {
    /// Whether mail to a domain stays here.
    fn is_local(&self, domain: &Domain) -> bool;
    /// Where an address of a local domain leads what was taken at `taken`; `None` when it leads nowhere.
    fn resolve(&self, address: &Address, taken: UnixTime) -> Option<Reached>;
    /// Whether the account of this name was another one at `taken`.
    fn was_anothers(&self, account: &str, taken: UnixTime) -> bool;
    /// The account that gets what nobody else can.
    fn postmaster(&self) -> Option<String>;
}

impl Accounts for Directory {
    fn is_local(&self, domain: &Domain) -> bool {
        self.is_local_domain(domain)
    }

    fn resolve(&self, address: &Address, taken: UnixTime) -> Option<Reached> {
        let found = self.resolve_taken(address, taken)?;
        let accounts = found.accounts.iter().map(|account| account.as_str().to_owned()).collect();
        Some(Reached { accounts, outside: found.outside })
    }

    fn was_anothers(&self, account: &str, taken: UnixTime) -> bool {
        Self::was_anothers(self, account, taken)
    }

    fn postmaster(&self) -> Option<String> {
        Self::postmaster(self).as_ref().map(AccountId::as_str).map(str::to_owned)
    }
}

/// Takes note of the TLS sessions with a domain's mail hosts.
pub(crate) type CountTls = Box<dyn Fn(&Domain, Results) + Send + Sync>;

/// Gives the reverse-path under which mail with this one leaves for the world.
pub(crate) type Sign = Box<dyn Fn(ReversePath) -> ReversePath + Send + Sync>;

/// Times and limits.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Waits between attempts; the last one is repeated.
    pub retry: Vec<Duration>,
    /// How long a message is tried.
    pub expire: Duration,
    /// After how long the sender is told that it takes long.
    pub warn_after: Duration,
    /// How long an edge that is away is waited for, when it may have delivered a message.
    pub edge_gone: Duration,
    /// Attempts under way at one time.
    pub attempts: usize,
    /// The same to one domain.
    pub per_domain: usize,
    /// How much a new edge sends.
    pub sending: SendingConfig,
    /// Where it is kept how far the edges are with that.
    pub warm_up_file: PathBuf,
    /// How long an item rests when a step of our own failed.
    pub pause: Duration,
    /// A directory for files without a name.
    pub scratch: PathBuf,
}

impl Settings {
    /// From the operator's file.
    pub(crate) fn new(config: &QueueConfig, sending: &SendingConfig, data: &Path, scratch: PathBuf) -> Self {
        Self {
            retry: config.retry.iter().map(|wait| Duration::from_secs(wait.0)).collect(),
            expire: Duration::from_secs(config.expire.0),
            warn_after: Duration::from_secs(config.warn_after.0),
            edge_gone: Duration::from_secs(config.edge_gone.0),
            attempts: config.attempts,
            per_domain: config.per_domain,
            sending: sending.clone(),
            warm_up_file: data.join("warm_up.json"),
            pause: PAUSE,
            scratch,
        }
    }

    /// When an item is tried that is recorded as due at `next_due`. Nothing is put off for longer than the longest wait:
    /// what is was recorded while the clock was wrong.
    fn due(&self, next_due: UnixTime, now: UnixTime) -> UnixTime {
        let longest = self.retry.iter().copied().max().unwrap_or(PAUSE);
        let latest = now.0.saturating_add(micros(longest) / 1000 * BACKOFF_PER_MILLE_MAX);
        if next_due.0 > latest { now } else { next_due }
    }

    fn deadline(&self, submitted: UnixTime) -> UnixTime {
        UnixTime(submitted.0.saturating_add(micros(self.expire)))
    }

    fn delay(&self, submitted: UnixTime) -> UnixTime {
        UnixTime(submitted.0.saturating_add(micros(self.warn_after)))
    }

    /// Microseconds to wait after so many attempts: as configured, 20 % more or less by `random`, so that
    /// items that failed together do not come back together.
    fn backoff(&self, attempts: u32, random: u64) -> u64 {
        let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = micros(self.retry.get(place).or(self.retry.last()).copied().unwrap_or(PAUSE));
        let per_mille = BACKOFF_PER_MILLE_MIN + random % (BACKOFF_PER_MILLE_MAX - BACKOFF_PER_MILLE_MIN + 1);
        wait / 1000 * per_mille
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What the dispatcher and its rounds share.
pub(crate) struct Shared<O, A> {
    queue: Queue,
    outbound: O,
    accounts: A,
    sign: Sign,
    forwarder: Arc<Forwarder>,
    count_tls: CountTls,
    keeper: Keeper,
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

impl<O, A> Shared<O, A> {
    fn owners(&self) -> MutexGuard<'_, HashMap<ItemId, ItemId>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after_pause(&self) -> UnixTime {
        UnixTime(system::now().0.saturating_add(micros(self.settings.pause)))
    }
}

/// What a dispatcher is made of.
pub(crate) struct Parts<O, A> {
    /// The queue.
    pub queue: Queue,
    /// What the queue tells.
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// The edges.
    pub outbound: O,
    /// What the edges tell.
    pub from_edges: mpsc::UnboundedReceiver<FromEdge>,
    /// The accounts.
    pub accounts: A,
    /// The senders' names abroad.
    pub sign: Sign,
    /// What becomes of forwarded mail.
    pub forwarder: Arc<Forwarder>,
    /// What reports on TLS are made of.
    pub count_tls: CountTls,
    /// The mailboxes.
    pub keeper: Keeper,
    /// The trace.
    pub trace: Trace,
    /// Times and limits.
    pub settings: Settings,
}

/// Runs until `stop`, or until nobody is left who could tell it anything. Rounds under way are dropped then,
/// as a crash would: everything that counts is on the disk.
///
/// # Errors
/// When the queue could not be read at start.
pub(crate) async fn run<O: Outbound, A: Accounts>(
    parts: Parts<O, A>,
    stop: CancellationToken,
) -> Result<(), Problem> {
    let Parts {
        queue,
        commands,
        outbound,
        from_edges,
        accounts,
        sign,
        forwarder,
        count_tls,
        keeper,
        trace,
        settings,
    } = parts;
    let slots = Arc::new(Semaphore::new(settings.attempts.max(1)));
    let owners = Mutex::default();
    let (rooms, freed) = Rooms::new(settings.clone());
    let health = Mutex::default();
    let warm_up = WarmUp::new(&settings.sending, settings.warm_up_file.clone());
    let shared = Shared {
        queue,
        outbound,
        accounts,
        sign,
        forwarder,
        count_tls,
        keeper,
        trace,
        settings,
        rooms,
        health,
        warm_up,
        slots,
        owners,
    };
    let shared = Arc::new(shared);
    let mut dispatcher = Dispatcher::new(shared);
    dispatcher.recall().await?;
    dispatcher.run(commands, from_edges, freed, &stop).await;
    dispatcher.rounds.shutdown().await;
    Ok(())
}

/// A round under way.
struct Active {
    notes: mpsc::UnboundedSender<Note>,
    task: AbortHandle,
}

struct Dispatcher<O, A> {
    shared: Arc<Shared<O, A>>,
    schedule: Schedule,
    active: HashMap<ItemId, Active>,
    rounds: JoinSet<Ending>,
    items: HashMap<Id, ItemId>,
    /// Items whose records can't be read. While there are any, no outcome counts as nobody's.
    unreadable: HashSet<ItemId>,
    /// Records of items that were just added.
    fresh: HashMap<ItemId, Box<QueueState>>,
}

impl<O: Outbound, A: Accounts> Dispatcher<O, A> {
    fn new(shared: Arc<Shared<O, A>>) -> Self {
        Self {
            shared,
            schedule: Schedule::default(),
            active: HashMap::new(),
            rounds: JoinSet::new(),
            items: HashMap::new(),
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
                        let due = self.shared.settings.due(state.next_due, system::now());
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
        mut from_edges: mpsc::UnboundedReceiver<FromEdge>,
        mut freed: mpsc::UnboundedReceiver<Freed>,
        stop: &CancellationToken,
    ) {
        let mut clock = Clock::new(system::now(), Instant::now());
        let mut looks = tokio::time::interval(clock::LOOKED_AT_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wait = self.until_due();
            let slots = Arc::clone(&self.shared.slots);
            tokio::select! {
                () = stop.cancelled() => return,
                event = from_edges.recv() => match event {
                    Some(event) => self.handle_edge(event),
                    None => return,
                },
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                Some(Freed { domain, at, count }) = freed.recv() => {
                    self.schedule.room_at(&domain, at, count, system::now());
                }
                Some(ended) = self.rounds.join_next_with_id() => self.handle_end(ended),
                _ = looks.tick() => {
                    if let Some(by) = clock.look(system::now(), Instant::now()) {
                        self.clock_was_set(by);
                    }
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some_and(|wait| !wait.is_zero()) => {}
                slot = slots.acquire_owned(), if wait.is_some_and(|wait| wait.is_zero()) => {
                    if let Some((item, rest)) = self.schedule.pop_due(system::now()) {
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
        let count = self.schedule.wake_all(system::now());
        tracing::warn!(
            seconds = by,
            messages = count,
            "the clock was set: what waits in the queue is tried now"
        );
    }

    /// How long until an item is due; `None` while none waits.
    fn until_due(&self) -> Option<Duration> {
        let first = self.schedule.first()?;
        Some(Duration::from_micros(first.0.saturating_sub(system::now().0)))
    }

    /// Begins a round, which finds `first` before it does anything else.
    fn start(&mut self, item: ItemId, slot: Option<OwnedSemaphorePermit>, first: Option<Note>) {
        if self.active.contains_key(&item) {
            return;
        }
        let fresh = self.fresh.remove(&item);
        let (notes, told) = mpsc::unbounded_channel();
        if let Some(first) = first {
            // The receiver is here.
            let _ = notes.send(first);
        }
        let task = self.rounds.spawn(carry(Arc::clone(&self.shared), item, fresh, slot, told));
        self.items.insert(task.id(), item);
        self.active.insert(item, Active { notes, task });
    }

    fn handle_edge(&mut self, event: FromEdge) {
        match event {
            FromEdge::Up(edge) => {
                self.schedule.edge_came(system::now());
                self.tell_all(|| Note::Up(edge.clone()));
            }
            FromEdge::Down(edge) => self.tell_all(|| Note::Down(edge.clone())),
            FromEdge::Outcomes { edge, outcomes } => {
                let attempt = outcomes.attempt;
                let owner = self.shared.owners().get(&attempt).copied();
                match owner {
                    Some(item) => self.tell(item, Note::Outcomes { edge, outcomes }),
                    // Recorded before, or of an item that the operator removed: Edge need not keep it.
                    None if self.unreadable.is_empty() => {
                        self.shared.outbound.settled(&edge, attempt);
                    }
                    None => {
                        tracing::warn!(%attempt, edge, "an outcome may belong to a message set aside; it is kept")
                    }
                }
            }
            FromEdge::Known { edge, attempt, state } => {
                let owner = self.shared.owners().get(&attempt).copied();
                if let Some(item) = owner {
                    self.tell(item, Note::Known { edge, attempt, state });
                }
            }
        }
    }

    fn tell(&self, item: ItemId, note: Note) {
        if let Some(active) = self.active.get(&item) {
            // A round that has just ended leaves the note; Edge says it again when its link comes up.
            let _ = active.notes.send(note);
        }
    }

    fn tell_all(&self, note: impl Fn() -> Note) {
        for active in self.active.values() {
            // As above.
            let _ = active.notes.send(note());
        }
    }

    fn handle_command(&mut self, command: Command) {
        let now = system::now();
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
                // Whoever asked may have gone.
                let _ = answer.send(count);
            }
            Command::Hold(item, held, answer) => {
                let note = Note::Hold(held, answer);
                if self.active.contains_key(&item) {
                    self.tell(item, note);
                } else if self.schedule.take(item) {
                    self.start(item, None, Some(note));
                }
            }
            Command::Remove(item, answer) => self.remove(item, answer),
        }
    }

    fn remove(&mut self, item: ItemId, answer: oneshot::Sender<Result<(), spool::SpoolError>>) {
        self.schedule.take(item);
        self.unreadable.remove(&item);
        self.fresh.remove(&item);
        if let Some(active) = self.active.remove(&item) {
            active.task.abort();
        }
        self.shared.owners().retain(|_, owner| *owner != item);
        self.shared.trace.event(Some(item), "removed", "by the operator; nobody is told");
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
        // A round that the operator cut short is not on the list any more.
        if self.active.remove(&item).is_none() {
            return;
        }
        match ending {
            Ending::Gone => {}
            // An edge that came up while the round ended would not wake the item.
            Ending::Rests(Rest::EdgeOrUntil(_), turn) if !self.shared.outbound.up().is_empty() => {
                let soon = system::now().plus_secs(DEAF_PAUSE_SECS);
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
                    self.schedule.room_at(&domain, at, count, system::now());
                }
            }
        }
    }
}
