//! What fails, and how it is mended.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use testkit::link_relay::End;
use testkit::pair::{self, Role};

use super::{hang_at, relay, resolver};
use crate::world::{DiskFault, World};

const DAY: i64 = 86_400;
/// Late enough for datagrams to overtake each other many times.
const DELAY: Duration = Duration::from_millis(400);

/// One of them.
pub(crate) struct Fault {
    /// What is said of it.
    pub(crate) name: &'static str,
    /// Lets it happen.
    pub(crate) begin: fn(&mut World),
    /// Mends it.
    pub(crate) mend: fn(&mut World),
}

const fn fault(name: &'static str, begin: fn(&mut World), mend: fn(&mut World)) -> Fault {
    Fault { name, begin, mend }
}

/// All of them.
pub(crate) const FAULTS: &[Fault] = &[
    fault("Edge is killed", |world| world.pair.edge.kill(), |world| world.pair.edge.start()),
    fault("Home is killed", |world| world.pair.home.kill(), |world| world.pair.home.start()),
    fault(
        "Edge stands still",
        |world| world.pair.edge.signal(Signal::STOP),
        |world| world.pair.edge.signal(Signal::CONT),
    ),
    fault(
        "Home stands still",
        |world| world.pair.home.signal(Signal::STOP),
        |world| world.pair.home.signal(Signal::CONT),
    ),
    fault("the link is cut again and again", |world| relay(world).cut(), |world| relay(world).cut()),
    fault("the link is silent", |world| relay(world).silence(true), |world| relay(world).silence(false)),
    fault(
        "Edge hears nothing of Home",
        |world| relay(world).deafen(End::Edge, true),
        |world| relay(world).deafen(End::Edge, false),
    ),
    fault(
        "Home hears nothing of Edge",
        |world| relay(world).deafen(End::Home, true),
        |world| relay(world).deafen(End::Home, false),
    ),
    fault(
        "packets are late and overtake each other",
        |world| relay(world).delay(DELAY),
        |world| relay(world).delay(Duration::ZERO),
    ),
    fault("UDP gets lost", |world| relay(world).block_udp(true), |world| relay(world).block_udp(false)),
    fault("Edge's disk is full", |world| fill(&world.pair.edge), |world| empty(&world.pair.edge)),
    fault("Home's disk is full", |world| fill(&world.pair.home), |world| empty(&world.pair.home)),
    fault(
        "Edge's disk is slow",
        |world| world.disk_is("edge", DiskFault::Slow, true),
        |world| world.disk_is("edge", DiskFault::Slow, false),
    ),
    fault(
        "Home's disk is slow",
        |world| world.disk_is("home", DiskFault::Slow, true),
        |world| world.disk_is("home", DiskFault::Slow, false),
    ),
    fault(
        "Edge's disk is read-only",
        |world| world.disk_is("edge", DiskFault::ReadOnly, true),
        |world| world.disk_is("edge", DiskFault::ReadOnly, false),
    ),
    fault(
        "Home's disk is read-only",
        |world| world.disk_is("home", DiskFault::ReadOnly, true),
        |world| world.disk_is("home", DiskFault::ReadOnly, false),
    ),
    fault(
        "Edge's clock is a day ahead",
        |world| world.clock_is_ahead("edge", DAY),
        |world| world.clock_is_ahead("edge", 0),
    ),
    fault(
        "Edge's clock is a day behind",
        |world| world.clock_is_ahead("edge", -DAY),
        |world| world.clock_is_ahead("edge", 0),
    ),
    fault(
        "Home's clock is a day ahead",
        |world| world.clock_is_ahead("home", DAY),
        |world| world.clock_is_ahead("home", 0),
    ),
    fault(
        "Home's clock is a day behind",
        |world| world.clock_is_ahead("home", -DAY),
        |world| world.clock_is_ahead("home", 0),
    ),
    fault("DNS is dead", |world| world.names.stop(), World::names_are_back),
    fault(
        "DNS lies: no name exists",
        |world| {
            world.names.stop();
            let (namespace, address) = resolver(world);
            let liar = pair::start_no_names(&namespace, address, world.dir());
            world.keep(liar);
        },
        |world| {
            world.let_go();
            world.names_are_back();
        },
    ),
    fault("the other MTA hangs at its greeting", |world| hang_at(world, "greeting"), no_hang),
    fault("the other MTA hangs at EHLO", |world| hang_at(world, "EHLO"), no_hang),
    fault("the other MTA hangs at MAIL", |world| hang_at(world, "MAIL"), no_hang),
    fault("the other MTA hangs at RCPT", |world| hang_at(world, "RCPT"), no_hang),
    fault("the other MTA hangs at DATA", |world| hang_at(world, "DATA"), no_hang),
    fault("the other MTA hangs in the body", |world| hang_at(world, "body"), no_hang),
    fault("the other MTA hangs before its last reply", |world| hang_at(world, "reply"), no_hang),
];

fn no_hang(world: &mut World) {
    hang_at(world, "");
}

fn filler(role: &Role) -> PathBuf {
    role.data().join("filler")
}

/// Writes to the disk until there is no room.
fn fill(role: &Role) {
    let mut file = std::fs::File::create(filler(role)).expect("a file");
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn empty(role: &Role) {
    std::fs::remove_file(filler(role)).expect("the filler");
}
