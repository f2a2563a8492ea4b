//! The world on one machine: a small internet in network namespaces, other people's MTAs in it, and stories that are
//! told about Postern there. `cargo xtask world` runs it.
//!
//! ```text
//! world --list           the stories
//! world [NAME...]        those of this name, or all
//! world --chaos MINUTES [WORD]
//!                        numbered mail both ways while everything fails that can fail, or what has the word in its name
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this program")]

mod chaos;
mod place;
mod stories;
mod wires;
mod world;
mod zones;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use stories::{STORIES, Story};
use testkit::network_lab::NetworkLab;
use world::World;

/// Stories that are told at one time.
const AT_ONE_TIME: usize = 4;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        for story in STORIES {
            println!("{:<20} {}", story.name, story.says);
        }
        return ExitCode::SUCCESS;
    }
    if let [flag, minutes, rest @ ..] = &words[..]
        && flag == "--chaos"
    {
        return run_chaos(minutes, rest.first().map_or("", String::as_str));
    }
    let wanted = |story: &&Story| words.is_empty() || words.iter().any(|word| word == story.name);
    if let Some(unknown) = words.iter().find(|word| !STORIES.iter().any(|story| story.name == **word)) {
        eprintln!("world: there is no story '{unknown}'; 'cargo xtask world --list' names them");
        return ExitCode::from(2);
    }
    if !NetworkLab::is_possible() {
        return impossible();
    }
    let begun = Instant::now();
    let stories: Vec<&Story> = STORIES.iter().filter(wanted).collect();
    let told = match &stories[..] {
        [one] => vec![(one.name, tell(one))],
        several => tell_side_by_side(several),
    };
    let failed: Vec<&str> = told.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect();
    if told.len() > 1 {
        println!("\n{} stories in {} s", told.len(), begun.elapsed().as_secs());
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Tells each in a process of its own, some at one time: they wait most of the time. Each is printed as a whole.
fn tell_side_by_side(stories: &[&'static Story]) -> Vec<(&'static str, bool)> {
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONE_TIME {
            scope.spawn(|| {
                while let Some(story) = stories.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (printed, holds) = tell_apart(story);
                    let mut told = told.lock().unwrap();
                    print!("{printed}");
                    told.push((story.name, holds));
                }
            });
        }
    });
    told.into_inner().unwrap()
}

/// What its process printed, and whether it holds.
fn tell_apart(story: &Story) -> (String, bool) {
    let own = std::env::current_exe().expect("the program's own path");
    let mut command = Command::new(own);
    // They do not build it each.
    command.arg(story.name).env("POSTERN_TEST_BINARY", testkit::binary::postern());
    let output = command.stdin(Stdio::null()).output().expect("the program itself");
    let printed = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&printed).into_owned(), output.status.success())
}

fn run_chaos(minutes: &str, word: &str) -> ExitCode {
    let Some(minutes) = minutes.parse().ok().filter(|minutes| (1..=600).contains(minutes)) else {
        eprintln!("world: say how many minutes, 1 to 600: --chaos 2");
        return ExitCode::from(2);
    };
    if !NetworkLab::is_possible() {
        return impossible();
    }
    if !chaos::has_fault(word) {
        eprintln!("world: no fault has '{word}' in its name");
        return ExitCode::from(2);
    }
    if catch_unwind(|| chaos::run(minutes, word)).is_ok_and(|balances| balances) {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: the books do not balance");
    ExitCode::FAILURE
}

fn impossible() -> ExitCode {
    eprintln!("world: network namespaces can't be made here: it takes root, and Linux with iproute2");
    ExitCode::from(2)
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
