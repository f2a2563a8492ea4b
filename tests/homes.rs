//! Which home serves a domain: Edge's operator decides, also when a home was set up anew with keys of its own.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::pair::{DOMAIN, MorePlace};
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(60);

fn send(pair: &Pair, subject: &str) -> String {
    let sent = message::simple("a@sender.test", "bob@example.org", subject);
    SmtpClient::ready(pair.smtp).unwrap().message("a@sender.test", &["bob@example.org"], &sent).unwrap()
}

fn homes(pair: &Pair) -> Vec<Value> {
    let printed = pair.edge.command_ok(&["edge", "homes", "list", "--json"], "");
    serde_json::from_str::<Vec<Value>>(&printed).unwrap()
}

/// Exit code and words of a command of Edge's operator that does not work.
fn refused(pair: &Pair, arguments: &[&str]) -> (Option<i32>, String) {
    let output = pair.edge.command(arguments, "");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Away with mail waiting: a warning in status and in the log.
fn the_operator_is_warned_of(pair: &Pair, old: &str) {
    let warning =
        until("it is warned of", PATIENCE, || pair.edge.status()?["warnings"][0].as_str().map(str::to_owned));
    assert!(warning.contains(old) && warning.contains("2 message(s) wait"), "{warning}");
    until("the log warns as well", PATIENCE, || pair.edge.log().contains("is away (last on").then_some(()));
}

/// What is wrong is said, with exit code 2.
fn wrong_replacements_are_refused(pair: &Pair, old: &str, new: &str) {
    let (code, said) = refused(pair, &["edge", "homes", "replace", "0123456789", new]);
    assert!(code == Some(2) && said.contains("no paired home is called '0123456789'"), "{code:?} {said}");
    let (code, said) = refused(pair, &["edge", "homes", "replace", old, new, "--domain", "example.net"]);
    assert!(code == Some(2) && said.contains("does not serve example.net"), "{code:?} {said}");
}

/// Symptom: after Home's machine was set up anew both links were up, senders heard 250, and mail was sealed for a key that
/// nobody had. Cause: the home that was paired first had the domain for ever, and nobody was told. Analysis: who serves a
/// domain is a decision, which belongs to Edge's operator, and has to be seen on both sides.
#[test]
fn a_reinstalled_home_is_told_who_has_its_domain_and_gets_it_when_edges_operator_says_so() {
    let _alone = alone();
    let edge_config = "[homes]\naway_warning = 1\n".to_owned();
    let mut pair = Pair::with(&PairOptions { edge_config, ..PairOptions::default() });
    pair.home.kill();
    pair.wait_for_no_link();
    assert!(send(&pair, "for-the-old-key-0").starts_with("250"));
    let old = homes(&pair)[0]["name"].as_str().unwrap().to_owned();

    // Told at pairing, with what to type.
    let second = pair.add_home(DOMAIN, "bob", &MorePlace::loopback());
    let new = homes(&pair)[1]["name"].as_str().unwrap().to_owned();
    let words = format!("{DOMAIN} is served there by another home, {old} (last here: 20");
    let typed = format!("postern edge homes replace {old} {new}");
    assert!(
        second.setup_said.contains(&words) && second.setup_said.contains(&typed),
        "{}",
        second.setup_said
    );

    // Seen on both sides, and nothing has moved.
    let told = until("Home is told", PATIENCE, || {
        let status = second.role.status()?;
        status["edges"][0]["withheld"][0].as_str().map(str::to_owned)
    });
    assert!(told.contains(&typed), "{told}");
    assert!(second.role.log().contains(&typed) && pair.edge.log().contains(&typed));
    let listed = homes(&pair);
    assert_eq!((&listed[0]["domains"], &listed[1]["domains"]), (&json!([DOMAIN]), &json!([])));
    assert_eq!(listed[1]["withheld"], json!([format!("{DOMAIN} (of {old})")]));
    assert!(send(&pair, "for-the-old-key-1").starts_with("250"));
    assert_eq!(pair.link(), (false, 2));

    the_operator_is_warned_of(&pair, &old);
    wrong_replacements_are_refused(&pair, &old, &new);

    // The decision: new mail reaches the new one, what is sealed for the old key is kept and told.
    let said = pair.edge.command_ok(&["edge", "homes", "replace", &old, &new], "");
    assert!(said.contains(&format!("2 message(s) are sealed for the key of {old}")), "{said}");
    assert!(send(&pair, "for-the-new-one").starts_with("250"));
    let bob = second.account("bob@example.org");
    until("the new one has it", PATIENCE, || (bob.count("INBOX") == 1).then_some(()));
    assert_eq!(bob.subjects("INBOX"), ["for-the-new-one"]);
    assert_eq!(pair.link(), (false, 2));
    until("Home is told that it serves", PATIENCE, || {
        (second.role.status()?["edges"][0]["serves"] == json!([DOMAIN])).then_some(())
    });

    // The old one is back: it gets what was sealed for its key, and not the domain.
    pair.home.start();
    pair.wait_for_link();
    pair.wait_until_drained(PATIENCE);
    let mut subjects = pair.account("bob").subjects("INBOX");
    subjects.sort_unstable();
    assert_eq!(subjects, ["for-the-old-key-0", "for-the-old-key-1"]);
    assert!(send(&pair, "still-for-the-new-one").starts_with("250"));
    until("the new one has it", PATIENCE, || (bob.count("INBOX") == 2).then_some(()));

    // After a restart of Edge it is the same; a home that is removed is let in no more.
    pair.edge.restart();
    pair.wait_for_link();
    assert_eq!(homes(&pair)[1]["domains"], json!([DOMAIN]));
    pair.edge.command_ok(&["edge", "homes", "remove", &old], "");
    until("the old one is turned away", PATIENCE, || {
        (pair.home.status()?["edges"][0]["link"] == "down").then_some(())
    });
    assert_eq!(homes(&pair).len(), 1);
}

#[test]
fn a_code_for_one_domain_pairs_no_home_of_another_and_is_json_for_scripts() {
    let _alone = alone();
    let pair = Pair::start();
    let printed = pair.edge.command_ok(&["edge", "pair", "--domain", "example.net", "--json"], "");
    let made: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&made["domains"], &made["held"]), (&json!(["example.net"]), &json!([])));
    let code = made["code"].as_str().unwrap();
    let output = pair.home.command(&["home", "pair", code], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("this code is for example.net, and this home is for example.org"), "{said}");
    let printed = pair.edge.command_ok(&["edge", "pair", "--domain", DOMAIN], "");
    assert!(printed.contains("example.org is served by home"), "{printed}");
}
