//! A home behind NAT, on the real ports, in network namespaces. Without the right to make those there is
//! nothing to test here: the other journeys run on loopback.

use testkit::certificates::Authority;
use testkit::network_lab::NetworkLab;
use testkit::pair::{LINK_PATIENCE, PASSWORD};
use testkit::process::{self, Process};
use testkit::{Pair, PairOptions, message, until};

use crate::alone;

/// The lab with a pair in it, if namespaces can be made here.
pub(crate) fn lab() -> Option<(NetworkLab, Pair)> {
    if !NetworkLab::is_possible() {
        println!("NOT RUN: network namespaces can't be made here (it takes root)");
        return None;
    }
    let lab = NetworkLab::new();
    let pair = Pair::with(&PairOptions { places: Some(lab.places()), ..PairOptions::default() });
    Some((lab, pair))
}

const FAR_WORLD: &str = include_str!("far_world.py");
const SUBMIT: &str = include_str!("signing/submit.py");

/// What a report is made of and where it goes is found out by Edge, and it is posted from there: nobody out there
/// has Home knock at his door.
#[test]
fn a_report_on_tls_is_posted_by_edge_and_home_is_seen_by_nobody() {
    let _alone = alone();
    if !NetworkLab::is_possible() {
        println!("NOT RUN: network namespaces can't be made here (it takes root)");
        return;
    }
    let lab = NetworkLab::new();
    let authority = Authority::new();
    let certificate = authority.issue(&["reports.far.test"]);
    let mut python = process::command(Some(lab.internet()), "/usr/bin/python3");
    python.args(["-c", FAR_WORLD, "203.0.113.1"]).arg(&certificate.chain).arg(&certificate.key);
    let dir = tempfile::tempdir().unwrap();
    let far = Process::start(python, &dir.path().join("log"));
    until("the far world is there", LINK_PATIENCE, || far.log().contains("ready").then_some(()));
    let pair = Pair::with(&PairOptions {
        edge_config: format!(
            "[outbound]\ndane = false\nmta_sts = false\nextra_roots = {:?}",
            authority.root()
        ),
        outbound: true,
        name_server: Some("203.0.113.1:53".parse().unwrap()),
        places: Some(lab.places()),
        ..PairOptions::default()
    });
    let mut python = process::command(Some(lab.home()), "/usr/bin/python3");
    python.args(["-c", SUBMIT, "192.168.77.2", "465", "alice@example.org", PASSWORD, "you@far.test"]);
    process::run_ok(python, &message::simple("alice@example.org", "you@far.test", "x"), LINK_PATIENCE);
    until("the session is counted", LINK_PATIENCE, || {
        pair.home.command_ok(&["tls-report", "list"], "").contains("far.test").then_some(())
    });
    let sent = pair.home.command_ok(&["tls-report", "send"], "");
    assert!(
        sent.lines().any(|line| line.contains("far.test") && line.trim_end().ends_with("sent")),
        "{sent}"
    );
    let log = far.log();
    let report = log.lines().find_map(|line| line.strip_prefix("report 203.0.113.2 "));
    let report = report.unwrap_or_else(|| panic!("no report came from Edge: {log}"));
    assert!(report.contains("starttls-not-supported"), "{report}");
    assert!(
        log.contains("names 203.0.113.2 _smtp._tls.far.test") && log.contains("mail 203.0.113.2"),
        "{log}"
    );
    assert!(!log.contains("192.168.77") && !log.contains("203.0.113.9"), "{log}");
    for address in ["192.168.77.", "203.0.113.9"] {
        let found = message::files_that_hold(pair.edge.data(), address);
        assert!(found.is_empty(), "Home's address is on Edge's disk, in {found:?}");
    }
}

/// Symptom: mail left with the address that the house has in the world. Cause: no file of Home's host has it. Analysis: the
/// router's address is what a stranger would look the house up by; Edge sees it and tells Home, and keeps it nowhere.
#[test]
fn mail_that_names_the_address_of_the_houses_router_does_not_leave() {
    let _alone = alone();
    if !NetworkLab::is_possible() {
        println!("NOT RUN: network namespaces can't be made here (it takes root)");
        return;
    }
    let lab = NetworkLab::new();
    let pair =
        Pair::with(&PairOptions { places: Some(lab.places()), outbound: true, ..PairOptions::default() });
    let submit = |odd: &str| {
        let mut python = process::command(Some(lab.home()), "/usr/bin/python3");
        python.args(["-c", SUBMIT, "192.168.77.2", "465", "alice@example.org", PASSWORD, "you@far.test"]);
        let message = format!("From: alice@example.org\r\nTo: you@far.test\r\nX-Odd: {odd}\r\n\r\nx\r\n");
        let output = process::run(python, message.as_bytes(), LINK_PATIENCE);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    until("Edge has told Home where it is", LINK_PATIENCE, || {
        let (taken, said) = submit("at 203.0.113.9");
        (!taken && said.contains("its field X-Odd would tell")).then_some(())
    });
    let (taken, said) = submit("203-0-113-9.dyn.provider.example");
    assert!(!taken && said.contains("its field X-Odd would tell"), "{said}");
    let (taken, said) = submit("at 203.0.113.8");
    assert!(taken, "{said}");
    let found = message::files_that_hold(pair.edge.data(), "203.0.113.9");
    assert!(found.is_empty(), "Home's address is on Edge's disk, in {found:?}");
    assert!(!pair.edge.log().contains("203.0.113.9"), "Home's address is in Edge's log");
}
