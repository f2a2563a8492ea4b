//! The body of an attempt on its way from the link to another MTA.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use link::{Frame, ReceiveWindow};
use mail::ItemId;
use net::smtp_client::{BodyLost, BodySource};
use tokio::sync::mpsc;

use super::homes::Home;

/// The body of an attempt as it comes over the link.
pub(crate) struct Feed {
    /// The attempt whose body it is.
    pub attempt: ItemId,
    /// The home that sends it.
    pub home: Arc<Home>,
    /// Pieces that have come and are not taken yet.
    pub pieces: mpsc::UnboundedReceiver<Bytes>,
    /// What may still come before a credit; shared with who takes it in.
    pub window: Arc<Mutex<ReceiveWindow>>,
    /// Octets that are still to be taken.
    pub left: u64,
    /// Whether a piece was taken: the attempt can't be begun anew on another connection then.
    pub begun: bool,
}

impl BodySource for Feed {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = self.pieces.recv().await.ok_or(BodyLost)?;
        self.begun = true;
        self.left = self.left.saturating_sub(piece.len() as u64);
        let credit = self.window.lock().unwrap_or_else(PoisonError::into_inner).consumed(piece.len());
        if let Some((credit, live)) = credit.zip(self.home.live()) {
            live.frames.send(Frame::Credit(self.attempt, credit));
        }
        Ok(Some(piece))
    }
}
