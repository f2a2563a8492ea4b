//! Edge or Home killed, Edge made deaf, or the link between them cut, at any moment while mail goes out: none is lost,
//! and none comes twice but where Edge dies between the other host's 250 and its own record of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use testkit::dns::{NameServer, Record};
use testkit::link_relay::LinkRelay;
use testkit::pair::PASSWORD;
use testkit::process::Process;
use testkit::random::Random;
use testkit::{Pair, PairOptions, ports, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(300);

/// What was done to the roles and to the link.
#[derive(Debug, Default)]
struct Faults {
    edge: usize,
    home: usize,
    deaf: usize,
    link: LinkFaults,
}

#[derive(Debug, Default)]
struct LinkFaults {
    /// Connections reset, ports changed.
    cuts: usize,
    /// Nothing got through for a while, and then all of it.
    silences: usize,
    /// Nothing got through, and then it was cut.
    losses: usize,
}

impl LinkFaults {
    fn happen(&mut self, relay: &LinkRelay, random: &mut Random) {
        let kind = random.below(3);
        relay.silence(kind > 0);
        std::thread::sleep(Duration::from_millis(random.below(1500)));
        if kind != 1 {
            relay.cut();
        }
        relay.silence(false);
        match kind {
            0 => self.cuts += 1,
            1 => self.silences += 1,
            _ => self.losses += 1,
        }
    }

    const fn all(&self) -> usize {
        self.cuts + self.silences + self.losses
    }
}

fn sink(dir: &Path) -> (Process, std::net::SocketAddr) {
    let address = ports::free();
    // It writes as nobody.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = process::command(None, "smtp-sink");
    command.args(["-u", "nobody", "-D"]).arg(dir.join("all"));
    command.args([&address.to_string(), "100"]);
    let sink = Process::start(command, &dir.join("sink.log"));
    until("smtp-sink listens", PATIENCE, || std::net::TcpStream::connect(address).ok());
    (sink, address)
}

/// How often each number arrived.
fn arrived(dir: &Path) -> BTreeMap<usize, usize> {
    let mut times = BTreeMap::new();
    let all = std::fs::read(dir.join("all")).unwrap_or_default();
    for line in String::from_utf8_lossy(&all).lines() {
        if let Some(number) = line.strip_prefix("Subject: out-") {
            *times.entry(number.trim().parse().unwrap()).or_default() += 1;
        }
    }
    times
}

/// Attempts of which Edge, asked after its death, had no record, as Home's trace tells.
fn forgotten(pair: &Pair) -> usize {
    testkit::pair::trace_text(pair.home.data()).matches(r#""step":"forgotten""#).count()
}

/// A pair with a relay on its link, and a host that takes everything and counts.
struct World {
    pair: Pair,
    relay: LinkRelay,
    _sink: Process,
    _name_server: NameServer,
    dir: TempDir,
}

/// What became of what was submitted.
#[derive(Debug)]
struct Books {
    taken: usize,
    doubt: usize,
    /// Taken and not arrived.
    lost: Vec<usize>,
    /// Arrived and not submitted.
    unknown: Vec<usize>,
    /// Arrivals beyond one each.
    extra: usize,
    forgotten: usize,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (sink, address) = sink(dir.path());
        let name_server = NameServer::start(&[
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
        ]);
        let many = "[sending]\nrecipients_per_hour = 1000000\nrecipients_per_day = 1000000";
        let options = PairOptions {
            edge_config: format!("[outbound]\nport = {}", address.port()),
            home_config: format!("[queue]\nretry = [\"1s\"]\n{many}"),
            outbound: true,
            name_server: Some(name_server.address()),
            ..PairOptions::default()
        };
        let relay = LinkRelay::start();
        let pair = Pair::with_relay(&options, &relay);
        Self { pair, relay, _sink: sink, _name_server: name_server, dir }
    }

    /// What submits so many messages.
    fn submitter(&self, messages: usize) -> std::process::Command {
        let script = self.dir.path().join("submit.py");
        std::fs::write(&script, include_str!("submit.py")).unwrap();
        let submission = self.pair.submission;
        let mut submit = process::command(None, "python3");
        submit.arg(&script).args([&submission.ip().to_string(), &submission.port().to_string()]);
        submit.args(["alice@example.org", PASSWORD, "alice@example.org", "you@remote.test"]);
        submit.args([&messages.to_string(), "4"]);
        submit
    }

    /// Submits while something happens, which is told when that is done. Then waits until the queue is empty.
    fn submit_while<T>(
        &mut self,
        messages: usize,
        happen: impl FnOnce(&mut Self, &AtomicBool) -> T,
    ) -> (Books, T) {
        let submit = self.submitter(messages);
        let done = AtomicBool::new(false);
        let (printed, happened) = std::thread::scope(|scope| {
            let submitting = scope.spawn(|| {
                let output = process::run(submit, b"", PATIENCE);
                done.store(true, Ordering::Relaxed);
                output
            });
            let happened = happen(self, &done);
            (submitting.join().unwrap(), happened)
        });
        until("the queue is empty", PATIENCE, || self.is_empty().then_some(()));
        (self.books(&String::from_utf8_lossy(&printed.stdout)), happened)
    }

    fn is_empty(&self) -> bool {
        self.pair.home.status().is_some_and(|status| status["queue"] == 0)
    }

    fn books(&self, printed: &str) -> Books {
        let of = |what: &str| -> BTreeSet<usize> {
            printed.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
        };
        let (taken, doubt) = (of("taken"), of("doubt"));
        let arrived = arrived(self.dir.path());
        Books {
            taken: taken.len(),
            doubt: doubt.len(),
            lost: taken.iter().filter(|number| !arrived.contains_key(number)).copied().collect(),
            unknown: arrived.keys().filter(|n| !taken.contains(n) && !doubt.contains(n)).copied().collect(),
            extra: arrived.values().map(|times| times - 1).sum(),
            forgotten: forgotten(&self.pair),
        }
    }
}

fn disturb(world: &mut World, random: &mut Random, done: &AtomicBool) -> Faults {
    let mut faults = Faults::default();
    let World { pair, relay, .. } = world;
    for turn in 0_u32.. {
        std::thread::sleep(Duration::from_millis(200 + random.below(1000)));
        // Each fault once at least, however fast the messages are taken.
        if turn >= 6 && done.load(Ordering::Relaxed) {
            break;
        }
        match turn % 6 {
            0 | 3 => {
                pair.edge.kill();
                std::thread::sleep(Duration::from_millis(random.below(300)));
                pair.edge.start();
                faults.edge += 1;
            }
            1 | 4 => {
                pair.home.kill();
                std::thread::sleep(Duration::from_millis(random.below(300)));
                pair.home.start();
                faults.home += 1;
            }
            2 => {
                pair.edge.signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(random.below(1500)));
                pair.edge.signal(Signal::CONT);
                faults.deaf += 1;
            }
            _ => faults.link.happen(relay, random),
        }
    }
    faults
}

fn seeded() -> Random {
    let seed = Random::seed();
    println!("POSTERN_TEST_SEED={seed}");
    Random::new(seed)
}

#[test]
fn five_thousand_messages_go_out_while_everything_dies_and_none_is_lost() {
    let _alone = alone();
    let mut random = seeded();
    let mut world = World::new();
    let (books, faults) = world.submit_while(5000, |world, done| disturb(world, &mut random, done));
    println!("{} in doubt, {books:?} {faults:?}", books.doubt);
    assert!(books.taken >= 5000 && faults.edge > 0 && faults.home > 0 && faults.link.all() > 0, "{faults:?}");
    assert!(books.lost.is_empty() && books.unknown.is_empty(), "{books:?}");
    assert!(books.extra <= books.forgotten, "more came twice than Edge's deaths explain: {books:?}");
}

/// Both ends live: what one of them does not know, the other does, so there is no excuse for a second copy.
fn cut_the_link(world: &mut World, transport: &str) {
    let mut random = seeded();
    let (books, faults) = world.submit_while(3000, |world, done| {
        let mut faults = LinkFaults::default();
        while faults.all() < 6 || !done.load(Ordering::Relaxed) || !world.is_empty() {
            std::thread::sleep(Duration::from_millis(200 + random.below(1000)));
            faults.happen(&world.relay, &mut random);
            // QUIC outlives all of this; what it does not is a silence until both ends give up.
            if faults.all() == 3 {
                world.relay.silence(true);
                world.pair.wait_for_no_link();
                world.relay.silence(false);
            }
        }
        faults
    });
    let links = world.pair.home.log().matches("link up").count();
    println!("{books:?} {faults:?} {links} links over {transport}");
    assert!(links > 1, "it was never lost");
    world.pair.wait_for_link();
    assert_eq!(world.pair.transport().as_deref(), Some(transport));
    assert!(books.taken >= 3000 && books.lost.is_empty() && books.unknown.is_empty(), "{books:?}");
    assert_eq!(books.extra, 0, "each once: {books:?}");
}

#[test]
fn a_quic_link_that_is_cut_at_any_moment_loses_nothing_and_doubles_nothing() {
    let _alone = alone();
    let mut world = World::new();
    cut_the_link(&mut world, "quic");
}

#[test]
fn a_tcp_link_that_is_cut_at_any_moment_loses_nothing_and_doubles_nothing() {
    let _alone = alone();
    let mut world = World::new();
    world.relay.block_udp(true);
    world.pair.home.restart();
    world.pair.wait_for_link();
    cut_the_link(&mut world, "tcp");
}
