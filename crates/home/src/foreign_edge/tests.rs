//! Sessions of clients that are the edge, and of clients that are not.

use content::Budget;
use daemon::system;
use daemon::trace::Trace;
use mail::header_section;
use mail::{BodyType, ReversePath, UnixTime};
use net::port_places::{Places, Standing};
use seal::UnsealWith;

use super::*;
use crate::arrive::{Repeats, Unsealers};
use crate::config::HomeConfig;
use crate::forward::Srs;
use crate::forward::tests::forwarder;
use crate::keeper::Keeper;
use crate::quarantine::Quarantine;
use crate::return_path::Signer;
use crate::round_trips::RoundTrips;

const SECRET: &str = "a secret of two hosts";
const LONG_AGO: UnixTime = UnixTime::from_secs(1_700_000_000);

struct Fixture {
    _dir: tempfile::TempDir,
    edge: Arc<ForeignEdge>,
    signer: Signer,
}

/// A home with bob that has signed its reverse-paths for long.
fn fixture(more: &str) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let (data, secret) = (dir.path().display().to_string(), dir.path().join("secret"));
    std::fs::write(&secret, SECRET).unwrap();
    let config = format!(
        "domains = [\"example.org\"]\ndata = {data:?}\noutbound = \"on\"\n[foreign_edge]\n\
         listen = [\"127.0.0.1:1\"]\n{}",
        more.replace("SECRET_FILE", &secret.display().to_string())
    );
    let config: HomeConfig = toml::from_str(&config).unwrap();
    let directory = crate::databases::open_directory(&config).unwrap();
    directory.add_account(&Address::parse("bob@example.org").unwrap(), "correct horse").unwrap();
    let store = crate::accounts::open_store(&config, &directory, system::now()).unwrap();
    let (forwarder, _) = forwarder(dir.path(), &directory, &store, &[]);
    let signer = Signer::open(dir.path(), directory.clone(), LONG_AGO).unwrap();
    let arrivals = Arrivals {
        keeper: Keeper::new(store, None),
        directory: directory.clone(),
        trace: Trace::open(&dir.path().join("trace"), link::Role::Home).unwrap(),
        filters: None,
        quarantine: Quarantine::open(dir.path()).unwrap(),
        forwarder,
        unseal: UnsealWith::parse(&seal::generate_key().0).unwrap(),
        unsealers: Unsealers::start().unwrap(),
        drafts: dir.path().into(),
        memory: Budget::of_octets(1 << 20),
        waiting: Budget::of_octets(1 << 20),
        message_octets_max: 4 << 20,
        repeats: Repeats::new([7; 32]),
        round_trips: RoundTrips::default(),
        clock: daemon::clock::SystemClock::shared(),
        runtime: tokio::runtime::Handle::current(),
    };
    let snapshots = SnapshotSource {
        directory,
        signer: signer.clone(),
        srs: Srs::open(dir.path()).unwrap(),
        hash_secret: [1; 32],
        sealing_key: String::new(),
    };
    let foreign = config.foreign_edge.as_ref().unwrap();
    let logins = Logins::new(snapshots.directory.clone());
    let edge = ForeignEdge::open(foreign, config.hostname(), Arc::new(arrivals), snapshots, logins).unwrap();
    Fixture { _dir: dir, edge, signer }
}

fn place() -> Place {
    Places::new(10, 10).take([192, 0, 2, 1].into(), Standing::Stranger).unwrap()
}

fn pin() -> Fingerprint {
    "ab".repeat(32).parse().unwrap()
}

fn pinned() -> Fixture {
    fixture(&format!("fingerprints = [\"{}\"]\n", "ab".repeat(32)))
}

fn client(login: Option<&str>) -> Client {
    let login = login.map(str::to_owned);
    Client { ip: [192, 0, 2, 1].into(), helo: "mx.edge.test".to_owned(), esmtp: true, tls: None, login }
}

fn path(text: &str) -> ReversePath {
    ReversePath::try_from(text.to_owned()).unwrap()
}

fn mail_from(text: &str) -> MailFrom {
    MailFrom {
        reverse_path: path(text),
        size: None,
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        prdr: false,
        ret: None,
        envid: None,
    }
}

impl Fixture {
    /// The session of the edge itself.
    fn session(&self) -> HandIn {
        let mut session = self.edge.session(place());
        session.showed(pin());
        session
    }

    /// The code of the reply to a message, or of the first command that is refused.
    async fn hand_in(&self, from: &str, to: &str, message: &[u8]) -> u16 {
        let mut session = self.session();
        let mail = session.mail(&client(None), &mail_from(from)).await;
        let recipient = Recipient::from(Address::parse(to).unwrap());
        let rcpt = session.recipient(&client(None), &recipient).await;
        if let Some(refused) = [mail, rcpt].iter().find(|reply| !reply.is_positive()) {
            return refused.code;
        }
        let envelope = Envelope {
            reverse_path: path(from),
            recipients: vec![recipient],
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: Some(client(None)),
        };
        session.data(envelope).await.unwrap();
        for piece in message.chunks(10_000) {
            session.body(Bytes::copy_from_slice(piece)).await;
        }
        session.end().await.all.code
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_shows_the_right_certificate_or_logged_in_may_say_mail() {
    let home = pinned();
    let code = async |shown: Option<Fingerprint>, login| {
        let mut session = home.edge.session(place());
        shown.into_iter().for_each(|shown| session.showed(shown));
        session.mail(&client(login), &mail_from("a@b.example")).await.code
    };
    assert_eq!(code(Some(pin()), None).await, 250);
    assert_eq!(code(Some("cd".repeat(32).parse().unwrap()), None).await, 454);
    assert_eq!(code(None, None).await, 530);
    assert_eq!(code(None, Some("edge")).await, 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_has_three_tries() {
    let home = pinned();
    let mut session = home.edge.session(place());
    let mut codes = Vec::new();
    for _ in 0..=STRANGER_TRIES_MAX {
        codes.push(session.mail(&client(None), &mail_from("a@b.example")).await.code);
    }
    assert_eq!(codes, [530, 530, 530, 421]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_name_and_password_and_there_is_none_that_is_not_configured() {
    let home = fixture("user = \"edge\"\npassword_file = \"SECRET_FILE\"\n");
    let code = async |home: &Fixture, user: &str, password: &str| {
        let mut session = home.edge.session(place());
        session.login(user, &Secret::new(password.to_owned())).await.1.code
    };
    assert_eq!(code(&home, "edge", SECRET).await, 235);
    for (user, password) in
        [("edge", "another one"), ("Edge", SECRET), ("", SECRET), ("bob@example.org", "correct horse")]
    {
        assert_eq!(code(&home, user, password).await, 535, "{user}");
    }
    assert_eq!(code(&pinned(), "edge", SECRET).await, 535);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_narrow_and_their_absence_does_not() {
    let narrowed = fixture(&format!("fingerprints = [\"{}\"]\nnetworks = [\"10.8.0.1\"]\n", "ab".repeat(32)));
    assert!(narrowed.edge.lets_in([10, 8, 0, 1].into()) && !narrowed.edge.lets_in([10, 8, 0, 2].into()));
    assert!(pinned().edge.lets_in([203, 0, 113, 1].into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_people_here_and_postmaster_of_this_host() {
    let home = pinned();
    let message = b"Subject: x\r\n\r\nx\r\n";
    for (to, code) in [
        ("bob@example.org", 250),
        ("Postmaster@mail.example.org", 250),
        ("bob@mail.example.org", 550),
        ("eve@example.org", 550),
        ("bob@example.net", 550),
    ] {
        assert_eq!(home.hand_in("a@b.example", to, message).await, code, "{to}");
    }
    let bob = Address::parse("bob@example.org").unwrap();
    home.edge.snapshots.directory.add_alias("eve@example.org", &[bob]).unwrap();
    assert_eq!(
        home.hand_in("a@b.example", "eve@example.org", message).await,
        250,
        "an alias is known at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_needs_the_tag_that_mail_leaves_with() {
    let home = pinned();
    let report = b"From: MAILER-DAEMON@b.example\r\nSubject: x\r\n\r\nx\r\n";
    let signed = home.signer.sign(path("bob@example.org"), system::now()).to_string();
    assert!(signed.starts_with("prvs="), "{signed}");
    assert_eq!(home.hand_in("", &signed, report).await, 250);
    assert_eq!(home.hand_in("", "bob@example.org", report).await, 550);
    assert_eq!(home.hand_in("", "bob@example.org", b"Subject: read\r\n\r\nx\r\n").await, 250);
    assert_eq!(home.hand_in("", "prvs=0123abcdef=bob@example.org", report).await, 550);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_a_limit_is_taken_and_one_past_it_refused() {
    let home = pinned();
    let hops = |count: u32| {
        let fields = (0..count).map(|n| format!("Received: from a by b id {n}\r\n")).collect::<String>();
        format!("{fields}\r\nx\r\n").into_bytes()
    };
    assert_eq!(home.hand_in("a@b.example", "bob@example.org", &hops(header_section::HOPS_MAX)).await, 250);
    assert_eq!(
        home.hand_in("a@b.example", "bob@example.org", &hops(header_section::HOPS_MAX + 1)).await,
        554
    );
    let header = |octets: usize| format!("X: {}\r\n\r\nx\r\n", "y".repeat(octets - 7)).into_bytes();
    assert_eq!(
        home.hand_in("a@b.example", "bob@example.org", &header(header_section::OCTETS_MAX)).await,
        250
    );
    assert_eq!(
        home.hand_in("a@b.example", "bob@example.org", &header(header_section::OCTETS_MAX + 1)).await,
        552
    );
}

#[test]
fn one_that_has_to_wait_makes_the_client_come_again_unless_it_hears_of_each() {
    let code = |codes: &[u16], apart| {
        let replies = codes.iter().map(|code| Reply::bare(*code, "x")).collect();
        answers(replies, apart).all.code
    };
    assert_eq!(code(&[250, 250], false), 250);
    assert_eq!((code(&[250, 451], false), code(&[250, 451], true)), (451, 250));
    assert_eq!((code(&[250, 550], false), code(&[550, 550], false)), (250, 550));
    assert_eq!((code(&[550, 451], false), code(&[], false)), (451, 451));
}
