//! What waits for a writer: bounded in number and in octets of memory.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::StoreError;

/// A queue between many threads that ask and the one that writes.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
    jobs_max: usize,
    octets_max: usize,
}

struct State<T> {
    waiting: VecDeque<(T, usize)>,
    octets: usize,
    closed: bool,
    /// Threads that sleep until there is a job, and until there is room. Nobody is woken where nobody sleeps: that is a
    /// system call for each job.
    takers: usize,
    pushers: usize,
}

/// The jobs that a writer got, or why it got none.
pub(crate) enum Taken<T> {
    /// At least one job, in order.
    Jobs(Vec<T>),
    /// Nothing came in the time given.
    Idle,
    /// Nothing will come any more.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(jobs_max: usize, octets_max: usize) -> Self {
        let state = State { waiting: VecDeque::new(), octets: 0, closed: false, takers: 0, pushers: 0 };
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        Self { state: Mutex::new(state), filled, emptied, jobs_max, octets_max }
    }

    /// Adds a job that holds so many octets, or gives it back with the reason.
    pub(crate) fn offer(&self, job: T, octets: usize) -> Result<(), (T, StoreError)> {
        let mut state = self.lock();
        if state.closed {
            return Err((job, StoreError::Closed));
        }
        if !self.has_room(&state, octets) {
            return Err((job, StoreError::Busy));
        }
        self.add(&mut state, job, octets);
        Ok(())
    }

    /// Adds a job, after waiting for room.
    pub(crate) fn push(&self, job: T, octets: usize) -> Result<(), StoreError> {
        let mut state = self.lock();
        let full = |state: &mut State<T>| !state.closed && !self.has_room(state, octets);
        state.pushers += 1;
        let mut state = self.emptied.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        state.pushers -= 1;
        if state.closed {
            return Err(StoreError::Closed);
        }
        self.add(&mut state, job, octets);
        Ok(())
    }

    /// Waits until there is a job, or the queue is closed, or the time is over. Tells whether more jobs may gather: there
    /// is one, less than a batch of so many jobs and octets waits, and the queue is open.
    pub(crate) fn wait(&self, jobs_max: usize, octets_max: usize, patience: Duration) -> bool {
        let state = self.filled(patience);
        let less = state.waiting.len() < jobs_max && state.octets < octets_max;
        !state.waiting.is_empty() && less && !state.closed
    }

    fn filled(&self, patience: Duration) -> MutexGuard<'_, State<T>> {
        let mut state = self.lock();
        let empty = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        state.takers += 1;
        let waited = self.filled.wait_timeout_while(state, patience, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.takers -= 1;
        state
    }

    /// Takes up to so many jobs and octets, waiting for the first; at least one job however large.
    pub(crate) fn take(&self, jobs_max: usize, octets_max: usize, patience: Duration) -> Taken<T> {
        let mut state = self.filled(patience);
        let mut jobs = Vec::new();
        let mut octets = 0_usize;
        while let Some((_, held)) = state.waiting.front()
            && jobs.len() < jobs_max
            && (jobs.is_empty() || octets.saturating_add(*held) <= octets_max)
        {
            octets = octets.saturating_add(*held);
            jobs.extend(state.waiting.pop_front().map(|(job, _)| job));
        }
        state.octets = state.octets.saturating_sub(octets);
        if state.pushers > 0 {
            self.emptied.notify_all();
        }
        match (jobs.is_empty(), state.closed) {
            (false, _) => Taken::Jobs(jobs),
            (true, false) => Taken::Idle,
            (true, true) => Taken::Closed,
        }
    }

    /// Refuses new jobs; those that wait are still taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    fn has_room(&self, state: &State<T>, octets: usize) -> bool {
        let fits = state.octets.saturating_add(octets) <= self.octets_max || state.waiting.is_empty();
        state.waiting.len() < self.jobs_max && fits
    }

    fn add(&self, state: &mut State<T>, job: T, octets: usize) {
        state.octets = state.octets.saturating_add(octets);
        state.waiting.push_back((job, octets));
        if state.takers > 0 {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let queue = Queue::new(2, 10);
        assert!(queue.offer(1, 5).is_ok());
        assert!(queue.offer(2, 5).is_ok());
        assert_eq!(queue.offer(3, 0), Err((3, StoreError::Busy)));
        assert!(matches!(queue.take(1, 10, Duration::ZERO), Taken::Jobs(jobs) if jobs == [1]));
        assert_eq!(queue.offer(3, 6), Err((3, StoreError::Busy)));
        assert!(queue.offer(3, 5).is_ok());
    }

    #[test]
    fn a_job_larger_than_the_whole_queue_is_taken_alone() {
        let queue = Queue::new(10, 10);
        assert!(queue.offer(1, 100).is_ok());
        assert_eq!(queue.offer(2, 1), Err((2, StoreError::Busy)));
        assert!(matches!(queue.take(9, 10, Duration::ZERO), Taken::Jobs(jobs) if jobs == [1]));
    }

    #[test]
    fn jobs_gather_while_there_is_one_and_less_than_a_batch_and_the_queue_is_open() {
        let queue = Queue::new(10, 100);
        let gathers = || queue.wait(2, 10, Duration::ZERO);
        assert!(!gathers(), "nothing came");
        assert!(queue.offer(1, 9).is_ok() && gathers());
        assert!(queue.offer(2, 0).is_ok() && !gathers(), "as many jobs as a batch takes");
        assert!(matches!(queue.take(1, 10, Duration::ZERO), Taken::Jobs(_)) && gathers());
        assert!(matches!(queue.take(1, 10, Duration::ZERO), Taken::Jobs(_)));
        assert!(queue.offer(3, 10).is_ok() && !gathers(), "as many octets");
        assert!(matches!(queue.take(1, 10, Duration::ZERO), Taken::Jobs(_)));
        assert!(queue.offer(4, 0).is_ok() && gathers());
        queue.close();
        assert!(!gathers());
    }

    #[test]
    fn what_waits_is_taken_after_the_queue_is_closed() {
        let queue = Queue::new(10, 10);
        assert!(queue.offer(1, 0).is_ok());
        queue.close();
        assert_eq!(queue.offer(2, 0), Err((2, StoreError::Closed)));
        assert!(matches!(queue.take(9, 10, Duration::ZERO), Taken::Jobs(_)));
        assert!(matches!(queue.take(9, 10, Duration::ZERO), Taken::Closed));
    }
}
