//! A question that is asked while the session goes on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// Work that was begun, and is waited for later: what DNS says is often known already, and then costs no task. Dropped, it
/// goes no further.
pub(crate) enum Begun<T> {
    /// It ended with its first step. `None` once that was given away.
    Done(Option<T>),
    /// It goes on in a task of its own.
    Runs(AbortOnDropHandle<T>),
}

impl<T: Send + 'static> Begun<T> {
    /// Does its first step here, and what is left in a task.
    pub(crate) fn begin(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut work = Box::pin(work);
        let first = AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        match catch_unwind(first) {
            Ok(Poll::Ready(done)) => Self::Done(Some(done)),
            // The task asks again, with a waker that counts.
            Ok(Poll::Pending) => Self::Runs(AbortOnDropHandle::new(tokio::spawn(work))),
            // What breaks over a stranger's words is the end of the question, not of the session.
            Err(fault) => {
                let broken = async move { resume_unwind(fault) };
                Self::Runs(AbortOnDropHandle::new(tokio::spawn(broken)))
            }
        }
    }
}

impl<T: Unpin> Future for Begun<T> {
    /// An error when the work panicked.
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Done(done) => done.take().map_or(Poll::Pending, |done| Poll::Ready(Ok(done))),
            Self::Runs(task) => Pin::new(task).poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_known_takes_no_task_and_what_is_not_goes_on_in_one() {
        let known = Begun::begin(async { 1 });
        assert!(matches!(known, Begun::Done(Some(1))));
        assert_eq!(known.await.unwrap(), 1);
        let (answer, asked) = oneshot::channel();
        let unknown = Begun::begin(async move { asked.await.unwrap() });
        assert!(matches!(unknown, Begun::Runs(_)));
        answer.send(2).unwrap();
        assert_eq!(unknown.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_fault_in_it_is_told_to_who_waits_and_ends_nothing_else() {
        assert!(Begun::<u8>::begin(async { panic!("a fault") }).await.is_err_and(|error| error.is_panic()));
    }

    #[tokio::test]
    async fn nobody_is_asked_further_for_a_session_that_is_gone() {
        let (mut answer, asked) = oneshot::channel::<()>();
        drop(Begun::begin(asked));
        answer.closed().await;
    }
}
