//! Several things begun together, with one task for all of them.

use std::pin::Pin;
use std::task::Poll;

/// Waits for all of them; their results are in their order. Each is begun before any is waited for.
pub(super) async fn together<F: Future>(work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut work: Vec<Waited<F>> = work.into_iter().map(|one| Waited::For(Box::pin(one))).collect();
    std::future::poll_fn(|context| {
        let mut waits = false;
        for one in &mut work {
            if let Waited::For(future) = one {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *one = Waited::Done(output),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let done = |one| match one {
        Waited::Done(output) => Some(output),
        Waited::For(_) => None,
    };
    work.into_iter().filter_map(done).collect()
}

enum Waited<F: Future> {
    For(Pin<Box<F>>),
    Done(F::Output),
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn all_are_begun_before_one_is_waited_for_and_come_in_their_order() {
        let (first, mut firsts) = oneshot::channel();
        let mut first = Some(first);
        let mut firsts = Some(&mut firsts);
        let mut work: Vec<Pin<Box<dyn Future<Output = u8>>>> = Vec::new();
        let waited = firsts.take().unwrap();
        work.push(Box::pin(async move { waited.await.unwrap() }));
        let told = first.take().unwrap();
        work.push(Box::pin(async move {
            told.send(1).unwrap();
            2
        }));
        assert_eq!(together(work).await, [1, 2]);
        assert!(together(Vec::<std::future::Ready<u8>>::new()).await.is_empty());
    }
}
