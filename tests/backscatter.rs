//! Nothing that Postern does ever bounces to a sender who did not log in; and reports of mail that was not sent
//! from here are refused.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::filter::ScriptedHttp;
use testkit::imap::json;
use testkit::pair::PASSWORD;
use testkit::postfix::Postfix;
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, ports, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);
/// Long enough for a bounce to be on its way.
const QUIET: Duration = Duration::from_secs(3);
/// Stands in each report that Home writes.
const REPORT: &str = "report-type=delivery-status";

/// A pair in a world where each sender's host is the same listener, which nobody may call.
struct Watched {
    pair: Pair,
    sink: TcpListener,
    _name_server: NameServer,
}

impl Watched {
    fn start(home_config: &str) -> Self {
        let sink = TcpListener::bind(ports::free()).unwrap();
        sink.set_nonblocking(true).unwrap();
        let name_server = NameServer::start(&[
            ("sender.test", Record::Mx(10, "mx.sender.test".to_owned())),
            ("mx.sender.test", Record::A(Ipv4Addr::LOCALHOST)),
        ]);
        let options = PairOptions {
            edge_config: format!("[outbound]\nport = {}", sink.local_addr().unwrap().port()),
            home_config: format!("{home_config}\n[queue]\nretry = [\"1s\"]"),
            outbound: true,
            name_server: Some(name_server.address()),
            ..PairOptions::default()
        };
        Self { pair: Pair::with(&options), sink, _name_server: name_server }
    }

    fn send(&self, to: &[&str], subject: &str) -> String {
        let sent = message::simple("a@sender.test", to[0], subject);
        SmtpClient::ready(self.pair.smtp).unwrap().message("a@sender.test", to, &sent).unwrap()
    }

    /// Has the message sealed while Home is away, does something to Home, and has it back.
    fn seal(&mut self, subject: &str, meanwhile: impl FnOnce(&Pair)) {
        self.pair.home.terminate(PATIENCE);
        self.pair.wait_for_no_link();
        let reply = self.send(&["bob@example.org"], subject);
        assert!(reply.starts_with("250"), "{reply}");
        meanwhile(&self.pair);
        self.pair.home.start();
        self.pair.wait_for_link();
    }

    /// Nobody was called, nothing is queued, and no report was written to anybody here.
    fn assert_nothing_left(&self) {
        std::thread::sleep(QUIET);
        let called = self.sink.accept();
        assert!(called.is_err(), "the sender's host was called by {called:?}");
        let queued = json(&self.pair.home.command_ok(&["queue", "list", "--json"], ""));
        assert_eq!(queued.as_array().map(Vec::len), Some(0), "{queued}");
        let reports = message::files_that_hold(self.pair.home.data(), REPORT);
        assert!(reports.is_empty(), "a report was written: {reports:?}");
    }

    fn quarantined(&self) -> usize {
        let listed = json(&self.pair.home.command_ok(&["quarantine", "list", "--json"], ""));
        listed.as_array().unwrap().len()
    }
}

#[test]
fn an_unknown_recipient_is_refused_at_once_with_home_up_and_away() {
    let _alone = alone();
    let mut world = Watched::start("");
    let reply = world.send(&["nobody@example.org"], "up");
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    let reply = world.send(&["nobody@example.org"], "away");
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    assert_eq!(world.pair.link(), (false, 0));
    world.pair.home.start();
    world.assert_nothing_left();
}

#[test]
fn a_recipient_that_goes_while_its_mail_waits_is_the_operators_matter() {
    let _alone = alone();
    let mut world = Watched::start("");
    world.seal("for one who went", |pair| {
        pair.home.command_ok(&["user", "remove", "bob@example.org"], "");
    });
    world.pair.wait_until_drained(PATIENCE);
    assert_eq!(world.quarantined(), 1);
    world.assert_nothing_left();
}

#[test]
fn what_a_filter_would_have_refused_is_the_operators_matter_once_it_was_sealed() {
    let _alone = alone();
    let filter =
        ScriptedHttp::start(r#"{"action":"reject","score":20.0,"required_score":15.0,"symbols":{}}"#);
    let config = format!("[[filter]]\nkind = \"rspamd\"\naddress = \"{}\"\n", filter.address);
    let mut world = Watched::start(&config);
    let reply = world.send(&["bob@example.org"], "refused while its sender waits");
    assert!(reply.starts_with("550"), "{reply}");
    world.seal("would have been refused", |_| ());
    world.pair.wait_until_drained(PATIENCE);
    assert_eq!(world.quarantined(), 1);
    world.assert_nothing_left();
}

#[test]
fn mail_that_is_too_large_by_the_time_it_is_opened_is_delivered_all_the_same() {
    let _alone = alone();
    let mut world = Watched::start("[limits]\nmessage = \"1 MiB\"");
    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    let mut sent = message::simple("a@sender.test", "bob@example.org", "large");
    sent.extend_from_slice(&b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n".repeat(8_000));
    let mut client = SmtpClient::ready(world.pair.smtp).unwrap();
    let reply = client.message("a@sender.test", &["bob@example.org"], &sent).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    world.pair.home.configure("[limits]\nmessage = \"64 KiB\"");
    world.pair.home.start();
    world.pair.wait_until_drained(PATIENCE);
    assert_eq!(world.pair.account("bob").subjects("INBOX"), ["large"]);
    world.assert_nothing_left();
}

/// Bob's mailbox, damaged so that nothing can be written to it.
fn damage(pair: &Pair) -> (PathBuf, Vec<u8>) {
    let path = pair.home.data().join("mailboxes/bob--example.org.db");
    let whole = std::fs::read(&path).unwrap();
    let mut broken = whole.clone();
    broken.iter_mut().for_each(|octet| *octet = b'x');
    std::fs::write(&path, broken).unwrap();
    (path, whole)
}

#[test]
fn sealed_mail_waits_at_edge_for_a_mailbox_that_fails() {
    let _alone = alone();
    let mut world = Watched::start("");
    // In order, so that the file holds everything.
    world.pair.home.restart();
    world.pair.wait_for_link();
    let mut kept = None;
    world.seal("for a broken mailbox", |pair| kept = Some(damage(pair)));
    world.assert_nothing_left();
    assert_eq!(world.pair.link(), (true, 1), "it stays sealed");
    world.pair.home.terminate(PATIENCE);
    let (path, whole) = kept.unwrap();
    std::fs::write(&path, whole).unwrap();
    world.pair.home.start();
    world.pair.wait_until_drained(PATIENCE);
    assert_eq!(world.pair.account("bob").subjects("INBOX"), ["for a broken mailbox"]);
    world.assert_nothing_left();
}

/// The replies to the message, one a recipient and one to the whole.
pub(crate) fn prdr(edge: SocketAddr, to: &[&str], sent: &[u8]) -> Vec<String> {
    let mut client = SmtpClient::connect(edge).unwrap();
    let offered = client.command("EHLO sender.test").unwrap();
    assert!(offered.contains("PRDR"), "{offered}");
    let mut lines = vec!["MAIL FROM:<a@sender.test> PRDR".to_owned()];
    lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
    for line in lines {
        let reply = client.command(&line).unwrap();
        assert!(reply.starts_with("250"), "{line}: {reply}");
    }
    assert!(client.command("DATA").unwrap().starts_with("354"));
    client.send(&[sent, b".\r\n"].concat()).unwrap();
    let first = client.reply().unwrap();
    if !first.starts_with("353") {
        return vec![first];
    }
    (0..=to.len()).map(|_| client.reply().unwrap()).collect()
}

#[test]
fn who_asks_for_a_reply_per_recipient_hears_whose_mailbox_fails() {
    let _alone = alone();
    let mut world = Watched::start("[limits]\nmessage = \"1 MiB\"");
    let to = ["bob@example.org", "alice@example.org"];
    let sent = message::simple("a@sender.test", "both@example.org", "for both");
    let replies = prdr(world.pair.smtp, &to, &sent);
    assert!(replies.len() == 3 && replies.iter().all(|reply| reply.starts_with("250")), "{replies:?}");
    let replies = prdr(world.pair.smtp, &to[..1], &sent);
    assert!(replies.len() == 2 && replies.iter().all(|reply| reply.starts_with("250")), "{replies:?}");
    let large = [&sent[..], &b"0123456789abcdef0123456789abcdef\r\n".repeat(40_000)].concat();
    let replies = prdr(world.pair.smtp, &to, &large);
    assert!(replies.len() == 1 && replies[0].starts_with("552"), "{replies:?}");
    world.pair.home.terminate(PATIENCE);
    damage(&world.pair);
    world.pair.home.start();
    world.pair.wait_for_link();
    let replies = prdr(world.pair.smtp, &to, &sent);
    let codes: Vec<&str> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["451", "250", "250"], "{replies:?}");
    assert_eq!(world.pair.link(), (true, 0), "who has to come again was told: nothing is sealed");
    let reply = world.send(&to, "without PRDR");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.pair.link(), (true, 1), "the rest is kept for bob");
    assert_eq!(world.pair.account("alice").count("INBOX"), 3);
    world.assert_nothing_left();
}

/// Sends as alice, with a login.
fn submit(pair: &Pair, from: &str, to: &str) -> std::process::Output {
    let mut command = process::command(None, "swaks");
    command.args(["--server", &pair.submission.ip().to_string()]);
    command.args(["--port", &pair.submission.port().to_string(), "--tlsc", "--auth", "PLAIN"]);
    command.args(["--auth-user", "alice@example.org", "--auth-password", PASSWORD]);
    command.args(["--from", from, "--to", to, "--h-From", "alice@example.org"]);
    process::run(command, b"", PATIENCE)
}

fn wait_for_empty_queue(pair: &Pair) {
    until("the queue is empty", PATIENCE, || (pair.home.status()?["queue"] == 0).then_some(()));
}

#[test]
fn a_domain_whose_mx_points_back_at_edge_makes_one_report_and_no_loop() {
    let _alone = alone();
    let edge: SocketAddr = ports::free();
    let name_server = NameServer::start(&[
        ("loop.test", Record::Mx(10, "mx.loop.test".to_owned())),
        ("mx.loop.test", Record::A(Ipv4Addr::LOCALHOST)),
    ]);
    let options = PairOptions {
        edge_config: format!("[listen]\nsmtp = [\"{edge}\"]\n[outbound]\nport = {}", edge.port()),
        home_config: "[queue]\nretry = [\"1s\"]".to_owned(),
        outbound: true,
        name_server: Some(name_server.address()),
        ..PairOptions::default()
    };
    let mut pair = Pair::with(&options);
    pair.smtp = edge;
    assert!(submit(&pair, "alice@example.org", "you@loop.test").status.success());
    wait_for_empty_queue(&pair);
    assert_eq!(pair.account("alice").count("INBOX"), 1, "the report");
    assert!(!message::files_that_hold(pair.home.data(), REPORT).is_empty(), "others look for it in vain");
    // The same with the null reverse-path: nobody is told, though a user sent it.
    assert!(submit(&pair, "<>", "you@loop.test").status.success());
    wait_for_empty_queue(&pair);
    // A stranger whose own domain leads here, to somebody and to nobody.
    let sent = message::simple("you@loop.test", "bob@example.org", "from the loop");
    let mut client = SmtpClient::ready(edge).unwrap();
    assert!(client.message("you@loop.test", &["bob@example.org"], &sent).unwrap().starts_with("250"));
    let mut client = SmtpClient::ready(edge).unwrap();
    assert!(client.message("you@loop.test", &["eve@example.org"], &sent).unwrap().starts_with("550"));
    std::thread::sleep(QUIET);
    wait_for_empty_queue(&pair);
    assert_eq!((pair.account("alice").count("INBOX"), pair.account("bob").count("INBOX")), (1, 1));
    assert_eq!(pair.link(), (true, 0));
}

fn report(kind: &str, to: &str) -> Vec<u8> {
    format!(
        "From: Somebody <somebody@remote.test>\r\nTo: {to}\r\nSubject: report\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type={kind};\r\n\tboundary=\"b\"\r\n\r\n--b--\r\n"
    )
    .into_bytes()
}

fn notify(pair: &Pair, to: &str, kind: &str) -> String {
    SmtpClient::ready(pair.smtp).unwrap().message("", &[to], &report(kind, to)).unwrap()
}

/// A pair whose reverse-paths are signed since long ago, and the one that alice's mail left with.
struct Signing {
    pair: Pair,
    signed: String,
    _postfix: Postfix,
    _name_server: NameServer,
}

const DSN: &str = "delivery-status";

impl Signing {
    fn start() -> Self {
        let postfix = Postfix::start("remote.test");
        let name_server = NameServer::start(&[
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
            ("_dmarc.strict.test", Record::Txt("v=DMARC1; p=reject".to_owned())),
        ]);
        let options = PairOptions {
            edge_config: format!("[outbound]\nport = {}", postfix.address().port()),
            home_config: "[queue]\nretry = [\"1s\"]\n[return_path]\nunsigned = [\"bob@example.org\"]"
                .to_owned(),
            outbound: true,
            name_server: Some(name_server.address()),
            ..PairOptions::default()
        };
        let mut pair = Pair::with(&options);
        assert!(submit(&pair, "alice@example.org", "you@remote.test").status.success());
        let arrived = until("the message", PATIENCE, || postfix.messages("you").pop());
        let signed = message::field(&message::with_crlf(&arrived), "Return-Path").unwrap();
        let signed = signed.trim_matches(['<', '>']).to_owned();
        assert!(signed.starts_with("prvs=0") && signed.ends_with("=alice@example.org"), "{signed}");
        // Within the first days a report of older mail, which has no tag, is taken.
        assert!(notify(&pair, "alice@example.org", DSN).starts_with("250"));
        since_long_ago(&mut pair);
        Self { pair, signed, _postfix: postfix, _name_server: name_server }
    }
}

/// As if signing had begun long ago.
fn since_long_ago(pair: &mut Pair) {
    pair.home.terminate(PATIENCE);
    let path = pair.home.data().join("return-path.json");
    let mut record: serde_json::Value = json(&std::fs::read_to_string(&path).unwrap());
    assert!(record["signing_since"].is_u64(), "{record}");
    record["signing_since"] = 0.into();
    std::fs::write(&path, record.to_string()).unwrap();
    pair.home.start();
    pair.wait_for_link();
    let reply = until("the snapshot is in force", PATIENCE, || {
        Some(notify(pair, "alice@example.org", DSN)).filter(|reply| !reply.starts_with("250"))
    });
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
}

/// Headers of reports as many systems write them, without an address of the author's or without RFC 6522.
const OLD_FORMS: &[&str] = &[
    "From: MAILER-DAEMON <>\r\nSubject: Returned mail: User unknown",
    "From: \"Mail Delivery System\" <MAILER-DAEMON>\r\nSubject: Returned Mail: User unknown",
    "From: mailer-daemon\r\nSubject: failure notice",
    "From: Postmaster <>\r\nSubject: Undeliverable: hello",
    "From: postmaster@notes.test\r\nSubject: DELIVERY FAILURE: User you not listed in\r\n\tDomino Directory",
    "From: System Administrator <postmaster@exchange.test>\r\nSubject: Undeliverable: hello\r\nX-MS-Embedded-Report:",
    "From: \"Postmaster\" <postmaster@imail.test>\r\nSubject: Undeliverable Mail",
];

fn report_with(header: &str, subject: &str) -> Vec<u8> {
    format!("{header}\r\nX-Of: {subject}\r\nTo: alice@example.org\r\n\r\nYour message was not delivered.\r\n")
        .into_bytes()
}

/// Symptom: of the reports that two hundred mail systems write of our own mail, one in twelve went to Junk; of those
/// about mail that was never sent from here, one in six was taken for a letter. Cause: an author had to have a whole
/// address, and a report was `multipart/report` or by `mailer-daemon@`. Analysis: what goes to a signed reverse-path and
/// has the form of a report is one, whoever it names; without the tag the same forms are refused.
#[test]
fn reports_in_old_forms_reach_the_inbox_with_the_tag_and_are_refused_without() {
    let _alone = alone();
    let Signing { pair, signed, .. } = &Signing::start();
    let send =
        |to: &str, octets: &[u8]| SmtpClient::ready(pair.smtp).unwrap().message("", &[to], octets).unwrap();
    let before = pair.account("alice").count("INBOX");
    for (place, header) in OLD_FORMS.iter().enumerate() {
        let octets = report_with(header, &place.to_string());
        let reply = send("alice@example.org", &octets);
        assert!(reply.starts_with("550 5.7.1 All mail from this address has a signed"), "{header}: {reply}");
        let reply = send(signed, &octets);
        assert!(reply.starts_with("250"), "{header}: {reply}");
    }
    assert_eq!(pair.account("alice").count("Junk"), 0);
    assert_eq!(pair.account("alice").count("INBOX"), before + OLD_FORMS.len());
    // A tag alone proves nothing: everybody whom alice wrote to has it.
    let nobody = report_with("From: The Bank <>\r\nSubject: your account", "bank");
    assert!(send(signed, &nobody).starts_with("250"));
    assert_eq!(pair.account("alice").count("Junk"), 1);
    // Whose host reports in the name of a domain that refuses what it does not vouch for: in Junk, whatever the host is.
    let foreign = report_with("From: postmaster@strict.test\r\nSubject: Undeliverable: hello", "strict");
    let mut bare = SmtpClient::ready_as(pair.smtp, "bare").unwrap();
    assert!(bare.message("", &[signed], &foreign).unwrap().starts_with("250"));
    assert_eq!(pair.account("alice").count("Junk"), 2);
}

#[test]
fn reports_have_to_carry_the_tag_that_mail_left_with() {
    let _alone = alone();
    let Signing { mut pair, signed, _postfix, _name_server } = Signing::start();
    let dsn = DSN;
    let before = pair.account("alice").count("INBOX");
    let expected = [
        (signed.as_str(), dsn, "250"),
        ("alice@example.org", "disposition-notification", "250"),
        ("bob@example.org", dsn, "250"),
        ("postmaster@example.org", dsn, "250"),
        ("alice+list@example.org", dsn, "550 5.7.1"),
        ("prvs=0123abcdef=alice@example.org", dsn, "550 5.7.1"),
    ];
    for (to, kind, code) in expected {
        let reply = notify(&pair, to, kind);
        assert!(reply.starts_with(code), "{to} {kind}: {reply}");
    }
    let mut asking = SmtpClient::ready(pair.smtp).unwrap();
    assert!(asking.command("MAIL FROM:<>").unwrap().starts_with("250"));
    let asked = asking.command("RCPT TO:<alice@example.org>").unwrap();
    assert!(asked.starts_with("250"), "whoever asks whether the address exists is answered: {asked}");
    // Mail to the signed address by somebody who answers to it, Home being away as well.
    pair.home.terminate(PATIENCE);
    pair.wait_for_no_link();
    let sent = message::simple("you@remote.test", &signed, "an answer");
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    assert!(client.message("you@remote.test", &[&signed], &sent).unwrap().starts_with("250"));
    let reply = notify(&pair, "alice@example.org", dsn);
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    pair.home.start();
    pair.wait_until_drained(PATIENCE);
    let inbox = pair.account("alice").messages("INBOX");
    assert_eq!(inbox.len(), before + 4);
    let delivered = inbox.iter().filter_map(|stored| message::field(stored, "Delivered-To"));
    assert!(delivered.into_iter().all(|to| !to.contains("prvs")), "Home knows the plain address");
}
