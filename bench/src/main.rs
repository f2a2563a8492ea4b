//! Postern measured against what people build today. See `bench/README.md`; `cargo xtask bench` builds the
//! optimised program and calls this.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that can't measure has to end"
)]
#![allow(clippy::cast_possible_truncation, reason = "counts and times of a bench are far below the limits")]

mod bare;
mod bench;
mod builds;
mod figures;
mod gateway;
mod load;
mod mailbox;
mod many;
mod meter;
mod namespace;
mod postern_pair;
mod postfix_pair;
mod probe;
mod report;
mod signed;
mod system;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use bench::Bench;
use builds::Builds;
use report::Report;

/// What people wrote about the figures.
const ANALYSIS: &str = include_str!("../ANALYSIS.md");

/// Measure Postern against the Postfix pair.
#[derive(Debug, Parser)]
struct Arguments {
    /// Little work and one round: shows that the bench works, not how fast the program is
    #[arg(long)]
    quick: bool,
    /// Rounds of each figure
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Where RESULTS.md and results.json go
    #[arg(long)]
    out: PathBuf,
    /// The optimised `postern`
    #[arg(long)]
    program: PathBuf,
    /// Another build of `postern`, to be compared with this one in turn: inbound, outbound, latency, memory
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Only these figures
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(figures::names()))]
    figures: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !namespace::is_inside() {
        return namespace::run_inside().unwrap_or_else(|why| {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        });
    }
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    testkit::binary::set_postern(arguments.program.clone());
    let bench = Bench::new(arguments.quick, rounds);
    let mut report = Report::new(if arguments.quick { "Quick" } else { "Full" }, rounds);
    if let Some(other) = arguments.against {
        let builds = Builds { ours: arguments.program, other };
        (report.rows, report.methods) = builds.measure(&bench, &arguments.figures);
        return written(&report, &arguments.out);
    }
    for figure in figures::ALL {
        if arguments.figures.is_empty() || arguments.figures.iter().any(|name| name == figure.name) {
            println!("-- {}", figure.name);
            let (rows, method) = (figure.measure)(&bench);
            rows.iter().for_each(|row| println!("   {}", report::terminal_line(row)));
            report.rows.extend(rows);
            report.methods.push(report::Method { figure: figure.name, text: method });
        }
    }
    written(&report, &arguments.out)
}

fn written(report: &Report, out: &Path) -> ExitCode {
    match report.write(out, ANALYSIS) {
        Ok(()) => {
            println!("written: {}", out.join("RESULTS.md").display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {}: {error}", out.display());
            ExitCode::FAILURE
        }
    }
}
