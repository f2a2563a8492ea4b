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
/// OpenSMTPD makes one connection to a host in five seconds when the last one was lost. `POSTERN_UNHEARD=200` has it send
/// as many as the others, which takes a quarter of an hour.
const OPENSMTPD_MESSAGES: u32 = 12;
const OPENSMTPD_PATIENCE: Duration = Duration::from_secs(2400);
/// Where the lab has its internet, and so the MTA.
const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// What the world takes for the mail host: whoever cuts.
const CUTTER: &str = "203.0.113.50";
const MESSAGES: u32 = 200;
/// Their subjects; OpenSMTPD takes no more than a hundred over one connection.
const BATCHES: [&str; 2] = ["first", "second"];

/// Each of the messages is cut at its reply once, and comes again until its sender has heard.
fn each_message_is_there_once<M: RemoteMta>(messages: u32, start: impl FnOnce(&Site) -> M) {
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
    let mut ip = process::command(Some(lab.internet()), "ip");
    ip.args(["addr", "add", &format!("{CUTTER}/24"), "dev", "bridge0"]);
    process::run_ok(ip, b"", PATIENCE);
    let remote = start(&site);
    let zones = zones(remote.domain());
    let zones: Vec<_> = zones.iter().map(|(name, records)| (name.as_str(), records.as_str())).collect();
    let _knot = Knot::start_in(lab.internet(), site.port(53), &zones);
    let mut python = process::command(Some(lab.internet()), "/usr/bin/python3");
    python.args(["-c", include_str!("unheard/cut.py"), CUTTER, "203.0.113.2", "25"]);
    let cutter = Process::start(python, &pair.dir().join("cutter.log"));
    until("the cutter listens", PATIENCE, || cutter.log().contains("ready").then_some(()));
    hand_in(&lab, &remote, messages, pair.dir());

    let count = |word: &str| cutter.log().lines().filter(|line| line.starts_with(word)).count();
    until("each was cut and each was heard at last", OPENSMTPD_PATIENCE.max(PATIENCE), || {
        remote.try_again();
        (count("cut") == messages as usize && count("passed") >= messages as usize).then_some(())
    });
    let copies = copies(&pair);
    let twice: Vec<_> = copies.iter().filter(|(_, copies)| **copies > 1).collect();
    assert_eq!(copies.len(), messages as usize, "all are there");
    assert!(twice.is_empty(), "these are there more than once: {twice:?}");
    let story = pair.home.command_ok(&["trace", "not delivered again"], "");
    let repeated = story.lines().filter(|line| line.contains("not delivered again")).count();
    // Exim gives one up now and then before its reply, and so sends it a third time.
    assert!(repeated >= count("passed"), "the trace says of {repeated} that they came again");
}

fn hand_in(lab: &NetworkLab, remote: &impl RemoteMta, messages: u32, dir: &std::path::Path) {
    let from = format!("you@{}", remote.domain());
    let count = messages / 2;
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
    let zone = |address: &str| {
        let spf = txt("@", &format!("v=spf1 ip4:{REMOTE} -all"));
        format!("@ MX 10 mx\nmx A {address}\n{spf}")
    };
    let reverse = format!("1 PTR mx.{remote}.\n");
    vec![
        ("example.org".to_owned(), zone(CUTTER)),
        (remote.to_owned(), zone("203.0.113.1")),
        ("113.0.203.in-addr.arpa".to_owned(), reverse),
    ]
}

#[test]
fn what_postfix_sends_again_is_there_once() {
    each_message_is_there_once(MESSAGES, Postfix::remote);
}

#[test]
fn what_exim_sends_again_is_there_once() {
    each_message_is_there_once(MESSAGES, Exim::start);
}

#[test]
fn what_opensmtpd_sends_again_is_there_once() {
    let wanted = std::env::var("POSTERN_UNHEARD").ok().and_then(|messages| messages.parse().ok());
    each_message_is_there_once(wanted.unwrap_or(OPENSMTPD_MESSAGES), OpenSmtpd::start);
}
