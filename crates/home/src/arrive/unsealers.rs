//! The threads on which sealed items are opened.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// The work of a thread: it opens one item.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A few threads that open sealed items: cryptography is work, and more threads than processors only hold
/// more memory.
#[derive(Clone)]
pub(crate) struct Unsealers(SyncSender<Job>);

/// Items of all links that may wait for a thread, each in memory that is counted or in a file; an edge has far fewer under
/// way.
const WAITING_MAX: usize = 1024;

impl Unsealers {
    /// Starts them. They end with the last clone.
    pub(crate) fn start() -> io::Result<Self> {
        Self::of(std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8))
    }

    fn of(threads: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(WAITING_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads {
            let jobs = Arc::clone(&receiver);
            std::thread::Builder::new().name("unsealer".to_owned()).spawn(move || {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    // A fault over one item must not take the thread from all that come after it.
                    if catch_unwind(AssertUnwindSafe(job)).is_err() {
                        tracing::error!(
                            "a fault in Postern: a sealed item could not be opened; it stays with Edge"
                        );
                    }
                }
            })?;
        }
        Ok(Self(sender))
    }

    /// Runs a job on the next thread that is free. `false`, and it is not run, when too many wait.
    pub(crate) fn run(&self, job: Job) -> bool {
        // No thread ends while this handle lives.
        self.0.try_send(job).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_over_one_item_leaves_the_thread_to_the_next() {
        let unsealers = Unsealers::of(1).unwrap();
        let (done, heard) = sync_channel(1);
        assert!(unsealers.run(Box::new(|| panic!("a fault"))));
        assert!(unsealers.run(Box::new(move || done.send(()).unwrap())));
        heard.recv().unwrap();
    }

    #[test]
    fn as_many_items_wait_for_a_thread_as_may_and_one_more_is_not_taken() {
        let unsealers = Unsealers::of(1).unwrap();
        let (begin, begun) = sync_channel(0);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        assert!(unsealers.run(Box::new(move || {
            begin.send(()).unwrap();
            let _ = ended.recv();
        })));
        begun.recv().unwrap();
        let (done, count) = sync_channel(WAITING_MAX);
        for _ in 0..WAITING_MAX {
            let done = done.clone();
            assert!(unsealers.run(Box::new(move || done.send(()).unwrap())));
        }
        assert!(!unsealers.run(Box::new(|| ())));
        end.send(()).unwrap();
        drop(done);
        assert_eq!(count.iter().count(), WAITING_MAX);
        assert!(unsealers.run(Box::new(|| ())), "there is room again");
    }
}
