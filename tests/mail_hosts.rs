//! Other domains' mail hosts with odd names, with little to offer, and behind networks that lose what is long.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use testkit::certificates::Authority;
use testkit::dns::{NameServer, Record};
use testkit::hello_filter::{HelloFilter, Loss};
use testkit::knot::Knot;
use testkit::pair::PASSWORD;
use testkit::postfix::Postfix;
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::{Pair, PairOptions, message, ports, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(120);
const ALICE: &str = "alice@example.org";
/// Where the host is that takes everything.
const RICH: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Octets that the other one takes.
const POOR_OCTETS_MAX: usize = 4000;

struct World {
    pair: Pair,
    /// Takes small messages without SMTPUTF8.
    poor: Postfix,
    rich: Postfix,
    _names: NameServer,
}

impl World {
    fn new() -> Self {
        let address = ports::free();
        let domains = ["rich.test", "poor.test", "mail_1.us.test", "odd.test"];
        let lacks =
            format!("smtpd_discard_ehlo_keywords = smtputf8\nmessage_size_limit = {POOR_OCTETS_MAX}\n");
        let poor = Postfix::lacking(address, &domains, &lacks);
        let rich = Postfix::receiver((RICH, address.port()).into(), &domains, None);
        let mx = |preference, host: &str| Record::Mx(preference, host.to_owned());
        let names = NameServer::start(&[
            ("poor_host.test", Record::A(Ipv4Addr::LOCALHOST)),
            ("rich-host.test", Record::A(RICH)),
            ("rich.test", mx(10, "poor_host.test")),
            ("rich.test", mx(20, "rich-host.test")),
            ("poor.test", mx(10, "poor_host.test")),
            ("mail_1.us.test", Record::A(Ipv4Addr::LOCALHOST)),
            ("odd.test", mx(5, "127.0.0.9")),
            ("odd.test", mx(10, "poor_host.test")),
            ("only.test", mx(10, "127.0.0.1")),
        ]);
        let pair = Pair::with(&PairOptions {
            edge_config: format!("[outbound]\nport = {}", address.port()),
            home_config: "[queue]\nretry = [\"1s\"]".to_owned(),
            outbound: true,
            name_server: Some(names.address()),
            ..PairOptions::default()
        });
        Self { pair, poor, rich, _names: names }
    }

    fn send(&self, to: &str, mail_options: &str, message: &[u8]) {
        let alice = Submission {
            namespace: None,
            server: self.pair.submission,
            security: Security::Tls,
            login: Some((ALICE.to_owned(), PASSWORD.to_owned())),
        };
        alice.send(Sent { from: ALICE, to, mail_options, rcpt_options: "", message });
    }

    /// A small one.
    fn write(&self, to: &str, subject: &str) {
        self.send(to, "", &message::simple(ALICE, to, subject));
    }

    /// The report in alice's INBOX that has this in it.
    fn report(&self, what: &str) -> String {
        until(&format!("a report with {what}"), PATIENCE, || {
            let messages = self.pair.account("alice").messages("INBOX");
            let texts = messages.iter().map(|stored| String::from_utf8_lossy(stored).into_owned());
            texts.into_iter().find(|text| text.contains(what))
        })
    }
}

/// Symptom: a message for many people of a domain was there after hours, so many of them each time.
#[test]
fn recipients_past_what_a_host_takes_at_one_time_get_the_message_in_the_next_transaction() {
    let _alone = alone();
    let address = ports::free();
    let few = "smtpd_recipient_limit = 2\nsmtpd_recipient_overshoot_limit = 1000\n";
    let postfix = Postfix::lacking(address, &["few.test"], few);
    let names = NameServer::start(&[("few.test", Record::A(Ipv4Addr::LOCALHOST))]);
    let pair = Pair::with(&PairOptions {
        edge_config: format!("[outbound]\nport = {}", address.port()),
        // Who waits for the next round waits in vain.
        home_config: "[queue]\nretry = [\"1h\"]".to_owned(),
        outbound: true,
        name_server: Some(names.address()),
        ..PairOptions::default()
    });
    let to = ["a@few.test", "b@few.test", "c@few.test", "d@few.test", "e@few.test"];
    let sent = message::simple(ALICE, "all@few.test", "to five");
    assert!(crate::outbound::msmtp(&pair, &to, &sent).status.success());
    until("the queue is empty", PATIENCE, || (pair.home.status()?["queue"] == 0).then_some(()));
    for name in ["a", "b", "c", "d", "e"] {
        arrived(&postfix, name, "to five");
        assert_eq!(postfix.messages(name).len(), 1, "{name}");
    }
}

/// What came to a Postfix for somebody under a subject.
fn arrived(at: &Postfix, local_part: &str, subject: &str) -> Vec<u8> {
    until(&format!("'{subject}'"), PATIENCE, || {
        let messages = at.messages(local_part).into_iter().map(|stored| message::with_crlf(&stored));
        messages.into_iter().find(|stored| message::field(stored, "Subject").as_deref() == Some(subject))
    })
}

/// Symptom: mail for such names waited for five days. Cause: the library's own reading of names, and an address that was
/// asked for as a name.
#[test]
fn names_with_an_underscore_are_asked_and_an_address_in_a_hosts_place_is_passed_over() {
    let _alone = alone();
    let world = World::new();
    world.write("you@mail_1.us.test", "to an odd domain");
    arrived(&world.poor, "you", "to an odd domain");
    world.write("you@odd.test", "past an address");
    arrived(&world.poor, "you", "past an address");
    world.write("you@only.test", "to an address");
    let report = world.report("you@only.test");
    let list = format!("news-bounces+{}@list_1.us.test", "v".repeat(180));
    let mut client = SmtpClient::ready(world.pair.smtp).unwrap();
    let reply =
        client.message(&list, &["bob@example.org"], &message::simple(&list, "bob@example.org", "news"));
    assert!(reply.unwrap().starts_with("250"), "a list's reverse-path");
    let news = until("the list's message", PATIENCE, || world.pair.account("bob").messages("INBOX").pop());
    assert_eq!(message::field(&news, "Return-Path"), Some(format!("<{list}>")));
    assert!(report.contains("Status: 5.4.4") && report.contains("MX records name addresses"), "{report}");
}

#[test]
fn a_host_that_lacks_something_is_not_the_last_word_while_the_domain_has_another() {
    let _alone = alone();
    let world = World::new();
    world.write("you@rich.test", "fits everywhere");
    arrived(&world.poor, "you", "fits everywhere");
    let large = |subject: &str| {
        let mut text = message::simple(ALICE, "you", subject);
        text.extend_from_slice(&b"0123456789\r\n".repeat(POOR_OCTETS_MAX / 10));
        text
    };
    world.send("you@rich.test", "", &large("large"));
    arrived(&world.rich, "you", "large");
    world.send("d\u{e9}d\u{e9}@rich.test", "SMTPUTF8", &message::simple(ALICE, "you", "beyond ASCII"));
    arrived(&world.rich, "d\u{e9}d\u{e9}", "beyond ASCII");
    world.send("you@poor.test", "", &large("too large"));
    let report = world.report("you@poor.test");
    assert!(report.contains("Status: 5.3.4") && report.contains("dns; poor_host.test"), "{report}");
    world.send("d\u{e9}d\u{e9}@poor.test", "SMTPUTF8", &message::simple(ALICE, "you", "nowhere"));
    world.report("Status: 5.6.7");
    assert!(world.poor.messages("d\u{e9}d\u{e9}").is_empty());
    let both = "pal@poor.test,d\u{e9}d\u{e9}d\u{e9}@poor.test";
    world.send(both, "SMTPUTF8", &message::simple(ALICE, "all", "for one of two"));
    arrived(&world.poor, "pal", "for one of two");
    world.report("utf-8; d\u{e9}d\u{e9}d\u{e9}@poor.test");
}

/// Symptom: what an old program wrote came back with 5.6.7, and the report called Latin-1 `message/global-headers`.
#[test]
fn a_header_with_raw_octets_goes_where_smtputf8_is_not_offered_and_a_report_says_what_it_holds() {
    let _alone = alone();
    let world = World::new();
    let of_alice = |case: &[u8], from: &str| {
        let end = case.iter().position(|octet| *octet == b'\n').unwrap() + 1;
        [from.as_bytes(), &case[end..]].concat()
    };
    let utf8 = of_alice(
        include_bytes!("mail_hosts/header-8bit-utf8-submitted.eml"),
        "From: Al\u{ed}ce <alice@example.org>\r\n",
    );
    world.send("you@poor.test", "", &utf8);
    let stored = arrived(&world.poor, "you", "gr\u{fc}n");
    assert!(message::holds(&stored, "From: Al\u{ed}ce <alice@example.org>".as_bytes()));
    let latin1 = of_alice(include_bytes!("mail_hosts/header-8bit-latin1.eml"), "From: alice@example.org\r\n");
    world.send("pal@poor.test", "", &latin1);
    until("the one in Latin-1", PATIENCE, || world.poor.messages("pal").pop());
    assert!(message::holds(&world.poor.messages("pal")[0], b"gr\xfcn"));
    world.send("you@only.test", "", &latin1);
    let report = world.report("you@only.test");
    assert!(report.contains("text/rfc822-headers") && report.contains("Subject: gr=FCn"), "{report}");
    assert!(!report.contains("global"), "{report}");
}

/// The hosts of signed zones, each on a way of its own to one Postfix.
struct Lossy {
    pair: Pair,
    postfix: Postfix,
    /// Ends connections with a long hello.
    ends: HelloFilter,
    /// Says nothing more on them.
    silent: HelloFilter,
    _knot: Knot,
}

impl Lossy {
    fn new() -> Self {
        let address = ports::free();
        let at = |last| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), address.port()));
        let authority = Authority::new();
        // Without its root, as many servers send it.
        let certificate = authority.issue(&["dane.test", "anchored.test"]).alone();
        let domains = ["d-good.test", "d-bad.test", "d-key.test", "d-digest.test", "plain.test"];
        let postfix = Postfix::receiver(address, &domains, Some(&certificate));
        let port = address.port();
        let zone = format!(
            "dane A 127.0.0.3\n_{port}._tcp.dane TLSA {good}\nwrong A 127.0.0.3\n_{port}._tcp.wrong TLSA 3 1 1 {bad}\n\
             slow A 127.0.0.4\nd-good MX 10 dane\nd-bad MX 10 wrong\nplain MX 10 slow\n\
             anchored A 127.0.0.1\n_{port}._tcp.anchored TLSA 2 1 0 {key}\nd-key MX 10 anchored\n\
             digest A 127.0.0.1\n_{port}._tcp.digest TLSA 2 1 1 {bad}\nd-digest MX 10 digest\n",
            good = certificate.tlsa(),
            key = authority.key(),
            bad = "00".repeat(32),
        );
        let knot = Knot::start(&[("test", &zone)]);
        let pair = Pair::with(&PairOptions {
            home_config: "[queue]\nretry = [\"1h\"]".to_owned(),
            outbound: true,
            name_server: Some(knot.address()),
            ..PairOptions::default()
        });
        let anchors = pair.dir().join("anchors");
        std::fs::write(&anchors, knot.trust_anchor("test")).unwrap();
        let mut lossy = Self {
            pair,
            postfix,
            ends: HelloFilter::start(at(3), address, Loss::End),
            silent: HelloFilter::start(at(4), address, Loss::Silence),
            _knot: knot,
        };
        let anchors = anchors.display();
        lossy
            .pair
            .edge
            .configure(&format!("[dns]\ntrust_anchors = \"{anchors}\"\n[outbound]\nport = {port}"));
        lossy.pair.edge.restart();
        lossy.pair.wait_for_link();
        lossy
    }

    /// Sends, and gives what the trace tells of the attempt.
    fn attempt(&self, domain: &str, subject: &str) -> String {
        let to = format!("you@{domain}");
        let told = |pair: &Pair| {
            let story =
                String::from_utf8_lossy(&pair.home.command(&["trace", domain], "").stdout).into_owned();
            let attempts = story.lines().filter(|line| line.contains(&format!("to {domain} ")));
            attempts.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = told(&self.pair).len();
        let sent = message::simple(ALICE, &to, subject);
        assert!(crate::outbound::msmtp(&self.pair, &[&to], &sent).status.success());
        until(&format!("an attempt to {domain}"), PATIENCE, || {
            let told = told(&self.pair);
            (told.len() > before).then(|| told.last().unwrap().clone())
        })
    }
}

/// Symptom: mail for a host with `TLSA 2 1 0` waited for ever, where Postfix delivers it. Cause: the key's certificate was
/// looked for among those that the host sends.
#[test]
fn a_trust_anchors_key_in_the_record_vouches_for_a_host_that_does_not_send_its_root() {
    let _alone = alone();
    let world = Lossy::new();
    let told = world.attempt("d-key.test", "anchored");
    assert!(told.contains("verified by DANE: 250"), "{told}");
    let told = world.attempt("d-digest.test", "not anchored");
    assert!(told.contains("4.7.5"), "{told}");
}

/// Symptom: mail for hosts behind some networks waited, or went without TLS. Cause: with a share for ML-KEM the first
/// message of TLS spans two segments, and was lost there.
#[test]
fn a_first_message_of_tls_that_is_lost_is_followed_by_a_short_one_which_is_remembered() {
    let _alone = alone();
    let world = Lossy::new();
    let told = world.attempt("d-good.test", "first");
    assert!(told.contains("verified by DANE: 250"), "{told}");
    assert_eq!(world.ends.hellos(), (1, 1));
    arrived(&world.postfix, "you", "first");
    // An idle connection is not used again after some seconds.
    std::thread::sleep(Duration::from_secs(4));
    let told = world.attempt("d-good.test", "second");
    assert!(told.contains("verified by DANE: 250"), "{told}");
    assert_eq!(world.ends.hellos(), (1, 2), "the short one comes first");
    let told = world.attempt("d-bad.test", "third");
    assert!(told.contains("4.7.5"), "what is demanded stays demanded: {told}");
    assert_eq!(world.ends.hellos(), (2, 3), "and it had its second try");
    let told = world.attempt("plain.test", "fourth");
    assert!(told.contains("TLS1.3") && told.contains(": 250"), "{told}");
    assert_eq!(world.silent.hellos(), (1, 1));
}
