//! How much memory the roles need, in four situations. Shared pages are divided among those who share them.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::smtp::SmtpClient;

use crate::bench::{Bench, inbound_pace};
use crate::load::{INBOUND, Load};
use crate::meter::{self, PeakMemory};
use crate::postern_pair::PosternPair;
use crate::postfix_pair::Equipment;
use crate::report::{Row, Target};
use crate::system::System;

const FIGURE: &str = "memory";
const MIB: f64 = 1024.0 * 1024.0;
/// Postern's default `[limits] body_memory`.
const BUDGET_MIB: f64 = 128.0;
/// Just below Postern's default `[limits] message_octets`, 50 MiB; `smtp-source` puts header fields on top.
const LARGEST_OCTETS: u32 = 50 * 1024 * 1024 - 64 * 1024;

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let (edge_idle, home_idle) = idle(&bench.postern(None));
    let load = Load { messages: bench.work(20_000, 1_000), ..INBOUND };
    let loaded = peak(&mut bench.postern(None), &load);
    let theirs = Load { messages: bench.work(1_500, 200), ..INBOUND };
    let pair = peak(&mut bench.postfix(Equipment::Filters, None), &theirs);
    let sessions = bench.work(2_000, 500) as usize;
    let with_sessions = with_idle_sessions(&bench.postern(None), sessions);
    let big = Load { messages: 100, sessions: 100, octets: LARGEST_OCTETS, ..INBOUND };
    let (edge_big, home_big) = each_peak(&mut bench.postern(None), &big);
    let row = |quantity: String, value: f64, target| Row::alone(FIGURE, quantity, "MiB", vec![value], target);
    let rows = vec![
        row("both roles, most at 20 sessions".into(), loaded, Target::AtMost(64.0))
            .beside("pair with filters", vec![pair]),
        row("Edge idle".into(), edge_idle, Target::AtMost(15.0)),
        row("Home idle".into(), home_idle, Target::AtMost(15.0)),
        row(format!("Edge with {sessions} idle sessions"), with_sessions, Target::AtMost(80.0)),
        row(
            "Edge, most at 100 sessions with 50 MiB each".into(),
            edge_big,
            Target::AtMost(BUDGET_MIB + 64.0),
        ),
        row("Home, most at the same".into(), home_big, Target::AtMost(BUDGET_MIB + 64.0)),
    ];
    let method = format!(
        "PSS of each process (/proc/PID/smaps_rollup), the most of what was seen every 100 ms. 20 sessions: `{}`. \
         Large: `{}`; the budget is {BUDGET_MIB} MiB, the default of `[limits] body_memory`.",
        load.command_line("EDGE"),
        big.command_line("EDGE")
    );
    (rows, method)
}

/// Edge and Home, paired, with nothing to do for a few seconds.
pub(crate) fn idle(postern: &PosternPair) -> (f64, f64) {
    std::thread::sleep(Duration::from_secs(3));
    let [edge, home] = roles(postern);
    (mib(meter::memory(&[edge])), mib(meter::memory(&[home])))
}

fn peak(system: &mut dyn System, load: &Load<'_>) -> f64 {
    let watch = PeakMemory::watch(system.processes());
    inbound_pace(system, load);
    mib(watch.end())
}

fn each_peak(postern: &mut PosternPair, load: &Load<'_>) -> (f64, f64) {
    let [edge, home] = roles(postern).map(|role| PeakMemory::watch(vec![role]));
    inbound_pace(postern, load);
    (mib(edge.end()), mib(home.end()))
}

/// Edge while so many clients have said EHLO and then nothing.
fn with_idle_sessions(postern: &PosternPair, sessions: usize) -> f64 {
    let open = |server: SocketAddr| SmtpClient::ready(server).expect("a session");
    let clients: Vec<SmtpClient> = (0..sessions).map(|_| open(postern.inbound())).collect();
    let [edge, _] = roles(postern);
    let used = mib(meter::memory(&[edge]));
    drop(clients);
    used
}

fn roles(postern: &PosternPair) -> [u32; 2] {
    postern.processes().try_into().expect("two processes")
}

fn mib(octets: u64) -> f64 {
    octets as f64 / MIB
}
