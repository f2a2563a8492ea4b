//! The dispatcher between a real spool and store on one side and pretended edges on the other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemon::clock::SystemClock;
use daemon::problem::Problem;
use daemon::system;
use daemon::trace::Trace;
use directory::Directory;
use mail::{Address, EnhancedCode, Envelope, ItemId, Notify, Outcome, Recipient, Reply, ReversePath};
use outbound::queue::{Queue, QueueError, QueueState, RecipientState};
use outbound::{CarrierEvent, CarrierName, Carriers, Parts, Settings, WarmUpSettings, run};
use spool::{RealDisk, Spool};
use store::Mailboxes;
use store_memory::MemoryMailboxes;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::forward::Forwarder;
use crate::house::OwnHouse;
use crate::keeper::Keeper;
use crate::reports::SenderReports;

const ALICE: &str = "alice--example.org";
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for what must not happen to happen.
const QUIET: Duration = Duration::from_millis(150);

/// What an edge is told, and whether the queue's record said so at that moment.
#[derive(Debug)]
enum Told {
    Started { edge: String, attempt: Box<link::Attempt>, recorded: bool },
    Asked { edge: String, attempt: ItemId },
    Settled { edge: String, attempt: ItemId, recorded: bool },
}

struct FakeEdges {
    up: Arc<Mutex<Vec<String>>>,
    told: mpsc::UnboundedSender<Told>,
    queue: Queue,
}

impl FakeEdges {
    fn is_up(&self, edge: &str) -> bool {
        self.up.lock().unwrap().iter().any(|name| name == edge)
    }

    fn is_recorded(&self, attempt: ItemId) -> bool {
        // Another item may leave meanwhile.
        let states = self.queue.ids(None, 100).into_iter().filter_map(|id| self.queue.read(id).ok());
        states.flat_map(|state| state.running).any(|running| running.attempt == attempt)
    }
}

impl Carriers for FakeEdges {
    fn up(&self) -> Vec<CarrierName> {
        self.up.lock().unwrap().iter().map(|edge| CarrierName::edge(edge)).collect()
    }

    fn start(&self, edge: &CarrierName, attempt: link::Attempt, _: content::Content) -> bool {
        let recorded = self.is_recorded(attempt.attempt);
        let attempt = Box::new(attempt);
        self.is_up(edge.as_str())
            && self.told.send(Told::Started { edge: edge.to_string(), attempt, recorded }).is_ok()
    }

    fn ask(&self, edge: &CarrierName, attempt: ItemId) -> bool {
        self.is_up(edge.as_str()) && self.told.send(Told::Asked { edge: edge.to_string(), attempt }).is_ok()
    }

    fn settled(&self, edge: &CarrierName, attempt: ItemId) -> bool {
        let recorded = !self.is_recorded(attempt);
        self.told.send(Told::Settled { edge: edge.to_string(), attempt, recorded }).is_ok()
    }
}

/// Alice, and an alias that leads to her and abroad.
fn directory(dir: &TempDir) -> Directory {
    let data = dir.path().display().to_string();
    let config = format!("domains = [\"example.org\"]\noutbound = \"on\"\ndata = {data:?}\n");
    let directory = crate::databases::open_directory(&toml::from_str(&config).unwrap()).unwrap();
    if directory.accounts().is_empty() {
        let address = |text: &str| Address::parse(text).unwrap();
        directory.add_account(&address("alice@example.org"), "correct horse").unwrap();
        let targets = ["alice@example.org", "al@elsewhere.example"].map(address);
        directory.add_alias("sales@example.org", &targets).unwrap();
    }
    directory
}

fn signed(path: ReversePath) -> ReversePath {
    let signed =
        path.address().map(|address| Address::at(&format!("signed={}", address.local()), address.domain()));
    signed.map_or(path, |signed| ReversePath::Address(signed.unwrap()))
}

fn forwarder(dir: &TempDir, queue: &Queue, keeper: &Keeper, directory: &Directory) -> Arc<Forwarder> {
    use crate::{dkim::DomainKeys, forward, reports::Notices};
    let parts = forward::Parts {
        queue: queue.clone(),
        directory: directory.clone(),
        keys: DomainKeys::open(dir.path(), &[], system::now()).unwrap(),
        srs: forward::Srs::open(dir.path()).unwrap(),
        notices: Notices::new(directory.clone(), keeper.clone(), SystemClock::shared()),
        clock: SystemClock::shared(),
        trace: Trace::open(&dir.path().join("forward-trace"), link::Role::Home).unwrap(),
    };
    Forwarder::open(dir.path(), parts).unwrap()
}

struct Bench {
    dir: TempDir,
    queue: Queue,
    store: Arc<dyn Mailboxes>,
    up: Arc<Mutex<Vec<String>>>,
    edges: mpsc::Sender<CarrierEvent>,
    told: mpsc::UnboundedReceiver<Told>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Problem>>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryMailboxes::default());
        store.create_account(ALICE, system::now()).unwrap();
        Self::start(dir, store, expiring(Duration::from_secs(100)), &["one", "two"])
    }

    fn start(dir: TempDir, store: Arc<dyn Mailboxes>, settings: Settings, up: &[&str]) -> Self {
        let spool =
            Spool::open(&dir.path().join("queue"), spool::Options::default(), Arc::new(RealDisk)).unwrap();
        let (queue, commands) = Queue::new(spool);
        let up = Arc::new(Mutex::new(up.iter().map(|edge| (*edge).to_owned()).collect()));
        let (tell, told) = mpsc::unbounded_channel();
        let (edges, events) = mpsc::channel(outbound::CARRIER_EVENTS_MAX);
        let directory = directory(&dir);
        let keeper = Keeper::new(Arc::clone(&store), None);
        let forwarder = forwarder(&dir, &queue, &keeper, &directory);
        let (scratch, clock) = (dir.path().to_owned(), SystemClock::shared());
        let parts = Parts {
            queue: queue.clone(),
            commands,
            carriers: FakeEdges { up: Arc::clone(&up), told: tell, queue: queue.clone() },
            events,
            house: OwnHouse {
                directory: directory.clone(),
                keeper: keeper.clone(),
                scratch,
                clock: clock.clone(),
            },
            reporter: SenderReports { directory, keeper, forwarder, clock: clock.clone() },
            clock,
            sign: Box::new(signed),
            count_tls: Box::new(|_, _| {}),
            trace: Trace::open(&dir.path().join("trace"), link::Role::Home).unwrap(),
            settings,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(parts, stop.clone()));
        Self { dir, queue, store, up, edges, told, stop, task }
    }

    /// Ends this run and begins another on the same files.
    async fn restart(self, settings: Settings, up: &[&str]) -> Self {
        let Self { dir, store, stop, task, queue, .. } = self;
        stop.cancel();
        task.await.unwrap().unwrap();
        drop(queue);
        Self::start(dir, store, settings, up)
    }

    async fn send(&self, recipients: &[&str]) -> ItemId {
        self.send_as(
            recipients.iter().map(|text| Address::parse(text).unwrap().into()).collect(),
            "alice@example.org",
        )
        .await
    }

    async fn send_as(&self, recipients: Vec<Recipient>, from: &str) -> ItemId {
        let item = system::new_item_id();
        let state = new_state(item, recipients, from);
        let content = b"body\r\n".to_vec().into();
        self.queue.append(state, b"Subject: hi\r\n\r\n".to_vec(), content).await.unwrap();
        item
    }

    async fn next(&mut self) -> Told {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("an edge is told").unwrap()
    }

    async fn started(&mut self) -> (String, link::Attempt) {
        match self.next().await {
            Told::Started { edge, attempt, recorded } => {
                assert!(recorded, "an attempt was ordered before it was recorded");
                (edge, *attempt)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn asked(&mut self) -> (String, ItemId) {
        match self.next().await {
            Told::Asked { edge, attempt } => (edge, attempt),
            other => panic!("{other:?}"),
        }
    }

    async fn settled(&mut self) -> (String, ItemId) {
        match self.next().await {
            Told::Settled { edge, attempt, recorded } => {
                assert!(recorded, "an outcome was forgotten before it was recorded");
                (edge, attempt)
            }
            other => panic!("{other:?}"),
        }
    }

    /// One attempt has ended and another message's began, told in either order: what the first took up is free as soon as its
    /// outcome has come, and Edge may forget that when it is recorded.
    async fn settled_and_started(&mut self) -> link::Attempt {
        let (mut settled, mut started) = (false, None);
        for _ in 0..2 {
            match self.next().await {
                Told::Settled { recorded: true, .. } => settled = true,
                Told::Started { attempt, recorded: true, .. } => started = Some(*attempt),
                other => panic!("{other:?}"),
            }
        }
        assert!(settled, "twice begun");
        started.expect("another began")
    }

    async fn quiet(&mut self) {
        let told = tokio::time::timeout(QUIET, self.told.recv()).await;
        assert!(told.is_err(), "{told:?}");
    }

    fn outcomes(&self, edge: &str, attempt: ItemId, outcomes: Vec<Outcome>) {
        let outcomes = link::Outcomes { attempt, outcomes, tls: Default::default() };
        self.edges.try_send(CarrierEvent::Outcomes { carrier: CarrierName::edge(edge), outcomes }).unwrap();
    }

    fn known(&self, edge: &str, attempt: ItemId, state: link::AttemptState) {
        self.edges
            .try_send(CarrierEvent::Known { carrier: CarrierName::edge(edge), attempt, state })
            .unwrap();
    }

    fn link_down(&self, edge: &str) {
        self.up.lock().unwrap().retain(|name| name != edge);
        self.edges.try_send(CarrierEvent::Down(CarrierName::edge(edge))).unwrap();
    }

    fn link_up(&self, edge: &str) {
        self.up.lock().unwrap().push(edge.to_owned());
        self.edges.try_send(CarrierEvent::Up(CarrierName::edge(edge))).unwrap();
    }

    async fn gone(&self, item: ItemId) {
        for _ in 0..1000 {
            if self.queue.read(item).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.queue.read(item));
    }

    /// The messages in an account's INBOX.
    fn inbox(&self) -> Vec<String> {
        let reader = self.store.reader(ALICE).unwrap();
        let inbox = reader.mailbox("INBOX").unwrap().unwrap().id;
        let mut messages = Vec::new();
        reader.each_message(inbox, 1..=u32::MAX, &mut |message| messages.push(message)).unwrap();
        let octets = |uid, octets: u64| {
            let length = usize::try_from(octets).unwrap();
            let mut out = Vec::new();
            assert!(reader.read_body(inbox, uid, 0, length, &mut out).unwrap());
            out
        };
        messages
            .iter()
            .map(|message| String::from_utf8(octets(message.uid, message.octets)).unwrap())
            .collect()
    }
}

fn expiring(expire: Duration) -> Settings {
    Settings {
        retry: vec![Duration::from_millis(30)],
        expire,
        warn_after: expire,
        edge_gone: expire,
        attempts: 3,
        per_domain: 3,
        warm_up: WarmUpSettings { first_day: 0, growth: 1.5, file: "/dev/null".into() },
        pause: Duration::from_millis(50),
    }
}

fn new_state(item: ItemId, recipients: Vec<Recipient>, from: &str) -> QueueState {
    let reverse_path = ReversePath::try_from(from.to_owned()).unwrap();
    let envelope = Envelope {
        reverse_path,
        recipients,
        body: mail::BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: None,
    };
    QueueState::new(item, ALICE.to_owned(), envelope, system::now())
}

fn reply(code: u16, class: u16) -> Outcome {
    let class = u8::try_from(class).unwrap();
    Outcome::from_reply(Some("mx.example.net".to_owned()), &Reply::new(code, (class, 0, 0), "words"))
}

fn delivered() -> Outcome {
    reply(250, 2)
}

fn deferred() -> Outcome {
    reply(450, 4)
}

fn failed() -> Outcome {
    reply(550, 5)
}

mod former;
mod forwarded;
mod in_doubt;
mod large;
mod left_over;
mod pace;
mod reported;

#[tokio::test]
async fn a_delivered_message_leaves_the_queue_and_nobody_is_told() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net"]).await;
    let (edge, attempt) = bench.started().await;
    assert_eq!((edge.as_str(), attempt.item, attempt.domain.as_str()), ("one", item, "example.net"));
    bench.outcomes("one", attempt.attempt, vec![delivered()]);
    assert_eq!(bench.settled().await, (edge, attempt.attempt));
    bench.gone(item).await;
    assert!(bench.inbox().is_empty());
}

/// Only the world sees the tag: what comes of it here goes by the plain address.
#[tokio::test]
async fn the_reverse_path_is_signed_for_the_attempt_and_plain_in_the_queue_and_the_report() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net", "alice@example.org"]).await;
    let (_, attempt) = bench.started().await;
    assert_eq!(attempt.envelope.reverse_path.to_string(), "signed=alice@example.org");
    let state = bench.queue.read(item).unwrap();
    assert_eq!(state.envelope.reverse_path.to_string(), "alice@example.org");
    bench.outcomes("one", attempt.attempt, vec![failed()]);
    bench.settled().await;
    bench.gone(item).await;
    let inbox = bench.inbox();
    assert_eq!(inbox.len(), 2, "the message and the report");
    assert!(inbox[0].contains("Return-Path: <alice@example.org>"), "{}", inbox[0]);
    assert!(inbox[1].contains("To: alice@example.org"), "{}", inbox[1]);
    assert!(inbox.iter().all(|message| !message.contains("signed=")), "{inbox:?}");
}

#[tokio::test]
async fn a_deferred_message_is_tried_again_under_a_new_id() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net"]).await;
    let (_, first) = bench.started().await;
    bench.outcomes("one", first.attempt, vec![deferred()]);
    bench.settled().await;
    let (_, second) = bench.started().await;
    assert_ne!(first.attempt, second.attempt);
    assert_eq!(bench.queue.read(item).unwrap().recipients[0].attempts, 1);
    bench.outcomes("one", second.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
}

#[tokio::test]
async fn recipients_of_one_domain_share_an_attempt_and_keep_their_own_outcomes() {
    let mut bench = Bench::new();
    let item = bench.send(&["b@example.net", "c@example.net", "d@example.com"]).await;
    let (_, x) = bench.started().await;
    let (_, y) = bench.started().await;
    let (com, net) = if x.domain.as_str() == "example.com" { (x, y) } else { (y, x) };
    assert_eq!((com.envelope.recipients.len(), net.envelope.recipients.len()), (1, 2));
    bench.outcomes("one", net.attempt, vec![failed(), deferred()]);
    bench.settled().await;
    bench.outcomes("one", com.attempt, vec![delivered()]);
    bench.settled().await;
    let (_, again) = bench.started().await;
    assert_eq!(again.envelope.recipients[0].address.local(), "c");
    assert!(bench.inbox().is_empty(), "the report waits until all is known");
    bench.outcomes("one", again.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
    let inbox = bench.inbox();
    assert_eq!(inbox.len(), 1);
    assert!(inbox[0].contains("Final-Recipient: rfc822; b@example.net\r\nAction: failed"), "{}", inbox[0]);
    assert!(!inbox[0].contains("c@example.net") && !inbox[0].contains("d@example.com"));
}

#[tokio::test]
async fn a_message_without_a_login_behind_it_never_makes_a_report() {
    let mut bench = Bench::new();
    for from in ["alice@example.org", "stranger@example.net"] {
        let item = system::new_item_id();
        let to = Address::parse("b@example.com").unwrap().into();
        let state = QueueState { account: String::new(), ..new_state(item, vec![to], from) };
        let content = b"body\r\n".to_vec().into();
        bench.queue.append(state, b"Subject: hi\r\n\r\n".to_vec(), content).await.unwrap();
        let (_, attempt) = bench.started().await;
        bench.outcomes("one", attempt.attempt, vec![failed()]);
        bench.settled().await;
        bench.gone(item).await;
    }
    bench.quiet().await;
    assert!(bench.inbox().is_empty() && bench.queue.list().await.is_empty());
}

#[tokio::test]
async fn without_an_edge_a_message_waits_and_no_attempt_counts() {
    let mut bench = Bench::new();
    bench.link_down("one");
    bench.link_down("two");
    let item = bench.send(&["bob@example.net"]).await;
    bench.quiet().await;
    bench.link_up("two");
    let (edge, _) = bench.started().await;
    assert_eq!(edge, "two");
    assert_eq!(bench.queue.read(item).unwrap().recipients[0].attempts, 0);
}

#[tokio::test]
async fn mail_for_this_home_goes_into_its_mailbox_and_never_over_the_link() {
    let mut bench = Bench::new();
    let item = bench.send(&["alice@example.org", "nobody@example.org"]).await;
    bench.gone(item).await;
    bench.quiet().await;
    let inbox = bench.inbox();
    assert_eq!(inbox.len(), 2);
    let head = "Return-Path: <alice@example.org>\r\nDelivered-To: alice@example.org\r\nSubject: hi\r\n";
    assert!(inbox[0].starts_with(head), "{}", inbox[0]);
    assert!(inbox[1].contains("nobody@example.org") && inbox[1].contains("Status: 5.1.1"));
}

#[tokio::test]
async fn what_a_user_sends_to_an_alias_goes_to_its_mailboxes_and_to_where_it_leads() {
    let mut bench = Bench::new();
    let item = bench.send(&["sales@example.org", "al@elsewhere.example"]).await;
    let (edge, attempt) = bench.started().await;
    let to: Vec<String> =
        attempt.envelope.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
    assert_eq!(to, ["al@elsewhere.example"], "who is named twice gets it once");
    assert_eq!(attempt.envelope.reverse_path.to_string(), "signed=alice@example.org");
    bench.outcomes(&edge, attempt.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
    assert_eq!(bench.inbox().len(), 1);
}
