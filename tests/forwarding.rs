//! Aliases that lead elsewhere: what comes out at the other end, what comes back, and who hears of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::dkim::{self, DkimKey, KeyKind};
use testkit::dns::{NameServer, Record};
use testkit::imap::json;
use testkit::postfix::Postfix;
use testkit::process::{self, Process};
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, ports, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);
const ANN: &str = "ann@remote.test";

/// `ann@remote.test` writes to `sales@example.org`, which leads to `you@remote.test`. Her host proves by SPF that it
/// may, that of `stranger.test` does not.
struct World {
    pair: Pair,
    postfix: Postfix,
    key: DkimKey,
    _names: NameServer,
}

impl World {
    fn start() -> Self {
        let postfix = Postfix::start("remote.test");
        let key = DkimKey::new(KeyKind::Rsa(2048));
        let names = NameServer::start(&[
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("remote.test", Record::Txt("v=spf1 ip4:127.0.0.1 -all".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
            ("stranger.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("sel._domainkey.remote.test", Record::Txt(key.record())),
        ]);
        let pair = Pair::with(&PairOptions {
            edge_config: format!("[outbound]\nport = {}", postfix.address().port()),
            home_config: "[queue]\nretry = [\"1s\"]".to_owned(),
            outbound: true,
            name_server: Some(names.address()),
            ..PairOptions::default()
        });
        pair.home.command_ok(&["alias", "add", "sales@example.org", "you@remote.test"], "");
        pair.home.command_ok(&["alias", "add", "dead@example.org", "rejected@remote.test"], "");
        let world = Self { pair, postfix, key, _names: names };
        world.until_known("sales@example.org");
        world.until_known("dead@example.org");
        world
    }

    /// Edge hears of an alias soon.
    fn until_known(&self, alias: &str) {
        until("edge knows the alias", PATIENCE, || {
            let mut client = SmtpClient::ready(self.pair.smtp).unwrap();
            client.command("MAIL FROM:<ann@remote.test>").unwrap();
            client.command(&format!("RCPT TO:<{alias}>")).unwrap().starts_with("250").then_some(())
        });
    }

    fn send(&self, from: &str, to: &str, octets: &[u8]) -> String {
        SmtpClient::ready(self.pair.smtp).unwrap().message(from, &[to], octets).unwrap()
    }

    /// The first message for a local part of the other host that holds this.
    fn came(&self, local: &str, what: &str) -> Vec<u8> {
        until("the message has come", PATIENCE, || {
            let mut messages = self.postfix.messages(local).into_iter();
            messages.find(|stored| message::holds(stored, what.as_bytes()))
        })
    }

    fn queue_is_empty(&self) {
        until("the queue is empty", PATIENCE, || {
            let queued = json(&self.pair.home.command_ok(&["queue", "list", "--json"], ""));
            (queued.as_array().map(Vec::len) == Some(0)).then_some(())
        });
    }
}

fn rewritten_path(stored: &[u8]) -> String {
    let path = message::field(stored, "Return-Path").unwrap();
    path.trim_matches(['<', '>']).to_owned()
}

fn python(script: &str, arguments: &[String], input: &[u8]) -> String {
    let mut python = process::command(None, "/usr/bin/python3");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).args(arguments);
    process::run_ok(python, input, PATIENCE)
}

/// Names and texts of the keys that sign at Home.
fn home_keys(pair: &Pair) -> Vec<(String, String)> {
    let status = json(&pair.home.command_ok(&["dkim", "status", "--json"], ""));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = status[0]["keys"].as_array().unwrap().iter();
    let name = |key: &Value| format!("{}._domainkey.example.org", text(&key["selector"]));
    keys.map(|key| (name(key), text(&key["record"]))).collect()
}

fn report(to: &str, subject: &str) -> Vec<u8> {
    format!(
        "From: Mailer-Daemon <mailer-daemon@remote.test>\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Tue, 24 Nov 2026 \
         10:00:00 +0000\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-replied\r\nMessage-ID: <{subject}@remote.test>\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nno\r\n--b--\r\n"
    )
    .into_bytes()
}

#[test]
fn forwarded_mail_holds_for_its_author_is_vouched_for_and_finds_its_way_back() {
    let _alone = alone();
    let world = World::start();
    let plain = "From: Ann <ann@remote.test>\r\nTo: sales@example.org\r\nSubject: an order\r\n\
        Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@remote.test>\r\n\r\nTwelve, please.\r\n";
    let sent = world.key.sign(&["d=remote.test", "s=sel"], plain.as_bytes());
    // A host before us was asked for it, and nobody asks it of the next.
    let sent = [b"Require-TLS-ESMTP: yes\r\n", &sent[..]].concat();
    assert!(world.send(ANN, "sales@example.org", &sent).starts_with("250"));
    let stored = world.came("you", "Twelve");
    assert!(!message::holds(&stored, b"Require-TLS-ESMTP"));
    let path = rewritten_path(&stored);
    assert!(path.starts_with("SRS0=") && path.ends_with("=remote.test=ann@example.org"), "{path}");
    assert!(message::holds(&message::with_crlf(&stored), plain.as_bytes()), "nothing of it was changed");

    // Without what the other host has put above it.
    let received = message::with_crlf(&stored);
    let start = received.windows(11).position(|window| window == b"\r\nARC-Seal:").expect("a seal") + 2;
    let received = &received[start..];
    let author = [("sel._domainkey.remote.test".to_owned(), world.key.record())];
    let said = dkim::verify(received, &author);
    assert!(
        said.len() == 1 && said[0].starts_with("remote.test sel ") && said[0].ends_with(" pass"),
        "{said:?}"
    );
    let records: Vec<String> =
        home_keys(&world.pair).iter().map(|(name, text)| format!("{name}={text}")).collect();
    let arc = python("arc_verify.py", &records, received);
    assert!(arc.starts_with("pass example.org "), "{arc}");
    let results = message::field(received, "ARC-Authentication-Results").unwrap();
    assert!(results.starts_with("i=1; mx.example.org"), "{results}");
    assert!(message::holds(message::head(received), b"spf=pass"), "what was found is told");
    let home = &world.pair.home;
    assert!(home.command_ok(&["trace", "1@remote.test"], "").contains("forwarded"));

    // What comes back later goes to Ann; what somebody made up goes nowhere.
    assert!(world.send("", &path, &report(&path, "late")).starts_with("250"));
    let back = world.came("ann", "Subject: late");
    assert_eq!(rewritten_path(&back), "", "a report has no reverse-path");
    let refused = world.send("", &path.replace("=ann@", "=eve@"), &report(&path, "forged"));
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
    let refused = world.send(ANN, &path, &message::simple(ANN, &path, "spam"));
    assert!(refused.starts_with("550 5.1.1"), "{refused}");

    // What it was forwarded to sends it back: it went through here before.
    let looping = world.send(ANN, "sales@example.org", received);
    assert!(looping.starts_with("554 5.4.6"), "{looping}");
    world.queue_is_empty();
}

#[test]
fn a_proven_sender_hears_of_a_failure_and_for_others_the_operator_does() {
    let _alone = alone();
    let world = World::start();
    let hello = message::simple(ANN, "dead@example.org", "to nobody");
    assert!(world.send(ANN, "dead@example.org", &hello).starts_with("250"));
    let report = world.came("ann", "report-type=delivery-status");
    let text = String::from_utf8_lossy(&report);
    assert!(text.contains("dead@example.org") && text.contains("5.7.1"), "{text}");
    assert!(!text.contains("rejected"), "where the alias leads is told: {text}");
    let keys = home_keys(&world.pair);
    let crlf = message::with_crlf(&report);
    let start = crlf.windows(16).position(|window| window == b"\r\nDKIM-Signature").expect("a signature") + 2;
    let said = dkim::verify(&crlf[start..], &keys);
    assert!(said.len() == 2 && said.iter().all(|line| line.ends_with(" pass")), "{said:?}");
    world.queue_is_empty();
    assert_eq!(world.pair.account("alice").count("INBOX"), 0);

    let stranger = "bea@stranger.test";
    let hello = message::simple(stranger, "dead@example.org", "from nobody");
    assert!(world.send(stranger, "dead@example.org", &hello).starts_with("250"));
    let alice = world.pair.account("alice");
    until("the operator is told", PATIENCE, || (alice.count("INBOX") == 1).then_some(()));
    let told = String::from_utf8_lossy(&alice.messages("INBOX")[0]).into_owned();
    assert!(told.contains("rejected@remote.test") && told.contains("from nobody"), "{told}");
    world.queue_is_empty();
    assert!(world.postfix.messages("bea").is_empty(), "a stranger got a bounce");
}

/// What this service says of an address, by the protocol of Postfix's tcp_table.
fn ask(service: SocketAddr, address: &str) -> String {
    let mut stream = TcpStream::connect(service).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("get {address}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
fn postsrsd_opens_what_is_written_here_and_the_other_way_round() {
    let _alone = alone();
    let world = World::start();
    let hello = message::simple(ANN, "sales@example.org", "for postsrsd");
    assert!(world.send(ANN, "sales@example.org", &hello).starts_with("250"));
    let ours = rewritten_path(&world.came("you", "for postsrsd"));

    let dir = tempfile::tempdir().unwrap();
    let secret = world.pair.home.data().join("srs.secret");
    let (forward, reverse) = (ports::free(), ports::free());
    let mut postsrsd = process::command(None, "/usr/sbin/postsrsd");
    postsrsd.args(["-d", "example.org", "-n", "6", "-l", "127.0.0.1"]).arg("-s").arg(&secret);
    postsrsd.args(["-f", &forward.port().to_string(), "-r", &reverse.port().to_string()]);
    let _running = Process::start(postsrsd, &dir.path().join("log"));
    until("postsrsd answers", PATIENCE, || TcpStream::connect(reverse).ok());

    assert_eq!(ask(reverse, &ours), format!("200 {ANN}"));
    let theirs = ask(forward, ANN);
    let theirs = theirs.strip_prefix("200 ").unwrap();
    assert!(world.send("", theirs, &report(theirs, "theirs")).starts_with("250"));
    world.came("ann", "Subject: theirs");
    // Through a forwarder before us: both go back to it.
    let before = "SRS0=HHHH=TT=first.test=al@remote.test";
    let again = ask(forward, before);
    let again = again.strip_prefix("200 ").unwrap();
    assert!(again.starts_with("SRS1="), "{again}");
    assert!(world.send("", again, &report(again, "again")).starts_with("250"));
    world.came("SRS0=HHHH=TT=first.test=al", "Subject: again");
}

#[test]
fn what_is_forwarded_while_home_dies_arrives_once() {
    const MESSAGES: usize = 60;
    let _alone = alone();
    let mut world = World::start();
    let smtp = world.pair.smtp;
    let sending = std::thread::spawn(move || {
        for number in 0..MESSAGES {
            let octets = message::simple(ANN, "sales@example.org", &format!("number {number}."));
            until("it is taken", PATIENCE, || {
                let sent = SmtpClient::ready(smtp)
                    .and_then(|mut client| client.message(ANN, &["sales@example.org"], &octets));
                sent.ok().filter(|reply| reply.starts_with("250"))
            });
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    while !sending.is_finished() {
        std::thread::sleep(Duration::from_millis(300));
        world.pair.home.kill();
        world.pair.home.start();
    }
    sending.join().unwrap();
    world.pair.wait_for_link();
    until("all have come", PATIENCE, || {
        let came = world.postfix.messages("you");
        let all = (0..MESSAGES).all(|number| {
            let subject = format!("number {number}.");
            came.iter().any(|stored| message::holds(stored, subject.as_bytes()))
        });
        all.then_some(())
    });
    world.queue_is_empty();
    let came = world.postfix.messages("you");
    assert_eq!(came.len(), MESSAGES, "one came twice");
}
