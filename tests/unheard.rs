//! Senders that do not hear the 250 to their message and send it again, as they must (RFC 1047): it is there once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use testkit::exim::Exim;
use testkit::knot::{Knot, txt};
use testkit::network_lab::NetworkLab;
use testkit::numbered::{Numbered, Numbers};
use testkit::opensmtpd::OpenSmtpd;
use testkit::postfix::Postfix;
use testkit::process::{self, Process};
use testkit::remote_mta::{RemoteMta, Site};
use testkit::{Pair, PairOptions, message, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(300);
/// Where the lab has its internet, and so the MTA.
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// What the world takes for the mail hosts: whoever cuts. So many, since OpenSMTPD waits longer each time for a host that
/// it was cut off from.
const CUTTERS: std::ops::Range<u8> = 20..240;
const MESSAGES: u32 = 200;
/// Their subjects; OpenSMTPD takes no more than a hundred over one connection.
const BATCHES: [&str; 2] = ["first", "second"];

/// Each of the messages is cut at its reply once, and comes again until its sender has heard.
fn each_message_is_there_once<M: RemoteMta>(start: impl FnOnce(&Site) -> M) {
    let _alone = alone();
    if !NetworkLab::is_possible() {
        println!("NOT RUN: network namespaces can't be made here (it takes root)");
        return;
    }
    let lab = NetworkLab::new();
    let site = Site { namespace: lab.internet().to_owned(), address: REMOTE, name_server: REMOTE };
    let pair = Pair::with(&PairOptions {
        name_server: Some(site.port(53)),
        places: Some(lab.places()),
        ..PairOptions::default()
    });
    let cutters: Vec<String> = CUTTERS.map(|last| format!("203.0.113.{last}")).collect();
    let mut ip = process::command(Some(lab.internet()), "ip");
    ip.args(["-batch", "-"]);
    let add: String = cutters.iter().map(|at| format!("addr add {at}/24 dev bridge0\n")).collect();
    process::run_ok(ip, add.as_bytes(), PATIENCE);
    let remote = start(&site);
    let zones = zones(remote.domain());
    let zones: Vec<_> = zones.iter().map(|(name, records)| (name.as_str(), records.as_str())).collect();
    let _knot = Knot::start_in(lab.internet(), site.port(53), &zones);
    let mut python = process::command(Some(lab.internet()), "/usr/bin/python3");
    python.args(["-c", include_str!("unheard/cut.py"), "203.0.113.2", "25"]).args(&cutters);
    let cutter = Process::start(python, &pair.dir().join("cutter.log"));
    until("the cutter listens", PATIENCE, || cutter.log().contains("ready").then_some(()));
    hand_in(&lab, &remote, pair.dir());

    let count = |word: &str| cutter.log().lines().filter(|line| line.starts_with(word)).count();
    until("each was cut and each was heard at last", PATIENCE, || {
        remote.try_again();
        (count("cut") == MESSAGES as usize && count("passed") >= MESSAGES as usize).then_some(())
    });
    let copies = copies(&pair);
    let twice: Vec<_> = copies.iter().filter(|(_, copies)| **copies > 1).collect();
    assert_eq!(copies.len(), MESSAGES as usize, "all are there");
    assert!(twice.is_empty(), "these are there more than once: {twice:?}");
    let story = pair.home.command_ok(&["trace", "not delivered again"], "");
    let repeated = story.lines().filter(|line| line.contains("not delivered again")).count();
    assert_eq!(repeated, count("passed"), "the trace says of each that it came again");
}

fn hand_in(lab: &NetworkLab, remote: &impl RemoteMta, dir: &std::path::Path) {
    let from = format!("you@{}", remote.domain());
    let count = MESSAGES / 2;
    for word in BATCHES {
        let numbers = Numbers {
            namespace: lab.internet(),
            server: (REMOTE, 25).into(),
            login: None,
            from: &from,
            to: "alice@example.org",
            word,
            count,
            pause: Duration::ZERO,
            line: "body",
            large_every: 50,
            again: 0,
        };
        let told = Numbered::start(&numbers, dir).end(PATIENCE);
        assert_eq!(told.taken.len(), count as usize, "{told:?}");
    }
}

fn copies(pair: &Pair) -> BTreeMap<String, u32> {
    let account = pair.account("alice");
    let mut copies = BTreeMap::new();
    for stored in [account.messages("INBOX"), account.messages("Junk")].concat() {
        *copies.entry(message::field(&stored, "Subject").unwrap_or_default()).or_default() += 1;
    }
    copies
}

fn zones(remote: &str) -> Vec<(String, String)> {
    let spf = txt("@", &format!("v=spf1 ip4:{REMOTE} -all"));
    let hosts: String =
        CUTTERS.map(|last| format!("@ MX 10 mx{last}\nmx{last} A 203.0.113.{last}\n")).collect();
    let reverse = format!("1 PTR mx.{remote}.\n");
    vec![
        ("example.org".to_owned(), hosts),
        (remote.to_owned(), format!("@ MX 10 mx\nmx A {REMOTE}\n{spf}")),
        ("113.0.203.in-addr.arpa".to_owned(), reverse),
    ]
}

#[test]
fn what_postfix_sends_again_is_there_once() {
    each_message_is_there_once(Postfix::remote);
}

#[test]
fn what_exim_sends_again_is_there_once() {
    each_message_is_there_once(Exim::start);
}

#[test]
fn what_opensmtpd_sends_again_is_there_once() {
    each_message_is_there_once(OpenSmtpd::start);
}
