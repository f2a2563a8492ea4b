//! The threads on which sealed items are opened.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The work of a thread: it opens one item.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A few threads that open sealed items: cryptography is work, and more threads than processors only hold
/// more memory.
#[derive(Clone)]
pub(crate) struct Unsealers(std::sync::mpsc::Sender<Job>);

impl Unsealers {
    /// Starts them. They end with the last clone.
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, receiver) = std::sync::mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8);
        for _ in 0..threads {
            let jobs = Arc::clone(&receiver);
            std::thread::Builder::new().name("unsealer".to_owned()).spawn(move || {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    job();
                }
            })?;
        }
        Ok(Self(sender))
    }

    /// Runs a job on the next thread that is free.
    pub(crate) fn run(&self, job: Job) {
        // Fails only when every thread has ended, which none does while this handle lives.
        let _ = self.0.send(job);
    }
}
