//! How long one sender waits for the 250 after its message, with nobody else there.

use std::time::Duration;

use crate::bench::Bench;
use crate::postern_pair::PosternPair;
use crate::postfix_pair::Equipment;
use crate::probe::{Probe, disk, percentile};
use crate::report::{Row, Target};
use crate::system::System as _;

const FIGURE: &str = "latency";

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let messages = bench.work(2_000, 300) as usize;
    let theirs = bench.work(300, 50) as usize;
    let postern = bench.postern(None);
    let filters = bench.postfix(Equipment::Filters, None);
    let (mut p50, mut p99, mut beyond50, mut beyond99) = (vec![], vec![], vec![], vec![]);
    let (mut disk50, mut disk99, mut other50) = (vec![], vec![], vec![]);
    for _ in 0..bench.rounds {
        let pace = disk(postern.pair().dir(), messages);
        let took = send(postern.inbound(), messages);
        disk50.push(percentile(&pace, 50));
        disk99.push(percentile(&pace, 99));
        p50.push(percentile(&took, 50));
        p99.push(percentile(&took, 99));
        beyond50.push(percentile(&took, 50) - percentile(&pace, 50));
        beyond99.push(percentile(&took, 99) - percentile(&pace, 99));
        other50.push(percentile(&send(filters.inbound(), theirs), 50));
    }
    let rows = vec![
        Row::alone(FIGURE, "half of the messages within", "ms", p50, Target::None)
            .beside("pair with filters, which answers before its home has the message", other50),
        Row::alone(FIGURE, "99 of 100 within", "ms", p99, Target::None),
        Row::alone(FIGURE, "the disk's own fdatasync, half", "ms", disk50, Target::None),
        Row::alone(FIGURE, "the disk's own fdatasync, 99 of 100", "ms", disk99, Target::None),
        Row::alone(FIGURE, "half, beyond the disk's own", "ms", beyond50, Target::AtMost(2.0)),
        Row::alone(FIGURE, "99 of 100, beyond the disk's own", "ms", beyond99, Target::AtMost(10.0)),
    ];
    let method = format!(
        "One connection, {messages} messages of 4 KiB, live hand-off: from writing the content with its dot to the \
         250 (bench/src/probe.rs; smtp-source keeps no times). The disk: append 4 KiB, fdatasync, as often, in the \
         same file system, just before."
    );
    (rows, method)
}

/// Half of the messages, and 99 of 100, beyond the disk's own time, in milliseconds.
pub(crate) fn beyond_the_disk(postern: &PosternPair, messages: usize) -> [f64; 2] {
    send(postern.inbound(), 200);
    let pace = disk(postern.pair().dir(), messages);
    let took = send(postern.inbound(), messages);
    [50, 99].map(|part| percentile(&took, part) - percentile(&pace, part))
}

fn send(server: std::net::SocketAddr, messages: usize) -> Vec<Duration> {
    let mut probe = Probe::connect(server, "bob@example.org");
    std::iter::repeat_with(|| probe.send()).take(messages).collect()
}
