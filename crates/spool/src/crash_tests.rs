//! Every step on the disk fails once, is the last before the power goes, and is the last before the process
//! dies; each time what was acknowledged has to be in force afterwards, and nothing may be there in part.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use mail::ItemId;

use crate::failing_disk::{FailingDisk, Fault};
use crate::{Options, Receipt, Spool, SpoolError};

const DIR: &str = "/spool";
/// Runs per step where chance decides what of the unsynced is lost.
const SEEDS: u64 = 4;

/// One thing that is asked of the spool.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// Item, octets of its body.
    Append(u8, usize),
    /// The same through a draft that is written in five parts.
    Draft(u8, usize),
    /// Item, version of its meta.
    Update(u8, u8),
    Remove(u8),
}

/// What an item holds: its meta and its body. `None`: it is not there.
type Content = Option<(Vec<u8>, Vec<u8>)>;

/// Bursts of operations, each on other items. A burst is asked at once and waited for as a whole, so that
/// some share a batch. It rolls over segments of 4 KiB, leaves whole dead segments and sparse ones.
fn script() -> Vec<Vec<Op>> {
    let mut bursts = Vec::new();
    for first in (0..24).step_by(4) {
        bursts.push((first..first + 4).map(|n| Op::Append(n, 300 + usize::from(n) * 40)).collect());
    }
    bursts.push(vec![Op::Draft(40, 20_000), Op::Append(41, 0)]);
    bursts.push(vec![Op::Update(3, 1), Op::Update(9, 1), Op::Update(40, 1), Op::Remove(4)]);
    for n in (0..24).filter(|n| n % 8 != 3 && *n != 4 && *n != 9) {
        bursts.push(vec![Op::Remove(n)]);
    }
    bursts.push(vec![Op::Update(3, 2), Op::Append(50, 3000), Op::Append(51, 3000)]);
    bursts.push(vec![Op::Draft(42, 9000), Op::Remove(40)]);
    bursts.push(vec![Op::Append(52, 3000), Op::Remove(50), Op::Update(42, 1), Op::Remove(9)]);
    bursts.push(vec![Op::Append(53, 3000), Op::Remove(51), Op::Append(9, 10)]);
    bursts.push(vec![Op::Append(54, 3000), Op::Remove(52), Op::Remove(41)]);
    bursts
}

fn id(n: u8) -> ItemId {
    ItemId::from_bytes([n; 16])
}

fn body(n: u8, octets: usize) -> Vec<u8> {
    (0..octets).map(|at| n ^ u8::try_from(at % 251).unwrap()).collect()
}

/// What each item may hold now: one content once it is acknowledged, two while it is in doubt.
#[derive(Default)]
struct Expected {
    items: BTreeMap<u8, Vec<Content>>,
}

impl Expected {
    fn of(&mut self, n: u8) -> &mut Vec<Content> {
        self.items.entry(n).or_insert_with(|| vec![None])
    }

    /// The contents that may be there once the operation is in force.
    fn after(&mut self, op: Op) -> (u8, Vec<Content>) {
        match op {
            // An item that is there already stays as it is.
            Op::Append(n, octets) | Op::Draft(n, octets) => {
                let new = || Some((vec![n, 0], body(n, octets)));
                let content = |old: &Content| old.clone().or_else(new);
                (n, self.of(n).iter().map(content).collect())
            }
            Op::Update(n, version) => {
                let content = |old: &Content| old.as_ref().map(|(_, body)| (vec![n, version], body.clone()));
                (n, self.of(n).iter().map(content).collect())
            }
            Op::Remove(n) => (n, vec![None]),
        }
    }

    fn begin(&mut self, op: Op) {
        let (n, after) = self.after(op);
        self.of(n).extend(after);
    }

    fn acknowledge(&mut self, op: Op) {
        let (n, after) = self.after(op);
        *self.of(n) = after;
    }

    /// Looks at the whole spool; what is found counts as in force from then on.
    fn check(&mut self, spool: &Spool, files: &[String], when: &str) {
        let mut there = 0;
        let mut large = 0;
        for (n, contents) in &mut self.items {
            let found = content_of(spool, *n).unwrap_or_else(|error| panic!("{when}: item {n}: {error}"));
            assert!(contents.contains(&found), "{when}: item {n}: {}", describe(&found, contents));
            there += usize::from(found.is_some());
            large += usize::from(files.contains(&crate::draft::large_name(id(*n))) && found.is_some());
            *contents = vec![found];
        }
        assert_eq!(spool.count(), there, "{when}: items that nobody added");
        assert_eq!(spool.list(None, usize::MAX).len(), there, "{when}");
        let loose = files.iter().filter(|name| !name.starts_with("segment-")).count();
        assert_eq!(loose, large, "{when}: files left over in {files:?}");
    }
}

fn describe(found: &Content, expected: &[Content]) -> String {
    let short = |content: &Content| {
        content.as_ref().map(|(meta, body)| format!("meta {meta:?}, {} octets", body.len()))
    };
    format!("{:?} instead of one of {:?}", short(found), expected.iter().map(short).collect::<Vec<_>>())
}

fn content_of(spool: &Spool, n: u8) -> Result<Content, SpoolError> {
    match spool.meta(id(n)) {
        Ok(meta) => Ok(Some((meta, spool.body(id(n))?.read(0, usize::MAX)?.to_vec()))),
        Err(SpoolError::NoItem(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(disk: &FailingDisk) -> Result<Spool, SpoolError> {
    let options = Options { segment_octets: 4096, ..Options::default() };
    Spool::open(Path::new(DIR), options, Arc::new(disk.clone()))
}

fn start(spool: &Spool, op: Op) -> Receiver<Result<Receipt, SpoolError>> {
    let (tx, rx) = channel();
    let done = Box::new(move |result| tx.send(result).unwrap());
    match op {
        Op::Append(n, octets) => spool.append(id(n), vec![n, 0], vec![Bytes::from(body(n, octets))], done),
        Op::Update(n, version) => spool.update(id(n), vec![n, version], done),
        Op::Remove(n) => spool.remove(id(n), done),
        Op::Draft(n, octets) => {
            let body = body(n, octets);
            let written = spool.draft(id(n)).and_then(|mut draft| {
                let written = body.chunks(octets / 5).try_for_each(|part| draft.write_all(part));
                written.map(|()| draft).map_err(|error| SpoolError::io("write a draft", &error))
            });
            match written {
                Ok(draft) => spool.append_draft(draft, vec![n, 0], done),
                Err(error) => done(Err(error)),
            }
        }
    }
    rx
}

/// Does the bursts until the machine is off; failed operations are tried once more while it is not.
fn work(disk: &FailingDisk, spool: &Spool, bursts: &[Vec<Op>], expected: &mut Expected, when: &str) -> usize {
    for (done, burst) in bursts.iter().enumerate() {
        let answers: Vec<_> = burst
            .iter()
            .map(|op| {
                expected.begin(*op);
                (*op, start(spool, *op))
            })
            .collect();
        for (op, answer) in answers {
            match answer.recv().unwrap() {
                Ok(_) => expected.acknowledge(op),
                Err(_) if disk.is_dead() => {}
                Err(error) => {
                    assert!(disk.has_failed(), "{when}: {op:?} failed for no reason: {error}");
                    again(spool, op, expected, when);
                }
            }
        }
        if disk.is_dead() {
            return done;
        }
    }
    bursts.len()
}

/// The client's second try: the disk works again, so it has to be taken.
fn again(spool: &Spool, op: Op, expected: &mut Expected, when: &str) {
    match start(spool, op).recv().unwrap() {
        Ok(_) => expected.acknowledge(op),
        Err(error) => panic!("{when}: {op:?} failed a second time: {error}"),
    }
}

/// One run with the fault at that step. `false` when the work was done before the step came.
fn run(fault: Fault, step: u64, seed: u64) -> bool {
    let when = format!("{fault:?} at step {step}, seed {seed}");
    let disk = FailingDisk::new(seed ^ (step << 8));
    let bursts = script();
    let mut expected = Expected::default();
    disk.fail_at(step, fault);
    let spool = match open(&disk) {
        Err(_) if !disk.is_dead() => Some(open(&disk).expect("the second try")),
        opened => opened.ok(),
    };
    let done = spool.as_ref().map_or(0, |spool| work(&disk, spool, &bursts, &mut expected, &when));
    drop(spool);
    let failed = disk.has_failed();
    disk.restart();
    let mut spool = open(&disk).unwrap_or_else(|error| panic!("{when}: {error}"));
    expected.check(&spool, &disk.file_names(), &when);
    if fault == Fault::Kill {
        // What the clients did not hear of they send again; then it is acknowledged, and the power may go.
        let burst = bursts.get(done).cloned().unwrap_or_default();
        for op in burst {
            expected.begin(op);
            again(&spool, op, &mut expected, &when);
        }
        drop(spool);
        disk.lose_power();
        spool = open(&disk).unwrap_or_else(|error| panic!("{when}, then no power: {error}"));
        expected.check(&spool, &disk.file_names(), &format!("{when}, then no power"));
    }
    finish(&disk, spool, &bursts[done..], &mut expected, &when);
    failed
}

/// The rest of the work after the restart, and one more restart.
fn finish(disk: &FailingDisk, spool: Spool, rest: &[Vec<Op>], expected: &mut Expected, when: &str) {
    let when = format!("{when}, the work after it");
    for op in rest.iter().flatten() {
        expected.begin(*op);
        let answer = start(&spool, *op).recv().unwrap();
        match (op, answer) {
            (_, Ok(_)) => expected.acknowledge(*op),
            // The item was removed by an operation that is done a second time here.
            (Op::Update(..), Err(SpoolError::NoItem(_))) => {}
            (op, Err(error)) => panic!("{when}: {op:?}: {error}"),
        }
    }
    drop(spool);
    disk.lose_power();
    let spool = open(disk).unwrap_or_else(|error| panic!("{when}: {error}"));
    expected.check(&spool, &disk.file_names(), &when);
}

fn every_step(fault: Fault, seeds: u64) {
    let comes = |step| (0..seeds).filter(|seed| run(fault, step, *seed)).count() > 0;
    let steps = (1..).find(|step| !comes(*step));
    assert!(steps > Some(100), "the script takes more steps than {steps:?}");
}

#[test]
fn an_error_at_any_step_costs_nothing_that_was_acknowledged() {
    every_step(Fault::Error, SEEDS);
}

#[test]
fn a_power_loss_at_any_step_costs_nothing_that_was_acknowledged() {
    every_step(Fault::PowerLoss, SEEDS);
}

#[test]
fn what_is_acknowledged_after_a_killed_process_survives_a_power_loss() {
    every_step(Fault::Kill, SEEDS);
}

#[test]
fn nothing_is_lost_when_the_power_goes_between_two_bursts() {
    for bursts in 0..=script().len() {
        for seed in 0..SEEDS {
            let when = format!("after {bursts} bursts, seed {seed}");
            let disk = FailingDisk::new(seed);
            let mut expected = Expected::default();
            let spool = open(&disk).unwrap();
            work(&disk, &spool, &script()[..bursts], &mut expected, &when);
            drop(spool);
            disk.lose_power();
            let spool = open(&disk).unwrap_or_else(|error| panic!("{when}: {error}"));
            expected.check(&spool, &disk.file_names(), &when);
        }
    }
}
