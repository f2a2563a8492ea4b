//! Errands under way: what Edge is to do in the world for a report, and who waits for its word.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{EdgeStatus, Errand, ErrandResult, Frame};
use mail::ItemId;
use net::link_session::FrameSender;
use tokio::sync::oneshot;

use super::Edges;

/// How long an edge may take; its own patience is shorter.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long an edge may take to say how it is doing: a person waits.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// No edge is up that could run the errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoEdge;

/// The errands on one link. When the link ends, all who wait learn it.
#[derive(Default)]
pub(super) struct Errands(Mutex<HashMap<ItemId, oneshot::Sender<ErrandResult>>>);

impl Errands {
    fn waiting(&self) -> MutexGuard<'_, HashMap<ItemId, oneshot::Sender<ErrandResult>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Edge has done an errand, or says that it has.
    pub(super) fn done(&self, id: ItemId, result: ErrandResult) {
        let waits = self.waiting().remove(&id);
        if let Some(waits) = waits {
            // Who waited for the result may have given up.
            let _ = waits.send(result);
        }
    }

    /// Runs one under this id. A link that is lost, or an edge that is silent, is a failure of the errand.
    pub(super) async fn run(
        self: Arc<Self>,
        frames: &FrameSender,
        id: ItemId,
        errand: Errand,
    ) -> ErrandResult {
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id, sender);
        frames.send(Frame::Errand(id, Box::new(errand)));
        // The link's own handle has to be the last one, or its end would not be noticed.
        let errands = Arc::downgrade(&self);
        drop(self);
        let failed = |cause: &str| ErrandResult::Failed(cause.to_owned());
        let result = match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => failed("the link to Edge was lost"),
            Err(_) => failed("Edge did not answer"),
        };
        if let Some(errands) = errands.upgrade() {
            errands.waiting().remove(&id);
        }
        result
    }
}

impl Edges {
    /// Has an edge that is up run an errand.
    ///
    /// # Errors
    /// [`NoEdge`]: no edge that can is up; nothing was done.
    pub(crate) async fn run_errand(&self, errand: Errand) -> Result<ErrandResult, NoEdge> {
        let (frames, errands) = self.errand_runner().ok_or(NoEdge)?;
        Ok(errands.run(&frames, self.0.arrivals.clock.new_item_id(), errand).await)
    }

    /// How the edges are doing that are up and say so, by name.
    pub(crate) async fn edge_statuses(&self) -> BTreeMap<String, EdgeStatus> {
        let asked = self.status_tellers().into_iter().map(|(name, frames, errands)| {
            let id = self.0.arrivals.clock.new_item_id();
            tokio::spawn(async move {
                let said = errands.run(&frames, id, Errand::Status);
                match tokio::time::timeout(STATUS_PATIENCE, said).await {
                    Ok(ErrandResult::Status(status)) => Some((name, *status)),
                    _ => None,
                }
            })
        });
        let asked: Vec<_> = asked.collect();
        let mut all = BTreeMap::new();
        for said in asked {
            all.extend(said.await.ok().flatten());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use super::*;
    use net::link_session;

    fn errand() -> Errand {
        Errand::FindReporting(Domain::parse("a.example").unwrap())
    }

    async fn waiting(errands: &Errands) -> ItemId {
        loop {
            let id = errands.waiting().keys().next().copied();
            match id {
                Some(id) => return id,
                None => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_the_result_the_end_of_the_link_or_that_it_takes_too_long() {
        let (frames, _queue) = link_session::frame_queue();
        let begin = |errands: &Arc<Errands>| {
            let (errands, frames) = (Arc::clone(errands), frames.clone());
            tokio::spawn(async move { errands.run(&frames, daemon::system::new_item_id(), errand()).await })
        };
        let errands = Arc::new(Errands::default());
        let running = begin(&errands);
        let id = waiting(&errands).await;
        errands.done(ItemId::from_bytes([9; 16]), ErrandResult::Posted);
        errands.done(id, ErrandResult::Reporting(Vec::new()));
        assert_eq!(running.await.unwrap(), ErrandResult::Reporting(Vec::new()), "and no other");
        let silent = begin(&errands).await.unwrap();
        assert_eq!(silent, ErrandResult::Failed("Edge did not answer".to_owned()));
        assert!(errands.waiting().is_empty(), "nothing is left of it");
        let running = begin(&errands);
        waiting(&errands).await;
        drop(errands);
        assert_eq!(running.await.unwrap(), ErrandResult::Failed("the link to Edge was lost".to_owned()));
    }
}
