//! Mailboxes as an IMAP session sees them, over a real store.

use content::Content;
use daemon::clock::ManualClock;
use mail::UnixTime;
use std::sync::atomic::{AtomicUsize, Ordering};

use imap::{Options, Session};
use net::patience::Pressure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

use store_memory::MemoryMailboxes;

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

struct Home {
    accounts: Accounts,
    _directory: tempfile::TempDir,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryMailboxes::default());
    store.create_account("bob", NOW).unwrap();
    let accounts =
        Accounts { store, drafts: directory.path().into(), clock: ManualClock::at(NOW), trainer: None };
    Home { accounts, _directory: directory }
}

/// Lets in who knows the secret, until it is revoked.
#[derive(Clone, Default)]
struct Secret {
    revoked: CancellationToken,
    pressure: Pressure,
    logged_in: bool,
}

impl net::imap_server::Logins for Secret {
    async fn login(&mut self, given: imap::Credentials) -> Result<String, AccountError> {
        self.logged_in = given.password == "secret";
        self.logged_in.then_some(given.user).ok_or(AccountError::Denied)
    }

    fn pressure(&self) -> Pressure {
        self.pressure
    }

    fn revoked(&self) -> Option<CancellationToken> {
        self.logged_in.then(|| self.revoked.clone())
    }
}

struct Client {
    stream: DuplexStream,
    read: String,
}

impl Client {
    async fn new(home: &Home, stop: &CancellationToken) -> Self {
        Self::with(home, stop, Secret::default()).await
    }

    async fn with(home: &Home, stop: &CancellationToken, secret: Secret) -> Self {
        let (stream, server) = tokio::io::duplex(4096);
        let session = Session::new(SessionMailboxes::new(home.accounts.clone()), Options::default());
        let service = net::imap_server::Service::new(stop.clone()).unwrap();
        tokio::spawn(async move { net::imap_server::serve(server, session, secret, &service).await });
        let mut client = Self { stream, read: String::new() };
        client.until("\r\n").await;
        client
    }

    /// Reads up to and with `end`.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let mut octets = [0; 4096];
            let read = self.stream.read(&mut octets).await.unwrap();
            assert!(read > 0, "closed after {}", self.read);
            self.read.push_str(std::str::from_utf8(&octets[..read]).unwrap());
        }
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn ok(&mut self, command: &str) -> String {
        self.say(&format!("t {command}\r\n")).await;
        let answer = self.until("t OK ").await;
        self.until("\r\n").await;
        answer
    }
}

fn deliver(home: &Home, text: &str) {
    let delivery = store::Delivery {
        item: None,
        mailbox: "INBOX".into(),
        head: b"Received: here\r\n".to_vec().into(),
        body: Content::from(text.as_bytes().to_vec()),
        flags: FlagList::default(),
        internal_date: NOW,
    };
    home.accounts.store.deliver_and_wait("bob", delivery).unwrap();
}

#[tokio::test]
async fn a_client_reads_what_was_delivered_and_what_it_appended() {
    let home = home();
    let mut client = Client::new(&home, &CancellationToken::new()).await;
    client.say("x LOGIN bob wrong\r\n").await;
    assert!(client.until("\r\n").await.starts_with("x NO [AUTHENTICATIONFAILED]"));
    client.ok("LOGIN bob secret").await;
    deliver(&home, "Subject: hi\r\n\r\nbody\r\n");
    assert!(client.ok("SELECT INBOX").await.contains("* 1 EXISTS"));
    let fetched = client.ok("FETCH 1 BODY[]").await;
    assert!(fetched.contains("Received: here\r\nSubject: hi\r\n\r\nbody\r\n FLAGS (\\Seen))"), "{fetched}");
    let large = format!("Subject: large\r\n\r\n{}", "0123456789\r\n".repeat(100_000));
    let appended = client.ok(&format!("APPEND INBOX ($x) {{{}+}}\r\n{large}", large.len())).await;
    assert!(appended.contains("* 2 EXISTS"), "{appended}");
    let fetched = client.ok("FETCH 2 (FLAGS BODY.PEEK[])").await;
    assert!(fetched.contains("FLAGS ($x)") && fetched.contains(&large));
    assert!(client.ok("LIST (SPECIAL-USE) \"\" *").await.contains("\\Sent) \"/\" Sent"));
    let moved = client.ok("MOVE 1:* Archive").await;
    assert!(moved.contains("COPYUID") && moved.contains("* 2 EXPUNGE\r\n* 1 EXPUNGE"), "{moved}");
    assert!(client.ok("STATUS Archive (MESSAGES)").await.contains("(MESSAGES 2)"));
}

/// Symptom: 500 silent connections locked the port. Cause: a minute for each, however few places were left.
#[tokio::test(start_paused = true)]
async fn a_login_has_a_deadline_that_single_octets_do_not_move_and_that_comes_sooner_when_places_fill() {
    let home = home();
    for (pressure, seconds) in [(Pressure::NONE, 60..=70), (Pressure::of(1, 1), 10..=20)] {
        let secret = Secret { pressure, ..Secret::default() };
        let mut client = Client::with(&home, &CancellationToken::new(), secret).await;
        let began = tokio::time::Instant::now();
        while client.stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        assert!(seconds.contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }
}

/// Symptom: a removed account's session went on reading. Cause: nothing told it.
#[tokio::test]
async fn a_session_whose_login_is_revoked_ends_with_bye_while_it_idles_and_before_its_next_command() {
    let home = home();
    for idles in [true, false] {
        let secret = Secret::default();
        let mut client = Client::with(&home, &CancellationToken::new(), secret.clone()).await;
        client.ok("LOGIN bob secret").await;
        client.ok("SELECT INBOX").await;
        if idles {
            client.say("t IDLE\r\n").await;
            client.until("+ idling\r\n").await;
        }
        secret.revoked.cancel();
        assert!(client.until("\r\n").await.starts_with("* BYE"), "{idles}");
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn an_idling_client_hears_of_new_mail_and_of_the_end_of_the_service() {
    let home = home();
    let stop = CancellationToken::new();
    let mut client = Client::new(&home, &stop).await;
    client.ok("LOGIN bob secret").await;
    client.ok("SELECT INBOX").await;
    client.say("t IDLE\r\n").await;
    client.until("+ idling\r\n").await;
    deliver(&home, "Subject: hi\r\n\r\n");
    assert_eq!(client.until("\r\n").await, "* 1 EXISTS\r\n");
    client.say("DONE\r\n").await;
    client.until("t OK no longer idling\r\n").await;
    stop.cancel();
    assert!(client.until("\r\n").await.starts_with("* BYE"));
}

/// Symptom: with 500 sessions that idled, one delivery took 521 threads and 440 descriptors. Cause: it woke every session
/// of the account, whatever it had selected, at one time.
#[test]
fn a_delivery_wakes_those_that_idle_in_its_mailbox_and_nobody_else() {
    let home = home();
    home.accounts.store.create_account("alice", NOW).unwrap();
    let idling = |account: &str, mailbox: Option<&str>| {
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        let mut mailboxes = SessionMailboxes::new(home.accounts.clone());
        mailboxes.on_change(Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        mailboxes.open(account).unwrap();
        let selected = mailbox.map(|name| mailboxes.select(name, &mut |_| {}).unwrap().id);
        mailboxes.listen(selected);
        (mailboxes, woken)
    };
    let mut right: Vec<_> = (0..30).map(|_| idling("bob", Some("INBOX"))).collect();
    let wrong: Vec<_> =
        [("bob", Some("Junk")), ("bob", Some("Sent")), ("bob", None), ("alice", Some("INBOX"))]
            .map(|(account, mailbox)| idling(account, mailbox))
            .into();
    let woken = |sessions: &[(SessionMailboxes, Arc<AtomicUsize>)]| -> Vec<usize> {
        sessions.iter().map(|(_, woken)| woken.load(Ordering::SeqCst)).collect()
    };
    deliver(&home, "Subject: hi\r\n\r\n");
    assert_eq!((woken(&right), woken(&wrong)), (vec![1; 30], vec![0; 4]));
    right[0].0.listen(None);
    deliver(&home, "Subject: hi\r\n\r\n");
    assert_eq!(woken(&right)[..2], [1, 2], "who does not idle any more is not woken");
    assert_eq!(woken(&wrong), [0; 4]);
}
