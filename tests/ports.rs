//! Port 25 against those who only want its places, and the errors of clients that hang up.
//!
//! `POSTERN_PORTS_FULL=1` runs the crowd at its full size, and prints the figures.

use std::time::Duration;

use testkit::network_lab::NetworkLab;
use testkit::process::{self, Process};
use testkit::{Pair, PairOptions, until};

use crate::alone;

const CROWD: &str = include_str!("ports/crowd.py");
const HONEST: &str = include_str!("ports/honest.py");
const KNOWN: &str = include_str!("ports/known.py");
const RESETS: &str = include_str!("ports/resets.py");
const PATIENCE: Duration = Duration::from_secs(300);
/// The door as it is when nothing is said about it.
const USUAL_DOOR: &str = "[door]\ngreet_pause = 1\nconnections_per_address = 20\nconnections_per_minute = 120\n\
    errors_per_hour = 60\nunknown_recipients_per_hour = 40\n";

/// How large the crowd is, and for how long.
struct Crowd {
    sessions: u32,
    each: u32,
    seconds: u32,
    honest: u32,
    pause: &'static str,
    patience: &'static str,
}

/// The same share of the places at a tenth of the load.
const SMALL: Crowd = Crowd { sessions: 1000, each: 8, seconds: 40, honest: 40, pause: "0.2", patience: "60" };
const FULL: Crowd =
    Crowd { sessions: 2000, each: 25, seconds: 110, honest: 200, pause: "0.4", patience: "10" };

/// Gives the internet's host more addresses, and Edge the way to them.
fn give_addresses(lab: &NetworkLab) {
    let mut add = process::command(Some(lab.internet()), "sh");
    add.args([
        "-c",
        "for n in $(seq 0 199); do ip addr add 100.64.$n.1/32 dev bridge0; done; \
         for n in $(seq 0 249); do ip addr add 100.65.$n.1/32 dev bridge0; done",
    ]);
    process::run_ok(add, b"", PATIENCE);
    let mut route = process::command(Some(lab.edge()), "ip");
    route.args(["route", "add", "100.64.0.0/10", "via", "203.0.113.1"]);
    process::run_ok(route, b"", PATIENCE);
}

/// Symptom: 100 addresses that held 1,990 places of 2,000 left every honest sender a 421, for as long as they liked.
/// Cause: what an address may have did not depend on how many places were left, and a client that sent an octet now and
/// then, or never read, was waited for without an end.
#[test]
fn a_crowd_that_takes_every_place_it_gets_leaves_honest_senders_theirs() {
    let _alone = alone();
    if !NetworkLab::is_possible() {
        println!("NOT RUN: network namespaces can't be made here (it takes root)");
        return;
    }
    let crowd = if std::env::var_os("POSTERN_PORTS_FULL").is_some() { FULL } else { SMALL };
    let lab = NetworkLab::new();
    give_addresses(&lab);
    let pair = Pair::with(&PairOptions {
        edge_config: format!("{USUAL_DOOR}[limits]\nsessions = {}\n", crowd.sessions),
        places: Some(lab.places()),
        ..PairOptions::default()
    });
    let (host, port) = (pair.smtp.ip().to_string(), pair.smtp.port().to_string());
    let mut python = process::command(Some(lab.internet()), "/usr/bin/python3");
    python.args(["-c", CROWD, &host, &port, "200", &crowd.each.to_string(), &crowd.seconds.to_string()]);
    let dir = tempfile::tempdir().unwrap();
    let strangers = Process::start(python, &dir.path().join("log"));
    // They have had the time to take what there is.
    until("the crowd is there", PATIENCE, || strangers.log().contains("tried").then_some(()));
    let mut python = process::command(Some(lab.internet()), "/usr/bin/python3");
    python.args(["-c", HONEST, &host, &port, &crowd.honest.to_string(), crowd.pause, crowd.patience]);
    let printed = process::run_ok(python, b"", PATIENCE);
    println!("{printed}\n{}\n{:?}", strangers.log(), pair.edge.status().map(|status| status["smtp"].clone()));
    let found = testkit::imap::json(&printed);
    let served = found["served"].as_u64().unwrap();
    assert!(served * 100 >= u64::from(crowd.honest) * 95, "{printed}\n{}", strangers.log());
}

/// Symptom: of 570 connections that were reset after a refused command none was counted. Cause: the door heard of errors
/// when a session ended as it should.
#[test]
fn what_a_client_did_wrong_counts_also_when_it_resets_the_connection() {
    let _alone = alone();
    let usual =
        USUAL_DOOR.replace("greet_pause = 1", "greet_pause = 0").replace("_minute = 120", "_minute = 100000");
    let unknown = ["EHLO sender.test", "MAIL FROM:<a@sender.test>", "RCPT TO:<nobody@example.org>"];
    for (lines, most) in [(&["NONSENSE"][..], 60), (&unknown[..], 40)] {
        let pair = Pair::with(&PairOptions { edge_config: usual.clone(), ..PairOptions::default() });
        let mut python = process::command(None, "/usr/bin/python3");
        python.args(["-c", RESETS, &pair.smtp.ip().to_string(), &pair.smtp.port().to_string()]).args(lines);
        let printed = process::run_ok(python, b"", PATIENCE);
        let at = printed.split(' ').next().and_then(|number| number.parse::<u32>().ok());
        // What leaks away while a slow machine goes on is a handful.
        let expected = most + 2..most + 12;
        assert!(at.is_some_and(|at| expected.contains(&at)), "{lines:?}: {printed}");
        assert!(printed.contains("421 4.7.0 Too many errors"), "{lines:?}: {printed}");
    }
}

#[test]
fn the_last_places_are_kept_for_networks_that_have_delivered_also_after_a_restart() {
    let _alone = alone();
    let config = "[limits]\nsessions = 4\n".to_owned();
    let mut pair = Pair::with(&PairOptions { edge_config: config, ..PairOptions::default() });
    for sender in ["new", "known"] {
        if sender == "known" {
            pair.edge.restart();
            pair.wait_for_link();
        }
        let mut python = process::command(None, "/usr/bin/python3");
        python.args(["-c", KNOWN, &pair.smtp.ip().to_string(), &pair.smtp.port().to_string(), sender]);
        let printed = process::run_ok(python, b"", PATIENCE);
        assert!(printed.contains("stranger 421 4.3.2") && printed.contains("known is served"), "{printed}");
    }
}
