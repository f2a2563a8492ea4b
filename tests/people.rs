//! Accounts that come and go, as the operator sees them.

use std::path::Path;

use testkit::imap::json;
use testkit::pair::PASSWORD;
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, until};

use crate::alone;

const BOB: &str = "bob@example.org";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn send(pair: &Pair, mail: &[u8]) {
    let sent = until("Edge knows bob", PATIENCE, || {
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        Some(client.message("a@sender.test", &[BOB], mail).unwrap()).filter(|reply| !reply.starts_with("550"))
    });
    assert!(sent.starts_with("250"), "{sent}");
}

fn add(pair: &Pair, more: &[&str]) -> serde_json::Value {
    let arguments = [&["user", "add", BOB, "--password-stdin", "--json"], more].concat();
    json(&pair.home.command_ok(&arguments, &format!("{PASSWORD}\n")))
}

/// Symptom: `user remove`, then `user add`, gave the new owner the mailbox of the old one. Cause: it stayed under its name.
#[test]
fn a_removed_users_mailbox_is_set_aside_and_only_restore_brings_it_back() {
    let _alone = alone();
    let mut pair = Pair::with(&PairOptions::default());
    send(&pair, &message::simple("a@sender.test", BOB, "secret"));
    let large =
        [message::simple("a@sender.test", BOB, "large"), b"0123456789abcdef\r\n".repeat(100_000)].concat();
    send(&pair, &large);
    pair.home.command_ok(&["alias", "add", "sales@example.org", BOB], "");
    let said = pair.home.command_ok(&["user", "remove", BOB], "");
    assert!(
        said.contains("mailbox_set_aside: ") && said.contains("user add bob@example.org --restore="),
        "{said}"
    );
    assert!(said.contains("sales@example.org"), "{said}");
    let listed = json(&pair.home.command_ok(&["user", "list", "--removed", "--json"], ""));
    let (date, path) = (listed[0]["set_aside"].as_str().unwrap(), listed[0]["path"].as_str().unwrap());
    assert!(Path::new(path).join("mailbox.db").is_file() && said.contains(path), "{listed}");

    assert!(add(&pair, &[])["mailbox_restored"].is_null());
    assert_eq!(pair.account("bob").count("INBOX"), 0);
    assert_eq!(json(&pair.home.command_ok(&["alias", "list", "--json"], "")), serde_json::json!([]));
    send(&pair, &message::simple("a@sender.test", BOB, "for the new one"));
    assert_eq!(pair.account("bob").subjects("INBOX"), ["for the new one"]);
    pair.home.restart();
    assert_eq!(pair.account("bob").subjects("INBOX"), ["for the new one"]);

    // With the daemon down it is the same.
    pair.home.kill();
    pair.home.command_ok(&["user", "remove", BOB], "");
    assert_eq!(add(&pair, &[&format!("--restore={date}")])["mailbox_restored"], date);
    pair.home.start();
    assert_eq!(pair.account("bob").subjects("INBOX"), ["secret", "large"]);
    assert_eq!(message::body(&pair.account("bob").messages("INBOX")[1]), message::body(&large));
    let taken =
        pair.home.command(&["user", "add", BOB, "--restore", "--password-stdin"], &format!("{PASSWORD}\n"));
    assert!(!taken.status.success(), "bob is there");
    let listed = json(&pair.home.command_ok(&["user", "list", "--removed", "--json"], ""));
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
}
