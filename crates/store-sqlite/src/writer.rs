//! The threads that write. An account belongs to one of them, so its changes have an order.
//!
//! A writer drains its queue into one transaction per account, commits, and only then answers. While it
//! waits for the disk the next batch gathers, so the number of fsyncs falls as the load rises.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use store::{StoreError, Watches};

use crate::change::{Change, Effects};
use crate::fault::Fault;
use crate::files::account_file;
use crate::large::LargeBodies;
use crate::options::Options;
use crate::queue::{Queue, Taken};
use crate::reader::Pool;
use crate::schema;

/// Accounts a writer keeps open.
const OPEN_MAX: usize = 8;
/// After so long without work a writer closes its files.
const IDLE: Duration = Duration::from_secs(20);
/// How long a batch waits for more jobs when the last one had several: larger commits share pages and syncs, and who adds
/// to it wakes nobody. A lone job never waits.
const GATHER: Duration = Duration::from_micros(700);
/// Octets written to the log before its pages are moved into the database file.
const CHECKPOINT_OCTETS: u64 = 8 * 1024 * 1024;
/// What a changed row is taken to add to the log, beside octets of bodies. An estimate: rows of a batch share pages.
const ROW_OCTETS: u64 = 2 * 4096;

/// Something that is to be done to an account in a transaction.
pub(crate) trait Job: Send {
    /// Does it. Called again after a rollback, when another job of the batch failed.
    fn apply(&mut self, change: &mut Change<'_>) -> Result<(), Fault>;
    /// Answers, after the commit or the failure.
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// A job made of two closures.
pub(crate) struct Task<T, A, D> {
    pub(crate) action: A,
    pub(crate) result: Option<T>,
    pub(crate) done: D,
}

impl<T, A, D> Job for Task<T, A, D>
where
    T: Send,
    A: FnMut(&mut Change<'_>) -> Result<T, Fault> + Send,
    D: FnOnce(Result<T, StoreError>) + Send,
{
    fn apply(&mut self, change: &mut Change<'_>) -> Result<(), Fault> {
        self.result = Some((self.action)(change)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, done, .. } = *self;
        done(outcome.and_then(|()| result.ok_or(StoreError::Closed)));
    }
}

/// One piece of work in a writer's queue.
pub(crate) enum Work {
    /// Change an account.
    Change(String, Box<dyn Job>),
    /// Close an account's file, run this while it is closed, go on.
    Closed(String, Box<dyn FnOnce() + Send>),
}

pub(crate) struct Writer {
    pub(crate) directory: PathBuf,
    pub(crate) queue: Arc<Queue<Work>>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) readers: Arc<Pool>,
    pub(crate) options: Options,
}

struct Open {
    account: String,
    file: PathBuf,
    large: Rc<LargeBodies>,
    connection: Connection,
    log_octets: u64,
}

/// The files that a writer has open.
#[derive(Default)]
struct OpenFiles {
    /// The most recently used is last.
    files: Vec<Open>,
    /// Of each account that was opened since the start: its files of large bodies are looked through once.
    large: HashMap<String, Rc<LargeBodies>>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(&self) {
        let mut open = OpenFiles::default();
        let mut several = false;
        let (jobs_max, octets_max) = (self.options.batch_jobs_max, self.options.batch_octets_max);
        loop {
            let mut patience = IDLE;
            if several {
                if self.queue.wait(jobs_max, octets_max, IDLE) {
                    std::thread::sleep(GATHER);
                }
                patience = Duration::ZERO;
            }
            match self.queue.take(jobs_max, octets_max, patience) {
                Taken::Jobs(work) => {
                    several = work.len() > 1;
                    self.batch(&mut open, work);
                }
                Taken::Idle => {
                    several = false;
                    open.files.clear();
                    self.readers.age();
                }
                Taken::Closed => return,
            }
        }
    }

    fn batch(&self, open: &mut OpenFiles, work: Vec<Work>) {
        let mut order: Vec<(String, Vec<Box<dyn Job>>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for work in work {
            match work {
                Work::Change(account, job) => match places.get(&account) {
                    Some(place) => order[*place].1.push(job),
                    None => {
                        places.insert(account.clone(), order.len());
                        order.push((account, vec![job]));
                    }
                },
                Work::Closed(account, action) => {
                    places.clear();
                    for (account, jobs) in order.drain(..) {
                        self.account(open, &account, jobs);
                    }
                    open.files.retain(|file| file.account != account);
                    action();
                }
            }
        }
        for (account, jobs) in order {
            self.account(open, &account, jobs);
        }
    }

    /// Runs one account's jobs and answers them.
    fn account(&self, open: &mut OpenFiles, account: &str, jobs: Vec<Box<dyn Job>>) {
        let file = match self.open(open, account) {
            Ok(file) => file,
            Err(error) => return answer(jobs.into_iter().map(|job| (job, Err(error.clone())))),
        };
        let before = file.connection.total_changes();
        let mut effects = Effects::default();
        let answers = commit_together(file, jobs, &mut effects);
        let committed = answers.iter().any(|(_, outcome)| outcome.is_ok());
        if committed && file.connection.total_changes() != before {
            self.watches.notify(account, &effects.changed);
        }
        let damaged = answers
            .iter()
            .any(|(_, outcome)| matches!(outcome, Err(StoreError::Database(_) | StoreError::Damaged(_))));
        effects.released.iter().for_each(|id| file.large.remove(*id));
        answer(answers);
        file.log_octets += effects.body_octets;
        file.log_octets += (file.connection.total_changes() - before).saturating_mul(ROW_OCTETS);
        if file.log_octets >= CHECKPOINT_OCTETS {
            file.log_octets = 0;
            // A reader in the way leaves pages for the next time; an error of the disk shows at the next commit.
            let _ = file.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        if damaged {
            open.files.retain(|file| file.account != account);
        }
    }

    fn open<'o>(&self, open: &'o mut OpenFiles, account: &str) -> Result<&'o mut Open, StoreError> {
        let OpenFiles { files, large: known } = open;
        let file = match files.iter().position(|file| file.account == account) {
            Some(place) => files.remove(place),
            None => {
                let file = account_file(&self.directory, account);
                if !file.exists() {
                    return Err(StoreError::NoAccount(account.to_owned()));
                }
                let connection = schema::open_writer(&file).map_err(|fault| fault.in_file(&file))?;
                let large = match known.get(account) {
                    Some(large) => Rc::clone(large),
                    None => {
                        let large = Rc::new(LargeBodies::of(&file));
                        large.sweep(&connection).map_err(|fault| fault.in_file(&file))?;
                        known.insert(account.to_owned(), Rc::clone(&large));
                        large
                    }
                };
                if files.len() >= OPEN_MAX {
                    files.remove(0);
                }
                Open { account: account.to_owned(), file, large, connection, log_octets: 0 }
            }
        };
        files.push(file);
        files.last_mut().ok_or(StoreError::Closed)
    }
}

type Answers = Vec<(Box<dyn Job>, Result<(), StoreError>)>;

/// All jobs in one transaction; one that fails is left out and does not harm the others.
fn commit_together(file: &Open, mut jobs: Vec<Box<dyn Job>>, effects: &mut Effects) -> Answers {
    let mut failed: Vec<Option<StoreError>> = vec![None; jobs.len()];
    match attempt(file, &mut jobs, &mut failed) {
        Ok(done) => {
            effects.body_octets += done.body_octets;
            effects.released.extend(done.released);
            effects.changed.extend(done.changed);
            jobs.into_iter().zip(failed).map(|(job, error)| (job, error.map_or(Ok(()), Err))).collect()
        }
        Err(error) if jobs.len() == 1 => jobs.into_iter().map(|job| (job, Err(error.clone()))).collect(),
        // Something failed half-way: the transaction is gone, so each job gets its own.
        Err(_) => jobs.into_iter().flat_map(|job| commit_together(file, vec![job], effects)).collect(),
    }
}

/// One transaction. A job that fails before it wrote anything is noted in `failed`; any other failure undoes all.
fn attempt(
    file: &Open,
    jobs: &mut [Box<dyn Job>],
    failed: &mut [Option<StoreError>],
) -> Result<Effects, StoreError> {
    let outcome = Change::begin(&file.connection, &file.large).and_then(|mut change| {
        match apply_all(&file.connection, &mut change, jobs, failed) {
            Ok(()) => change.commit(),
            Err(error) => {
                change.undo();
                Err(error)
            }
        }
    });
    if outcome.is_err() && !file.connection.is_autocommit() {
        let _ = file.connection.execute_batch("ROLLBACK");
    }
    outcome.map_err(|fault| fault.in_file(&file.file))
}

fn apply_all(
    connection: &Connection,
    change: &mut Change<'_>,
    jobs: &mut [Box<dyn Job>],
    failed: &mut [Option<StoreError>],
) -> Result<(), Fault> {
    for (job, failed) in jobs.iter_mut().zip(failed) {
        let before = connection.total_changes();
        match job.apply(change) {
            Ok(()) => {}
            Err(fault) if connection.total_changes() == before => *failed = Some(fault.into()),
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

fn answer(answers: impl IntoIterator<Item = (Box<dyn Job>, Result<(), StoreError>)>) {
    for (job, outcome) in answers {
        // A callback that panics must not take the mail of everybody else with it.
        let _ = catch_unwind(AssertUnwindSafe(|| job.finish(outcome)));
    }
}
