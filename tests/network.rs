//! A home behind NAT, on the real ports, in network namespaces. Without the right to make those there is
//! nothing to test here: the other journeys run on loopback.

use std::time::Duration;

use testkit::network_lab::NetworkLab;
use testkit::pair::LINK_PATIENCE;
use testkit::postfix::{Content, Load, smtp_source};
use testkit::{Pair, PairOptions, message, until};

use crate::alone;

fn lab() -> Option<(NetworkLab, Pair)> {
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
    lab.change_home_address();
    send(&lab, &pair, 20);
    pair.wait_for_link();
    pair.wait_until_drained(LINK_PATIENCE);
    send(&lab, &pair, 20);
    pair.wait_until_drained(LINK_PATIENCE);
    assert_eq!(pair.account("bob").count("INBOX"), 60);
}
