//! Numbered mail goes both ways while everything fails that can fail, one thing after another; then all is mended, and the
//! books must balance.

mod books;
mod fault;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use testkit::numbered::{Numbered, Numbers};
use testkit::pair::PASSWORD;
use testkit::process::{self, Process};
use testkit::random::Random;
use testkit::until;

use crate::place::{self, Neighbour, at};
use crate::world::{Setting, World};
use books::Books;
use fault::{FAULTS, Fault};

/// How long the mending may take: waits for dead links, and the longest pause before a link is dialled again.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two messages of one direction.
const PAUSE: Duration = Duration::from_millis(30);
/// From here on faults may last longer than the link's own patience.
const LONG_RUN_MINUTES: u64 = 5;
const SINK: &str = include_str!("chaos/sink.py");

/// The sender on each side, and the MTA that takes what goes out.
pub(crate) struct Traffic {
    inbound: Numbered,
    outbound: Numbered,
    _sink: Process,
}

impl Traffic {
    fn begin(world: &mut World) -> Self {
        let namespace = world.add_public_host("sink", place::SINK);
        let dir = world.dir().to_owned();
        fs::write(dir.join("numbers"), "").expect("the book");
        hang_at(world, "");
        let mut python = process::command(Some(&namespace), "/usr/bin/python3");
        python.args(["-c", SINK, &place::SINK.to_string()]).arg(dir.join("numbers")).arg(dir.join("stage"));
        let sink = Process::start(python, &dir.join("sink.log"));
        until("the sink listens", PATIENCE, || sink.log().contains("ready").then_some(()));
        let from = Neighbour::Postfix.you();
        let inbound = Numbered::start(
            &Numbers {
                namespace: world.host(Neighbour::Postfix.place()),
                server: world.pair.smtp,
                login: None,
                from: &from,
                to: "bob@example.org",
                word: "in",
                count: 0,
                pause: PAUSE,
            },
            &dir,
        );
        let outbound = Numbered::start(
            &Numbers {
                namespace: world.host("mua"),
                server: world.pair.submission,
                login: Some(("alice@example.org", PASSWORD)),
                from: "alice@example.org",
                to: "you@sink.test",
                word: "out",
                count: 0,
                pause: PAUSE,
            },
            &dir,
        );
        Self { inbound, outbound, _sink: sink }
    }

    fn end(&mut self) {
        self.inbound.stop();
        self.outbound.stop();
    }
}

/// Where the sink hangs: nowhere, when this is empty.
pub(crate) fn hang_at(world: &World, stage: &str) {
    fs::write(world.dir().join("stage"), stage).expect("the stage");
}

/// A run of so many minutes; whether the books balance. What matters is printed when they don't.
pub(crate) fn run(minutes: u64, word: &str) -> bool {
    let seed = Random::seed();
    println!("== chaos for {minutes} minutes, POSTERN_TEST_SEED={seed}");
    let mut world = World::build(&Setting {
        own_clock: true,
        faulty: true,
        edge_config: "policy.greylist = false\n".to_owned(),
        home_config: "[sending]\nrecipients_per_hour = 1000000\nrecipients_per_day = 1000000\n".to_owned(),
        ..Setting::default()
    });
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut traffic = Traffic::begin(&mut world);
        let longest = if minutes < LONG_RUN_MINUTES { 3_000 } else { 20_000 };
        let run = Run { duration: Duration::from_secs(60 * minutes), longest, word };
        disturb(&mut world, &mut Random::new(seed), &run);
        traffic.end();
        let (inbound, outbound) = (traffic.inbound.end(PATIENCE), traffic.outbound.end(PATIENCE));
        wait_until_settled(&world);
        let books = Books::close(&world, inbound, outbound);
        println!("{books}");
        if std::env::var_os("POSTERN_CHAOS_LOGS").is_some() {
            world.print_what_matters();
        }
        books.balance()
    }));
    if !matches!(done, Ok(true)) {
        world.print_what_matters();
    }
    done.unwrap_or(false)
}

/// What of it is asked for.
struct Run<'a> {
    duration: Duration,
    /// How long a fault may last, in milliseconds.
    longest: u64,
    /// What its name must have in it.
    word: &'a str,
}

/// Whether there is a fault with this in its name.
pub(crate) fn has_fault(word: &str) -> bool {
    FAULTS.iter().any(|fault| fault.name.contains(word))
}

/// All faults in a new order each time, until the time is up and each has happened.
fn disturb(world: &mut World, random: &mut Random, run: &Run<'_>) {
    let begun = Instant::now();
    let mut turn = 0;
    let mut order = Vec::new();
    let all: Vec<&'static Fault> = FAULTS.iter().filter(|fault| fault.name.contains(run.word)).collect();
    while turn < all.len() || begun.elapsed() < run.duration {
        if order.is_empty() {
            order = shuffled(all.clone(), random);
        }
        let fault = order.pop().expect("a fault");
        let hold = Duration::from_millis(1_000 + random.below(run.longest - 1_000));
        println!("{:>6.1} s  {} for {:.1} s", begun.elapsed().as_secs_f64(), fault.name, hold.as_secs_f64());
        (fault.begin)(world);
        std::thread::sleep(hold);
        (fault.mend)(world);
        std::thread::sleep(Duration::from_millis(500 + random.below(1_000)));
        turn += 1;
    }
}

fn shuffled(mut order: Vec<&'static Fault>, random: &mut Random) -> Vec<&'static Fault> {
    for at in (1..order.len()).rev() {
        let other = usize::try_from(random.below(at as u64 + 1)).expect("a small number");
        order.swap(at, other);
    }
    order
}

/// Nothing waits anywhere.
fn wait_until_settled(world: &World) {
    until("the link is up and nothing is sealed", PATIENCE, || {
        (world.pair.link() == (true, 0)).then_some(())
    });
    until("the queue is empty", PATIENCE, || (world.pair.home.status()?["queue"] == 0).then_some(()));
}

/// Where the sink wrote down what it took.
pub(crate) fn sink_numbers(world: &World) -> Vec<u32> {
    let text = fs::read_to_string(world.dir().join("numbers")).expect("the book");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

/// The relay in the link.
pub(crate) fn relay(world: &World) -> &testkit::link_relay::LinkRelay {
    world.relay.as_ref().expect("a relay")
}

/// The resolver's place, for a server that lies there.
pub(crate) fn resolver(world: &World) -> (String, std::net::SocketAddr) {
    (world.host("resolver").to_owned(), at(place::RESOLVER, 53))
}
