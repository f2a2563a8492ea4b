//! Home comes back to much sealed mail, while new mail keeps coming.

use std::time::Instant;

use crate::bench::{Bench, wait_for};
use crate::load::{INBOUND, Load};
use crate::probe::{SteadyMail, percentile};
use crate::report::{Row, Target};
use crate::system::System as _;

const FIGURE: &str = "drain";
const LIVE_PER_SECOND: u32 = 100;

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let load = Load { messages: bench.work(20_000, 2_000), ..INBOUND };
    let (mut rates, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let mut postern = bench.postern(None);
        postern.send_home_away();
        load.send(postern.inbound());
        postern.start_home();
        wait_for(1, &mut || postern.delivered());
        let before = postern.delivered();
        let begun = Instant::now();
        let live = SteadyMail::start(postern.inbound(), "alice@example.org", LIVE_PER_SECOND);
        wait_for(load.messages as usize, &mut || postern.delivered());
        rates.push(
            f64::from(load.messages - u32::try_from(before).expect("few")) / begun.elapsed().as_secs_f64(),
        );
        p99.push(percentile(&live.end(), 99));
    }
    let rows = vec![
        Row::alone(FIGURE, "sealed mail delivered", "messages/s", rates, Target::AtLeast(2_000.0)),
        Row::alone(FIGURE, "live mail meanwhile, 99 of 100 within", "ms", p99, Target::AtMost(100.0)),
    ];
    let method = format!(
        "The home is stopped, `{}`, the home is started. From the first sealed message in the mailbox to the last; \
         meanwhile {LIVE_PER_SECOND} messages of 4 KiB a second for another user, on 8 connections, from writing \
         the content to the 250, a late start counted in (bench/src/probe.rs).",
        load.command_line("EDGE")
    );
    (rows, method)
}
