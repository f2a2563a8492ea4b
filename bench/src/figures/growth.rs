//! What a message costs when there are many already: in the mailbox, and in the outbound queue.

use std::time::{Duration, Instant};

use testkit::pair::PASSWORD;

use crate::bench::{Bench, inbound_pace};
use crate::figures::outbound::{OUTBOUND, outbound_pace};
use crate::gateway::Gateway;
use crate::load::{INBOUND, Load, Sink};
use crate::meter;
use crate::postern_pair::PosternPair;
use crate::report::{Row, Samples, Target};
use crate::system::System as _;

const FIGURE: &str = "growth";
const PATIENCE: Duration = Duration::from_secs(900);

/// Messages in the mailbox of comparison.
const FEW: u32 = 10;
/// What the cost in the largest mailbox may be, of that in one with few messages.
const MAILBOX_RATIO_MAX: f64 = 1.05;
const QUEUE_RATIO_MAX: f64 = 1.3;

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let probe = bench.work(5_000, 1_000);
    let mut rows = mailbox(bench, probe);
    rows.extend(queue(bench, probe));
    let method = format!(
        "{probe} messages of 4 KiB at each size; the processor time of the two roles for each of them, and the \
         pace. The mailbox is filled by smtp-source with messages of 1 KiB; in each round it is compared with that of a new \
         pair, with {FEW} messages in it, whose other user got {probe} before. The queue is filled with messages for a \
         host that takes no connection and that is not tried again."
    );
    (rows, method)
}

/// What messages cost at one size, a value for each round.
#[derive(Default)]
struct Costs {
    size: u64,
    /// Milliseconds of both roles' processor time for a message.
    processor: Vec<f64>,
    /// Messages a second.
    pace: Vec<f64>,
}

impl Costs {
    fn measure(
        &mut self,
        postern: &mut PosternPair,
        messages: u32,
        run: impl FnOnce(&mut PosternPair) -> f64,
    ) {
        let before = meter::processor_time(&postern.processes());
        self.pace.push(run(postern));
        let used = meter::processor_time(&postern.processes()) - before;
        self.processor.push(used.as_secs_f64() * 1000.0 / f64::from(messages));
    }

    fn pace(&self) -> f64 {
        Samples::from(self.pace.clone()).median
    }

    /// Beside what the same cost where there are few.
    fn row(&self, what: &str, few: &Self, target: Target) -> Row {
        let quantity = format!("{what}: {}, {:.0} messages/s", self.size, self.pace());
        Row::alone(FIGURE, quantity, "ms of both roles", self.processor.clone(), target)
            .beside(format!("at {}, {:.0} messages/s", few.size, few.pace()), few.processor.clone())
    }
}

fn mailbox(bench: &Bench, probe: u32) -> Vec<Row> {
    let load = Load { messages: probe, ..INBOUND };
    let mut many = bench.postern(None);
    let largest = bench.work(1_000_000, 20_000);
    let row = |size: u32| {
        fill(&mut many, size);
        let mut of_many = Costs { size: u64::from(size), ..Costs::default() };
        let mut of_few = Costs { size: u64::from(FEW), ..Costs::default() };
        for _ in 0..bench.rounds {
            let mut few = bench.postern(None);
            Load { to: "alice@example.org", ..load }.send(few.inbound());
            fill(&mut few, FEW);
            of_few.measure(&mut few, probe, |postern| inbound_pace(postern, &load).delivered);
            drop(few);
            of_many.measure(&mut many, probe, |postern| inbound_pace(postern, &load).delivered);
        }
        let target = if size == largest { Target::RatioAtMost(MAILBOX_RATIO_MAX) } else { Target::None };
        of_many.row("delivery, messages in the mailbox", &of_few, target)
    };
    [bench.work(100_000, 5_000), largest].map(row).into()
}

/// Fills the mailbox up to so many messages.
fn fill(postern: &mut PosternPair, size: u32) {
    let missing = size.saturating_sub(u32::try_from(postern.delivered()).expect("fewer"));
    if missing > 0 {
        inbound_pace(postern, &Load { messages: missing, octets: 1024, ..INBOUND });
    }
}

fn queue(bench: &Bench, probe: u32) -> Vec<Row> {
    let sink = Sink::start();
    let mut postern = bench.postern(Some(&sink));
    let gateway = Gateway::start(postern.submission(), PASSWORD);
    let load = Load { messages: probe, ..OUTBOUND };
    outbound_pace(&gateway, &sink, &load);
    let [few, many] = [bench.work(10_000, 1_000), bench.work(200_000, 5_000)].map(|size| {
        let missing = u64::from(size).saturating_sub(postern.queued());
        let fill = Load {
            messages: u32::try_from(missing).expect("fewer"),
            octets: 1024,
            to: "x@dead.test",
            ..OUTBOUND
        };
        fill.send(gateway.address());
        wait_until_calm(&postern);
        let mut costs = Costs { size: postern.queued(), ..Costs::default() };
        for _ in 0..bench.rounds {
            costs.measure(&mut postern, probe, |_| outbound_pace(&gateway, &sink, &load).delivered);
        }
        costs
    });
    vec![many.row("sending, messages in the queue", &few, Target::RatioAtMost(QUEUE_RATIO_MAX))]
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
