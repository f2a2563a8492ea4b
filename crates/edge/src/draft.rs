//! The sealed copy of a large message that Edge keeps on its disk until Home has answered.
//!
//! It is sealed and written on threads that may block, next to the link and not between its frames: the
//! message waits for the disk only when the disk is a whole batch behind.

use std::io;

use bytes::Bytes;
use link::Open;
use mail::{ItemId, Verdict};
use seal::{SealTo, Sealing};
use spool::{Draft, SpoolError};
use tokio::task::JoinHandle;

use super::homes::Home;

/// Pieces of a message that are sealed and written in one go.
const BATCH_PIECES: usize = 2;

type Written = io::Result<Box<Sealing<Draft>>>;

/// A draft on its way to the disk. Dropped, it is removed.
pub(crate) struct SealedDraft {
    /// The batch that is being written; `None` only after a failure.
    writing: Option<JoinHandle<Written>>,
    /// Pieces of the next batch.
    pending: Vec<Bytes>,
}

impl SealedDraft {
    /// Begins the draft of an item with what there is of it.
    pub(crate) fn begin(
        home: &Home,
        seal_to: &SealTo,
        open: &Open,
        item: ItemId,
        pieces: Vec<Bytes>,
    ) -> Self {
        let (spool, seal_to, open) = (home.sealed.clone(), seal_to.clone(), open.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let draft = spool.draft(item).map_err(in_io_terms)?;
            write(Box::new(Sealing::begin(&seal_to, draft, &open)?), &pieces)
        });
        Self { writing: Some(writing), pending: Vec::new() }
    }

    /// Takes a piece. Waits for the disk when a batch is full and the one before it is not yet written.
    ///
    /// # Errors
    /// What the disk said, of this batch or the one before; the draft is then of no use.
    pub(crate) async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        self.pending.push(piece);
        if self.pending.len() >= BATCH_PIECES {
            let sealing = self.written().await?;
            let pieces = std::mem::take(&mut self.pending);
            self.writing = Some(tokio::task::spawn_blocking(move || write(sealing, &pieces)));
        }
        Ok(())
    }

    /// Ends the draft; the file is whole, and not yet durable.
    ///
    /// # Errors
    /// The disk's error.
    pub(crate) async fn finish(mut self, verdict: Verdict) -> io::Result<Draft> {
        let sealing = self.written().await?;
        let pieces = std::mem::take(&mut self.pending);
        let finished = tokio::task::spawn_blocking(move || write(sealing, &pieces)?.finish(&verdict));
        finished.await.map_err(io::Error::other)?
    }

    async fn written(&mut self) -> Written {
        let Some(writing) = &mut self.writing else {
            return Err(io::Error::other("the draft was given up after an error"));
        };
        let written = writing.await;
        self.writing = None;
        written.map_err(io::Error::other)?
    }
}

impl Drop for SealedDraft {
    /// To remove a large file takes time: it is done where it may block.
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if let Ok(Ok(sealing)) = writing.await {
                    tokio::task::spawn_blocking(move || drop(sealing));
                }
            });
        }
    }
}

fn write(mut sealing: Box<Sealing<Draft>>, pieces: &[Bytes]) -> Written {
    pieces.iter().try_for_each(|piece| sealing.write(piece))?;
    Ok(sealing)
}

fn in_io_terms(error: SpoolError) -> io::Error {
    match error {
        SpoolError::Full { .. } => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => io::Error::other(error),
    }
}
