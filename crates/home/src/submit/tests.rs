//! Sessions of users' programs over mailboxes and a queue in memory: what is taken, what is refused, what is queued.

use std::io::Read as _;

use mail::{Address, BodyType, ItemId};
use net::port_places::{Places, Standing};
use outbound::items::memory::MemoryItems;
use outbound::queue::Command;
use store::Mailboxes;
use store_memory::MemoryMailboxes;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use directory::Policy;

use super::*;
use crate::config::HomeConfig;
use crate::keeper::Keeper;

const PASSWORD: &str = "correct horse";
const ALICE: &str = "alice@example.org";
/// What a mail program hands in.
const MESSAGE: &str = "From: alice@example.org\r\nTo: bob@elsewhere.example\r\nSubject: hi\r\n\
                       Date: Tue, 24 Nov 2026 06:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n";
/// Where the edge sees the house.
const ROUTER: &str = "203.0.113.9";

struct House {
    dir: TempDir,
    directory: Directory,
    store: Arc<MemoryMailboxes>,
    queue: Queue,
    told: UnboundedReceiver<Command>,
    submit: Arc<Submit>,
}

/// A home with alice, bob, an alias that leads abroad, and this in its configuration.
fn house(more: &str, queue_octets: u64) -> House {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let config =
        format!("domains = [\"example.org\"]\ndata = {data:?}\npostmaster = \"bob@example.org\"\n{more}");
    let config: HomeConfig = toml::from_str(&config).unwrap();
    let directory = crate::databases::open_directory(&config).unwrap();
    let store = Arc::new(MemoryMailboxes::default());
    for address in [ALICE, "bob@example.org"] {
        let id = directory.add_account(&Address::parse(address).unwrap(), PASSWORD).unwrap();
        store.create_account(id.as_str(), system::now()).unwrap();
    }
    let abroad = ["x@elsewhere.example", "y@elsewhere.example"].map(|text| Address::parse(text).unwrap());
    directory.add_alias("friends@example.org", &abroad).unwrap();
    let (queue, told) = Queue::new(MemoryItems::new(queue_octets));
    let mailboxes: Arc<dyn Mailboxes> = Arc::clone(&store) as _;
    let seen_at = SeenAt::default();
    seen_at.tell("mx.example.org", ROUTER.parse().unwrap());
    let clock = daemon::clock::SystemClock::shared();
    let submit = Submit::new(Parts {
        directory: directory.clone(),
        logins: Logins::new(directory.clone()),
        queue: queue.clone(),
        hostname: "mx.example.org".to_owned(),
        seen_at,
        keys: DomainKeys::open(dir.path(), &config.domains, system::now()).unwrap(),
        trace: Trace::open(&dir.path().join("trace"), Role::Home).unwrap(),
        notices: Notices::new(directory.clone(), Keeper::new(mailboxes, None), Arc::clone(&clock)),
        scratch: dir.path().into(),
        memory: Budget::of_octets(4 << 20),
        clock,
    });
    House { dir, directory, store, queue, told, submit }
}

fn sending_house() -> House {
    house("outbound = \"on\"\n", 1 << 30)
}

fn client(login: Option<&str>) -> Client {
    let login = login.map(str::to_owned);
    Client { ip: [192, 168, 1, 77].into(), helo: "laptop.home.lan".to_owned(), esmtp: true, tls: None, login }
}

fn mail_from(path: &str, size: Option<u64>) -> MailFrom {
    MailFrom {
        reverse_path: ReversePath::try_from(path.to_owned()).unwrap(),
        size,
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        prdr: false,
        ret: None,
        envid: None,
    }
}

fn recipient(text: &str) -> Recipient {
    Address::parse(text).unwrap().into()
}

fn envelope(from: &str, to: &[&str]) -> Envelope {
    Envelope {
        reverse_path: ReversePath::try_from(from.to_owned()).unwrap(),
        recipients: to.iter().map(|text| recipient(text)).collect(),
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: Some(client(Some("alice--example.org"))),
    }
}

/// The code and, of the enhanced code, the last two numbers: enough to tell one refusal from another.
fn said(reply: &Reply) -> (u16, (u16, u16)) {
    (reply.code, reply.enhanced.map_or((0, 0), |code| (code.1, code.2)))
}

impl House {
    fn session(&self) -> Submission {
        let place = Places::new(10, 10).take([192, 168, 1, 77].into(), Standing::Stranger).unwrap();
        self.submit.session(place)
    }

    async fn logged_in(&self) -> Submission {
        let mut session = self.session();
        let (account, reply) = session.login(ALICE, &Secret::new(PASSWORD.to_owned())).await;
        assert_eq!((account.as_deref(), reply.code), (Some("alice--example.org"), 235));
        session
    }

    /// The whole of a transaction of alice's: the first reply that refuses it, or that to the message.
    async fn hand_in(&self, to: &[&str], message: &str) -> Reply {
        let mut session = self.logged_in().await;
        let client = client(Some("alice--example.org"));
        let reply = session.mail(&client, &mail_from(ALICE, None)).await;
        if !reply.is_positive() {
            return reply;
        }
        for text in to {
            let reply = session.recipient(&client, &recipient(text)).await;
            if !reply.is_positive() {
                return reply;
            }
        }
        match session.data(envelope(ALICE, to)).await {
            Err(reply) => reply,
            Ok(()) => {
                session.body(Bytes::copy_from_slice(message.as_bytes())).await;
                session.end().await.all
            }
        }
    }

    /// As a reload of the configuration does.
    fn switch_sending(&self, sends: bool) {
        self.directory.adopt(Policy { sends, ..(*self.directory.policy()).clone() });
    }

    /// The record and the octets of the only message in the queue.
    fn queued(&self) -> (QueueState, String) {
        let ids = self.queue.ids(None, 10);
        let [item]: [ItemId; 1] = ids.try_into().unwrap();
        let content = self.queue.content(item).unwrap();
        let mut octets = String::new();
        let piece = content.read_at(0, usize::try_from(content.octets()).unwrap()).unwrap();
        (&piece[..]).read_to_string(&mut octets).unwrap();
        (self.queue.read(item).unwrap(), octets)
    }
}

#[tokio::test]
async fn what_is_taken_is_queued_signed_without_what_names_the_house() {
    let mut house = sending_house();
    let message =
        MESSAGE.replace("Subject:", "Bcc: secret@elsewhere.example\r\nUser-Agent: Mailer 1\r\nSubject:");
    let reply = house.hand_in(&["bob@elsewhere.example"], &message).await;
    let (state, octets) = house.queued();
    assert_eq!(reply.to_string().lines().next().unwrap(), format!("250 2.0.0 queued as {}", state.item));
    assert_eq!(
        (state.account.as_str(), state.recipients.len(), state.held),
        ("alice--example.org", 1, false)
    );
    assert_eq!(
        (state.eight_bit, state.utf8_header, state.bulk, state.tls_optional),
        (false, false, false, false)
    );
    assert_eq!(state.envelope.client, None, "where the user was is not kept");
    assert_eq!(state.octets, octets.len() as u64);
    assert!(octets.starts_with("DKIM-Signature: "), "{octets}");
    assert!(octets.contains("\r\nReceived: from example.org"), "{octets}");
    assert!(octets.contains("by mx.example.org") && octets.ends_with("\r\n\r\nhello\r\n"), "{octets}");
    for gone in ["Bcc", "User-Agent", "laptop", "192.168", "home.lan"] {
        assert!(!octets.contains(gone), "{gone} left: {octets}");
    }
    assert!(matches!(house.told.try_recv(), Ok(Command::Added(item, ..)) if item == state.item));
}

#[tokio::test]
async fn nobody_sends_without_a_login_or_under_an_address_that_is_not_his() {
    let house = sending_house();
    let mut session = house.session();
    let refused = session.mail(&client(None), &mail_from(ALICE, None)).await;
    assert_eq!(said(&refused), (530, (7, 0)));
    assert_eq!(session.data(envelope(ALICE, &["bob@example.org"])).await.unwrap_err().code, 530);
    let (account, reply) = session.login(ALICE, &Secret::new("wrong".to_owned())).await;
    assert_eq!((account, reply.code), (None, 535));
    let mut session = house.logged_in().await;
    let client = client(Some("alice--example.org"));
    assert_eq!(session.mail(&client, &mail_from("bob@example.org", None)).await.code, 550);
    assert_eq!(
        session.mail(&client, &mail_from("", None)).await.code,
        250,
        "a notification has the null path"
    );
    let others = MESSAGE.replace("From: alice@", "From: bob@");
    assert_eq!(house.hand_in(&["bob@elsewhere.example"], &others).await.code, 550);
    assert_eq!(house.queue.count(), 0);
}

#[tokio::test]
async fn a_recipient_is_known_here_or_abroad_where_mail_may_go() {
    let house = sending_house();
    let client = client(Some("alice--example.org"));
    let mut session = house.logged_in().await;
    for (address, code) in [
        ("bob@example.org", 250),
        ("nobody@example.org", 550),
        ("friends@example.org", 250),
        ("z@w.example", 250),
    ] {
        assert_eq!(session.recipient(&client, &recipient(address)).await.code, code, "{address}");
    }
    house.switch_sending(false);
    for (address, code) in [("bob@example.org", 250), ("z@w.example", 550)] {
        assert_eq!(session.recipient(&client, &recipient(address)).await.code, code, "{address}");
    }
}

#[tokio::test]
async fn recipients_fit_into_a_frame_of_the_link_at_its_limit_and_not_past_it() {
    let house = house(
        "outbound = \"on\"\n[sending]\nrecipients_per_hour = 100000\nrecipients_per_day = 100000\n",
        1 << 30,
    );
    let client = client(Some("alice--example.org"));
    let mut session = house.logged_in().await;
    let one = recipient("bob@elsewhere.example");
    session.recipients_octets = link::RECIPIENTS_OCTETS_MAX - link::recipient_octets(&one);
    assert_eq!(session.recipient(&client, &one).await.code, 250);
    assert_eq!(said(&session.recipient(&client, &one).await), (452, (5, 3)));
    session.mail(&client, &mail_from(ALICE, None)).await;
    assert_eq!(session.recipient(&client, &one).await.code, 250, "the next message begins anew");
}

#[tokio::test]
async fn an_account_sends_to_as_many_abroad_as_it_may_and_the_operator_hears_of_the_next_once() {
    let house =
        house("outbound = \"on\"\n[sending]\nrecipients_per_hour = 3\nrecipients_per_day = 10\n", 1 << 30);
    assert_eq!(house.hand_in(&["friends@example.org", "bob@example.org"], MESSAGE).await.code, 250);
    assert_eq!(
        house.hand_in(&["friends@example.org"], MESSAGE).await.code,
        450,
        "one is left, and these are two"
    );
    assert_eq!(house.hand_in(&["z@w.example"], MESSAGE).await.code, 250, "a refusal costs nothing");
    let refused = house.hand_in(&["z@w.example"], MESSAGE).await;
    assert_eq!(said(&refused), (450, (7, 1)));
    assert_eq!(
        house.hand_in(&["bob@example.org"], MESSAGE).await.code,
        250,
        "mail between users has no limit"
    );
    let reader = house.store.reader("bob--example.org").unwrap();
    let inbox = reader.mailbox("INBOX").unwrap().unwrap().id;
    assert_eq!(reader.totals(inbox).unwrap().messages, 1, "the postmaster is told once");
}

#[tokio::test]
async fn a_full_queue_takes_nothing_at_each_step_and_a_refusal_gives_the_allowance_back() {
    let full = house("outbound = \"on\"\n[sending]\nrecipients_per_hour = 1\nrecipients_per_day = 1\n", 1000);
    let client = client(Some("alice--example.org"));
    let mut session = full.logged_in().await;
    assert_eq!(session.mail(&client, &mail_from(ALICE, Some(1000))).await.code, 250, "at the limit");
    assert_eq!(said(&session.mail(&client, &mail_from(ALICE, Some(1001))).await), (452, (3, 1)));
    for _ in 0..2 {
        // Its record alone is as long. The second time says the same: the first has not used up the allowance.
        let refused = full.hand_in(&["bob@elsewhere.example"], MESSAGE).await;
        assert_eq!(said(&refused), (452, (3, 1)));
    }
    assert_eq!(full.queue.count(), 0);
}

#[tokio::test]
async fn a_message_that_tells_where_the_house_is_does_not_leave_and_stays_among_users() {
    let house = sending_house();
    let telling = MESSAGE.replace("Subject:", &format!("X-Odd: {ROUTER}\r\nSubject:"));
    assert_eq!(said(&house.hand_in(&["bob@elsewhere.example"], &telling).await), (550, (7, 1)));
    assert_eq!(house.queue.count(), 0);
    assert_eq!(house.hand_in(&["bob@example.org"], &telling).await.code, 250, "here it is no secret");
    let logging = self::house("outbound = \"on\"\n[submission]\non_leak = \"log\"\n", 1 << 30);
    assert_eq!(logging.hand_in(&["bob@elsewhere.example"], &telling).await.code, 250);
}

#[tokio::test]
async fn what_changes_while_a_message_comes_in_counts() {
    let house = sending_house();
    let begun = async || {
        let mut session = house.logged_in().await;
        let client = client(Some("alice--example.org"));
        session.mail(&client, &mail_from(ALICE, None)).await;
        session.data(envelope(ALICE, &["bob@elsewhere.example"])).await.unwrap();
        session.body(Bytes::from_static(MESSAGE.as_bytes())).await;
        session
    };
    let mut session = begun().await;
    house.switch_sending(false);
    assert_eq!(said(&session.end().await.all), (550, (7, 1)), "sending was switched off");
    house.switch_sending(true);
    let mut session = begun().await;
    house.directory.set_password(&Address::parse(ALICE).unwrap(), "a better horse").unwrap();
    assert_eq!(said(&session.end().await.all), (454, (7, 0)), "the password was changed");
    assert!(session.revoked().unwrap().is_cancelled());
    assert_eq!(house.queue.count(), 0);
}

#[tokio::test]
async fn a_message_that_comes_to_nothing_leaves_nothing() {
    let house = sending_house();
    let mut session = house.logged_in().await;
    session.data(envelope(ALICE, &["bob@elsewhere.example"])).await.unwrap();
    session.body(Bytes::from_static(MESSAGE.as_bytes())).await;
    session.aborted(Cause::SessionEnded).await;
    assert_eq!(said(&session.end().await.all), (451, (3, 0)));
    assert_eq!(house.queue.count(), 0);
    drop(session);
    assert!(std::fs::read_dir(house.dir.path()).unwrap().all(|entry| {
        let name = entry.unwrap().file_name();
        ["trace", "dkim"].iter().any(|known| *known == name) || name.to_string_lossy().contains(".db")
    }));
}

#[tokio::test]
async fn the_record_says_what_the_message_is() {
    for (more, body, says) in [
        ("Precedence: bulk\r\n", "x", (false, false, true, false)),
        ("TLS-Required: No\r\n", "x", (false, false, false, true)),
        ("", "h\u{e4}", (true, false, false, false)),
        ("X-Odd: h\u{e4}\r\n", "x", (true, true, false, false)),
    ] {
        let house = sending_house();
        let message = MESSAGE.replace("Subject:", &format!("{more}Subject:")).replace("hello", body);
        assert_eq!(house.hand_in(&["bob@elsewhere.example"], &message).await.code, 250, "{more}");
        let (state, _) = house.queued();
        assert_eq!(
            (state.eight_bit, state.utf8_header, state.bulk, state.tls_optional),
            says,
            "{more:?} {body}"
        );
    }
}
