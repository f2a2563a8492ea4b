//! The one door to everything that is run on this repository: `cargo xtask ci` is what CI calls, and what to
//! run before a push. It only calls `cargo`, and `apt-get` for the programs that the journeys talk to.

mod book;
mod deny;
mod fuzz;
mod journeys;
#[cfg(test)]
mod lessons;
#[cfg(test)]
mod named_journeys;
mod package;
mod packages;
mod step;
mod tidy;
mod tools;

use std::process::ExitCode;

use step::{Failure, Plan};
use tidy::Task;

const HELP: &str = "\
cargo xtask ci                 packages, format, lints, tidy, deny, docs, unit tests, fuzzing, demo, journeys, world, chaos, a short bench
cargo xtask nightly            the same with ten minutes of chaos instead of two, and packages for arm64
cargo xtask packages           installs the Debian packages that the tests need, or says which are missing
cargo xtask fmt                formats the code
cargo xtask lint               format and clippy, warnings are errors
cargo xtask tidy [--known]     what the house asks of its code; --known writes the list of exceptions anew, if it shrank
cargo xtask deny               licences, sources and known faults of what we depend on
cargo xtask docs               the documentation of items and the operators' book, warnings are errors
cargo xtask test               unit tests: everything but the journeys
cargo xtask fuzz [--seconds N] [--seed N] [TARGET...]
                               a short run of the fuzz targets, two minutes in all, split among them
cargo xtask journeys [FILTER]  the program in both roles against other mail programs
cargo xtask world [NAME...]    stories of Postern among other people's hosts, in network namespaces; --list names them
cargo xtask chaos [--minutes N] [WORD]
                               numbered mail both ways while everything fails, 2 minutes; only what has WORD in its name
cargo xtask package [--debian] [--images] [--arm64] [--debug]
                               what operators install, into target/package: Debian package, archive, images; --debian for that alone
cargo xtask bench [--quick] [--rounds N] [--against PROGRAM] [FIGURE...]
                               measures the program against a Postfix pair; all figures: bench/RESULTS.md";

/// Where `cargo build` puts the program, below the target directory.
const PROGRAM: &str = "debug/postern";
const CHAOS_MINUTES: &str = "2";
const NIGHTLY_CHAOS_MINUTES: &str = "10";
const WORLD: &str = "debug/world";
const OPTIMISED: &str = "release/postern";
const BENCH: &str = "release/bench";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut plan = Plan::default();
    let done = match words[..] {
        ["ci"] => {
            let packing = package::Options::for_tests();
            ci(&mut plan, &fuzz::Options::same_each_time(), &packing, CHAOS_MINUTES)
        }
        ["nightly"] => {
            let packing = package::Options::for_nightly();
            ci(&mut plan, &fuzz::Options::default(), &packing, NIGHTLY_CHAOS_MINUTES)
        }
        ["packages"] => packages(&mut plan),
        ["fmt"] => plan.cargo("format", &["fmt", "--all"]),
        ["lint"] => lint(&mut plan),
        ["deny"] => deny::check(&mut plan, &target()),
        ["docs"] => book::build(&mut plan, &target()),
        ["tidy"] => tidy(&mut plan, Task::Check),
        ["tidy", "--known"] => tidy(&mut plan, Task::WriteKnown),
        ["test"] => unit_tests(&mut plan),
        ["fuzz", ref options @ ..] if let Some(options) = fuzz::Options::parse(options) => {
            fuzz::run(&mut plan, &target(), &options)
        }
        ["package", ref options @ ..] if let Some(options) = package::Options::parse(options) => {
            package::run(&mut plan, &target(), &options)
        }
        ["journeys"] => packages(&mut plan).and_then(|()| run_journeys(&mut plan, None)),
        ["journeys", filter] => packages(&mut plan).and_then(|()| run_journeys(&mut plan, Some(filter))),
        ["world", ref names @ ..] => packages(&mut plan).and_then(|()| world(&mut plan, names)),
        ["chaos", ref options @ ..] => packages(&mut plan).and_then(|()| chaos(&mut plan, options)),
        ["bench", ref options @ ..] => packages(&mut plan).and_then(|()| bench(&mut plan, options)),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    plan.print_summary();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// With such a search for bad inputs, such packages, and so many minutes of chaos.
fn ci(
    plan: &mut Plan,
    fuzzing: &fuzz::Options,
    packing: &package::Options,
    minutes: &str,
) -> Result<(), Failure> {
    packages(plan)?;
    lint(plan)?;
    tidy(plan, Task::Check)?;
    deny::check(plan, &target())?;
    book::build(plan, &target())?;
    unit_tests(plan)?;
    fuzz::run(plan, &target(), fuzzing)?;
    build(plan)?;
    package::run(plan, &target(), packing)?;
    plan.program("demo", &program(), &["demo", "--once"])?;
    journeys::run(plan, None, &absolute(PROGRAM))?;
    plan.program("world", &built(WORLD), &[])?;
    plan.program("chaos", &built(WORLD), &["--chaos", minutes])?;
    // That it runs, not how fast: CI's machines are shared.
    bench(plan, &["--quick"])
}

fn packages(plan: &mut Plan) -> Result<(), Failure> {
    plan.step("packages", packages::provide)
}

fn lint(plan: &mut Plan) -> Result<(), Failure> {
    plan.cargo("format", &["fmt", "--all", "--check"])?;
    plan.cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

fn tidy(plan: &mut Plan, task: Task) -> Result<(), Failure> {
    plan.step("tidy", || tidy::run(task))
}

fn unit_tests(plan: &mut Plan) -> Result<(), Failure> {
    plan.cargo("unit tests", &["test", "--workspace", "--exclude", "journeys"])
}

/// Always the whole workspace: for a part of it cargo would build the dependencies again, with fewer features.
fn build(plan: &mut Plan) -> Result<(), Failure> {
    plan.cargo("build", &["build", "--workspace", "--bins", "--example", "store_crash"])
}

fn run_journeys(plan: &mut Plan, filter: Option<&str>) -> Result<(), Failure> {
    build(plan)?;
    if filter.is_none_or(|filter| filter.contains("packages")) {
        package::run(plan, &target(), &package::Options::for_tests())?;
    }
    journeys::run(plan, filter, &absolute(PROGRAM))
}

fn world(plan: &mut Plan, names: &[&str]) -> Result<(), Failure> {
    build(plan)?;
    plan.program("world", &built(WORLD), names)
}

fn chaos(plan: &mut Plan, options: &[&str]) -> Result<(), Failure> {
    let (minutes, word) = match options {
        ["--minutes", minutes, word @ ..] => (*minutes, word),
        word => (CHAOS_MINUTES, word),
    };
    build(plan)?;
    plan.program("chaos", &built(WORLD), &[&["--chaos", minutes], word].concat())
}

/// A full run of all figures is the record that is kept; anything less goes to the target directory.
fn bench(plan: &mut Plan, options: &[&str]) -> Result<(), Failure> {
    plan.cargo("build, optimised", &["build", "--release", "--package", "postern", "--package", "bench"])?;
    let out = if options.is_empty() { "bench".to_owned() } else { built("bench") };
    let program = built(OPTIMISED);
    let arguments = [&["--program", &program, "--out", &out], options].concat();
    plan.program("bench", &built(BENCH), &arguments)
}

fn program() -> String {
    built(PROGRAM)
}

/// The same for a program that runs elsewhere.
fn absolute(name: &str) -> String {
    let path = built(name);
    std::path::absolute(&path).map_or(path, |whole| whole.display().to_string())
}

/// A path below the target directory.
fn built(name: &str) -> String {
    format!("{}/{name}", target())
}

fn target() -> String {
    std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())
}
