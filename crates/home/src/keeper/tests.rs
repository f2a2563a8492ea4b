//! Deliveries to a pretended LMTP server: what is taken once, what is refused, what has to come again.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use content::Content;
use mail::{Address, ItemId, UnixTime};
use store::FlagList;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::*;
use crate::config::HomeConfig;

/// Takes the body of each message with the next of these replies.
#[derive(Default)]
struct Server {
    replies: Mutex<VecDeque<&'static str>>,
    /// Recipients and bodies of what came.
    came: Mutex<Vec<String>>,
    /// Connections that were accepted.
    connections: AtomicUsize,
    /// Whether it closes each after a message.
    closes: AtomicBool,
    /// Whether it refuses all recipients.
    knows_nobody: AtomicBool,
}

impl Server {
    fn start(socket: &Path, replies: &[&'static str]) -> Arc<Self> {
        let replies = Mutex::new(replies.iter().copied().collect());
        let server = Arc::new(Self { replies, came: Mutex::default(), ..Self::default() });
        let listener = UnixListener::bind(socket).unwrap();
        let shared = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).serve(stream));
            }
        });
        server
    }

    async fn serve(self: Arc<Self>, stream: UnixStream) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 x LMTP\r\n").await.unwrap();
        let (mut line, mut in_body) = (String::new(), false);
        while stream.read_line(&mut line).await.is_ok_and(|octets| octets > 0) {
            let said = std::mem::take(&mut line);
            let reply = match said.trim_end() {
                "." if in_body => {
                    in_body = false;
                    self.replies.lock().unwrap().pop_front().expect("no message more than expected")
                }
                _ if in_body => {
                    self.came.lock().unwrap().last_mut().unwrap().push_str(&said);
                    continue;
                }
                "DATA" => {
                    in_body = true;
                    "354 go"
                }
                rcpt if rcpt.starts_with("RCPT") && self.knows_nobody.load(Ordering::Relaxed) => {
                    "550 5.1.1 User doesn't exist"
                }
                rcpt if rcpt.starts_with("RCPT") => {
                    self.came.lock().unwrap().push(said.clone());
                    "250 2.1.5 ok"
                }
                _ => "250 2.0.0 ok",
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
            if said == ".\r\n" && self.closes.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    keeper: Keeper,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keeper = open(dir.path());
        Self { dir, keeper }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("lmtp")
    }

    async fn deliver(&self, item: u8, tray: Tray) -> Result<Kept, Failure> {
        self.begin(item, tray).await.unwrap()
    }

    fn begin(&self, item: u8, tray: Tray) -> oneshot::Receiver<Result<Kept, Failure>> {
        let delivery = Delivery {
            item: Some(ItemId::from_bytes([item; 16])),
            mailbox: String::new(),
            head: store::Head::new(
                mail::ReversePath::Address(Address::parse("ann@a.example").unwrap()),
                Address::parse("bob+x@example.org").unwrap(),
                Vec::new(),
            ),
            body: Content::from(b"Subject: x\r\n\r\n.dot\r\n".to_vec()),
            flags: FlagList::default(),
            internal_date: UnixTime(1),
        };
        let (done, result) = oneshot::channel();
        let keeper = self.keeper.clone();
        tokio::spawn(async move { done.send(keeper.deliver("bob--example.org", tray, delivery).await) });
        result
    }
}

/// With an account for bob, on the first call and after.
fn open(dir: &Path) -> Keeper {
    let data = dir.display().to_string();
    let socket = dir.join("lmtp").display().to_string();
    let config =
        format!("domains = [\"example.org\"]\ndata = {data:?}\n[deliver]\nlmtp = \"unix:{socket}\"\n");
    let config: HomeConfig = toml::from_str(&config).unwrap();
    let directory = crate::databases::open_directory(&config).unwrap();
    let bob = Address::parse("bob@example.org").unwrap();
    // Fails when he is there.
    let _ = directory.add_account(&bob, "correct horse");
    let store = crate::accounts::open_store(&config, &directory, daemon::system::now()).unwrap();
    let deliver = config.deliver.as_ref().unwrap();
    Keeper::new(
        store,
        Some(
            Lmtp::open(
                deliver,
                "mail.example.org".to_owned(),
                dir,
                directory,
                daemon::clock::SystemClock::shared(),
            )
            .unwrap(),
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_handed_over_once_also_after_a_restart() {
    let mut home = Fixture::new();
    let server = Server::start(&home.socket(), &["250 2.0.0 Saved", "250 2.0.0 Saved"]);
    assert!(matches!(home.deliver(1, Tray::Inbox).await, Ok(Kept::HandedOver)));
    assert!(matches!(home.deliver(1, Tray::Inbox).await, Ok(Kept::HandedOverBefore)));
    home.keeper = open(home.dir.path());
    assert!(matches!(home.deliver(1, Tray::Inbox).await, Ok(Kept::HandedOverBefore)));
    assert!(matches!(home.deliver(2, Tray::Junk).await, Ok(Kept::HandedOver)));
    let came = server.came.lock().unwrap();
    let rcpt = "RCPT TO:<bob@example.org>\r\n";
    assert_eq!(came[0], format!("{rcpt}Subject: x\r\n\r\n..dot\r\n"));
    assert_eq!(came[1], format!("{rcpt}X-Spam-Flag: YES\r\nSubject: x\r\n\r\n..dot\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_comes_again_and_a_refusal_is_told_as_one() {
    let home = Fixture::new();
    let away = home.deliver(1, Tray::Inbox).await.unwrap_err();
    assert!(matches!(&away, Failure::Lmtp(Outcome::Deferred(_))), "{away}");
    let server = Server::start(&home.socket(), &["451 4.3.0 later", "552 5.2.2 full", "250 2.0.0 Saved"]);
    assert!(home.deliver(1, Tray::Inbox).await.unwrap_err().refusal().is_none());
    let full = home.deliver(1, Tray::Inbox).await.unwrap_err();
    assert_eq!(full.refusal().unwrap().status, mail::EnhancedCode(5, 2, 2));
    assert!(matches!(home.deliver(1, Tray::Inbox).await, Ok(Kept::HandedOver)), "nothing was remembered");
    assert_eq!(server.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quarantine_is_always_ours_and_needs_no_server() {
    let home = Fixture::new();
    assert!(matches!(home.deliver(1, Tray::Quarantine).await, Ok(Kept::Stored(..))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_and_one_that_was_closed_meanwhile_costs_no_message() {
    let home = Fixture::new();
    let server = Server::start(&home.socket(), &["250 2.0.0 Saved"; 4]);
    let delivered = async |item| matches!(home.deliver(item, Tray::Inbox).await, Ok(Kept::HandedOver));
    assert!(delivered(1).await && delivered(2).await);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    server.closes.store(true, Ordering::Relaxed);
    assert!(delivered(3).await && delivered(4).await);
    assert_eq!((server.count(), server.connections.load(Ordering::Relaxed)), (4, 2));
}

/// Symptom: with a mistake in the mailbox server's list of users all mail is bounced. Cause: its 550 was passed on,
/// though Home knows that the account is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_server_does_not_know_is_no_refusal() {
    let home = Fixture::new();
    let server = Server::start(&home.socket(), &["250 2.0.0 Saved"]);
    server.knows_nobody.store(true, Ordering::Relaxed);
    let unknown = home.deliver(1, Tray::Inbox).await.unwrap_err();
    assert!(matches!(&unknown, Failure::Lmtp(Outcome::Deferred(why)) if why.status.0 == 4), "{unknown}");
    server.knows_nobody.store(false, Ordering::Relaxed);
    assert!(matches!(home.deliver(1, Tray::Inbox).await, Ok(Kept::HandedOver)));
}

/// Symptom: behind a mailbox server that hangs deliveries pile up without end. Cause: they waited for a connection for
/// as long as it took, each with its message.
#[tokio::test(start_paused = true)]
async fn a_delivery_waits_for_a_connection_but_not_for_ever() {
    let home = Fixture::new();
    // It takes connections and says nothing.
    let silent = UnixListener::bind(home.socket()).unwrap();
    let before = tokio::time::Instant::now();
    let _busy: Vec<_> = (1..=4).map(|item| home.begin(item, Tray::Inbox)).collect();
    tokio::task::yield_now().await;
    let again = home.deliver(1, Tray::Inbox).await.unwrap_err();
    assert!(again.to_string().contains("just now"), "{again}");
    assert!(before.elapsed().as_secs() < 1, "the same message does not even wait");
    let fifth = home.deliver(5, Tray::Inbox).await.unwrap_err();
    assert!(fifth.to_string().contains("busy"), "{fifth}");
    assert_eq!(before.elapsed().as_secs(), 30);
    drop(silent);
}
