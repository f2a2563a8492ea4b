//! In which order things fail, how long, and what fails meanwhile.

use std::time::{Duration, Instant};

use testkit::random::Random;

use super::excuses::{self, Excuses};
use super::fault::{FAULTS, Fault};
use super::traffic::Traffic;
use crate::world::World;

/// From here on every second of the faults that can be long ones is; in a shorter run one of all.
const LONG_RUN_MINUTES: u64 = 5;
/// A short one, in milliseconds.
const SHORT: [u64; 2] = [1_000, 3_000];
/// A short one of the link: Home's answer comes too late, and comes.
const LATE: [u64; 2] = [2_500, 4_000];
/// A long one outlasts the patience of a link, which is 30 s.
const LONG: [u64; 2] = [35_000, 45_000];
/// One turn in so many has two faults at one time.
const TWICE_IN: u64 = 4;

/// The run that is asked for.
pub(super) struct Run<'a> {
    duration: Duration,
    is_long: bool,
    /// What a fault's name must have in it.
    word: &'a str,
}

impl<'a> Run<'a> {
    pub(super) const fn of(minutes: u64, word: &'a str) -> Self {
        Self { duration: Duration::from_secs(60 * minutes), is_long: minutes >= LONG_RUN_MINUTES, word }
    }
}

/// What happens in one turn. It follows from the seed and the turns before, not from the time that they took.
struct Turn {
    fault: &'static Fault,
    hold: Duration,
    /// Another one that begins before the first is mended, and is mended after it.
    second: Option<&'static Fault>,
}

/// Draws the turns.
struct Turns<'a> {
    random: &'a mut Random,
    is_long: bool,
    all: Vec<&'static Fault>,
    order: Vec<&'static Fault>,
    /// The one that lasts long in a short run, once.
    long: Option<&'static str>,
}

impl<'a> Turns<'a> {
    fn new(random: &'a mut Random, run: &Run<'_>) -> Self {
        let all: Vec<_> = FAULTS.iter().filter(|fault| fault.name.contains(run.word)).collect();
        let lasting: Vec<_> = all.iter().filter(|fault| fault.lasting).map(|fault| fault.name).collect();
        let long = draw(random, &lasting).copied().filter(|_| !run.is_long);
        Self { random, is_long: run.is_long, all, order: Vec::new(), long }
    }

    /// All faults in a new order each time.
    fn next(&mut self) -> Turn {
        if self.order.is_empty() {
            self.order = self.all.clone();
            shuffle(&mut self.order, self.random);
        }
        let fault = self.order.pop().expect("a fault");
        let is_long = match self.is_long {
            true => fault.lasting && self.random.below(2) == 0,
            false => self.long.take_if(|name| *name == fault.name).is_some(),
        };
        let [from, to] = match (is_long, fault.lasting) {
            (true, _) => LONG,
            (false, true) => LATE,
            (false, false) => SHORT,
        };
        let hold = Duration::from_millis(from + self.random.below(to - from));
        let is_shared = self.random.below(TWICE_IN) == 0 && !is_long;
        let second = is_shared.then(|| self.take_one_beside(fault)).flatten();
        Turn { fault, hold, second }
    }

    /// One that may happen at the same time; the long one comes alone.
    fn take_one_beside(&mut self, fault: &Fault) -> Option<&'static Fault> {
        let fits = |other: &&Fault| other.may_join(fault) && self.long != Some(other.name);
        let at = self.order.iter().rposition(fits)?;
        Some(self.order.remove(at))
    }
}

fn draw<'a, T>(random: &mut Random, among: &'a [T]) -> Option<&'a T> {
    let at = random.below(among.len().max(1) as u64);
    among.get(usize::try_from(at).expect("a small number"))
}

fn shuffle(order: &mut [&'static Fault], random: &mut Random) {
    for at in (1..order.len()).rev() {
        let other = usize::try_from(random.below(at as u64 + 1)).expect("a small number");
        order.swap(at, other);
    }
}

/// Lets it all happen until the time is up and each has happened; mail has to go on after each. Gives what may have come
/// more than once.
pub(super) fn disturb(world: &mut World, traffic: &Traffic, random: &mut Random, run: &Run<'_>) -> Excuses {
    let (begun, mut excuses) = (Instant::now(), Excuses::default());
    traffic.goes_on(world, "the beginning");
    let mut turns = Turns::new(random, run);
    let mut happened = 0;
    while happened < turns.all.len() || begun.elapsed() < run.duration {
        let turn = turns.next();
        happened += 1 + usize::from(turn.second.is_some());
        let names: Vec<_> = std::iter::once(turn.fault).chain(turn.second).map(|fault| fault.name).collect();
        let names = names.join(", and ");
        println!("{:>6.1} s  {names} for {:.1} s", begun.elapsed().as_secs_f64(), turn.hold.as_secs_f64());
        let kills_edge = turn.fault.kills_edge || turn.second.is_some_and(|fault| fault.kills_edge);
        let before = kills_edge.then(|| excuses::forgotten(world));
        take(world, &turn);
        traffic.goes_on(world, &names);
        if let Some(before) = before {
            excuses.learn(world, &before);
        }
    }
    excuses
}

fn take(world: &mut World, turn: &Turn) {
    (turn.fault.begin)(world);
    let Some(second) = turn.second else {
        std::thread::sleep(turn.hold);
        return (turn.fault.mend)(world);
    };
    let part = turn.hold / 2;
    std::thread::sleep(part);
    (second.begin)(world);
    std::thread::sleep(part);
    (turn.fault.mend)(world);
    std::thread::sleep(part);
    (second.mend)(world);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(seed: u64, minutes: u64) -> Vec<(&'static str, Duration, Option<&'static str>)> {
        let mut random = Random::new(seed);
        let mut turns = Turns::new(&mut random, &Run::of(minutes, ""));
        let mut all = Vec::new();
        let mut count = 0;
        while count < FAULTS.len() {
            let turn = turns.next();
            count += 1 + usize::from(turn.second.is_some());
            all.push((turn.fault.name, turn.hold, turn.second.map(|fault| fault.name)));
        }
        all
    }

    #[test]
    fn the_seed_says_what_happens_and_each_fault_does_once() {
        for seed in 1..50 {
            let once = turns(seed, 2);
            assert_eq!(once, turns(seed, 2));
            let mut names: Vec<_> =
                once.iter().flat_map(|(name, _, second)| [Some(*name), *second]).flatten().collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), FAULTS.len());
        }
    }

    #[test]
    fn a_short_run_has_one_fault_that_outlasts_a_link() {
        for seed in 1..50 {
            let long = turns(seed, 2).iter().filter(|(_, hold, _)| hold.as_secs() >= 35).count();
            assert_eq!(long, 1, "seed {seed}");
        }
    }

    #[test]
    fn two_at_one_time_do_not_take_hold_of_the_same_thing() {
        let find = |name: &str| FAULTS.iter().find(|fault| fault.name == name).unwrap();
        assert!(!find("Edge is killed").may_join(find("Edge stands still")));
        assert!(find("Edge is killed").may_join(find("the link is silent")));
        assert!((1..50).any(|seed| turns(seed, 2).iter().any(|(_, _, second)| second.is_some())));
    }
}
