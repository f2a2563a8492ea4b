//! Messages with large attachments.

use crate::bench::{Bench, inbound_pace};
use crate::load::{INBOUND, Load};
use crate::meter::PeakMemory;
use crate::postfix_pair::Equipment;
use crate::report::{Row, Target};
use crate::system::System;

const FIGURE: &str = "large";
const MIB: u32 = 1024 * 1024;

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let load = |messages, mib| Load { messages, sessions: 4, octets: mib * MIB, ..INBOUND };
    let work = load(bench.work(40, 12), 25);
    let mut postern = bench.postern(None);
    let mut filters = bench.postfix(Equipment::Filters, None);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        ours.push(megabytes(&mut postern, &work));
        theirs.push(megabytes(&mut filters, &work));
    }
    let small = peak(&mut bench.postern(None), &load(bench.work(80, 20), 5));
    let large = peak(&mut bench.postern(None), &load(bench.work(20, 8), 45));
    let rows = vec![
        Row::alone(FIGURE, "25 MiB, end to end", "MB/s", ours, Target::RatioAtLeast(3.0))
            .beside("pair with filters", theirs),
        Row::alone(FIGURE, "memory of both roles with 45 MiB", "MiB", vec![large], Target::RatioAtMost(1.25))
            .beside("Postern with 5 MiB", vec![small]),
    ];
    let method = format!(
        "`{}` for both. Memory: the most at 4 sessions with messages of 45 MiB, beside the most with 5 MiB; a \
         quarter is noise.",
        work.command_line("EDGE")
    );
    (rows, method)
}

fn megabytes(system: &mut dyn System, load: &Load<'_>) -> f64 {
    inbound_pace(system, load).delivered * f64::from(load.octets) / 1e6
}

fn peak(system: &mut dyn System, load: &Load<'_>) -> f64 {
    let watch = PeakMemory::watch(system.processes());
    inbound_pace(system, load);
    watch.end() as f64 / f64::from(MIB)
}
