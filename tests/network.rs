//! A home behind NAT, on the real ports, in network namespaces. Without the right to make those there is
//! nothing to test here: the other journeys run on loopback.

use std::net::Ipv4Addr;
use std::time::Duration;

use testkit::certificates::Authority;
use testkit::network_lab::NetworkLab;
use testkit::pair::{LINK_PATIENCE, PASSWORD};
use testkit::postfix::{Content, Load, smtp_source};
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

fn send(lab: &NetworkLab, pair: &Pair, messages: u32) {
    let load = Load { messages, sessions: 5, content: Content::Octets(1000), to: "bob@example.org" };
    smtp_source(Some(lab.internet()), pair.smtp, load);
}

#[test]
fn a_home_behind_nat_gets_its_mail_over_quic_and_its_address_is_in_no_header() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    assert_eq!(pair.transport().as_deref(), Some("quic"));
    send(&lab, &pair, 50);
    let messages = pair.account("bob").messages("INBOX");
    assert_eq!(messages.len(), 50);
    for message in &messages {
        let text = String::from_utf8_lossy(message);
        assert!(text.contains("203.0.113.1"), "the sender's address is in the trace: {text}");
        assert!(!text.contains("203.0.113.9") && !text.contains("192.168.77"), "{text}");
    }
    let log = pair.edge.log();
    assert!(!log.contains("192.168.77") && !log.contains("203.0.113.9"), "{log}");
    for address in ["192.168.77.", "203.0.113.9"] {
        let found = message::files_that_hold(pair.edge.data(), address);
        assert!(found.is_empty(), "Home's address is on Edge's disk, in {found:?}");
    }
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
    assert!(sent.contains("state sent"), "{sent}");
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

#[test]
fn where_udp_is_blocked_the_link_takes_tcp() {
    let _alone = alone();
    let Some((lab, mut pair)) = lab() else { return };
    lab.block_udp();
    pair.home.restart();
    until("the link is up over TCP", LINK_PATIENCE, || {
        (pair.transport().as_deref() == Some("tcp")).then_some(())
    });
    pair.wait_for_link();
    send(&lab, &pair, 50);
    pair.wait_until_drained(Duration::from_secs(60));
    assert_eq!(pair.account("bob").count("INBOX"), 50);
}

#[test]
fn the_link_and_the_mail_survive_a_new_address_of_the_home() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    send(&lab, &pair, 20);
    lab.change_home_address(Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(203, 0, 113, 77));
    send(&lab, &pair, 20);
    pair.wait_for_link();
    pair.wait_until_drained(LINK_PATIENCE);
    send(&lab, &pair, 20);
    pair.wait_until_drained(LINK_PATIENCE);
    assert_eq!(pair.account("bob").count("INBOX"), 60);
}
