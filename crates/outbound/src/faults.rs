//! Every pair of faults, put into the real dispatcher: whatever is lost or dies, and whenever, a message is delivered once.
//!
//! What may go wrong is counted: each frame that crosses a link in either direction and each durable step of Home's queue is a
//! point. At a point a link is lost with what is on it, or one side dies just before or just after it. Whoever died is
//! there again ten minutes later. `dispatch/model.rs` looks at more interleavings of a model; this looks at the code.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use content::Content;
use daemon::clock::Clock;
use daemon::trace::Trace;
use link::{Attempt, AttemptState, Outcomes};
use mail::{ItemId, Outcome, Reply, UnixTime};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::items::memory::MemoryItems;
use crate::items::{Durable, Items, ItemsError};
use crate::queue::{Queue, QueueState};
use crate::simulation::{HOUR, MINUTE, SimulatedClock, new_message, parts, settings};
use crate::{CarrierEvent, CarrierName, Carriers, Reporter, Told};

const EDGES: [&str; 2] = ["mx1.example.org", "mx2.example.org"];
/// How long whoever died, and a link that was lost, is away.
const AWAY: Duration = Duration::from_secs(10 * MINUTE);

/// What the other host does with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// Takes it at once.
    Quick,
    /// Takes it after so long that whoever went away is back before.
    Slow,
    /// Takes nobody at once.
    Greylists,
}

impl Host {
    const fn takes(self) -> Duration {
        match self {
            Self::Quick | Self::Greylists => Duration::from_secs(2),
            Self::Slow => Duration::from_secs(15 * MINUTE),
        }
    }
}

/// By then all is over, in seconds.
const END: u64 = 2 * HOUR;

/// What goes wrong at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The link, and what is on it. Nothing happens to a durable step.
    Link,
    /// Home, before what the point is about has happened.
    HomeBefore,
    /// Home, after it.
    HomeAfter,
    /// The edge, before. Nothing happens to a durable step of Home's.
    EdgeBefore,
    /// The edge, after.
    EdgeAfter,
}

const FAULTS: [Fault; 5] =
    [Fault::Link, Fault::HomeBefore, Fault::HomeAfter, Fault::EdgeBefore, Fault::EdgeAfter];

/// The faults to come, each with the points that pass before it.
type Script = VecDeque<(usize, Fault)>;

#[derive(Default)]
struct Edge {
    is_up: bool,
    /// Grows when it dies: what an earlier life was about is lost.
    life: u32,
    running: Vec<ItemId>,
    journal: HashMap<ItemId, Outcomes>,
}

struct State {
    script: Script,
    /// Points so far.
    points: usize,
    edges: HashMap<&'static str, Edge>,
    delivered: u32,
    attempts: u32,
    reports: u32,
    /// Of the home that lives: where it hears of carriers. `None` between two lives.
    home: Option<mpsc::Sender<CarrierEvent>>,
}

/// Edges, links and the other host.
#[derive(Clone)]
struct World {
    state: Arc<Mutex<State>>,
    /// Home is to die now.
    death: Arc<Notify>,
    host: Host,
}

fn named(carrier: &str) -> &'static str {
    EDGES.into_iter().find(|edge| *edge == carrier).unwrap()
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A point: what goes wrong there.
    fn point(&self) -> Option<Fault> {
        let mut state = self.state();
        state.points += 1;
        match state.script.front_mut() {
            Some((0, fault)) => {
                let fault = *fault;
                state.script.pop_front();
                Some(fault)
            }
            Some((passing, _)) => {
                *passing -= 1;
                None
            }
            None => None,
        }
    }

    fn home_dies(&self) {
        self.state().home = None;
        self.death.notify_one();
    }

    fn is_home_alive(&self) -> bool {
        self.state().home.is_some()
    }

    fn tell_home(&self, event: CarrierEvent) {
        if let Some(home) = &self.state().home {
            let _ = home.try_send(event);
        }
    }

    fn link_goes_down(&self, edge: &'static str) {
        self.state().edges.get_mut(edge).unwrap().is_up = false;
        self.tell_home(CarrierEvent::Down(CarrierName::edge(edge)));
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(AWAY).await;
            world.link_comes_up(edge);
        });
    }

    fn edge_dies(&self, edge: &'static str) {
        {
            let mut state = self.state();
            let edge = state.edges.get_mut(edge).unwrap();
            edge.life += 1;
            edge.running.clear();
        }
        self.link_goes_down(edge);
    }

    /// A link that is up tells what was never settled.
    fn link_comes_up(&self, edge: &'static str) {
        let waiting: Vec<Outcomes> = {
            let mut state = self.state();
            let edge = state.edges.get_mut(edge).unwrap();
            edge.is_up = true;
            edge.journal.values().cloned().collect()
        };
        self.tell_home(CarrierEvent::Up(CarrierName::edge(edge)));
        for outcomes in waiting {
            self.to_home(edge, CarrierEvent::Outcomes { carrier: CarrierName::edge(edge), outcomes });
        }
    }

    /// A frame on its way to Home.
    fn to_home(&self, edge: &'static str, event: CarrierEvent) {
        self.crosses(edge, |world| world.tell_home(event));
    }

    /// A frame on its way: it arrives, or what the script has for it happens. Whether the link was up.
    fn crosses(&self, edge: &'static str, arrives: impl FnOnce(&Self)) -> bool {
        if !self.state().edges[edge].is_up || !self.is_home_alive() {
            return false;
        }
        let fault = self.point();
        if matches!(fault, None | Some(Fault::HomeAfter | Fault::EdgeAfter)) {
            arrives(self);
        }
        match fault {
            None => {}
            Some(Fault::Link) => self.link_goes_down(edge),
            Some(Fault::HomeBefore | Fault::HomeAfter) => self.home_dies(),
            Some(Fault::EdgeBefore | Fault::EdgeAfter) => self.edge_dies(edge),
        }
        true
    }

    /// The edge has the order.
    fn ordered(&self, edge: &'static str, attempt: Attempt) {
        let life = {
            let mut state = self.state();
            let edge = state.edges.get_mut(edge).unwrap();
            edge.running.push(attempt.attempt);
            edge.life
        };
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(world.host.takes()).await;
            if let Some(outcomes) = world.carried_out(edge, life, &attempt) {
                world.to_home(edge, CarrierEvent::Outcomes { carrier: CarrierName::edge(edge), outcomes });
            }
        });
    }

    /// The other host answers, and the edge writes that down, as one step.
    fn carried_out(&self, edge: &'static str, life: u32, attempt: &Attempt) -> Option<Outcomes> {
        let mut state = self.state();
        if state.edges[edge].life != life {
            return None;
        }
        state.attempts += 1;
        let is_put_off = self.host == Host::Greylists && state.attempts == 1;
        let (code, status) = if is_put_off { (450, (4, 7, 1)) } else { (250, (2, 0, 0)) };
        let outcome = Outcome::from_reply(None, &Reply::new(code, status, "words"));
        state.delivered += u32::from(matches!(outcome, Outcome::Delivered(_)));
        let outcomes =
            Outcomes { attempt: attempt.attempt, outcomes: vec![outcome], tls: Default::default() };
        let edge = state.edges.get_mut(edge).unwrap();
        edge.running.retain(|running| *running != attempt.attempt);
        edge.journal.insert(attempt.attempt, outcomes.clone());
        Some(outcomes)
    }

    /// Home asks what is known.
    fn asked(&self, edge: &'static str, attempt: ItemId) {
        let carrier = CarrierName::edge(edge);
        let event = {
            let state = self.state();
            let edge = &state.edges[edge];
            match edge.journal.get(&attempt) {
                Some(outcomes) => CarrierEvent::Outcomes { carrier, outcomes: outcomes.clone() },
                None if edge.running.contains(&attempt) => {
                    CarrierEvent::Known { carrier, attempt, state: AttemptState::Running }
                }
                None => CarrierEvent::Known { carrier, attempt, state: AttemptState::Unknown },
            }
        };
        self.to_home(edge, event);
    }
}

impl Carriers for World {
    fn up(&self) -> Vec<CarrierName> {
        let state = self.state();
        EDGES.into_iter().filter(|edge| state.edges[edge].is_up).map(CarrierName::edge).collect()
    }

    fn start(&self, carrier: &CarrierName, attempt: Attempt, _: Content) -> bool {
        let edge = named(carrier.as_str());
        self.crosses(edge, |world| world.ordered(edge, attempt))
    }

    fn ask(&self, carrier: &CarrierName, attempt: ItemId) -> bool {
        let edge = named(carrier.as_str());
        self.crosses(edge, |world| world.asked(edge, attempt))
    }

    fn settled(&self, carrier: &CarrierName, attempt: ItemId) -> bool {
        let edge = named(carrier.as_str());
        self.crosses(edge, |world| {
            world.state().edges.get_mut(edge).unwrap().journal.remove(&attempt);
        })
    }
}

impl Reporter for World {
    fn owes(&self, _: &QueueState) -> bool {
        false
    }

    async fn report(&self, _: &QueueState, _: Content) -> Result<Option<Told>, String> {
        self.state().reports += 1;
        Ok(None)
    }

    async fn report_delay(&self, _: &QueueState, _: Content, _: UnixTime) -> Result<Option<String>, String> {
        self.state().reports += 1;
        Ok(None)
    }
}

/// Items whose durable steps are points.
#[derive(Clone)]
struct FaultyItems {
    items: MemoryItems,
    world: World,
}

impl FaultyItems {
    fn step(&self, does: impl FnOnce(&MemoryItems) -> Durable) -> Durable {
        if !self.world.is_home_alive() {
            return Box::pin(std::future::pending());
        }
        match self.world.point() {
            Some(Fault::HomeBefore) => self.world.home_dies(),
            Some(Fault::HomeAfter) => {
                drop(does(&self.items));
                self.world.home_dies();
            }
            _ => return does(&self.items),
        }
        Box::pin(std::future::pending())
    }
}

impl Items for FaultyItems {
    fn append(&self, item: ItemId, record: Vec<u8>, octets: Vec<Bytes>) -> Durable {
        self.items.append(item, record, octets)
    }

    fn append_long(
        &self,
        item: ItemId,
        record: Vec<u8>,
        header: &[u8],
        content: &Content,
    ) -> Result<Durable, ItemsError> {
        self.items.append_long(item, record, header, content)
    }

    fn update(&self, item: ItemId, record: Vec<u8>) -> Durable {
        self.step(|items| items.update(item, record))
    }

    fn remove(&self, item: ItemId) -> Durable {
        self.step(|items| items.remove(item))
    }

    fn record(&self, item: ItemId) -> Result<Vec<u8>, ItemsError> {
        self.items.record(item)
    }

    fn content(&self, item: ItemId) -> Result<Content, ItemsError> {
        self.items.content(item)
    }

    fn has(&self, item: ItemId) -> bool {
        self.items.has(item)
    }

    fn ids(&self, after: Option<ItemId>, most: usize) -> Vec<ItemId> {
        self.items.ids(after, most)
    }

    fn count(&self) -> usize {
        self.items.count()
    }

    fn has_room_for(&self, octets: u64) -> bool {
        self.items.has_room_for(octets)
    }
}

/// Home's lives, one after the other, until the time is over.
async fn live(items: &FaultyItems, clock: &Arc<SimulatedClock>, (dir, trace): (&Path, &Trace)) {
    let mut is_new = true;
    while clock.passed() < END {
        let (queue, commands) = Queue::new(items.clone());
        let (home, events) = mpsc::channel(crate::CARRIER_EVENTS_MAX);
        items.world.state().home = Some(home);
        let stop = CancellationToken::new();
        let clocked = Arc::clone(clock) as Arc<dyn Clock>;
        let settings = settings(dir, 0);
        let world = (items.world.clone(), events);
        let parts = parts((queue.clone(), commands), world, clocked, trace.clone(), settings);
        let running = tokio::spawn(crate::run(parts, stop.clone()));
        for edge in EDGES {
            if items.world.state().edges[edge].is_up {
                items.world.link_comes_up(edge);
            }
        }
        if std::mem::take(&mut is_new) {
            new_message(&queue, &**clock, &["good.example"]).await;
        }
        let left = Duration::from_secs(END.saturating_sub(clock.passed()).max(1));
        let _ = tokio::time::timeout(left, items.world.death.notified()).await;
        items.world.state().home = None;
        stop.cancel();
        running.await.unwrap().unwrap();
        tokio::time::sleep(AWAY).await;
    }
}

/// Where the dispatcher writes what nobody reads.
struct Files {
    dir: tempfile::TempDir,
    trace: Trace,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trace = Trace::open(&dir.path().join("trace"), link::Role::Home).unwrap();
        Self { dir, trace }
    }
}

/// Runs one message under a script; gives the points that were passed.
fn run(files: &Files, script: &[(usize, Fault)], host: Host) -> usize {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = SimulatedClock::new();
        let edges = EDGES.into_iter().map(|edge| (edge, Edge { is_up: true, ..Edge::default() })).collect();
        let told = format!("{script:?} {host:?}");
        let script: Script = script.iter().copied().collect();
        let state = State { script, points: 0, edges, delivered: 0, attempts: 0, reports: 0, home: None };
        let world = World { state: Arc::new(Mutex::new(state)), death: Arc::default(), host };
        let items = FaultyItems { items: MemoryItems::new(u64::MAX), world: world.clone() };
        live(&items, &clock, (files.dir.path(), &files.trace)).await;
        let state = world.state();
        assert_eq!(state.delivered, 1, "delivered once: {told}");
        let left = items.items.count_of_items();
        assert_eq!((left, state.reports), (0, 0), "nothing is left, nobody is told: {told}");
        for (name, edge) in &state.edges {
            assert!(edge.journal.is_empty() && edge.running.is_empty(), "{name} keeps nothing: {told}");
        }
        state.points
    })
}

#[test]
fn without_a_fault_a_message_is_ordered_told_removed_and_settled() {
    let files = Files::new();
    // Recorded, ordered, its outcome, removed, settled.
    assert_eq!(run(&files, &[], Host::Quick), 5);
    // And for one that was put off: recorded, ordered, its outcome, that recorded and settled, and when it is due again.
    assert_eq!(run(&files, &[], Host::Greylists), 5 + 6);
}

#[test]
fn whatever_two_faults_meet_a_message_it_is_delivered_once_and_nobody_keeps_anything() {
    let files = Files::new();
    let mut runs = 0;
    for host in [Host::Quick, Host::Slow, Host::Greylists] {
        for at in 0..run(&files, &[], host) {
            for fault in FAULTS {
                // What a fault begins has points of its own.
                for later in 0..run(&files, &[(at, fault)], host) - at {
                    for second in FAULTS {
                        run(&files, &[(at, fault), (later, second)], host);
                        runs += 1;
                    }
                }
            }
        }
    }
    assert!(runs > 2000, "{runs}");
}
