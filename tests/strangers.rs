//! Strangers at the link's port: what they cost Edge, and that a paired Home gets in beside them.

mod crowd;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use net::link_transport::Transport;
use testkit::pair::{LINK_PATIENCE, Role};
use testkit::{Pair, process, until};

use self::crowd::{Flood, Rate};
use crate::alone;
use crate::network::lab;

/// What a thousand strangers may cost.
const COST_MAX_KIB: u64 = 8 * 1024;
/// Starts of Home under the flood; `POSTERN_LINK_STARTS` asks for more.
const STARTS: u32 = 3;

/// Edge's memory by a line of `smaps_rollup`, in KiB: `Pss` is all of it, `Pss_Anon` without the program's code, whose share
/// grows when another process of the same program ends, in a journey beside this one.
fn memory_kib(role: &Role, name: &str) -> u64 {
    let file = format!("/proc/{}/smaps_rollup", role.process_id().unwrap());
    let text = std::fs::read_to_string(file).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Where the link is, and the fingerprint of Edge's key, as a pairing code says.
fn of_edge(pair: &Pair) -> (SocketAddr, [u8; 32]) {
    let printed = pair.edge.command_ok(&["edge", "pair"], "");
    let code: link::PairingCode = testkit::pair::code_in(&printed).parse().unwrap();
    (code.address.parse().unwrap(), code.fingerprint)
}

/// Symptom: forty connections of anybody took Edge from 18 to 674 MB. Cause: on a pairing connection any frame could be
/// announced, a snapshot of 16 MiB too, and each was kept as far as it had come. Analysis: a limit for each frame bounds
/// nothing for somebody who chooses the frame and the number of connections.
#[test]
fn a_thousand_strangers_with_endless_frames_cost_edge_eight_mib_at_most() {
    let _alone = alone();
    let pair = Pair::start();
    // The code that this makes is out all the while.
    let (edge, pinned) = of_edge(&pair);
    let both = || ["Pss", "Pss_Anon"].map(|name| memory_kib(&pair.edge, name));
    let before = both();
    let mut most = before;
    for transport in [Transport::Tcp, Transport::Quic] {
        for _ in 0..2 {
            let mut now = before;
            let see = || now = both();
            let opened = crowd::announce_frames(edge, pinned, transport, 250, see);
            println!("{}: {opened} of 250 opened, {now:?} KiB", transport.as_str());
            most = [most[0].max(now[0]), most[1].max(now[1])];
        }
    }
    println!("Edge's PSS, and without its files: {before:?} KiB before, {most:?} KiB at the most");
    assert!(most[1] <= before[1] + COST_MAX_KIB, "{before:?} KiB before, {most:?} KiB at the most");
    pair.wait_for_link();
    assert!(!pair.edge.log().contains("panicked"));
}

#[test]
fn while_no_code_is_out_who_wants_to_pair_hears_that_and_its_frame_is_not_waited_for() {
    let _alone = alone();
    let pair = Pair::start();
    let (edge, pinned) = of_edge(&pair);
    std::fs::remove_file(pair.edge.data().join("pairing-code.json")).unwrap();
    for transport in [Transport::Tcp, Transport::Quic] {
        let heard = crowd::heard_without_asking(edge, pinned, transport);
        assert!(heard.contains("no pairing code is out"), "{heard}");
    }
}

/// Symptom: silent connections, ten a second from one address, kept a restarted Home off the link as long as they came, and
/// thirty first packets of QUIC a second pushed it to TCP. Cause: 64 handshakes could be under way, of everybody on both
/// transports together, for ten seconds each. Analysis: whether somebody is a paired home shows at the end of a handshake
/// only, so places have to be shared by where they are taken from, and the oldest gives way.
#[test]
fn home_is_linked_soon_after_each_start_under_a_flood_from_fifty_networks() {
    let _alone = alone();
    let Some((lab, mut pair)) = lab() else { return };
    let sources: Vec<_> = (0..50).map(|n| Ipv4Addr::new(198, 18, n, 7)).collect();
    for source in &sources {
        ip(lab.internet(), &["addr", "add", &format!("{source}/32"), "dev", "bridge0"]);
    }
    ip(lab.edge(), &["route", "add", "198.18.0.0/16", "via", "203.0.113.1"]);
    let rate = Rate { connections: 10, initials: 30, handshakes: 1 };
    let edge = of_edge(&pair);
    let _flood = Flood::begin(lab.internet(), &sources, edge, rate, crowd::initials(1500));
    std::thread::sleep(Duration::from_secs(5));
    let starts =
        std::env::var("POSTERN_LINK_STARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(STARTS);
    let mut took = Vec::new();
    for start in 0..starts {
        pair.home.kill();
        if start % 2 == 1 {
            // What Edge remembered of Home's address is gone with it.
            pair.edge.restart();
            std::thread::sleep(Duration::from_secs(5));
        }
        took.push(start_home(&mut pair));
    }
    lab.block_udp();
    pair.home.kill();
    pair.edge.restart();
    std::thread::sleep(Duration::from_secs(5));
    let by_tcp = start_home(&mut pair);
    let turned_away = "a key that is not paired was turned away";
    assert!(pair.edge.log().contains(turned_away), "no stranger ended a handshake");
    println!("from Home's start to its link, by: {took:?}; where UDP is blocked: {by_tcp:?}");
    assert!(took.iter().all(|(_, transport)| transport.as_deref() == Some("quic")), "{took:?}");
    assert_eq!(by_tcp.1.as_deref(), Some("tcp"));
}

/// Starts Home; gives how long it took until it was linked, and by what it is.
fn start_home(pair: &mut Pair) -> (Duration, Option<String>) {
    let links = pair.home.log().matches("link up").count();
    let begun = Instant::now();
    pair.home.spawn();
    until("Home is linked", LINK_PATIENCE, || {
        (pair.home.log().matches("link up").count() > links).then_some(())
    });
    (begun.elapsed(), pair.transport())
}

fn ip(namespace: &str, arguments: &[&str]) {
    let mut command = process::command(Some(namespace), "ip");
    command.args(arguments);
    process::run_ok(command, b"", LINK_PATIENCE);
}
