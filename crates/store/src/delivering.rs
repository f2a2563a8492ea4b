//! The answer to a delivery, to be awaited on any runtime.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{Done, Receipt, StoreError};

/// A delivery that was asked for: it ends with its receipt or the reason. Dropping it does not take the delivery back.
#[derive(Debug)]
pub struct Delivering(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    Asked(Option<Waker>),
    Answered(Result<Receipt, StoreError>),
}

/// Answers once. Whoever drops it unanswered says that the store is closed.
struct AnswerOnce(Arc<Mutex<State>>);

impl Delivering {
    /// One, and what it is answered by.
    pub(crate) fn new() -> (Self, Done) {
        let state = Arc::new(Mutex::new(State::Asked(None)));
        let answer = AnswerOnce(Arc::clone(&state));
        (Self(state), Box::new(move |outcome| answer.give(outcome)))
    }
}

impl AnswerOnce {
    fn give(&self, outcome: Result<Receipt, StoreError>) {
        let before = std::mem::replace(&mut *lock(&self.0), State::Answered(outcome));
        if let State::Asked(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Drop for AnswerOnce {
    fn drop(&mut self) {
        if matches!(*lock(&self.0), State::Asked(_)) {
            self.give(Err(StoreError::Closed));
        }
    }
}

impl Future for Delivering {
    type Output = Result<Receipt, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *lock(&self.0) {
            State::Answered(outcome) => Poll::Ready(outcome.clone()),
            State::Asked(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_by_the_answer_and_by_its_loss() {
        let receipt = Receipt { uid: 1, uidvalidity: 2, duplicate: false };
        for expected in [Ok(receipt), Err(StoreError::Closed)] {
            let (mut delivering, done) = Delivering::new();
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut context = Context::from_waker(&waker);
            assert!(Pin::new(&mut delivering).poll(&mut context).is_pending());
            match expected {
                Ok(receipt) => done(Ok(receipt)),
                Err(_) => drop(done),
            }
            assert_eq!(woken.0.load(Ordering::SeqCst), 1);
            assert_eq!(Pin::new(&mut delivering).poll(&mut context), Poll::Ready(expected));
        }
    }

    #[test]
    fn an_answer_that_is_there_before_anybody_asks_is_given_at_once() {
        let (mut delivering, done) = Delivering::new();
        done(Err(StoreError::Busy));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut delivering).poll(&mut context), Poll::Ready(Err(StoreError::Busy)));
    }
}
