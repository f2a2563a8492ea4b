//! Several questions at once, without a runtime.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

enum Slot<F: Future> {
    Waiting(Pin<Box<F>>),
    Done(Option<F::Output>),
}

/// Waits for all; the answers are in the order of the questions. Whenever one wakes, all that still wait are
/// asked again: fit for the few dozen a message can lead to.
pub(crate) struct JoinAll<F: Future>(Vec<Slot<F>>);

pub(crate) fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> JoinAll<F> {
    JoinAll(futures.into_iter().map(|future| Slot::Waiting(Box::pin(future))).collect())
}

// Nothing in it is pinned in place: the futures are in boxes of their own.
impl<F: Future> Unpin for JoinAll<F> {}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slots = &mut self.get_mut().0;
        let mut waiting = false;
        for slot in slots.iter_mut() {
            if let Slot::Waiting(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Slot::Done(Some(output)),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            return Poll::Pending;
        }
        let outputs = slots.drain(..).filter_map(|slot| match slot {
            Slot::Done(output) => output,
            Slot::Waiting(_) => None,
        });
        Poll::Ready(outputs.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_wait_together_and_answer_in_order() {
        let barrier = tokio::sync::Barrier::new(3);
        let barrier = &barrier;
        let answers = join_all((0..3).map(|number| async move {
            barrier.wait().await;
            number
        }));
        assert_eq!(answers.await, [0, 1, 2]);
        assert!(join_all(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }
}
