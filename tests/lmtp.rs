//! Home in front of Dovecot: what comes is delivered by LMTP, over a Unix socket and over TCP.

use std::collections::BTreeMap;
use std::time::Duration;

use testkit::dovecot::Dovecot;
use testkit::imap::json;
use testkit::pair::PASSWORD;
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::{Pair, PairOptions, message, until};

use crate::alone;
use crate::crashes::under_load;

const PATIENCE: Duration = Duration::from_secs(90);
const ANN: &str = "ann@sender.test";
const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";

/// How Home reaches Dovecot.
#[derive(Clone, Copy)]
enum Over {
    Unix,
    Tcp,
}

/// A pair whose home delivers into a Dovecot that has alice, and bob with a small mailbox. `carol@example.org` has an
/// account at Home and none there.
struct World {
    pair: Pair,
    dovecot: Dovecot,
}

impl World {
    fn start(over: Over) -> Self {
        Self::with(Dovecot::start(&[(ALICE, "x", None), (BOB, "x", Some(3_000))]), over)
    }

    fn with(dovecot: Dovecot, over: Over) -> Self {
        let lmtp = match over {
            Over::Unix => format!("unix:{}", dovecot.lmtp_socket().display()),
            Over::Tcp => format!("inet:{}", dovecot.lmtp()),
        };
        let pair = Pair::with(&PairOptions {
            home_config: format!("[queue]\nretry = [\"1s\"]\n[deliver]\nlmtp = {lmtp:?}"),
            ..PairOptions::default()
        });
        let world = Self { pair, dovecot };
        world.pair.add_user("carol");
        until("edge knows carol", PATIENCE, || {
            let mut client = SmtpClient::ready(world.pair.smtp).unwrap();
            client.command("MAIL FROM:<ann@sender.test>").unwrap();
            client.command("RCPT TO:<carol@example.org>").unwrap().starts_with("250").then_some(())
        });
        world
    }

    fn send(&self, to: &[&str], octets: &[u8]) -> String {
        SmtpClient::ready(self.pair.smtp).unwrap().message(ANN, to, octets).unwrap()
    }

    fn simple(&self, to: &[&str], subject: &str) -> String {
        self.send(to, &message::simple(ANN, to[0], subject))
    }

    fn has(&self, address: &str, subject: &str) -> usize {
        let field = format!("Subject: {subject}\r\n");
        let messages = self.dovecot.messages(address);
        messages.iter().filter(|stored| message::holds(stored, field.as_bytes())).count()
    }

    fn arrived(&self, address: &str, subject: &str) -> Vec<u8> {
        let field = format!("Subject: {subject}\r\n");
        until("Dovecot has it", PATIENCE, || {
            self.dovecot.messages(address).into_iter().find(|stored| message::holds(stored, field.as_bytes()))
        })
    }

    fn quarantine(&self) -> Vec<serde_json::Value> {
        let listed = json(&self.pair.home.command_ok(&["quarantine", "list", "--json"], ""));
        listed.as_array().unwrap().clone()
    }
}

#[test]
fn mail_goes_into_dovecots_mailboxes_by_socket_and_home_serves_no_imap() {
    let _alone = alone();
    let world = World::start(Over::Unix);
    assert!(world.simple(&[ALICE], "by-socket").starts_with("250"));
    let stored = world.arrived(ALICE, "by-socket");
    let text = String::from_utf8_lossy(message::head(&stored)).into_owned();
    assert_eq!(text.matches("Return-Path:").count(), 1, "{text}");
    assert_eq!(message::field(&stored, "Return-Path").as_deref(), Some("<ann@sender.test>"));
    assert_eq!(text.matches("Delivered-To:").count(), 1, "{text}");
    assert!(
        text.contains("by mx.example.org (Postern)") && text.contains("Authentication-Results"),
        "{text}"
    );
    assert!(std::net::TcpStream::connect(world.pair.imap).is_err(), "the mailboxes are Dovecot's");
}

#[test]
fn mail_goes_over_tcp_a_large_one_whole_and_one_to_several_people_once_each() {
    let _alone = alone();
    let world = World::start(Over::Tcp);
    world.pair.home.command_ok(&["alias", "add", "all@example.org", ALICE, BOB], "");
    let mut large = message::simple(ANN, ALICE, "large");
    for line in 0..40_000 {
        large.extend_from_slice(format!(".line {line} of a large message\r\n").as_bytes());
    }
    assert!(world.send(&[ALICE], &large).starts_with("250"));
    let stored = world.arrived(ALICE, "large");
    assert_eq!(message::body(&stored), message::body(&large), "not an octet is changed");
    assert!(world.simple(&[ALICE, BOB], "both").starts_with("250"));
    world.arrived(ALICE, "both");
    world.arrived(BOB, "both");
    assert_eq!((world.has(ALICE, "both"), world.has(BOB, "both")), (1, 1));
}

#[test]
fn what_dovecot_refuses_is_refused_to_the_sender_without_its_words() {
    let _alone = alone();
    let world = World::start(Over::Unix);
    world.pair.home.command_ok(&["alias", "add", "boss@example.org", BOB], "");
    until("edge knows the alias", PATIENCE, || {
        let mut client = SmtpClient::ready(world.pair.smtp).unwrap();
        client.command("MAIL FROM:<ann@sender.test>").unwrap();
        client.command("RCPT TO:<boss@example.org>").unwrap().starts_with("250").then_some(())
    });
    let mut large = message::simple(ANN, BOB, "too-much");
    large.extend_from_slice("x".repeat(5_000).as_bytes());
    large.extend_from_slice(b"\r\n");
    let full = world.send(&["boss@example.org"], &large);
    assert!(full.starts_with("552 5.2.2") && !full.contains("bob"), "{full}");
    let unknown = world.simple(&["carol@example.org"], "nobody");
    assert!(unknown.starts_with("451"), "carol has an account, so that is the operator's to mend: {unknown}");
    assert!(world.pair.home.log().contains("the mailbox server does not know an account"));
    assert!(world.quarantine().is_empty(), "the senders know");

    // One of two has it: nobody can be told, so the operator gets the other's.
    let mixed = world.send(&[ALICE, BOB], &large);
    assert!(mixed.starts_with("250"), "{mixed}");
    world.arrived(ALICE, "too-much");
    let kept = world.quarantine();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["to"][0], BOB);
    assert!(kept[0]["reason"].as_str().unwrap().contains("552 5.2.2"), "{kept:?}");
    assert_eq!(world.has(BOB, "too-much"), 0);
    let id = kept[0]["id"].as_str().unwrap();
    world.pair.home.command_ok(&["alias", "add", "both@example.org", BOB, ALICE], "");
    let said = world.pair.home.command(&["quarantine", "release", id, "--to", "both@example.org"], "");
    assert!(!said.status.success(), "bob's mailbox is full");
    until("alice has it twice", PATIENCE, || (world.has(ALICE, "too-much") == 2).then_some(()));
    assert_eq!(world.quarantine().len(), 1, "it is not let go while somebody does not have it");
    world.pair.home.command_ok(&["quarantine", "release", id, "--to", ALICE], "");
    assert_eq!((world.has(ALICE, "too-much"), world.quarantine().len()), (2, 0), "and she not once more");
}

#[test]
fn while_dovecot_is_away_senders_come_again_and_sealed_mail_waits_and_comes_once() {
    let _alone = alone();
    let mut world = World::start(Over::Unix);
    world.dovecot.stop();
    let live = world.simple(&[ALICE], "live");
    assert!(live.starts_with("451"), "{live}");
    until("Home says why", PATIENCE, || world.pair.home.log().contains("[deliver] lmtp").then_some(()));
    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    for subject in ["one", "two"] {
        assert!(world.simple(&[ALICE], subject).starts_with("250"));
    }
    assert!(world.simple(&["carol@example.org"], "for-carol").starts_with("250"));
    world.pair.home.start();
    world.pair.wait_for_link();
    // Edge has handed it over in vain and keeps it.
    until("Home has tried", PATIENCE, || {
        world.pair.home.log().contains("Senders and edges keep").then_some(())
    });
    assert_eq!(world.pair.link().1, 3);
    world.dovecot.start_again();
    for subject in ["one", "two"] {
        world.arrived(ALICE, subject);
    }
    until("hers is left", PATIENCE, || (world.pair.link() == (true, 1)).then_some(()));
    world.dovecot.add(("carol@example.org", "x", None));
    world.arrived("carol@example.org", "for-carol");
    world.pair.wait_until_drained(PATIENCE);
    for (who, subject) in [(ALICE, "one"), (ALICE, "two"), ("carol@example.org", "for-carol")] {
        assert_eq!(world.has(who, subject), 1, "{subject}");
    }
    assert_eq!(world.has(ALICE, "live"), 0);
    assert!(world.quarantine().is_empty(), "what was sealed is never refused");
}

#[test]
fn mail_between_users_and_reports_go_by_lmtp_and_one_full_mailbox_keeps_it_from_nobody_else() {
    let _alone = alone();
    let dave = "dave@example.org";
    let world = World::with(
        Dovecot::start(&[(ALICE, "x", None), (BOB, "x", Some(3_000)), (dave, "x", None)]),
        Over::Unix,
    );
    world.pair.add_user("dave");
    world.pair.home.command_ok(&["alias", "add", "team@example.org", BOB, dave], "");
    let login = Some((ALICE.to_owned(), PASSWORD.to_owned()));
    let server = world.pair.submission;
    let submission = Submission { namespace: None, server, security: Security::Tls, login };
    let to_bob = message::simple(ALICE, BOB, "inside");
    let sent = Sent { from: ALICE, to: BOB, mail_options: "", rcpt_options: "", message: &to_bob };
    submission.send(sent);
    world.arrived(BOB, "inside");

    let mut large = message::simple(ALICE, "team@example.org", "for-the-team");
    large.extend_from_slice(format!("{}\r\n", "x".repeat(5_000)).as_bytes());
    submission.send(Sent { to: "team@example.org", message: &large, ..sent });
    world.arrived(dave, "for-the-team");
    let report = until("alice has a report", PATIENCE, || {
        let mut messages = world.dovecot.messages(ALICE).into_iter();
        messages.find(|stored| message::holds(stored, b"Action: failed"))
    });
    assert!(message::holds(&report, b"team@example.org") && message::holds(&report, b"552 5.2.2"));
    assert_eq!(message::field(&report, "Return-Path").as_deref(), Some("<>"));
    assert_eq!((world.has(BOB, "for-the-team"), world.has(dave, "for-the-team")), (0, 1));
}

/// Connections to Dovecot, by default.
const CONNECTIONS: usize = 4;
const KILLS: usize = 10;

#[test]
fn what_was_answered_250_survives_kills_of_home_and_is_doubled_no_more_than_what_was_under_way() {
    let _alone = alone();
    let dovecot = Dovecot::start(&[(ALICE, "x", None), (BOB, "x", None)]);
    let mut world = World::with(dovecot, Over::Unix);
    let sent = under_load(world.pair.smtp, || {
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(700));
            world.pair.home.kill();
            world.pair.home.start();
        }
    });
    world.pair.wait_until_drained(PATIENCE);
    let mut there: BTreeMap<String, usize> = BTreeMap::new();
    for stored in world.dovecot.messages(BOB) {
        *there.entry(message::field(&stored, "Subject").unwrap()).or_default() += 1;
    }
    let lost: Vec<_> = sent.taken.iter().filter(|subject| !there.contains_key(*subject)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let doubled: usize = there.values().map(|times| times - 1).sum();
    println!("{} answered 250, {} in doubt, {doubled} doubled", sent.taken.len(), sent.in_doubt.len());
    assert!(doubled <= KILLS * CONNECTIONS, "{doubled} doubled");
    assert!(sent.taken.len() > 100, "only {} taken: no load", sent.taken.len());
}

/// NUL is no octet of RFC 5322's messages any more, and receivers take it all the same (its section 4): Home hands it on as it
/// came, and what becomes of it is Dovecot's.
#[test]
fn a_message_with_nul_goes_to_dovecot_as_it_came() {
    let _alone = alone();
    let world = World::start(Over::Unix);
    let mail = b"From: ann@sender.test\r\nTo: alice@example.org\r\nSubject: nul\r\n\r\na\0b\r\n";
    assert!(world.send(&[ALICE], mail).starts_with("250"));
    let stored = world.arrived(ALICE, "nul");
    assert!(stored.ends_with(b"\r\n\r\na\0b\r\n"), "{}", stored.escape_ascii());
}
