//! Mail from the internet to a mailbox.

use std::time::Duration;

use testkit::postfix::{Content, Load, smtp_source};
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, process, until};

use crate::alone;

#[test]
fn two_thousand_messages_of_twenty_senders_arrive_once_and_unchanged() {
    let _alone = alone();
    let pair = Pair::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    // smtp-source takes the file as it goes over the wire: dots at the start of lines are its caller's.
    let text: String = (0..40).map(|n| format!("line {n} with \u{e4} and a tab\there\n")).collect();
    let content = format!("Subject: load\nFrom: load@sender.test\nTo: bob@example.org\n\n{text}");
    std::fs::write(file.path(), &content).unwrap();
    let load =
        Load { messages: 2000, sessions: 20, content: Content::File(file.path()), to: "bob@example.org" };
    smtp_source(None, pair.smtp, load);
    let messages = pair.account("bob").messages("INBOX");
    assert_eq!(messages.len(), 2000, "each that was answered 250 is there");
    let sent = message::with_crlf(content.as_bytes());
    for (n, stored) in messages.iter().enumerate() {
        // smtp-source ends each message with an empty line of its own.
        let stored_body = message::body(stored).strip_suffix(b"\r\n").unwrap_or_default();
        assert_eq!(stored_body, message::body(&sent), "message {n}: {}", String::from_utf8_lossy(stored));
    }
}

#[test]
fn real_and_broken_messages_are_stored_octet_by_octet() {
    let _alone = alone();
    // Some have no author: all of them are to be found in one mailbox.
    let edge_config = "[score.points]\nfrom-broken = 0".to_owned();
    let pair = Pair::with(&PairOptions { edge_config, ..PairOptions::default() });
    let corpus = message::python_corpus();
    assert!(corpus.len() > 40, "{} messages", corpus.len());
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    let mut taken = Vec::new();
    for (name, octets) in &corpus {
        let reply = client.message("sender@sender.test", &["bob@example.org"], octets).unwrap();
        if reply.starts_with("250") {
            taken.push((name, octets));
        } else {
            println!("{name}: not taken: {reply}");
        }
    }
    assert_eq!(taken.len(), corpus.len(), "every one of them is legal in SMTP");
    let messages = pair.account("bob").messages("INBOX");
    assert_eq!(messages.len(), taken.len());
    for ((name, sent), stored) in taken.iter().zip(&messages) {
        assert!(stored.ends_with(sent), "{name} was changed:\n{}", String::from_utf8_lossy(stored));
        let added = String::from_utf8_lossy(&stored[..stored.len() - sent.len()]).into_owned();
        assert!(added.contains("Received: from "), "{name}: no trace of us in {added}");
        assert!(added.lines().all(|line| line.starts_with([' ', '\t']) || line.contains(':')), "{added}");
    }
}

#[test]
fn swaks_delivers_with_starttls_to_a_user_an_alias_and_the_postmaster() {
    let _alone = alone();
    let pair = Pair::start();
    pair.home.command_ok(&["alias", "add", "sales@example.org", "bob@example.org", "alice@example.org"], "");
    let server = pair.smtp;
    for to in ["alice@example.org", "sales@example.org", "bob+lists@example.org", "postmaster"] {
        until(&format!("{to} is known"), Duration::from_secs(10), || {
            let mut client = SmtpClient::ready(server).unwrap();
            client.command("MAIL FROM:<a@sender.test>").unwrap();
            client.command(&format!("RCPT TO:<{to}>")).unwrap().starts_with("250").then_some(())
        });
    }
    let swaks = |to: &str, subject: &str| {
        let mut command = process::command(None, "swaks");
        command.args(["--server", &server.ip().to_string(), "--port", &server.port().to_string()]);
        command.args(["--tls", "--helo", "sender.test", "--from", "a@sender.test", "--to", to]);
        command.args(["--header", &format!("Subject: {subject}")]);
        process::run_ok(command, b"", Duration::from_secs(60))
    };
    let dialogue = swaks("alice@example.org", "to a user");
    assert!(dialogue.contains("TLSv1.3"), "{dialogue}");
    let _ = swaks("sales@example.org", "to an alias");
    let _ = swaks("bob+lists@example.org", "to a sub-address");
    let _ = swaks("postmaster@example.org", "to the postmaster");
    let (alice, bob) = (pair.account("alice").subjects("INBOX"), pair.account("bob").subjects("INBOX"));
    assert_eq!(bob.iter().filter(|subject| *subject != "to the postmaster").count(), 2, "{bob:?}");
    assert!(
        alice.contains(&"to a user".to_owned()) && alice.contains(&"to an alias".to_owned()),
        "{alice:?}"
    );
    let postmaster = alice.iter().chain(&bob).filter(|subject| *subject == "to the postmaster").count();
    assert_eq!(postmaster, 1, "{alice:?} {bob:?}");
}

#[test]
fn who_is_not_here_is_refused_whether_home_is_there_or_not() {
    let _alone = alone();
    let mut pair = Pair::start();
    refuses(&pair);
    pair.home.kill();
    pair.wait_for_no_link();
    refuses(&pair);
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    client.command("MAIL FROM:<a@sender.test>").unwrap();
    assert!(client.command("RCPT TO:<postmaster@example.org>").unwrap().starts_with("250"));
    assert!(client.command("RCPT TO:<bob@example.org>").unwrap().starts_with("250"));
}

fn refuses(pair: &Pair) {
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    client.command("MAIL FROM:<a@sender.test>").unwrap();
    let nobody = client.command("RCPT TO:<nobody@example.org>").unwrap();
    assert!(nobody.starts_with("550 5.1.1"), "{nobody}");
    let foreign = client.command("RCPT TO:<bob@elsewhere.test>").unwrap();
    assert!(foreign.starts_with("550 5.7.1"), "{foreign}");
    for verb in ["VRFY bob", "EXPN sales", "ETRN example.org", "AUTH PLAIN AGFsaWNlAHB3"] {
        let reply = client.command(verb).unwrap();
        assert!(reply.starts_with('5') || reply.starts_with("252"), "{verb}: {reply}");
    }
}
