//! Numbered mail goes both ways while everything fails that can fail, one thing after another, sometimes two at one time.
//! After each of them mail must go on; at the end the books must balance, and nothing readable may be on Edge's disk.

mod books;
mod disturb;
mod excuses;
mod fault;
mod traffic;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use testkit::random::Random;
use testkit::until;

use crate::world::{Setting, World};
use books::Books;
use disturb::{Run, disturb};
use fault::FAULTS;
use traffic::Traffic;

/// How long the mending may take: waits for dead links, and the longest pause before a link is dialled again.
const PATIENCE: Duration = Duration::from_secs(240);
/// So that Home does not answer in time in most faults, and answers too late in some.
const EDGE: &str = "policy.greylist = false\n[limits]\nhand_off = \"2s\"\n";
const HOME: &str = "[sending]\nrecipients_per_hour = 1000000\nrecipients_per_day = 1000000\n";

/// A run of so many minutes; whether the books balance. What matters is printed when they don't.
pub(crate) fn run(minutes: u64, word: &str) -> bool {
    let seed = Random::seed();
    println!("== chaos for {minutes} minutes, POSTERN_TEST_SEED={seed}");
    let mut world = World::build(&Setting {
        own_clock: true,
        faulty: true,
        edge_config: EDGE.to_owned(),
        home_config: HOME.to_owned(),
        ..Setting::default()
    });
    let done = catch_unwind(AssertUnwindSafe(|| {
        world.faults_are_possible();
        let mut traffic = Traffic::begin(&mut world);
        let excused = disturb(&mut world, &traffic, &mut Random::new(seed), &Run::of(minutes, word));
        let told = traffic.end();
        wait_until_settled(&world);
        let books = Books::close(&world, told, excused);
        println!("{books}");
        if std::env::var_os("POSTERN_CHAOS_LOGS").is_some() {
            world.print_what_matters();
        }
        if word.is_empty() {
            books.ways_were_taken();
        }
        let balance = books.balance();
        if balance {
            world.nothing_has_leaked();
        } else {
            books.print_traces(&world);
        }
        balance
    }));
    if !matches!(done, Ok(true)) {
        world.print_what_matters();
    }
    done.unwrap_or(false)
}

/// Whether there is a fault with this in its name.
pub(crate) fn has_fault(word: &str) -> bool {
    FAULTS.iter().any(|fault| fault.name.contains(word))
}

/// Nothing waits anywhere.
fn wait_until_settled(world: &World) {
    until("the link is up and nothing is sealed", PATIENCE, || {
        (world.pair.link() == (true, 0)).then_some(())
    });
    until("the queue is empty", PATIENCE, || (world.pair.home.status()?["queue"] == 0).then_some(()));
}
