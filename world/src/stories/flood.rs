//! An address opens more connections than Edge's kernel lets it.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use testkit::namespace::within;
use testkit::process::{self, Process};
use testkit::until;

use crate::place::{EDGE, Neighbour, at};
use crate::world::{PATIENCE, World};

/// What Edge's kernel lets an address begin in a minute, and at one time.
const A_MINUTE: &str = "[door]\nconnections_per_minute = 30\n";
const BURST: usize = 20;
const KNOCKS: usize = 60;
/// As many as a minute's rate can add while a slow machine knocks.
const MORE: usize = 10;
/// Less than the time after which a kernel sends its first packet again.
const ONE_PACKET: Duration = Duration::from_millis(800);
/// For who is let in, also by a machine that is busy.
const PATIENT: Duration = Duration::from_secs(10);
/// Thousands of packets a second that begin something: each comes from a port of its own and says nothing.
const FLOOD: &str = r"
import socket, time

while True:
    for _ in range(25):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b'', ('203.0.113.2', 443))
    time.sleep(0.005)
";

/// One host floods Edge, first the port of mail, then that of the link. Its kernel drops what is too much before it costs
/// the program anything, and others get in meanwhile.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Exim);
    // The program goes on with what it has read: who is kept out is kept out by the kernel.
    world.pair.edge.configure(A_MINUTE);
    world.load_firewall(&world.pair.edge, &["firewall", "edge", "--apply"]);
    mail_of_others_comes_in(world);
    home_dials_in(world);
    world.load_for_bob(5, 1);
    world.bob_has(6);
}

fn mail_of_others_comes_in(world: &mut World) {
    let (spammer, smtp) = (world.host("spammer").to_owned(), world.pair.smtp);
    assert_eq!(dropped(world, "smtp4"), 0);
    let let_in = knock(&spammer, smtp, KNOCKS, ONE_PACKET);
    assert!((1..=BURST + MORE).contains(&let_in), "{let_in} of {KNOCKS} were let in");
    assert!(dropped(world, "smtp4") >= KNOCKS - BURST - MORE);
    world.neighbour_writes(Neighbour::Exim, "bob@example.org", "past the flood");
    world.reaches("bob", "past the flood");
    until("he is let in again, when he has waited", PATIENCE, || {
        (knock(&spammer, smtp, 1, PATIENT) == 1).then_some(())
    });
}

fn home_dials_in(world: &mut World) {
    let mut python = process::command(Some(world.host("spammer")), "/usr/bin/python3");
    python.args(["-c", FLOOD]);
    let mut flood = Process::start(python, &world.dir().join("flood"));
    until("most of the flood is dropped", PATIENCE, || (dropped(world, "link4") > 10_000).then_some(()));
    world.pair.home.restart();
    until("Home is connected", PATIENCE, || {
        (world.pair.transport().is_some() && world.pair.link().0).then_some(())
    });
    // With one count for the whole world a single dial might come through by luck; so many at one time could not.
    let let_in = knock(world.host(Neighbour::Exim.place()), at(EDGE, 443), BURST, PATIENT);
    assert_eq!(let_in, BURST, "what one host sends is counted for that host alone");
    assert!(flood.is_running(), "{}", flood.log());
}

/// How many of so many connections at one time come about.
fn knock(from: &str, to: SocketAddr, times: usize, patience: Duration) -> usize {
    within(Some(from), || {
        std::thread::scope(|scope| {
            let knock = || TcpStream::connect_timeout(&to, patience).is_ok();
            let all: Vec<_> = (0..times).map(|_| scope.spawn(knock)).collect();
            all.into_iter().map(|one| one.join().expect("a thread")).filter(|came| *came).count()
        })
    })
}

/// The packets that Edge's kernel has dropped since its rules were loaded, because their senders came too often.
fn dropped(world: &World, set: &str) -> usize {
    let mut nft = process::command(Some(world.lab.edge()), "nft");
    nft.args(["list", "table", "inet", "postern"]);
    let rules = process::run_ok(nft, b"", PATIENCE);
    let counting = rules.lines().filter(|line| line.contains(&format!("add @{set} ")));
    let packets = counting.filter_map(|line| line.split("counter packets ").nth(1)?.split(' ').next());
    packets.map(|number| number.parse::<usize>().expect("a number")).sum()
}
