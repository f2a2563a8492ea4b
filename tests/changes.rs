//! What an operator changes while Home runs: the switch for sending, the configuration, an edge for another.

use std::time::Duration;

use serde_json::Value;
use testkit::dns::NameServer;
use testkit::pair::{EDGE_NAME, MorePlace, as_user};
use testkit::process::{self, Process};
use testkit::smtp::SmtpClient;
use testkit::{Pair, message, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(60);
const NEW: &str = "mx2.example.org";

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn sending_is_switched_and_the_configuration_read_again_while_home_runs() {
    let _alone = alone();
    let pair = Pair::start();
    let read = || std::fs::read_to_string(pair.home.config()).unwrap();
    let before = read();
    assert!(before.contains("outbound = \"off\""), "{before}");
    let json = |words: &[&str]| -> Value {
        serde_json::from_str(&pair.home.command_ok(&[words, &["--json"]].concat(), "")).unwrap()
    };
    // Nothing of this small internet is fit to send.
    let output = pair.home.command(&["outbound", "on"], "");
    assert!(said(&output).contains("sending stays off") && said(&output).contains("--force"), "{output:?}");
    assert_eq!(read(), before);
    assert_eq!(
        json(&["outbound", "on", "--force"]),
        serde_json::json!({ "outbound": "on", "in_force": true })
    );
    assert_eq!(
        read(),
        before.replace("outbound = \"off\"", "outbound = \"on\""),
        "and nothing else has changed"
    );
    assert_eq!(json(&["reload"]), serde_json::json!({ "after_restart": [] }));
    pair.home.configure("[limits]\nsessions = 77");
    assert_eq!(json(&["reload"]), serde_json::json!({ "after_restart": ["[limits]"] }));
    pair.home.configure("[nonsense]\na = 1");
    let output = pair.home.command(&["reload"], "");
    assert!(!output.status.success() && said(&output).contains("nonsense"), "{output:?}");
    let output = pair.home.command(&["outbound", "off"], "");
    assert!(
        !output.status.success() && read().contains("outbound = \"on\""),
        "nothing is written into a broken file"
    );
    pair.edge.configure("[limits]\nsessions = 77");
    let answer: Value = serde_json::from_str(&pair.edge.command_ok(&["reload", "--json"], "")).unwrap();
    assert_eq!(answer, serde_json::json!({ "after_restart": ["[limits]"] }));
}

fn deliver(smtp: std::net::SocketAddr, subject: &str) {
    let mut client = SmtpClient::ready(smtp).unwrap();
    let to = "bob@example.org";
    let reply =
        client.message("a@sender.test", &[to], &message::simple("a@sender.test", to, subject)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn wait_for(pair: &Pair, subject: &str) {
    until("the letter is there", PATIENCE, || {
        pair.account("bob").subjects("INBOX").contains(&subject.to_owned()).then_some(())
    });
}

#[test]
fn a_new_edge_takes_the_place_of_one_and_both_take_mail_until_the_old_one_is_removed() {
    let _alone = alone();
    let mut pair = Pair::start();
    let names = NameServer::start(&[]);
    let (new, code) = pair.prepare_edge(NEW, "", names.address(), &MorePlace::loopback());
    let output = pair.home.command(&["edge", "replace", "mx9.example.org", &code], "");
    assert!(
        said(&output).contains("no edge mx9.example.org") && said(&output).contains(EDGE_NAME),
        "{output:?}"
    );
    let output = pair.home.command(&["edge", "remove", EDGE_NAME], "");
    assert!(said(&output).contains("the only edge"), "{output:?}");
    // An old one that is away may have mail: it is not forgotten by mistake.
    pair.edge.terminate(Duration::from_secs(15));
    pair.wait_for_no_edge(EDGE_NAME);
    let output = pair.home.command(&["edge", "replace", EDGE_NAME, &code], "");
    assert!(said(&output).contains("is away") && said(&output).contains("--lost"), "{output:?}");
    pair.edge.start();
    pair.wait_for_link();
    let told = pair.home.command_ok(&["edge", "replace", EDGE_NAME, &code], "");
    assert!(told.contains(&format!("postern edge remove {EDGE_NAME}")), "{told}");
    pair.wait_for_edge(NEW);
    pair.wait_for_edge(EDGE_NAME);
    for (smtp, subject) in [(pair.smtp, "by the old one"), (new.smtp, "by the new one")] {
        deliver(smtp, subject);
        wait_for(&pair, subject);
    }
    pair.home.command_ok(&["edge", "remove", EDGE_NAME], "");
    until("the old edge is forgotten", PATIENCE, || {
        let edges = pair.home.status()?["edges"].clone();
        (edges.as_array()?.len() == 1 && edges[0]["name"] == NEW).then_some(())
    });
    deliver(new.smtp, "after it");
    wait_for(&pair, "after it");
}

#[test]
fn an_edge_that_is_lost_is_replaced_by_one_of_the_same_name() {
    let _alone = alone();
    let mut pair = Pair::start();
    let names = NameServer::start(&[]);
    let (new, code) = pair.prepare_edge(EDGE_NAME, "", names.address(), &MorePlace::loopback());
    let output = pair.home.command(&["edge", "replace", EDGE_NAME, &code], "");
    assert!(said(&output).contains("as the old one"), "{output:?}");
    pair.edge.terminate(Duration::from_secs(15));
    let fresh = new.role.command_ok(&["edge", "pair"], "");
    let code = testkit::pair::code_in(&fresh);
    pair.home.command_ok(&["edge", "replace", EDGE_NAME, &code, "--lost"], "");
    pair.wait_for_edge(EDGE_NAME);
    deliver(new.smtp, "by its heir");
    wait_for(&pair, "by its heir");
}

#[test]
fn a_home_moves_with_all_it_has_and_the_old_one_starts_only_when_it_is_called_back() {
    let _alone = alone();
    let mut pair = Pair::start();
    deliver(pair.smtp, "before the move");
    wait_for(&pair, "before the move");
    let packed = pair.dir().join("packed.tar").display().to_string();
    let output = pair.home.command(&["home", "move", "out", &packed], "");
    assert!(said(&output).contains("Home runs"), "{output:?}");
    pair.home.terminate(Duration::from_secs(15));
    let output = pair.home.command(&["home", "move", "out", &packed], "");
    assert!(output.status.success() && said(&output).contains("does not start here any more"), "{output:?}");
    let output = pair.home.command(&["home", "run"], "");
    assert!(!output.status.success() && said(&output).contains("was moved to another machine"), "{output:?}");
    // On the new machine, which has the addresses of the old one.
    let place = pair.dir().join("new");
    std::fs::create_dir(&place).unwrap();
    let (config, data) =
        (place.join("home.toml").display().to_string(), place.join("data").display().to_string());
    let postern = |arguments: &[&str]| {
        let mut command = process::command(None, testkit::binary::postern());
        command.args(arguments).args(["--config", &config]);
        command
    };
    let arrive = [&["home", "move", "in", &packed, "--data", &data], as_user()].concat();
    process::run_ok(postern(&arrive), b"", PATIENCE);
    let again = process::run(postern(&arrive), b"", PATIENCE);
    assert!(said(&again).contains("is not empty"), "{again:?}");
    let mut running = Process::start(postern(&["home", "run"]), &place.join("log"));
    until("the new one is linked", PATIENCE, || {
        let status = process::run(postern(&["status", "--json"]), b"", PATIENCE);
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        (status["edges"][0]["link"] == "up").then_some(())
    });
    deliver(pair.smtp, "after the move");
    wait_for(&pair, "after the move");
    assert!(pair.account("bob").subjects("INBOX").contains(&"before the move".to_owned()));
    running.kill();
    pair.home.command_ok(&["home", "move", "back"], "");
    pair.home.start();
    pair.wait_for_link();
    assert!(
        !pair.account("bob").subjects("INBOX").contains(&"after the move".to_owned()),
        "it is the old one"
    );
}
