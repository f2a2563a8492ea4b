//! What the house asks of its code beyond what the compiler and clippy check. Each rule is a test: what broke it before
//! there was the test stands in a list that may only shrink (`known.rs`).

mod arrows;
mod builds;
mod circles;
mod clock;
mod errors;
mod finding;
mod functions;
mod heads;
mod house;
mod keys;
mod known;
mod links;
mod modules;
mod owners;
mod senses;
mod size;
mod uses;

use std::fs;
use std::path::Path;

use crate::step::Failure;
use finding::Finding;
use house::House;
use known::{Known, LIST};

/// What the command is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Check,
    /// Write the list of what is known anew, unless it would grow.
    WriteKnown,
}

/// Looks at the repository in which it is called.
pub(crate) fn run(task: Task) -> Result<(), Failure> {
    let house = House::read(Path::new("."))?;
    let findings = check(&house);
    let text =
        fs::read_to_string(LIST).map_err(|error| Failure::new(format!("can't read {LIST}: {error}")))?;
    let known = Known::parse(&text).map_err(Failure::new)?;
    match task {
        Task::Check => {
            let wrong = known.differences(&findings);
            println!("{} files, {} known exceptions", house.files.len(), text.lines().count());
            if wrong.is_empty() { Ok(()) } else { Err(Failure::new(report(&wrong))) }
        }
        Task::WriteKnown => write(&known, &findings),
    }
}

fn check(house: &House) -> Vec<Finding> {
    let checks = [
        arrows::check,
        builds::check,
        circles::check,
        clock::check,
        errors::check,
        heads::check,
        keys::check,
        links::check,
        owners::check,
        senses::check,
        size::check,
    ];
    checks.into_iter().flat_map(|check| check(house)).collect()
}

fn report(wrong: &[String]) -> String {
    format!("tidy found {}:\n{}", wrong.len(), wrong.join("\n"))
}

fn write(known: &Known, findings: &[Finding]) -> Result<(), Failure> {
    let next = known.next(findings).map_err(|more| {
        let rules: Vec<&str> = more.iter().map(|rule| rule.word()).collect();
        let wrong: Vec<String> = known.differences(findings);
        Failure::new(format!("{LIST} would grow ({}), and may not\n{}", rules.join(", "), report(&wrong)))
    })?;
    fs::write(LIST, next.text()).map_err(|error| Failure::new(format!("can't write {LIST}: {error}")))
}
