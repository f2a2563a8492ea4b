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

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use bench::Bench;
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
    testkit::binary::set_postern(arguments.program);
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    let bench = Bench::new(arguments.quick, rounds);
    let mut report = Report::new(if arguments.quick { "Quick" } else { "Full" }, rounds);
    for figure in figures::ALL {
        if arguments.figures.is_empty() || arguments.figures.iter().any(|name| name == figure.name) {
            println!("-- {}", figure.name);
            let (rows, method) = (figure.measure)(&bench);
            rows.iter().for_each(|row| println!("   {}", report::terminal_line(row)));
            report.rows.extend(rows);
            report.methods.push(report::Method { figure: figure.name, text: method });
        }
    }
    match report.write(&arguments.out, ANALYSIS) {
        Ok(()) => {
            println!("written: {}", arguments.out.join("RESULTS.md").display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {}: {error}", arguments.out.display());
            ExitCode::FAILURE
        }
    }
}
