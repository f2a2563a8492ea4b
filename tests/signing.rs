//! What leaves is signed: verified by python3-dkim and by OpenDKIM behind another MTA.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use testkit::dns::{NameServer, Record};
use testkit::filter::OpenDkim;
use testkit::imap::json;
use testkit::pair::PASSWORD;
use testkit::postfix::Postfix;
use testkit::{Pair, PairOptions, dkim, message, ports, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);
const SUBMIT: &str = include_str!("signing/submit.py");

struct World {
    pair: Pair,
    postfix: Postfix,
    opendkim: OpenDkim,
    /// The published keys: name and text.
    records: Vec<(String, String)>,
    _names: [NameServer; 2],
}

impl World {
    fn new() -> Self {
        let keys_at = ports::free();
        let opendkim = OpenDkim::start(keys_at);
        let postfix = Postfix::with_milter("remote.test", opendkim.address);
        let names = NameServer::start(&[
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
        ]);
        let pair = Pair::with(&PairOptions {
            edge_config: format!("[outbound]\nport = {}", postfix.address().port()),
            home_config: "[queue]\nretry = [\"1s\"]".to_owned(),
            outbound: true,
            name_server: Some(names.address()),
            ..PairOptions::default()
        });
        let records = records(&pair, &["signing"]);
        let keys = NameServer::start_at(keys_at, &zone(&records));
        Self { pair, postfix, opendkim, records, _names: [names, keys] }
    }

    /// Hands in a message; gives what the other MTA stored of it.
    fn send(&self, to: &str, sent: &[u8]) -> Vec<u8> {
        let before = self.postfix.messages(to);
        submit(&self.pair, &format!("{to}@remote.test"), sent);
        until("the message has come", PATIENCE, || {
            self.postfix.messages(to).into_iter().find(|message| !before.contains(message))
        })
    }
}

fn submit(pair: &Pair, to: &str, sent: &[u8]) {
    let mut python = process::command(None, "/usr/bin/python3");
    let (ip, port) = (pair.submission.ip().to_string(), pair.submission.port().to_string());
    python.args(["-c", SUBMIT, &ip, &port, "alice@example.org", PASSWORD, to]);
    process::run_ok(python, sent, PATIENCE);
}

/// Names and texts of the keys in these stages.
pub(crate) fn records(pair: &Pair, stages: &[&str]) -> Vec<(String, String)> {
    let status = json(&pair.home.command_ok(&["dkim", "status", "--json"], ""));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let domain = text(&status[0]["domain"]);
    let keys = status[0]["keys"].as_array().unwrap().iter();
    keys.filter(|key| stages.contains(&key["stage"].as_str().unwrap()))
        .map(|key| (format!("{}._domainkey.{domain}", text(&key["selector"])), text(&key["record"])))
        .collect()
}

/// Without what the receiver has put above it.
pub(crate) fn signed_part(stored: &[u8]) -> Vec<u8> {
    let stored = message::with_crlf(stored);
    let place = stored.windows(16).position(|window| window == b"\r\nDKIM-Signature");
    stored[place.expect("a signature") + 2..].to_vec()
}

fn both_pass(world: &World, what: &str, stored: &[u8]) {
    let selectors: Vec<&str> =
        world.records.iter().map(|(name, _)| name.split('.').next().unwrap()).collect();
    let wanted: Vec<String> =
        selectors.iter().map(|selector| format!("example.org {selector} pass")).collect();
    let signed = signed_part(stored);
    assert_eq!(dkim::verify(&signed, &world.records), wanted, "{what}: {}", String::from_utf8_lossy(&signed));
    let results = message::field(&message::with_crlf(stored), "Authentication-Results").unwrap_or_default();
    assert_eq!(results.matches("dkim=pass").count(), 2, "{what}: {results}\n{}", world.opendkim.log());
}

#[test]
fn messages_of_all_kinds_hold_with_both_keys_at_other_verifiers() {
    let _alone = alone();
    let world = World::new();
    let usual = "From: Alice <alice@example.org>\r\nTo: you@remote.test\r\n";
    let mime =
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
    let big = format!("{}\r\n", "0123456789 abcdef ".repeat(4)).repeat(40_000);
    let cases = [
        ("7bit", format!("{usual}Subject: plain\r\n\r\nHello.\r\n.dot\r\n")),
        ("8bit body", format!("{usual}Subject: 8bit\r\n{mime}\r\nGr\u{fc}\u{df}e \u{1f600}\r\n")),
        ("UTF-8 header", format!("{usual}Subject: Gr\u{fc}\u{df}e\r\n{mime}\r\nHello.\r\n")),
        ("empty body", format!("{usual}Subject: nothing\r\n\r\n")),
        ("bare subject", format!("{usual}Subject:\r\n\r\n\r\n \t\r\n\r\n")),
        ("no subject", format!("{usual}In-Reply-To: <a@b>\r\nReferences: <a@b>\r\n\t<c@d>\r\n\r\nx\r\n")),
        (
            "folds and spaces",
            format!(
                "{usual}Subject:  a\r\n\t  b \r\nCc: x@remote.test,\r\n y@remote.test\r\n\r\nz  z \r\n\r\n"
            ),
        ),
        ("three megabytes", format!("{usual}Subject: big\r\n\r\n{big}")),
    ];
    for (what, sent) in &cases {
        let stored = world.send("you", sent.as_bytes());
        both_pass(&world, what, &stored);
    }
    let stored = world.send("you", cases[0].1.as_bytes());
    for added in ["From: eve@example.net\r\n", "Subject: other\r\n", "Reply-To: eve@example.net\r\n"] {
        let changed = [added.as_bytes(), &signed_part(&stored)].concat();
        let said = dkim::verify(&changed, &world.records);
        assert!(said.len() == 2 && said.iter().all(|line| line.contains(" fail")), "{added}: {said:?}");
    }
    let files = std::fs::read_dir(world.pair.edge.data()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(files.into_iter().all(|name| name != "dkim"), "keys are at Home only");
}

/// Runs `postern dkim rotate` and asks this server for the new keys.
fn rotate(pair: &Pair, server: &NameServer) -> std::process::Output {
    let server = server.address().to_string();
    pair.home.command(&["dkim", "rotate", "example.org", "--json", "--resolver", &server], "")
}

fn printed(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json(std::str::from_utf8(&output.stdout).unwrap())
}

fn zone(records: &[(String, String)]) -> Vec<(&str, Record)> {
    records.iter().map(|(name, text)| (name.as_str(), Record::Txt(text.clone()))).collect()
}

#[test]
fn a_rotation_signs_with_the_old_keys_until_the_new_ones_are_published() {
    let _alone = alone();
    let mut world = World::new();
    let sent = message::simple("alice@example.org", "you@remote.test", "rotation");
    let old = world.records.clone();
    let old_zone = NameServer::start(&zone(&old));
    assert_eq!(printed(&rotate(&world.pair, &old_zone))["step"], "publish");
    let new = records(&world.pair, &["next"]);
    assert_eq!(new.len(), 2);
    both_pass(&world, "published", &world.send("you", &sent));
    let refused = rotate(&world.pair, &old_zone);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains(&new[0].0), "{said}");
    world.pair.home.restart();
    world.pair.wait_for_link();
    assert_eq!(records(&world.pair, &["next"]), new, "they survive a restart");
    let all = [old.clone(), new.clone()].concat();
    assert_eq!(printed(&rotate(&world.pair, &NameServer::start(&zone(&all))))["step"], "switched");
    assert_eq!((records(&world.pair, &["signing"]), records(&world.pair, &["kept"])), (new.clone(), old));
    world.records = new;
    let stored = signed_part(&world.send("you", &sent));
    let said = dkim::verify(&stored, &world.records);
    assert!(said.len() == 2 && said.iter().all(|line| line.ends_with(" pass")), "{said:?}");
}

#[test]
fn an_operator_sees_every_record_and_which_of_them_is_not_there() {
    let _alone = alone();
    let pair = Pair::start();
    let zone = pair.home.command_ok(&["dns", "--format", "zone"], "");
    assert!(zone.contains("example.org. 3600 IN MX 10 mx.example.org.\n"), "{zone}");
    assert!(zone.contains("_dmarc.example.org. 3600 IN TXT \"v=DMARC1; p=quarantine\"\n"), "{zone}");
    let check = |server: &NameServer| {
        let server = server.address().to_string();
        let output = pair.home.command(&["dns", "--check", "--json", "--resolver", &server], "");
        let found = json(std::str::from_utf8(&output.stdout).unwrap());
        let states: Vec<String> = found
            .as_array()
            .unwrap()
            .iter()
            .filter(|found| found["need"] == "required")
            .map(|found| found["state"].as_str().unwrap().to_owned())
            .collect();
        (output.status.code(), states.join(" "))
    };
    let (code, states) = check(&NameServer::start(&[]));
    assert_eq!((code, states.as_str()), (Some(1), "missing wrong missing wrong missing missing missing"));
    let keys = records(&pair, &["signing"]);
    let mut complete = vec![
        ("mx.example.org", Record::A(Ipv4Addr::new(192, 0, 2, 1))),
        ("mx.example.org", Record::Txt("v=spf1 a -all".to_owned())),
        ("example.org", Record::Mx(10, "mx.example.org".to_owned())),
        ("example.org", Record::Txt("v=spf1 ip4:192.0.2.1 ~all".to_owned())),
        ("_dmarc.example.org", Record::Txt("v=DMARC1; p=none".to_owned())),
        (keys[0].0.as_str(), Record::Txt(keys[0].1.clone())),
    ];
    let (code, states) = check(&NameServer::start(&complete));
    assert_eq!((code, states.as_str()), (Some(1), "good good good good good missing good"));
    complete.push((keys[1].0.as_str(), Record::Txt(keys[1].1.clone())));
    let (code, states) = check(&NameServer::start(&complete));
    assert_eq!((code, states.as_str()), (Some(0), "good good good good good good good"));
}
