//! Messages of a link that are being taken in, in the link's own task: no task of their own, and one wake for all that a
//! commit of the store has settled.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use link::Answer;
use mail::{ItemId, Reply};

use super::arrivals::not_now;

type Boxed = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// They go on as far as somebody waits for an answer.
#[derive(Default)]
pub(super) struct Takings(FuturesUnordered<Boxed>);

impl Takings {
    /// Begins with one. A fault of ours in it is the fate of that message alone: it is put off.
    pub(super) fn push(
        &mut self,
        item: ItemId,
        recipients: usize,
        taking: impl Future<Output = Vec<Reply>> + Send + 'static,
    ) {
        self.0
            .push(Box::pin(async move { Answer { item, replies: caught(item, recipients, taking).await } }));
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next answer. Waits for ever where nothing is under way.
    pub(super) async fn next(&mut self) -> Answer {
        match self.0.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Another that is there already. Whoever calls it waits for the next one afterwards.
    pub(super) fn next_now(&mut self) -> Option<Answer> {
        self.0.next().now_or_never().flatten()
    }

    /// Ends what is under way, for nobody.
    pub(super) async fn finish(mut self) {
        while self.0.next().await.is_some() {}
    }
}

/// The replies to a message. A fault of ours in it is answered as well: who waits for the answer would wait for ever.
pub(super) async fn caught(
    item: ItemId,
    recipients: usize,
    taking: impl Future<Output = Vec<Reply>>,
) -> Vec<Reply> {
    AssertUnwindSafe(taking).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%item, "a fault in Postern: a message could not be taken; it stays with Edge");
        vec![not_now(); recipients]
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn item(octet: u8) -> ItemId {
        ItemId::from_bytes([octet; 16])
    }

    #[tokio::test]
    async fn answers_come_as_they_are_there_and_a_fault_in_one_is_no_other_s() {
        let mut under_way = Takings::default();
        let (first, waits) = oneshot::channel();
        under_way.push(item(1), 1, async move { vec![waits.await.unwrap()] });
        under_way.push(item(2), 2, async { panic!("a fault") });
        let fault = under_way.next().await;
        assert_eq!((fault.item, fault.replies), (item(2), vec![not_now(); 2]));
        assert!(under_way.next_now().is_none());
        let kept = Reply::new(250, (2, 0, 0), "kept");
        first.send(kept.clone()).unwrap();
        let answer = under_way.next().await;
        assert_eq!((answer.item, answer.replies), (item(1), vec![kept]));
        assert!(under_way.is_empty());
    }

    #[tokio::test]
    async fn what_is_under_way_is_ended_when_nobody_waits_for_answers() {
        let mut under_way = Takings::default();
        let (told, hears) = oneshot::channel();
        under_way.push(item(1), 1, async move {
            tokio::task::yield_now().await;
            told.send(()).unwrap();
            Vec::new()
        });
        under_way.finish().await;
        hears.await.unwrap();
    }
}
