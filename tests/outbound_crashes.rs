//! Edge or Home killed, or Edge made deaf, at any moment while mail goes out: none is lost, and none comes twice but
//! where Edge dies between the other host's 250 and its own record of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use testkit::dns::{NameServer, Record};
use testkit::pair::PASSWORD;
use testkit::process::Process;
use testkit::random::Random;
use testkit::{Pair, PairOptions, ports, process, until};

use crate::alone;

const MESSAGES: usize = 5000;
const PATIENCE: Duration = Duration::from_secs(300);

/// What was done to the roles.
#[derive(Debug, Default)]
struct Faults {
    edge: usize,
    home: usize,
    deaf: usize,
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
    let count = |name: &str| {
        let text = std::fs::read_to_string(pair.home.data().join("trace").join(name)).unwrap_or_default();
        text.matches(r#""step":"forgotten""#).count()
    };
    count("current.jsonl") + count("previous.jsonl")
}

fn disturb(pair: &mut Pair, random: &mut Random, done: &AtomicBool) -> Faults {
    let mut faults = Faults::default();
    for turn in 0_u32.. {
        std::thread::sleep(Duration::from_millis(200 + random.below(1000)));
        if done.load(Ordering::Relaxed) {
            break;
        }
        match turn % 5 {
            0 | 2 => {
                pair.edge.kill();
                std::thread::sleep(Duration::from_millis(random.below(300)));
                pair.edge.start();
                faults.edge += 1;
            }
            1 | 3 => {
                pair.home.kill();
                std::thread::sleep(Duration::from_millis(random.below(300)));
                pair.home.start();
                faults.home += 1;
            }
            _ => {
                pair.edge.signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(random.below(1500)));
                pair.edge.signal(Signal::CONT);
                faults.deaf += 1;
            }
        }
    }
    faults
}

#[test]
fn five_thousand_messages_go_out_while_everything_dies_and_none_is_lost() {
    let _alone = alone();
    let seed = Random::seed();
    println!("POSTERN_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let (_sink, address) = sink(dir.path());
    let name_server = NameServer::start(&[
        ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
        ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
    ]);
    let many = "[sending]\nrecipients_per_hour = 1000000\nrecipients_per_day = 1000000";
    let mut pair = Pair::with(&PairOptions {
        edge_config: format!("[outbound]\nport = {}", address.port()),
        home_config: format!("[queue]\nretry = [\"1s\"]\n{many}"),
        outbound: true,
        name_server: Some(name_server.address()),
        places: None,
    });
    let script = dir.path().join("submit.py");
    std::fs::write(&script, include_str!("submit.py")).unwrap();
    let mut submit = process::command(None, "python3");
    submit.arg(&script).args([&pair.submission.ip().to_string(), &pair.submission.port().to_string()]);
    submit.args(["alice@example.org", PASSWORD, "alice@example.org", "you@remote.test"]);
    submit.args([&MESSAGES.to_string(), "4"]);
    let done = AtomicBool::new(false);
    let (printed, faults) = std::thread::scope(|scope| {
        let submitting = scope.spawn(|| {
            let output = process::run(submit, b"", PATIENCE);
            done.store(true, Ordering::Relaxed);
            output
        });
        let faults = disturb(&mut pair, &mut random, &done);
        (submitting.join().unwrap(), faults)
    });
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let of = |what: &str| -> Vec<usize> {
        printed.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect()
    };
    let (taken, doubt) = (of("taken"), of("doubt"));
    until("the queue is empty", PATIENCE, || (pair.home.status()?["queue"] == 0).then_some(()));
    let arrived = arrived(dir.path());
    let lost: Vec<&usize> = taken.iter().filter(|number| !arrived.contains_key(number)).collect();
    let extra: usize = arrived.values().map(|times| times - 1).sum();
    let forgotten = forgotten(&pair);
    println!(
        "{} taken, {} in doubt, {} lost, {extra} too many of {forgotten} that Edge died over; {faults:?}",
        taken.len(),
        doubt.len(),
        lost.len()
    );
    assert!(taken.len() >= MESSAGES && faults.edge > 0 && faults.home > 0, "{faults:?}");
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(arrived.keys().all(|number| taken.contains(number) || doubt.contains(number)));
    assert!(extra <= forgotten, "more came twice than Edge's deaths explain");
}
