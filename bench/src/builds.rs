//! Two builds of Postern side by side: what a change costs or saves. They work in turn, in one run.

use std::path::{Path, PathBuf};

use testkit::pair::PASSWORD;

use crate::bench::{Bench, Pace, inbound_pace};
use crate::figures::latency;
use crate::figures::memory;
use crate::figures::outbound::{OUTBOUND, outbound_pace};
use crate::gateway::Gateway;
use crate::load::{INBOUND, Load, Sink};
use crate::meter;
use crate::postern_pair::PosternPair;
use crate::report::{Method, Row, Target};
use crate::system::System as _;

const OTHER: &str = "the other build";
const OURS: &str = "builds";

/// The two programs.
pub(crate) struct Builds {
    pub(crate) ours: PathBuf,
    pub(crate) other: PathBuf,
}

/// What was measured of one build in one round.
type Values = Vec<f64>;

/// Something that is measured of a build in each round, and how it is called.
struct Quantity {
    name: &'static str,
    unit: &'static str,
}

impl Builds {
    /// Measures those of `names` that are compared, or all of them.
    pub(crate) fn measure(&self, bench: &Bench, names: &[String]) -> (Vec<Row>, Vec<Method>) {
        type Measure = fn(&Bench) -> Values;
        let all: [(&str, Measure, &[Quantity]); 4] = [
            ("inbound", inbound, &PACE),
            ("outbound", outbound, &PACE),
            ("latency", latencies, &LATENCY),
            ("memory", idle, &IDLE),
        ];
        let mut rows = Vec::new();
        for (name, measure, quantities) in all {
            if names.is_empty() || names.iter().any(|asked| asked == name) {
                println!("-- {name}");
                let of_it = self.in_turn(bench, name, measure, quantities);
                of_it.iter().for_each(|row| println!("   {}", crate::report::terminal_line(row)));
                rows.extend(of_it);
            }
        }
        (rows, vec![self.method()])
    }

    fn in_turn(
        &self,
        bench: &Bench,
        figure: &str,
        measure: fn(&Bench) -> Values,
        quantities: &[Quantity],
    ) -> Vec<Row> {
        let run = |program: &Path| {
            testkit::binary::set_postern(program.to_path_buf());
            measure(bench)
        };
        let rounds: Vec<(Values, Values)> =
            (0..bench.rounds).map(|_| (run(&self.ours), run(&self.other))).collect();
        let row = |(index, quantity): (usize, &Quantity)| {
            let ours = rounds.iter().map(|(ours, _)| ours[index]).collect();
            let other = rounds.iter().map(|(_, other)| other[index]).collect();
            let name = format!("{figure}: {}", quantity.name);
            Row::alone(OURS, name, quantity.unit, ours, Target::None).beside(OTHER, other)
        };
        quantities.iter().enumerate().map(row).collect()
    }

    fn method(&self) -> Method {
        let text = format!(
            "`{}` and `{}` in turn, each round with data of its own; what is measured comes after a first run that is \
             not counted. The roles' processor time is that of Edge and Home alone; the machine's has the load \
             generator's in it.",
            self.ours.display(),
            self.other.display()
        );
        Method { figure: OURS, text }
    }
}

const PACE: [Quantity; 3] = [
    Quantity { name: "end to end", unit: "messages/s" },
    Quantity { name: "processor time, whole machine", unit: "ms/message" },
    Quantity { name: "processor time, both roles", unit: "ms/message" },
];

const LATENCY: [Quantity; 2] = [
    Quantity { name: "half, beyond the disk's own", unit: "ms" },
    Quantity { name: "99 of 100, beyond the disk's own", unit: "ms" },
];

const IDLE: [Quantity; 2] =
    [Quantity { name: "Edge idle", unit: "MiB" }, Quantity { name: "Home idle", unit: "MiB" }];

/// Runs the load and gives pace and processor times.
fn paced(postern: &mut PosternPair, messages: u32, run: impl FnOnce(&mut PosternPair) -> Pace) -> Values {
    let before = meter::processor_time(&postern.processes());
    let pace = run(postern);
    let used = meter::processor_time(&postern.processes()) - before;
    vec![pace.delivered, pace.processor, used.as_secs_f64() * 1000.0 / f64::from(messages)]
}

fn inbound(bench: &Bench) -> Values {
    let file = bench.signed.file();
    let signed = Load { file: Some(&file), ..INBOUND };
    let (first, load) =
        (Load { messages: 1_000, ..signed }, Load { messages: bench.work(20_000, 2_000), ..signed });
    let mut postern = bench.postern(None);
    inbound_pace(&mut postern, &first);
    paced(&mut postern, load.messages, |postern| inbound_pace(postern, &load))
}

fn outbound(bench: &Bench) -> Values {
    let sink = Sink::start();
    let mut postern = bench.postern(Some(&sink));
    let gateway = Gateway::start(postern.submission(), PASSWORD);
    let (first, load) =
        (Load { messages: 1_000, ..OUTBOUND }, Load { messages: bench.work(10_000, 2_000), ..OUTBOUND });
    outbound_pace(&gateway, &sink, &first);
    paced(&mut postern, load.messages, |_| outbound_pace(&gateway, &sink, &load))
}

fn latencies(bench: &Bench) -> Values {
    let postern = bench.postern(None);
    latency::beyond_the_disk(&postern, bench.work(2_000, 300) as usize).to_vec()
}

fn idle(bench: &Bench) -> Values {
    let (edge, home) = memory::idle(&bench.postern(None));
    vec![edge, home]
}
