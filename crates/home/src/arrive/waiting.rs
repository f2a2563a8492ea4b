//! Who waits for the replies to a message: an edge on its link, or an SMTP session of ours.

use link::{Answer, Frame};
use mail::{ItemId, Reply};
use net::link_session::FrameSender;
use tokio::sync::mpsc;

/// Where the replies go. Dropped without any, whoever waits has to try again.
pub(super) enum Waiting {
    /// Over the link.
    Edge(FrameSender),
    /// To the session that the message came in.
    Session(mpsc::UnboundedSender<Vec<Reply>>),
}

impl Waiting {
    /// Sends the replies: one per recipient, or one to a sealed item.
    pub(super) fn answer(&self, item: ItemId, replies: Vec<Reply>) {
        match self {
            Self::Edge(frames) => frames.send(Frame::Answer(Answer { item, replies })),
            // The client may have gone.
            Self::Session(session) => drop(session.send(replies)),
        }
    }
}
