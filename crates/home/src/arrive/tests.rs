//! Arrivals against a real store: who gets what, and what Edge is told.

mod filtered;
mod forwarded;
mod repeated;

use content::Budget;
use daemon::clock::ManualClock;
use daemon::system;
use daemon::trace::Trace;

use mail::{Address, Recipient, ReversePath, UnixTime};
use net::link_session::{self, FrameQueue, FrameReader, PING_AFTER};
use seal::{SealTo, Sealing, UnsealWith};

use super::*;
use crate::filters::Filters;
use crate::forward::tests::forwarder;
use crate::keeper::{Keeper, QUARANTINE};
use crate::quarantine::Quarantine;
use crate::round_trips::RoundTrips;

struct Fixture {
    _dir: tempfile::TempDir,
    shared: Arc<Arrivals>,
    arrivals: LinkArrivals,
    outbound: outbound::queue::Queue,
    clock: Arc<ManualClock>,
    queue: Option<FrameQueue>,
}

/// A home with alice, who is postmaster, and bob.
fn fixture(memory_octets_max: u64) -> Fixture {
    fixture_with(memory_octets_max, None)
}

fn fixture_with(memory_octets_max: u64, filters: Option<Arc<Filters>>) -> Fixture {
    fixture_of(Budget::of_octets(memory_octets_max), Budget::of_octets(WAITING_OCTETS_MAX), filters)
}

fn fixture_of(memory: Budget, waiting: Budget, filters: Option<Arc<Filters>>) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let config = format!("domains = [\"example.org\"]\ndata = {data:?}\noutbound = \"on\"\n");
    let config: crate::config::HomeConfig = toml::from_str(&config).unwrap();
    let directory = crate::databases::open_directory(&config).unwrap();
    for name in ["alice", "bob"] {
        directory.add_account(&at(name), "correct horse").unwrap();
    }
    let store = crate::accounts::open_store(&config, &directory, system::now()).unwrap();
    let (forwarder, outbound) = forwarder(dir.path(), &directory, &store, &[]);
    let keeper = Keeper::new(store, None);
    let scratch = dir.path().join("scratch");
    let clock = ManualClock::at(system::now());
    std::fs::create_dir(&scratch).unwrap();
    let shared = Arc::new(Arrivals {
        keeper,
        directory,
        trace: Trace::open(&dir.path().join("trace"), link::Role::Home).unwrap(),
        filters,
        quarantine: Quarantine::open(dir.path()).unwrap(),
        forwarder,
        unseal: UnsealWith::parse(&seal::generate_key().0).unwrap(),
        unsealers: Unsealers::start().unwrap(),
        drafts: scratch.into(),
        memory,
        waiting,
        message_octets_max: 4 << 20,
        repeats: Repeats::new([7; 32]),
        round_trips: RoundTrips::default(),
        clock: clock.clone(),
        runtime: tokio::runtime::Handle::current(),
    });
    let (frames, queue) = link_session::frame_queue();
    let arrivals = LinkArrivals::new(Arc::clone(&shared), frames, "mx.example.org".to_owned());
    Fixture { _dir: dir, shared, arrivals, outbound, clock, queue: Some(queue) }
}

fn at(name: &str) -> Address {
    Address::parse(&format!("{name}@example.org")).unwrap()
}

fn open(item: u8, recipients: &[&str]) -> Open {
    let recipients = recipients.iter().map(|name| Recipient::from(at(name))).collect();
    let reverse_path = ReversePath::Null;
    let body = mail::BodyType::SevenBit;
    let envelope = mail::Envelope {
        reverse_path,
        recipients,
        body,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: None,
    };
    Open { item: ItemId::from_bytes([item; 16]), accepted: UnixTime(1), envelope }
}

impl Fixture {
    async fn live(&mut self, item: u8, recipients: &[&str], message: &[u8]) {
        let open = open(item, recipients);
        let id = open.item;
        self.arrivals.open(Box::new(open)).unwrap();
        self.body(id, message).await;
        self.arrivals.end(id, &Verdict::default());
    }

    async fn sealed(&mut self, item: u8, recipients: &[&str], message: &[u8]) {
        let to = SealTo::parse(&self.shared.unseal.public()).unwrap();
        let open = open(item, recipients);
        let mut sealing = Sealing::begin(&to, Vec::new(), &open).unwrap();
        sealing.write(message).unwrap();
        let sealed = sealing.finish(&Verdict::default()).unwrap();
        let octets = sealed.len() as u64;
        self.arrivals.open_sealed(&link::OpenSealed { item: open.item, octets }).unwrap();
        self.body(open.item, &sealed).await;
    }

    /// A body as an edge sends it: not past the window.
    async fn body(&mut self, id: ItemId, octets: &[u8]) {
        for piece in octets.chunks(link::BODY_FRAME_MAX) {
            self.arrivals.body(id, Bytes::copy_from_slice(piece)).unwrap();
            self.all_written().await;
        }
    }

    async fn all_written(&self) {
        while self.shared.waiting.taken() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// The codes of the next answers. Ends the link's queue.
    async fn answers(&mut self, many: usize) -> Vec<Vec<u16>> {
        let (near, far) = tokio::io::duplex(1 << 20);
        let writing = tokio::spawn(link_session::write_frames(near, self.queue.take().unwrap()));
        let mut reader = FrameReader::new(far);
        let mut answers = Vec::new();
        while answers.len() < many {
            let frame = tokio::select! {
                frame = reader.next(PING_AFTER) => frame.unwrap(),
                answer = self.arrivals.taken() => {
                    self.arrivals.answer(answer);
                    continue;
                }
            };
            if let Some(Frame::Answer(answer)) = frame {
                answers.push(answer.replies.iter().map(|reply| reply.code).collect());
            }
        }
        writing.abort();
        answers
    }

    /// Another link, of the same edge or another one.
    fn relink(&mut self) {
        let (frames, queue) = link_session::frame_queue();
        self.arrivals = LinkArrivals::new(Arc::clone(&self.shared), frames, "mx2.example.org".to_owned());
        self.queue = Some(queue);
    }

    async fn answer(&mut self) -> Vec<u16> {
        self.answers(1).await.remove(0)
    }

    fn count(&self, account: &str, mailbox: &str) -> u64 {
        let reader = self.shared.keeper.store().reader(account).unwrap();
        let Some(mailbox) = reader.mailbox(mailbox).unwrap() else { return 0 };
        let mut messages = 0;
        reader.each_message(mailbox.id, 1..=u32::MAX, &mut |_| messages += 1).unwrap();
        messages
    }
}

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

#[tokio::test]
async fn known_recipients_of_one_message_get_one_copy_each_and_one_reply_each() {
    let mut home = fixture(1 << 20);
    home.live(1, &["alice", "bob", "bob+x"], MESSAGE).await;
    assert_eq!(home.answer().await, [250, 250, 250]);
    assert_eq!((home.count("alice--example.org", "INBOX"), home.count("bob--example.org", "INBOX")), (1, 1));
}

#[tokio::test]
async fn a_message_for_nobody_here_is_refused_while_its_sender_waits() {
    let mut home = fixture(1 << 20);
    home.live(1, &["eve", "mallory"], MESSAGE).await;
    assert_eq!(home.answer().await, [550, 550]);
    assert_eq!(home.count("alice--example.org", QUARANTINE), 0);
}

#[tokio::test]
async fn what_some_take_and_others_cannot_is_kept_for_the_operator_and_nothing_is_bounced() {
    let mut home = fixture(1 << 20);
    home.live(1, &["bob", "eve"], MESSAGE).await;
    assert_eq!(home.answer().await, [250, 250]);
    assert_eq!(
        (home.count("bob--example.org", "INBOX"), home.count("alice--example.org", QUARANTINE)),
        (1, 1)
    );
}

#[tokio::test]
async fn sealed_mail_for_nobody_here_is_quarantined_never_refused() {
    let mut home = fixture(1 << 20);
    home.sealed(1, &["eve"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count("alice--example.org", QUARANTINE), 1);
}

/// Symptom: mail that waited sealed for an account that was removed went to the next who got its name.
#[tokio::test]
async fn sealed_mail_for_an_account_that_was_removed_since_is_the_operators_and_not_the_next_ones() {
    let mut home = fixture(1 << 20);
    let directory = home.shared.directory.clone();
    directory.remove_account(&at("bob"), open(1, &[]).item.taken()).unwrap();
    directory.add_account(&at("bob"), "correct horse").unwrap();
    home.sealed(1, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(
        (home.count("bob--example.org", "INBOX"), home.count("alice--example.org", QUARANTINE)),
        (0, 1)
    );
}

#[tokio::test]
async fn the_same_item_live_and_sealed_is_one_message() {
    let mut home = fixture(1 << 20);
    home.live(1, &["bob"], MESSAGE).await;
    home.sealed(1, &["bob"], MESSAGE).await;
    assert_eq!(home.answers(2).await, [[250], [250]]);
    assert_eq!(home.count("bob--example.org", "INBOX"), 1);
}

#[tokio::test]
async fn a_sealed_item_under_another_id_stays_with_edge() {
    let mut home = fixture(1 << 20);
    let to = SealTo::parse(&home.shared.unseal.public()).unwrap();
    let sealing = Sealing::begin(&to, Vec::new(), &open(1, &["bob"])).unwrap();
    let sealed = sealing.finish(&Verdict::default()).unwrap();
    let item = ItemId::from_bytes([2; 16]);
    home.arrivals.open_sealed(&link::OpenSealed { item, octets: sealed.len() as u64 }).unwrap();
    home.body(item, &sealed).await;
    assert_eq!(home.answer().await, [451]);
    assert_eq!(home.count("bob--example.org", "INBOX"), 0);
}

#[tokio::test]
async fn bodies_leave_memory_when_it_is_short_and_come_out_whole() {
    let mut home = fixture(100_000);
    let message: Vec<u8> = [MESSAGE, &b"0123456789abcde\r\n".repeat(12_000)].concat();
    let open = open(1, &["bob"]);
    let id = open.item;
    home.arrivals.open(Box::new(open)).unwrap();
    home.body(id, &message).await;
    assert_eq!(home.shared.memory.taken(), 0, "all of it is in a file");
    home.arrivals.end(id, &Verdict::default());
    assert_eq!(home.answer().await, [250]);
    let reader = home.shared.keeper.store().reader("bob--example.org").unwrap();
    let inbox = reader.mailbox("INBOX").unwrap().unwrap();
    let mut stored = Vec::new();
    assert!(reader.read_body(inbox.id, 1, 0, usize::MAX, &mut stored).unwrap());
    assert!(stored.ends_with(&message) && stored.len() < message.len() + 1000);
}

/// Symptom: with a slow disk at Home the link was lost, and with it all that was under way. Cause: a body that memory did not
/// take was written by the task that reads the link. Analysis: what is small and what is large went one way, and only the
/// large had to wait.
#[tokio::test]
async fn what_waits_for_the_disk_holds_up_neither_the_link_nor_what_comes_after_it() {
    let mut home = fixture(100_000);
    let large = open(1, &["bob"]);
    home.arrivals.open(Box::new(large)).unwrap();
    let id = open(1, &[]).item;
    for _ in 0..4 {
        home.arrivals.body(id, vec![b'x'; 60_000].into()).unwrap();
    }
    home.arrivals.end(id, &Verdict::default());
    // Nothing but the link has run yet: three pieces wait, and the link reads on.
    assert_eq!((home.shared.waiting.taken(), home.shared.memory.taken()), (180_000, 60_000));
    home.live(2, &["alice"], MESSAGE).await;
    assert_eq!(home.answers(2).await, [[250], [250]]);
    assert_eq!((home.shared.waiting.taken(), home.shared.memory.taken()), (0, 0));
    assert_eq!((home.count("alice--example.org", "INBOX"), home.count("bob--example.org", "INBOX")), (1, 1));
}

#[tokio::test]
async fn as_much_as_may_wait_for_the_disk_is_taken_and_what_is_past_it_stays_with_edge() {
    for (octets, codes) in [(100_000, [250]), (100_001, [451])] {
        let mut home = fixture_of(Budget::of_octets(0), Budget::of_octets(100_000), None);
        let id = open(1, &[]).item;
        home.arrivals.open(Box::new(open(1, &["bob"]))).unwrap();
        home.arrivals.body(id, vec![b'x'; octets - 1].into()).unwrap();
        home.arrivals.body(id, vec![b'x'; 1].into()).unwrap();
        home.arrivals.end(id, &Verdict::default());
        assert_eq!(home.answer().await, codes);
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_the_items_that_need_it_and_not_the_link() {
    let mut home = fixture(0);
    std::fs::remove_dir_all(home._dir.path().join("scratch")).unwrap();
    let id = open(1, &[]).item;
    home.live(1, &["bob", "alice"], MESSAGE).await;
    assert_eq!(home.answer().await, [451, 451]);
    home.relink();
    home.arrivals.open(Box::new(open(1, &["bob"]))).unwrap();
    home.arrivals.body(id, Bytes::from_static(MESSAGE)).unwrap();
    assert_eq!(home.answer().await, [451]);
    assert!(home.arrivals.body(id, Bytes::from_static(MESSAGE)).is_ok(), "what is given up is let go");
}

#[tokio::test]
async fn an_item_in_a_file_that_runs_past_its_window_ends_the_link() {
    let mut home = fixture(0);
    let id = open(1, &[]).item;
    home.arrivals.open(Box::new(open(1, &["bob"]))).unwrap();
    home.arrivals.body(id, vec![b'x'; usize::try_from(link::WINDOW_OCTETS).unwrap()].into()).unwrap();
    // Of what has no octet any number may come: nothing is kept of it.
    (0..3).for_each(|_| home.arrivals.body(id, Bytes::new()).unwrap());
    assert!(home.arrivals.body(id, Bytes::from_static(b"x")).is_err());
}

/// Symptom: a sender came again for days for an alias that leads elsewhere alone, while this home sends nothing. Cause: that it can't be
/// sent on was taken for a fault of the disk.
#[tokio::test]
async fn an_alias_that_leads_elsewhere_alone_is_refused_while_nothing_is_sent() {
    let mut home = fixture(0);
    home.shared
        .directory
        .add_alias("abroad@example.org", &[Address::parse("ann@far.test").unwrap()])
        .unwrap();
    let policy = (*home.shared.directory.policy()).clone();
    home.shared.directory.adopt(directory::Policy { sends: false, ..policy });
    home.live(1, &["abroad"], MESSAGE).await;
    assert_eq!(home.answer().await, [550]);
}

#[tokio::test]
async fn a_message_is_taken_at_its_limit_and_refused_one_octet_past_it() {
    for (past, codes) in [(0, [250]), (1, [552])] {
        let mut home = fixture(1 << 30);
        let limit = usize::try_from(home.shared.message_octets_max).unwrap();
        home.live(1, &["bob"], &vec![b'x'; limit + past]).await;
        assert_eq!(home.answer().await, codes);
    }
}

#[tokio::test]
async fn an_edge_that_breaks_the_window_or_the_size_loses_the_link() {
    let mut home = fixture(1 << 20);
    let item = ItemId::from_bytes([9; 16]);
    home.arrivals.open_sealed(&link::OpenSealed { item, octets: 3 }).unwrap();
    assert!(home.arrivals.body(item, Bytes::from_static(b"four")).is_err());
    assert!(home.arrivals.open(Box::new(open(1, &[]))).is_err());
}
