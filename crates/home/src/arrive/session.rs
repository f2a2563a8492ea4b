//! A message that comes in an SMTP session of ours and is answered there.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use link::Open;
use mail::{Reply, Verdict};

use super::arrival::Arrival;
use super::arrivals::{Arrivals, not_now};
use super::buffer::Buffer;
use super::take::take;

/// It takes the same way as a live message of an edge's: the same filters, mailboxes and rules.
pub(crate) struct SessionArrival {
    shared: Arc<Arrivals>,
    /// None when the disk has lost it.
    buffer: Option<Buffer>,
}

impl SessionArrival {
    /// A session without a message.
    pub(crate) fn new(shared: Arc<Arrivals>) -> Self {
        let buffer = Some(Buffer::new(&shared));
        Self { shared, buffer }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// What the disk said; the message can't be taken then.
    pub(crate) async fn push(&mut self, piece: Bytes) -> io::Result<()> {
        let mut buffer = self.buffer.take().ok_or_else(lost)?;
        if let Err(piece) = buffer.hold(piece) {
            buffer = buffer.written(vec![piece]).await?;
        }
        self.buffer = Some(buffer);
        Ok(())
    }

    /// The message is whole: one reply per recipient, in the envelope's order. `by` is the name of the host that
    /// took it, for its trace field.
    pub(crate) async fn deliver(self, open: Open, by: String, verdict: Verdict) -> Vec<Reply> {
        let recipients = open.envelope.recipients.len();
        let arrival = Arrival { open: Box::new(open), edge: by, sealed: false, verdict };
        let (shared, Some(buffer)) = (self.shared, self.buffer) else { return vec![not_now(); recipients] };
        // A task of its own: a client that goes away half way does not leave half a message.
        let taken = tokio::spawn(async move { take(&shared, arrival, buffer.whole()).await });
        taken.await.unwrap_or_else(|_| vec![not_now(); recipients])
    }
}

fn lost() -> io::Error {
    io::Error::other("a part of it could not be kept")
}
