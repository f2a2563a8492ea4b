//! Much at one time, until one moment.

use tokio::time::Instant;

use crate::facts::Fact;

/// What comes of this until then; else that nothing came.
pub(crate) async fn until<T>(deadline: Instant, work: impl Future<Output = Fact<T>>) -> Fact<T> {
    let done = tokio::time::timeout_at(deadline, work).await;
    done.unwrap_or_else(|_| Err("nothing was heard in time".to_owned()))
}

/// Does all of this at one time.
pub(crate) async fn all<F: Future>(work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = work.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (one, done) in &mut waiting {
            if done.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}
