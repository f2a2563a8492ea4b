//! The world on one machine: a small internet in network namespaces, other people's MTAs in it, and stories that are
//! told about Postern there. `cargo xtask world` runs it.
//!
//! ```text
//! world --list           the stories
//! world [NAME...]        those of this name, or all
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this program")]

mod place;
mod stories;
mod wires;
mod world;
mod zones;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use stories::{STORIES, Story};
use testkit::network_lab::NetworkLab;
use world::World;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        for story in STORIES {
            println!("{:<20} {}", story.name, story.says);
        }
        return ExitCode::SUCCESS;
    }
    let wanted = |story: &&Story| words.is_empty() || words.iter().any(|word| word == story.name);
    if let Some(unknown) = words.iter().find(|word| !STORIES.iter().any(|story| story.name == **word)) {
        eprintln!("world: there is no story '{unknown}'; 'cargo xtask world --list' names them");
        return ExitCode::from(2);
    }
    if !NetworkLab::is_possible() {
        eprintln!("world: network namespaces can't be made here: it takes root, and Linux with iproute2");
        return ExitCode::from(2);
    }
    let begun = Instant::now();
    let told: Vec<(&str, bool)> =
        STORIES.iter().filter(wanted).map(|story| (story.name, tell(story))).collect();
    let failed: Vec<&str> = told.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect();
    println!("\n{} stories in {} s", told.len(), begun.elapsed().as_secs());
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Tells a story in a world of its own; `false` when it does not hold, after all that may say why.
fn tell(story: &Story) -> bool {
    println!("== {}: {}", story.name, story.says);
    let begun = Instant::now();
    let holds = catch_unwind(|| {
        let mut world = World::build(&(story.setting)());
        let told = catch_unwind(AssertUnwindSafe(|| {
            (story.tell)(&mut world);
            world.nothing_has_leaked();
        }));
        if told.is_err() {
            world.print_what_matters();
        }
        told.is_ok()
    });
    let holds = holds.unwrap_or(false);
    let verdict = if holds { "ok" } else { "FAILED" };
    println!("== {}: {verdict} after {:.1} s", story.name, begun.elapsed().as_secs_f64());
    holds
}
