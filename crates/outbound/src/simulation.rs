//! Thirty days of the dispatcher in a moment: a clock that stands while anybody works, a world whose hosts are busy, dead and
//! come back, and an edge that is away every night.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use content::Content;
use daemon::clock::Clock;
use daemon::trace::Trace;
use link::{Attempt, AttemptState, Outcomes};
use mail::dsn::Action;
use mail::{
    Address, BodyType, Domain, EnhancedCode, Envelope, ItemId, Outcome, Reply, ReversePath, UnixTime,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::items::memory::{MemoryItems, Removal};
use crate::queue::{Command, Queue, QueueState, RecipientState};
use crate::{
    CarrierEvent, CarrierName, Carriers, House, Leaving, PAUSE, Parts, Reached, Reporter, Settings, Told,
    WarmUpSettings,
};

const EDGE: &str = "mx.example.org";
pub(crate) const MINUTE: u64 = 60;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
/// Midnight, so that days of the warm-up are days of the simulation.
const START: UnixTime = UnixTime::from_secs(20_000 * DAY);

/// Time as tokio's tests have it: it goes on when nobody has anything to do.
pub(crate) struct SimulatedClock {
    begun: Instant,
    drawn: Mutex<u64>,
}

impl SimulatedClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), drawn: Mutex::new(0x9e37_79b9_7f4a_7c15) })
    }

    /// Seconds since the start.
    pub(crate) fn passed(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> UnixTime {
        UnixTime(START.0 + u64::try_from(self.begun.elapsed().as_micros()).unwrap())
    }

    fn random_u64(&self) -> u64 {
        let mut drawn = self.drawn.lock().unwrap();
        // Xorshift: the same run every time.
        *drawn ^= *drawn << 13;
        *drawn ^= *drawn >> 7;
        *drawn ^= *drawn << 17;
        *drawn
    }

    fn new_item_id(&self) -> ItemId {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.random_u64().to_le_bytes());
        ItemId::new(self.now(), random)
    }
}

/// What happened, with the second of it.
#[derive(Default)]
struct Book {
    /// Attempts, by domain.
    attempts: HashMap<String, Vec<u64>>,
    /// Recipients that an edge was given, by day.
    sent: HashMap<u64, u32>,
    delivered: HashMap<ItemId, Vec<u64>>,
    /// When a sender was told that his message is late, and that it came to nothing.
    delays: HashMap<ItemId, Vec<u64>>,
    failures: HashMap<ItemId, Vec<u64>>,
    settled: u64,
}

/// The edge, and the hosts that it reaches.
#[derive(Clone)]
struct World {
    clock: Arc<SimulatedClock>,
    book: Arc<Mutex<Book>>,
    events: mpsc::Sender<CarrierEvent>,
    is_up: Arc<Mutex<bool>>,
    /// As a smarthost: what came of an attempt is said once.
    keeps_nothing: Arc<AtomicBool>,
}

impl World {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// What a host says at this second, and how long it takes.
    fn outcome(&self, domain: &str, attempts: usize) -> (Outcome, Duration) {
        let reply =
            |code, status| Outcome::from_reply(Some(domain.to_owned()), &Reply::new(code, status, "words"));
        let dead = || Outcome::deferred(EnhancedCode(4, 4, 1), "connection timed out");
        let (soon, late) = (Duration::from_secs(2), Duration::from_secs(300));
        match domain {
            "dead.example" => (dead(), late),
            // Down for four days in the second week.
            "back.example" if (8 * DAY..12 * DAY).contains(&self.clock.passed()) => (dead(), late),
            // A greylist: nobody is taken at once.
            "grey.example" if !attempts.is_multiple_of(3) => (reply(450, (4, 7, 1)), soon),
            "never.example" => (reply(550, (5, 1, 1)), soon),
            "slow.example" => (reply(250, (2, 0, 0)), Duration::from_secs(30)),
            _ => (reply(250, (2, 0, 0)), soon),
        }
    }

    /// The link goes down and comes up again.
    fn set_up(&self, up: bool) {
        *self.is_up.lock().unwrap() = up;
        let event = if up { CarrierEvent::Up } else { CarrierEvent::Down };
        self.events.try_send(event(CarrierName::edge(EDGE))).unwrap();
    }
}

impl Carriers for World {
    fn up(&self) -> Vec<CarrierName> {
        self.is_up.lock().unwrap().then(|| CarrierName::edge(EDGE)).into_iter().collect()
    }

    fn start(&self, _: &CarrierName, attempt: Attempt, _: Content) -> bool {
        if !*self.is_up.lock().unwrap() {
            return false;
        }
        let (domain, now) = (attempt.domain.as_str().to_owned(), self.clock.passed());
        let recipients = attempt.envelope.recipients.len();
        let attempts = {
            let mut book = self.book();
            *book.sent.entry(now / DAY).or_default() += u32::try_from(recipients).unwrap();
            let attempts = book.attempts.entry(domain.clone()).or_default();
            attempts.push(now);
            attempts.len()
        };
        let (outcome, takes) = self.outcome(&domain, attempts);
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            if matches!(outcome, Outcome::Delivered(_)) {
                world.book().delivered.entry(attempt.item).or_default().push(world.clock.passed());
            }
            let outcomes = vec![outcome; recipients];
            let outcomes = Outcomes { attempt: attempt.attempt, outcomes, tls: Default::default() };
            let outcomes = CarrierEvent::Outcomes { carrier: CarrierName::edge(EDGE), outcomes };
            let _ = world.events.try_send(outcomes);
        });
        true
    }

    fn ask(&self, _: &CarrierName, attempt: ItemId) -> bool {
        // Its outcome is on the way, or was said.
        let is_unknown = self.keeps_nothing.load(Ordering::Relaxed);
        let state = if is_unknown { AttemptState::Unknown } else { AttemptState::Running };
        let carrier = CarrierName::edge(EDGE);
        self.events.try_send(CarrierEvent::Known { carrier, attempt, state }).is_ok()
    }

    fn settled(&self, _: &CarrierName, _: ItemId) -> bool {
        self.book().settled += 1;
        true
    }
}

/// A house without accounts.
pub(crate) struct NobodyHere;

impl House for NobodyHere {
    fn is_local(&self, _: &Domain) -> bool {
        false
    }

    fn resolve(&self, _: &Address, _: UnixTime) -> Option<Reached> {
        None
    }

    async fn deliver(&self, _: Leaving, recipients: Vec<(Address, Vec<String>)>) -> Vec<Outcome> {
        vec![Outcome::failed(EnhancedCode(5, 1, 1), "nobody is here"); recipients.len()]
    }
}

impl Reporter for World {
    fn owes(&self, state: &QueueState) -> bool {
        state.recipients.iter().any(|queued| queued.state != RecipientState::Delivered)
    }

    async fn report(&self, state: &QueueState, _: Content) -> Result<Option<Told>, String> {
        self.book().failures.entry(state.item).or_default().push(self.clock.passed());
        Ok(Some(Told { action: Action::Failed, whom: "alice".to_owned() }))
    }

    async fn report_delay(
        &self,
        state: &QueueState,
        _: Content,
        _: UnixTime,
    ) -> Result<Option<String>, String> {
        self.book().delays.entry(state.item).or_default().push(self.clock.passed());
        Ok(Some("alice".to_owned()))
    }
}

struct Simulation {
    _dir: tempfile::TempDir,
    clock: Arc<SimulatedClock>,
    items: MemoryItems,
    queue: Queue,
    world: World,
    stop: CancellationToken,
}

/// What `setup` writes.
pub(crate) fn settings(dir: &Path, warm_up: u32) -> Settings {
    Settings {
        retry: [1, 2, 5, 15, 30, 60].map(|minutes| Duration::from_secs(minutes * MINUTE)).to_vec(),
        expire: Duration::from_secs(5 * DAY),
        warn_after: Duration::from_secs(4 * HOUR),
        edge_gone: Duration::from_secs(DAY),
        attempts: 400,
        per_domain: 100,
        warm_up: WarmUpSettings { first_day: warm_up, growth: 1.5, file: dir.join("warm_up.json") },
        pause: PAUSE,
    }
}

/// A dispatcher over this queue and this world.
pub(crate) fn parts<W: Carriers + Reporter + Clone>(
    (queue, commands): (Queue, mpsc::UnboundedReceiver<Command>),
    (world, events): (W, mpsc::Receiver<CarrierEvent>),
    clock: Arc<dyn Clock>,
    trace: Trace,
    settings: Settings,
) -> Parts<W, NobodyHere, W> {
    Parts {
        queue,
        commands,
        carriers: world.clone(),
        events,
        house: NobodyHere,
        reporter: world,
        clock,
        sign: Box::new(|path| path),
        count_tls: Box::new(|_, _| {}),
        trace,
        settings,
    }
}

/// Queues a message of alice's for somebody at each of the domains.
pub(crate) async fn new_message(queue: &Queue, clock: &dyn Clock, domains: &[&str]) -> ItemId {
    let item = clock.new_item_id();
    let to = domains.iter().map(|domain| Address::parse(&format!("bob@{domain}")).unwrap().into());
    let envelope = Envelope {
        reverse_path: ReversePath::Address(Address::parse("alice@example.org").unwrap()),
        recipients: to.collect(),
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: None,
    };
    let state = QueueState::new(item, "alice".to_owned(), envelope, clock.now());
    let body = Content::from(b"body\r\n".to_vec());
    queue.append(state, b"Subject: hi\r\n\r\n".to_vec(), body).await.unwrap();
    item
}

impl Simulation {
    fn begin(warm_up: u32) -> Self {
        Self::with(|settings| settings.warm_up.first_day = warm_up)
    }

    /// With settings that differ like this from those of `setup`.
    fn with(differ: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, items) = (SimulatedClock::new(), MemoryItems::new(u64::MAX));
        let (queue, commands) = Queue::new(items.clone());
        let (sender, events) = mpsc::channel(crate::CARRIER_EVENTS_MAX);
        let (book, is_up) = (Arc::default(), Arc::new(Mutex::new(true)));
        let keeps_nothing = Arc::default();
        let world = World { clock: Arc::clone(&clock), book, events: sender, is_up, keeps_nothing };
        let stop = CancellationToken::new();
        let clocked = Arc::clone(&clock) as Arc<dyn Clock>;
        let trace = Trace::open(&dir.path().join("trace"), link::Role::Home).unwrap();
        let mut settings = settings(dir.path(), 0);
        differ(&mut settings);
        let parts = parts((queue.clone(), commands), (world.clone(), events), clocked, trace, settings);
        tokio::spawn(crate::run(parts, stop.clone()));
        Self { _dir: dir, clock, items, queue, world, stop }
    }

    async fn send(&self, domain: &str) -> ItemId {
        new_message(&self.queue, &*self.clock, &[domain]).await
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const fn within(times: &[u64], from: u64, to: u64) -> bool {
    matches!(times, [time] if *time >= from && *time <= to)
}

#[tokio::test(start_paused = true)]
async fn thirty_days_of_good_dead_slow_and_refusing_hosts_and_an_edge_away_at_night_lose_nothing() {
    let simulation = Simulation::begin(0);
    let domains = ["good.example", "dead.example", "back.example", "grey.example", "never.example"];
    let mut sent: Vec<(ItemId, &str, u64)> = Vec::new();
    for hour in 0..25 * 24 {
        // Away from three to five.
        match hour % 24 {
            3 => simulation.world.set_up(false),
            5 => simulation.world.set_up(true),
            _ => {}
        }
        let domain = domains[hour % domains.len()];
        sent.push((simulation.send(domain).await, domain, simulation.clock.passed()));
        pass(HOUR).await;
    }
    pass(5 * DAY + 2 * HOUR).await;
    simulation.stop.cancel();
    let book = simulation.world.book();
    assert_eq!(simulation.items.count_of_items(), 0, "nothing is left");
    let none = Vec::new();
    for (item, domain, at) in &sent {
        let of = |times: &HashMap<ItemId, Vec<u64>>| times.get(item).unwrap_or(&none).clone();
        let (delivered, failed, delays) = (of(&book.delivered), of(&book.failures), of(&book.delays));
        assert!(delivered.len() <= 1 && failed.len() <= 1 && delays.len() <= 1, "each once: {domain} {at}");
        assert_eq!(delivered.len() + failed.len(), 1, "delivered or told: {domain} {at}");
        match *domain {
            // Two hours of the night, and what a retry may be late.
            "good.example" => {
                assert!(within(&delivered, *at, at + 2 * HOUR + 5 * MINUTE), "{at} {delivered:?}")
            }
            "grey.example" => assert!(within(&delivered, *at, at + 4 * HOUR), "{at} {delivered:?}"),
            "never.example" => assert!(within(&failed, *at, at + 2 * HOUR + 5 * MINUTE), "{at} {failed:?}"),
            "dead.example" => {
                assert!(within(&failed, at + 5 * DAY, at + 5 * DAY + HOUR), "{at} {failed:?}");
                assert!(within(&delays, at + 4 * HOUR, at + 5 * HOUR), "{at} {delays:?}");
            }
            "back.example" if (8 * DAY..12 * DAY).contains(at) => {
                // Once it is back it is found within the longest wait, and then gets what waited.
                assert!(within(&delivered, 12 * DAY, 12 * DAY + 3 * HOUR), "{at} {delivered:?}");
            }
            _ => assert!(within(&delivered, *at, at + 2 * HOUR + 5 * MINUTE), "{at} {delivered:?}"),
        }
    }
    // A hundred messages wait for the dead domain at one time; it is asked as if there were one.
    let dead = book.attempts["dead.example"].len();
    assert!(dead <= 31 * 30, "{dead} attempts in thirty days");
}

#[tokio::test(start_paused = true)]
async fn a_new_edge_sends_its_share_of_each_day_and_no_more_and_all_of_it_in_the_end() {
    let simulation = Simulation::begin(20);
    // Fewer than five days take, which is how long a message lives.
    for n in 0..250 {
        simulation.send(&format!("d{}.example", n % 40)).await;
    }
    let mut limit = 20.0;
    let mut left = 250;
    for day in 0..5 {
        pass(DAY).await;
        let sent = simulation.world.book().sent.get(&day).copied().unwrap_or(0);
        assert!(f64::from(sent) <= limit, "{sent} on day {day}, of {limit}");
        assert!(
            f64::from(sent) >= f64::from(left).min(limit.floor()) - 1.0,
            "{sent} on day {day}, of {limit}"
        );
        left -= sent;
        limit *= 1.5;
    }
    let book = simulation.world.book();
    assert_eq!((book.delivered.len(), book.failures.len(), simulation.items.count_of_items()), (250, 0, 0));
    simulation.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_ends_a_message_is_one_durable_step() {
    let simulation = Simulation::begin(0);
    simulation.send("good.example").await;
    pass(MINUTE).await;
    assert_eq!(simulation.items.count_of_items(), 0);
    assert_eq!(simulation.world.book().settled, 1, "the edge may forget it");
    // It was taken, its attempt was recorded, it was removed.
    assert_eq!(simulation.items.steps(), 3);
    simulation.send("never.example").await;
    pass(MINUTE).await;
    // What owes a report is recorded before it is told.
    assert_eq!((simulation.items.count_of_items(), simulation.items.steps()), (0, 3 + 4));
}

/// A smarthost keeps nothing: an outcome that is not on the disk would be a second copy.
#[tokio::test(start_paused = true)]
async fn an_outcome_whose_removal_fails_is_recorded_by_itself_and_carried_out_once() {
    for removal in [Removal::Fails, Removal::FailsWhenItIsGone] {
        let simulation = Simulation::begin(0);
        simulation.items.next_removal(removal);
        let item = simulation.send("good.example").await;
        pass(MINUTE / 2).await;
        assert_eq!(simulation.world.book().settled, 1, "the edge may forget it");
        assert_eq!(simulation.items.count_of_items(), usize::from(removal == Removal::Fails));
        // After the pause it is removed, and nobody is asked to carry it again.
        pass(HOUR).await;
        assert_eq!(simulation.items.count_of_items(), 0);
        let book = simulation.world.book();
        assert_eq!((book.delivered[&item].len(), book.attempts["good.example"].len()), (1, 1));
        assert!(book.failures.is_empty());
    }
}

/// Symptom: a message that went by a smarthost came twice. Cause: the disk was full when the attempt for its second domain was to
/// be recorded, so the round ended; what came of the first attempt found no round and was dropped; the next round asked,
/// heard that nothing was known, and tried again. Analysis: an edge says an outcome until it is recorded, a smarthost once.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_comes_between_two_rounds_is_recorded() {
    let simulation = Simulation::with(|settings| settings.attempts = 2);
    simulation.world.keeps_nothing.store(true, Ordering::Relaxed);
    // Its attempt has the other slot for two seconds.
    simulation.send("good.example").await;
    // That one's attempt is recorded and the first of ours, the second of ours can not be.
    simulation.items.update_fails_after(2);
    let item = new_message(&simulation.queue, &*simulation.clock, &["slow.example", "swift.example"]).await;
    pass(HOUR).await;
    let book = simulation.world.book();
    assert_eq!(book.delivered[&item].len(), 2, "each of the two domains once");
    assert_eq!((book.attempts["slow.example"].len(), book.attempts["swift.example"].len()), (1, 1));
    assert_eq!(simulation.items.count_of_items(), 0);
}
