//! What fails, and how it is mended.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use testkit::link_relay::{End, LinkRelay};
use testkit::pair::{self, LINK_PATIENCE, Role};
use testkit::until;

use super::traffic::hang_at;
use crate::place::{self, at};
use crate::world::{DiskFault, World};

const DAY: i64 = 86_400;
/// Late enough for datagrams to overtake each other many times.
const DELAY: Duration = Duration::from_millis(400);

/// What a fault takes hold of. Home's disk is one by itself: an Edge that is killed needs it, for the trace of what it forgot
/// explains what comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Edge,
    EdgeClock,
    Home,
    HomeDisk,
    HomeClock,
    Link,
    Names,
    OtherMta,
}

/// One fault.
pub(crate) struct Fault {
    /// The name on the command line and in reports.
    pub(crate) name: &'static str,
    parts: &'static [Part],
    /// Begins the fault.
    pub(crate) begin: fn(&mut World),
    /// Ends the fault.
    pub(crate) mend: fn(&mut World),
    /// Whether it is another fault when it outlasts the patience of the link.
    pub(crate) lasting: bool,
    /// Whether an Edge dies of it.
    pub(crate) kills_edge: bool,
}

impl Fault {
    const fn lasting(self) -> Self {
        Self { lasting: true, ..self }
    }

    const fn kills_edge(self) -> Self {
        Self { kills_edge: true, ..self }
    }

    /// Whether both may be there at one time.
    pub(crate) fn may_join(&self, other: &Self) -> bool {
        !self.parts.iter().any(|part| other.parts.contains(part))
    }
}

const fn fault(
    name: &'static str,
    parts: &'static [Part],
    begin: fn(&mut World),
    mend: fn(&mut World),
) -> Fault {
    Fault { name, parts, begin, mend, lasting: false, kills_edge: false }
}

/// All faults.
pub(crate) const FAULTS: &[Fault] = &[
    fault(
        "Edge is killed",
        &[Part::Edge, Part::HomeDisk],
        |world| world.pair.edge.kill(),
        |world| world.pair.edge.start(),
    )
    .kills_edge(),
    fault(
        "Home is killed",
        &[Part::Home, Part::HomeDisk],
        |world| world.pair.home.kill(),
        |world| world.pair.home.start(),
    ),
    fault(
        "Edge stands still",
        &[Part::Edge],
        |world| world.pair.edge.signal(Signal::STOP),
        |world| world.pair.edge.signal(Signal::CONT),
    )
    .lasting(),
    fault(
        "Home stands still",
        &[Part::Home, Part::HomeDisk],
        |world| world.pair.home.signal(Signal::STOP),
        |world| world.pair.home.signal(Signal::CONT),
    )
    .lasting(),
    fault(
        "the link is cut again and again",
        &[Part::Link],
        |world| relay(world).cut(),
        |world| relay(world).cut(),
    ),
    fault(
        "the link is silent",
        &[Part::Link],
        |world| relay(world).silence(true),
        |world| relay(world).silence(false),
    )
    .lasting(),
    fault(
        "Edge hears nothing of Home",
        &[Part::Link],
        |world| relay(world).deafen(End::Edge, true),
        |world| relay(world).deafen(End::Edge, false),
    )
    .lasting(),
    fault(
        "Home hears nothing of Edge",
        &[Part::Link],
        |world| relay(world).deafen(End::Home, true),
        |world| relay(world).deafen(End::Home, false),
    )
    .lasting(),
    fault(
        "packets are late and overtake each other",
        &[Part::Link],
        |world| relay(world).delay(DELAY),
        |world| relay(world).delay(Duration::ZERO),
    ),
    fault("UDP gets lost", &[Part::Edge, Part::Home, Part::HomeDisk, Part::Link], without_udp, |world| {
        relay(world).block_udp(false)
    }),
    fault(
        "Edge's disk is full",
        &[Part::Edge],
        |world| fill(&world.pair.edge),
        |world| empty(&world.pair.edge),
    ),
    fault(
        "Home's disk is full",
        &[Part::Home, Part::HomeDisk],
        |world| fill(&world.pair.home),
        |world| empty(&world.pair.home),
    ),
    fault(
        "Edge's disk is slow",
        &[Part::Edge],
        |world| world.disk_is("edge", DiskFault::Slow, true),
        |world| world.disk_is("edge", DiskFault::Slow, false),
    ),
    fault(
        "Home's disk is slow",
        &[Part::Home, Part::HomeDisk],
        |world| world.disk_is("home", DiskFault::Slow, true),
        |world| world.disk_is("home", DiskFault::Slow, false),
    ),
    fault(
        "Edge's disk is read-only",
        &[Part::Edge],
        |world| world.disk_is("edge", DiskFault::ReadOnly, true),
        |world| world.disk_is("edge", DiskFault::ReadOnly, false),
    ),
    fault(
        "Home's disk is read-only",
        &[Part::Home, Part::HomeDisk],
        |world| world.disk_is("home", DiskFault::ReadOnly, true),
        |world| world.disk_is("home", DiskFault::ReadOnly, false),
    ),
    fault(
        "Edge's clock is a day ahead",
        &[Part::EdgeClock],
        |world| world.clock_is_ahead("edge", DAY),
        |world| world.clock_is_ahead("edge", 0),
    ),
    fault(
        "Edge's clock is a day behind",
        &[Part::EdgeClock],
        |world| world.clock_is_ahead("edge", -DAY),
        |world| world.clock_is_ahead("edge", 0),
    ),
    fault(
        "Home's clock is a day ahead",
        &[Part::HomeClock],
        |world| world.clock_is_ahead("home", DAY),
        |world| world.clock_is_ahead("home", 0),
    ),
    fault(
        "Home's clock is a day behind",
        &[Part::HomeClock],
        |world| world.clock_is_ahead("home", -DAY),
        |world| world.clock_is_ahead("home", 0),
    ),
    fault("DNS is dead", &[Part::Names], |world| world.names.stop(), World::names_are_back),
    fault(
        "DNS lies: no name exists",
        &[Part::Names],
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
    fault(
        "the other MTA hangs at its greeting",
        &[Part::OtherMta],
        |world| hang_at(world, "greeting"),
        no_hang,
    ),
    fault("the other MTA hangs at EHLO", &[Part::OtherMta], |world| hang_at(world, "EHLO"), no_hang),
    fault("the other MTA hangs at MAIL", &[Part::OtherMta], |world| hang_at(world, "MAIL"), no_hang),
    fault("the other MTA hangs at RCPT", &[Part::OtherMta], |world| hang_at(world, "RCPT"), no_hang),
    fault("the other MTA hangs at DATA", &[Part::OtherMta], |world| hang_at(world, "DATA"), no_hang),
    fault("the other MTA hangs in the body", &[Part::OtherMta], |world| hang_at(world, "body"), no_hang),
    fault(
        "the other MTA hangs before its last reply",
        &[Part::OtherMta],
        |world| hang_at(world, "reply"),
        no_hang,
    ),
];

/// UDP gets lost from now on: a link that is dialled now is one over TCP.
fn without_udp(world: &mut World) {
    relay(world).block_udp(true);
    world.pair.home.restart();
    until("the link runs over TCP", LINK_PATIENCE, || {
        (world.pair.transport().as_deref() == Some("tcp")).then_some(())
    });
}

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

/// The relay in the link.
fn relay(world: &World) -> &LinkRelay {
    world.relay.as_ref().expect("a relay")
}

/// The resolver's place, for a server that lies there.
fn resolver(world: &World) -> (String, SocketAddr) {
    (world.host("resolver").to_owned(), at(place::RESOLVER, 53))
}
