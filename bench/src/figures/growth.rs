//! What a message costs when there are many already: in the mailbox, and in the outbound queue.

use std::time::{Duration, Instant};

use testkit::pair::PASSWORD;

use crate::bench::{Bench, inbound_pace};
use crate::figures::outbound::{OUTBOUND, outbound_pace};
use crate::gateway::Gateway;
use crate::load::{INBOUND, Load, Sink};
use crate::meter;
use crate::postern_pair::PosternPair;
use crate::report::{Row, Target};
use crate::system::System as _;

const FIGURE: &str = "growth";
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let probe = bench.work(5_000, 1_000);
    let mut rows = mailbox(bench, probe);
    rows.extend(queue(bench, probe));
    let method = format!(
        "{probe} messages of 4 KiB at each size; the processor time of the two roles for each of them, and the \
         pace. The mailbox is filled by smtp-source with messages of 1 KiB, the queue with messages for a host that \
         takes no connection and that is not tried again."
    );
    (rows, method)
}

/// The cost of one more message at a size, and the pace.
struct Cost {
    size: u64,
    processor: f64,
    pace: f64,
}

impl Cost {
    fn of(
        size: u64,
        postern: &mut PosternPair,
        messages: u32,
        run: impl FnOnce(&mut PosternPair) -> f64,
    ) -> Self {
        let before = meter::processor_time(&postern.processes());
        let pace = run(postern);
        let used = meter::processor_time(&postern.processes()) - before;
        Self { size, processor: used.as_secs_f64() * 1000.0 / f64::from(messages), pace }
    }
}

fn mailbox(bench: &Bench, probe: u32) -> Vec<Row> {
    let mut postern = bench.postern(None);
    let load = Load { messages: probe, ..INBOUND };
    // The first run finds nothing warm; it is not counted.
    inbound_pace(&mut postern, &load);
    drop(postern);
    let mut postern = bench.postern(None);
    let mut costs = Vec::new();
    for size in [10, bench.work(100_000, 5_000), bench.work(1_000_000, 20_000)] {
        let missing = size.saturating_sub(u32::try_from(postern.delivered()).expect("fewer"));
        if missing > 0 {
            inbound_pace(&mut postern, &Load { messages: missing, octets: 1024, ..INBOUND });
        }
        let size = postern.delivered() as u64;
        costs.push(Cost::of(size, &mut postern, probe, |postern| inbound_pace(postern, &load).delivered));
    }
    rows("delivery, messages in the mailbox", &costs)
}

fn queue(bench: &Bench, probe: u32) -> Vec<Row> {
    let sink = Sink::start();
    let mut postern = bench.postern(Some(&sink));
    let gateway = Gateway::start(postern.submission(), PASSWORD);
    let load = Load { messages: probe, ..OUTBOUND };
    outbound_pace(&gateway, &sink, &load);
    let mut costs = Vec::new();
    for size in [bench.work(10_000, 1_000), bench.work(200_000, 5_000)] {
        let missing = u64::from(size).saturating_sub(postern.queued());
        let fill = Load {
            messages: u32::try_from(missing).expect("fewer"),
            octets: 1024,
            to: "x@dead.test",
            ..OUTBOUND
        };
        fill.send(gateway.address());
        wait_until_calm(&postern);
        let size = postern.queued();
        costs.push(Cost::of(size, &mut postern, probe, |_| outbound_pace(&gateway, &sink, &load).delivered));
    }
    rows("sending, messages in the queue", &costs)
}

/// Waits until each queued message has had its attempt: the roles have nothing to do.
fn wait_until_calm(postern: &PosternPair) {
    let begun = Instant::now();
    let roles = postern.processes();
    loop {
        let before = meter::processor_time(&roles);
        std::thread::sleep(Duration::from_millis(500));
        if meter::processor_time(&roles) - before <= Duration::from_millis(20) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the queue does not come to rest");
    }
}

fn rows(what: &str, costs: &[Cost]) -> Vec<Row> {
    let (Some(first), Some(last)) = (costs.first(), costs.last()) else { return Vec::new() };
    let target = |cost: &Cost| if cost.size == last.size { Target::RatioAtMost(1.3) } else { Target::None };
    let row = |cost: &Cost| {
        let quantity = format!("{what}: {}, {:.0} messages/s", cost.size, cost.pace);
        Row::alone(FIGURE, quantity, "ms of both roles", vec![cost.processor], target(cost))
            .beside(format!("at {}, {:.0} messages/s", first.size, first.pace), vec![first.processor])
    };
    costs.iter().skip(1).map(row).collect()
}
