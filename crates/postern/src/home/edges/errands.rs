//! Errands under way: what Edge is to do in the world for a report, and who waits for its word.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{Errand, ErrandResult, Frame};
use mail::ItemId;
use tokio::sync::oneshot;

use super::Edges;
use crate::system;

/// How long an edge may take; its own patience is shorter.
const PATIENCE: Duration = Duration::from_secs(90);

/// Nobody can run it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEdge;

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
            // Whoever waited may have gone.
            let _ = waits.send(result);
        }
    }
}

impl Edges {
    /// Has an edge that is up run an errand.
    ///
    /// # Errors
    /// [`NoEdge`]: no edge that can is up; nothing was done. A link that is lost, or an edge that is silent, is a
    /// failure of the errand.
    pub async fn run_errand(&self, errand: Errand) -> Result<ErrandResult, NoEdge> {
        let (frames, errands) = self.errand_runner().ok_or(NoEdge)?;
        let (id, (sender, receiver)) = (system::new_item_id(), oneshot::channel());
        errands.waiting().insert(id, sender);
        frames.send(Frame::Errand(id, Box::new(errand)));
        let failed = |cause: &str| ErrandResult::Failed(cause.to_owned());
        // The link's own handle has to be the last one, or its end would not be noticed.
        let errands = Arc::downgrade(&errands);
        let result = match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => failed("the link to Edge was lost"),
            Err(_) => failed("Edge did not answer"),
        };
        if let Some(errands) = errands.upgrade() {
            errands.waiting().remove(&id);
        }
        Ok(result)
    }
}
