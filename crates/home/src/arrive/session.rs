//! A message that comes in an SMTP session of ours and is answered there.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use link::Open;
use mail::{Reply, Verdict};
use tokio::sync::mpsc;

use super::buffer::Buffer;
use super::deliver::{self, Arrival};
use super::waiting::Waiting;
use super::{Arrivals, not_now};

/// It takes the same way as a live message of an edge's: the same filters, mailboxes and rules.
pub(crate) struct SessionArrival {
    shared: Arc<Arrivals>,
    buffer: Buffer,
}

impl SessionArrival {
    /// An empty one.
    pub(crate) fn new(shared: Arc<Arrivals>) -> Self {
        let buffer = Buffer::new(Arc::clone(&shared));
        Self { shared, buffer }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// What the disk said; the message can't be taken then.
    pub(crate) fn push(&mut self, piece: Bytes) -> io::Result<()> {
        self.buffer.push(piece)
    }

    /// The message is whole: one reply per recipient, in the envelope's order. `by` is the name of the host that
    /// took it, for its trace field.
    pub(crate) async fn deliver(self, open: Open, by: String, verdict: Verdict) -> Vec<Reply> {
        let recipients = open.envelope.recipients.len();
        let (session, mut replies) = mpsc::unbounded_channel();
        let arrival = Arrival { open: Box::new(open), edge: by, sealed: false, verdict };
        deliver::arrived(&self.shared, arrival, self.buffer, Waiting::Session(session));
        replies.recv().await.unwrap_or_else(|| vec![not_now(); recipients])
    }
}
