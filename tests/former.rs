//! A home and an edge of an earlier version, with their data, under this one. `former/` has what those versions wrote; how
//! it was made is [`fill`], which this version goes through as well, so that the next one has what to read.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::imap::json;
use testkit::pair::PASSWORD;
use testkit::postfix::Postfix;
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::{Pair, PairOptions, message, ports, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);
const ALICE: &str = "alice@example.org";
const YOU: &str = "you@remote.test";

fn names() -> NameServer {
    NameServer::start(&[
        ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
        ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
    ])
}

fn stranger(pair: &Pair, to: &[&str], subject: &str, more: &str) {
    let mut text = message::simple("ann@sender.test", to[0], subject);
    text.extend_from_slice(more.as_bytes());
    let reply = SmtpClient::ready(pair.smtp).unwrap().message("ann@sender.test", to, &text).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn submission(pair: &Pair) -> Submission {
    Submission {
        namespace: None,
        server: pair.submission,
        security: Security::Tls,
        login: Some((ALICE.to_owned(), PASSWORD.to_owned())),
    }
}

/// A pair with something of everything: mail that was read, flagged and deleted, small and large; a message held in the
/// queue; sealed mail for somebody who is there and for somebody who was removed meanwhile. It does not run any more.
fn fill() -> Pair {
    let names = names();
    let mut pair = Pair::with(&PairOptions {
        outbound: true,
        name_server: Some(names.address()),
        // Nobody is there: what leaves waits.
        edge_config: format!("[outbound]\nport = {}", ports::free().port()),
        ..PairOptions::default()
    });
    pair.add_user("carol");
    pair.home.command_ok(&["alias", "add", "sales@example.org", "bob@example.org", ALICE], "");
    until("edge knows all", PATIENCE, || {
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        client.command("MAIL FROM:<ann@sender.test>").unwrap();
        let known = ["carol", "sales"]
            .map(|name| client.command(&format!("RCPT TO:<{name}@example.org>")).unwrap().starts_with("250"));
        (known == [true; 2]).then_some(())
    });
    for subject in ["read", "flagged", "deleted"] {
        stranger(&pair, &[ALICE], subject, "");
    }
    stranger(&pair, &[ALICE], "large", &"0123456789abcdef\r\n".repeat(100_000));
    stranger(&pair, &["sales@example.org"], "for sales", "");
    let alice = pair.account("alice");
    until("all is there", PATIENCE, || (alice.count("INBOX") == 5).then_some(()));
    let _ = alice.script(
        "ok(imap.create('Kept'))\nok(imap.select('INBOX'))\nok(imap.store('1', '+FLAGS', '\\\\Seen'))\n\
         ok(imap.store('2', '+FLAGS', '(\\\\Flagged $work)'))\nok(imap.store('3', '+FLAGS', '\\\\Deleted'))\n\
         ok(imap.expunge())\nok(imap.copy('1', 'Kept'))",
    );
    let text = message::simple(ALICE, YOU, "waiting");
    submission(&pair).send(Sent { from: ALICE, to: YOU, mail_options: "", rcpt_options: "", message: &text });
    let queued = json(&pair.home.command_ok(&["queue", "list", "--json"], ""));
    pair.home.command_ok(&["queue", "hold", queued[0]["item"].as_str().unwrap()], "");
    pair.home.terminate(STOP);
    pair.wait_for_no_link();
    stranger(&pair, &[ALICE], "sealed", "");
    stranger(&pair, &["carol@example.org"], "for nobody", "");
    pair.home.command_ok(&["user", "remove", "carol@example.org"], "");
    pair.edge.terminate(STOP);
    pair
}

/// This version on such files.
fn holds(archive: &Path) {
    let postfix = Postfix::start("remote.test");
    let name_server = names();
    let port = format!("[outbound]\nport = {}", postfix.address().port());
    let pair = Pair::of_former(archive, name_server.address(), &port);
    pair.wait_for_link();
    pair.wait_until_drained(PATIENCE);
    // The password is the same, and so is what was done with the mail.
    let (alice, bob) = (pair.account("alice"), pair.account("bob"));
    until("sealed mail has come", PATIENCE, || (alice.count("INBOX") == 5).then_some(()));
    assert_eq!(alice.subjects("INBOX"), ["read", "flagged", "large", "for sales", "sealed"]);
    assert_eq!(alice.subjects("Kept"), ["read"]);
    assert_eq!(bob.subjects("INBOX"), ["for sales"]);
    let large = alice.messages("INBOX").swap_remove(2);
    assert!(message::body(&large).ends_with("0123456789abcdef\r\n".repeat(100_000).as_bytes()));
    let found = alice.script(
        "count('INBOX')\nprint([ok(imap.search(None, what)) for what in ('SEEN', 'FLAGGED', 'KEYWORD $work')])",
    );
    assert_eq!(found.trim(), "[[b'1'], [b'2'], [b'2']]");
    // What was for somebody who is gone is the operator's.
    let quarantined = json(&pair.home.command_ok(&["quarantine", "list", "--json"], ""));
    assert_eq!(quarantined[0]["to"][0], "carol@example.org", "{quarantined}");
    // What was held goes when it is let go, signed by the same key.
    let queued = json(&pair.home.command_ok(&["queue", "list", "--json"], ""));
    assert_eq!((&queued[0]["held"], &queued[0]["waiting"][0]), (&true.into(), &YOU.into()), "{queued}");
    pair.home.command_ok(&["queue", "release", queued[0]["item"].as_str().unwrap()], "");
    let sent = until("it has left", PATIENCE, || postfix.messages("you").pop());
    assert_eq!(message::field(&message::with_crlf(&sent), "Subject").as_deref(), Some("waiting"));
    until("the queue is empty", PATIENCE, || (pair.home.status()?["queue"] == 0).then_some(()));
    // And it goes on as ever.
    stranger(&pair, &["sales@example.org"], "new", "");
    until("new mail comes", PATIENCE, || (bob.count("INBOX") == 2).then_some(()));
}

#[test]
fn the_data_of_each_version_before_is_read_and_goes_on() {
    let _alone = alone();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("former");
    let mut archives: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    archives.sort();
    assert!(!archives.is_empty());
    for archive in archives {
        println!("{}", archive.display());
        holds(&archive);
    }
}

/// `POSTERN_FORMER_OUT` names a file that is to have what this version wrote.
#[test]
fn the_data_of_this_version_is_read_when_it_was_moved_elsewhere() {
    let _alone = alone();
    let pair = fill();
    let archive = pair.dir().join("pair.tar.gz");
    pair.pack(&archive);
    if let Some(out) = std::env::var_os("POSTERN_FORMER_OUT") {
        std::fs::copy(&archive, out).unwrap();
    }
    holds(&archive);
}

/// Symptom: Home ran, took what users sent and sent nothing. Cause: the dispatcher had found a file of a newer version and ended,
/// and nobody looked at that before Home stopped.
#[test]
fn a_home_that_finds_a_file_of_a_newer_version_ends_and_says_what_to_do() {
    let mut pair = Pair::with(&PairOptions { outbound: true, ..PairOptions::default() });
    pair.home.terminate(STOP);
    let file = pair.home.data().join("warm_up.json");
    let newer = r#"{"format":2}"#;
    std::fs::write(&file, newer).unwrap();
    let ended = pair.home.command(&["home", "run"], "");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success(), "{said}");
    assert!(said.contains("warm_up.json") && said.contains("newer version"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer, "it is left as it is");
}
