//! Exim, OpenSMTPD and chasquid at the other end: mail to them, from them and back to them, what they refuse and put
//! off, and what they offer or don't. All in namespaces, on port 25, found by MX.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use testkit::chasquid::Chasquid;
use testkit::exim::Exim;
use testkit::imap::json;
use testkit::knot::{Knot, txt};
use testkit::network_lab::NetworkLab;
use testkit::opensmtpd::OpenSmtpd;
use testkit::pair::PASSWORD;
use testkit::remote_mta::{RemoteMta, Site};
use testkit::submission::{Security, Sent, Submission};
use testkit::{Pair, PairOptions, dkim, message, process, until};

use crate::alone;
use crate::signing::{records, signed_part};

const PATIENCE: Duration = Duration::from_secs(90);
const ALICE: &str = "alice@example.org";
/// Where the lab has its internet.
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const MIME: &str =
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
/// What bodies are made of that somebody might change on the way.
const BODY: &str = "Gr\u{fc}\u{df}e \u{1f600}\r\n.\r\n..two dots\r\n.one\r\nFrom here\r\n \t\r\ntrailing  \r\n\
    \ttab\r\n\r\n\r\n-- \r\nthe end\r\n";

/// Dropped in this order: the programs before their network.
pub(crate) struct World {
    remote: Box<dyn RemoteMta>,
    pair: Pair,
    _knot: Knot,
    keys: Vec<(String, String)>,
    lab: NetworkLab,
}

impl World {
    pub(crate) fn new<M: RemoteMta + 'static>(start: impl FnOnce(&Site) -> M) -> Option<Self> {
        if !NetworkLab::is_possible() {
            println!("NOT RUN: network namespaces can't be made here (it takes root)");
            return None;
        }
        let lab = NetworkLab::new();
        let site = Site { namespace: lab.internet().to_owned(), address: REMOTE, name_server: REMOTE };
        let pair = Pair::with(&PairOptions {
            home_config: "[queue]\nretry = [\"1s\"]".to_owned(),
            outbound: true,
            name_server: Some(site.port(53)),
            places: Some(lab.places()),
            ..PairOptions::default()
        });
        let remote = start(&site);
        let keys = records(&pair, &["signing"]);
        let zones = zones(remote.domain(), &keys);
        let zones: Vec<_> = zones.iter().map(|(name, records)| (name.as_str(), records.as_str())).collect();
        let knot = Knot::start_in(lab.internet(), site.port(53), &zones);
        Some(Self { remote: Box::new(remote), pair, _knot: knot, keys, lab })
    }

    fn to(&self, local_part: &str) -> String {
        format!("{local_part}@{}", self.remote.domain())
    }

    fn alice(&self) -> Submission {
        Submission {
            namespace: Some(self.lab.home().to_owned()),
            server: self.pair.submission,
            security: Security::Tls,
            login: Some((ALICE.to_owned(), PASSWORD.to_owned())),
        }
    }

    /// Sends as alice.
    fn send(&self, to: &str, subject: &str) {
        self.send_with(to, subject, "", "");
    }

    fn send_with(&self, to: &str, subject: &str, mail_options: &str, rcpt_options: &str) {
        let text = message::simple(ALICE, to, subject);
        self.alice().send(Sent { from: ALICE, to, mail_options, rcpt_options, message: &text });
    }

    /// What the other MTA has with this subject.
    fn received(&self, subject: &str) -> Vec<Vec<u8>> {
        let all = self.remote.messages().into_iter().map(|stored| message::with_crlf(&stored));
        all.filter(|stored| message::field(stored, "Subject").as_deref() == Some(subject)).collect()
    }

    fn wait_for(&self, subject: &str) -> Vec<u8> {
        until(&format!("'{subject}' at the other MTA"), PATIENCE, || self.received(subject).pop())
    }

    /// What is in alice's INBOX with this text in it.
    fn in_inbox(&self, what: &str) -> Vec<u8> {
        until(&format!("'{what}' in the INBOX"), PATIENCE, || {
            let messages = self.pair.account("alice").messages("INBOX");
            messages.into_iter().find(|stored| message::holds(stored, what.as_bytes()))
        })
    }

    /// A session that was begun before the host's settings were changed goes on as it was begun, and an edge keeps one for a moment
    /// in case there is more mail.
    fn wait_until_no_session_goes_on(&self) {
        let place = self.remote.submission();
        until("no session goes on", PATIENCE, || {
            let mut ss = process::command(place.namespace.as_deref(), "ss");
            ss.args(["--no-header", "--tcp", "--numeric", "state", "established"]);
            ss.arg(format!("sport = :{}", place.server.port()));
            process::run_ok(ss, b"", PATIENCE).trim().is_empty().then_some(())
        });
    }

    /// What the trace tells of attempts, once one of them has this in it.
    fn attempted(&self, what: &str) -> String {
        let domain = self.remote.domain();
        until(&format!("an attempt with '{what}'"), PATIENCE, || {
            let story = self.pair.home.command_ok(&["trace", domain], "");
            story.lines().find(|line| line.contains(what)).map(str::to_owned)
        })
    }

    /// The line of the other MTA's log with this in it.
    fn logged(&self, what: &str) -> String {
        until(&format!("'{what}' in its log"), PATIENCE, || {
            self.remote.log().lines().find(|line| line.contains(what)).map(str::to_owned)
        })
    }

    fn wait_for_an_empty_queue(&self) {
        until("the queue is empty", PATIENCE, || (self.pair.home.status()?["queue"] == 0).then_some(()));
    }
}

/// Both sides' names, addresses, and who may send.
fn zones(remote: &str, keys: &[(String, String)]) -> Vec<(String, String)> {
    let zone = |address: &str| {
        let spf = format!("v=spf1 ip4:{address} -all");
        let dmarc = txt("_dmarc", "v=DMARC1; p=reject");
        format!("@ MX 10 mx\nmx A {address}\n{}{}{dmarc}", txt("@", &spf), txt("mx", &spf))
    };
    let mut home = zone("203.0.113.2");
    for (name, text) in keys {
        home += &txt(&format!("{name}."), text);
    }
    let reverse = format!("1 PTR mx.{remote}.\n2 PTR mx.example.org.\n");
    vec![
        ("example.org".to_owned(), home),
        (remote.to_owned(), zone("203.0.113.1")),
        ("113.0.203.in-addr.arpa".to_owned(), reverse),
        // What is looked for above them.
        ("test".to_owned(), String::new()),
        ("org".to_owned(), String::new()),
    ]
}

/// A message with all that somebody might change, and the fields of a conversation.
fn letter(from: &str, to: &str, subject: &str, references: &[&str]) -> Vec<u8> {
    let mut thread = format!("Message-ID: <{subject}@{}>\r\n", from.split('@').nth(1).unwrap());
    if let Some(last) = references.last() {
        thread += &format!("In-Reply-To: {last}\r\nReferences: {}\r\n", references.join("\r\n "));
    }
    format!(
        "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nFrom: {from}\r\nTo: {to}\r\nSubject: {subject}\r\n\
         {thread}{MIME}\r\n{BODY}{}\r\n",
        "x".repeat(998)
    )
    .into_bytes()
}

/// A letter goes out, its answer comes in, and the answer to that goes out.
pub(crate) fn a_conversation(world: &World) {
    let you = world.to("you");
    let say = |submission: &Submission, from: &str, to: &str, text: &[u8]| {
        submission.send(Sent { from, to, mail_options: "BODY=8BITMIME", rcpt_options: "", message: text });
    };
    let first = letter(ALICE, &you, "first", &[]);
    say(&world.alice(), ALICE, &you, &first);
    let stored = world.wait_for("first");
    arrived_signed_and_whole(world, &stored, &first);
    let first_id = message::field(&stored, "Message-ID").unwrap();

    let second = letter(&you, ALICE, "second", &[&first_id]);
    say(&world.remote.submission(), &you, ALICE, &second);
    let answer = world.in_inbox("Subject: second\r\n");
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(message::body(&answer) == message::body(&second), "{text}");
    let results = message::field(&answer, "Authentication-Results").unwrap();
    assert!(results.contains("spf=pass") && results.contains("dmarc=pass"), "{results}");
    assert!(text.contains("with ESMTPS") || text.contains("with UTF8SMTPS"), "{text}");
    assert_eq!(message::field(&answer, "In-Reply-To").as_ref(), Some(&first_id), "{text}");

    let second_id = message::field(&answer, "Message-ID").unwrap();
    let third = letter(ALICE, &you, "third", &[&first_id, &second_id]);
    say(&world.alice(), ALICE, &you, &third);
    let stored = world.wait_for("third");
    arrived_signed_and_whole(world, &stored, &third);
    assert_eq!(message::field(&stored, "In-Reply-To"), Some(second_id.clone()));
    assert_eq!(message::field(&stored, "References"), Some(format!("{first_id} {second_id}")));
    world.wait_for_an_empty_queue();
    assert_eq!((world.received("first").len(), world.received("third").len()), (1, 1), "each once");
    assert_eq!(world.pair.account("alice").subjects("INBOX"), ["second"], "and no report");
}

fn arrived_signed_and_whole(world: &World, stored: &[u8], sent: &[u8]) {
    let text = String::from_utf8_lossy(stored).into_owned();
    assert!(message::body(stored) == message::body(sent), "{text}");
    let selectors = world.keys.iter().map(|(name, _)| name.split('.').next().unwrap());
    let wanted: Vec<String> = selectors.map(|selector| format!("example.org {selector} pass")).collect();
    assert_eq!(dkim::verify(&signed_part(stored), &world.keys), wanted, "{text}");
    let received = message::field(stored, "Received").unwrap().to_lowercase();
    let attempt = world.attempted(": 250");
    // Where TLS fails and nobody demands it, mail goes without.
    let encrypted = world.remote.speaks_tls();
    let said = (received.contains("esmtps"), attempt.contains("TLS1."), attempt.contains("no TLS"));
    assert_eq!(said, (encrypted, encrypted, !encrypted), "{received}\n{attempt}");
    for secret in ["203.0.113.9", "192.168.77"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// What is refused comes back as a report; what is put off, or finds nobody, is delivered later.
pub(crate) fn refused_and_put_off(world: &mut World, refusal: &str) {
    world.send(&world.to("rejected"), "refused");
    let report = String::from_utf8_lossy(&world.in_inbox("multipart/report")).into_owned();
    assert!(report.contains("Action: failed") && report.contains(refusal), "{report}");
    assert!(report.contains(&format!("rfc822; {}", world.to("rejected"))), "{report}");

    world.remote.greylist(true);
    world.wait_until_no_session_goes_on();
    world.send(&world.to("you"), "greylisted");
    let told = world.attempted(": 451");
    assert!(world.received("greylisted").is_empty(), "{told}");
    world.remote.greylist(false);
    world.wait_for("greylisted");
    world.wait_for_an_empty_queue();

    world.remote.stop();
    world.send(&world.to("you"), "nobody there");
    let before = json(&world.pair.home.command_ok(&["queue", "list", "--json"], ""));
    let id = before[0]["item"].as_str().unwrap().to_owned();
    until("an attempt", PATIENCE, || {
        let item = json(&world.pair.home.command_ok(&["queue", "show", &id, "--json"], ""));
        (item["recipients"][0]["attempts"].as_u64()? > 0).then_some(())
    });
    world.remote.start();
    world.wait_for("nobody there");
    world.wait_for_an_empty_queue();
    for subject in ["greylisted", "nobody there"] {
        assert_eq!(world.received(subject).len(), 1, "{subject}");
    }
    assert_eq!(world.pair.account("alice").count("INBOX"), 1, "one report of one refusal");
}

#[test]
fn a_conversation_with_exim_holds_in_both_directions() {
    let _alone = alone();
    let Some(world) = World::new(Exim::start) else { return };
    a_conversation(&world);
}

#[test]
fn a_conversation_with_opensmtpd_holds_in_both_directions() {
    let _alone = alone();
    let Some(world) = World::new(OpenSmtpd::start) else { return };
    a_conversation(&world);
}

#[test]
fn a_conversation_with_chasquid_holds_in_both_directions() {
    let _alone = alone();
    let Some(world) = World::new(Chasquid::start) else { return };
    a_conversation(&world);
}

#[test]
fn what_exim_refuses_or_puts_off_ends_as_it_should() {
    let _alone = alone();
    let Some(mut world) = World::new(Exim::start) else { return };
    refused_and_put_off(&mut world, "no such user here");
}

#[test]
fn what_opensmtpd_refuses_or_puts_off_ends_as_it_should() {
    let _alone = alone();
    let Some(mut world) = World::new(OpenSmtpd::start) else { return };
    refused_and_put_off(&mut world, "550 Invalid recipient");
}

#[test]
fn what_chasquid_refuses_or_puts_off_ends_as_it_should() {
    let _alone = alone();
    let Some(mut world) = World::new(Chasquid::start) else { return };
    refused_and_put_off(&mut world, "5.1.1");
}

/// Asks for a report of success, and gives the one that comes.
fn report_of_success(world: &World) -> String {
    world.send_with(&world.to("you"), "tell me", "RET=HDRS ENVID=q1", "NOTIFY=SUCCESS,FAILURE");
    world.wait_for("tell me");
    let report = String::from_utf8_lossy(&world.in_inbox("\r\nAction: ")).into_owned();
    world.wait_for_an_empty_queue();
    assert_eq!(world.pair.account("alice").count("INBOX"), 1, "one report of one delivery");
    report
}

/// Sends to an address that only SMTPUTF8 can name.
fn send_to_jorg(world: &World, subject: &str) {
    world.send_with(&world.to("j\u{f6}rg"), subject, "SMTPUTF8 BODY=8BITMIME", "");
}

/// The other side sends from such an address.
fn jorg_sends(world: &World, subject: &str) -> String {
    let from = world.to("j\u{f6}rg");
    let text = letter(&from, ALICE, subject, &[]);
    world.remote.submission().send(Sent {
        from: &from,
        to: ALICE,
        mail_options: "SMTPUTF8 BODY=8BITMIME",
        rcpt_options: "",
        message: &text,
    });
    let stored = world.in_inbox(&format!("Subject: {subject}\r\n"));
    assert!(message::body(&stored) == message::body(&text), "{}", String::from_utf8_lossy(&stored));
    String::from_utf8_lossy(&stored).into_owned()
}

#[test]
fn exim_gets_and_gives_all_that_both_offer() {
    let _alone = alone();
    let Some(world) = World::new(Exim::start) else { return };
    let report = report_of_success(&world);
    // It names the router that delivered where others name a host.
    assert!(
        report.contains("Reporting-MTA: dns; mx.exim.test") && report.contains("Action: delivered"),
        "{report}"
    );
    send_to_jorg(&world, "to joerg");
    world.wait_for("to joerg");
    let line = world.logged("P=utf8esmtps");
    // PIPELINING (and no more than that), CHUNKING, and a signature that Exim itself has found good.
    assert!(line.contains(" L. ") && line.contains(" K ") && line.contains(" DKIM=example.org"), "{line}");

    let stored = jorg_sends(&world, "from joerg");
    assert!(stored.contains("with UTF8SMTPS"), "{stored}");
    let line = world.logged("<= j\u{f6}rg@exim.test");
    let item = line.split_whitespace().nth(2).unwrap().to_owned();
    let line = world.logged(&format!("{item} => {ALICE}"));
    assert!(line.contains(" L ") && line.contains(" K "), "PIPELINING and CHUNKING: {line}");

    // Edge tells strangers nothing later, so it does not offer to: the MTA before it says that it was handed on.
    let text = message::simple(&world.to("you"), ALICE, "tell the stranger");
    world.remote.submission().send(Sent {
        from: &world.to("you"),
        to: ALICE,
        mail_options: "",
        rcpt_options: "NOTIFY=SUCCESS",
        message: &text,
    });
    world.in_inbox("Subject: tell the stranger");
    until("Exim's own report", PATIENCE, || {
        let all = world.remote.messages();
        all.iter().any(|stored| message::holds(stored, b"relayed to non-DSN-aware mailer")).then_some(())
    });
}

#[test]
fn opensmtpd_is_not_given_what_it_does_not_offer() {
    let _alone = alone();
    let Some(world) = World::new(OpenSmtpd::start) else { return };
    let report = report_of_success(&world);
    assert!(
        report.contains("Reporting-MTA: dns; mx.opensmtpd.test") && report.contains("Action: delivered"),
        "{report}"
    );
    send_to_jorg(&world, "to joerg");
    let report = String::from_utf8_lossy(&world.in_inbox("5.6.7")).into_owned();
    assert!(
        report.contains("Action: failed") && report.contains("utf-8; j\u{f6}rg@opensmtpd.test"),
        "{report}"
    );
    world.wait_for_an_empty_queue();
    assert!(world.received("to joerg").is_empty());
}

#[test]
fn chasquid_gets_what_it_offers_and_the_report_that_it_does_not_is_ours() {
    let _alone = alone();
    let Some(world) = World::new(Chasquid::start) else { return };
    let report = report_of_success(&world);
    assert!(
        report.contains("Action: relayed") && report.contains("Reporting-MTA: dns; example.org"),
        "{report}"
    );
    send_to_jorg(&world, "to joerg");
    world.wait_for("to joerg");
    let stored = jorg_sends(&world, "from joerg");
    assert!(stored.contains("with UTF8SMTPS"), "{stored}");
}
