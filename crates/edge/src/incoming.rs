//! A message that comes in, on its way to either kind of home.

use std::sync::Arc;

use mail::{ItemId, Reply, Verdict};
use net::smtp_server::Answers;

use super::foreign::{ForeignHome, Passage};
use super::handoff::{HandOff, Telling};
use super::homes::{Home, KnownHome};

/// The home that a message is for.
#[derive(Clone)]
pub(crate) enum Target {
    /// A Postern, with the snapshot that its recipients were checked by.
    Paired(Arc<Home>, Arc<KnownHome>),
    /// Another program.
    Foreign(Arc<ForeignHome>),
}

impl Target {
    /// Whether both are one home.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Paired(one, _), Self::Paired(other, _)) => Arc::ptr_eq(one, other),
            (Self::Foreign(one), Self::Foreign(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The largest message that it takes, in octets.
    pub(crate) fn message_octets_max(&self) -> u64 {
        match self {
            Self::Paired(_, kept) => kept.snapshot.message_octets_max,
            Self::Foreign(home) => home.message_octets_max(),
        }
    }
}

/// The message.
pub(crate) enum Incoming {
    /// It is handed to a Postern, live or sealed.
    HandOff(HandOff),
    /// It is passed on to another program.
    Passage(Passage),
}

impl Incoming {
    /// The home and the item under which it may keep the message; `None` when nobody here knows it again.
    pub(crate) fn identity(&self) -> Option<(Arc<Home>, ItemId)> {
        match self {
            Self::HandOff(message) => Some((message.home(), message.item())),
            Self::Passage(_) => None,
        }
    }

    /// Octets of the message so far.
    pub(crate) const fn octets(&self) -> u64 {
        match self {
            Self::HandOff(message) => message.octets(),
            Self::Passage(message) => message.octets(),
        }
    }

    /// Whether the message was given up already; what still comes of it is let go.
    pub(crate) const fn is_refused(&self) -> bool {
        match self {
            Self::HandOff(message) => message.is_refused(),
            Self::Passage(message) => message.is_refused(),
        }
    }

    /// Takes memory for so many octets that are held elsewhere for this message, in all.
    pub(crate) async fn hold(&mut self, octets: usize) {
        match self {
            Self::HandOff(message) => message.hold(octets).await,
            Self::Passage(message) => message.hold(octets).await,
        }
    }

    /// Takes a piece of the message; the first is the whole header section.
    pub(crate) async fn body(&mut self, piece: &[u8]) {
        match self {
            Self::HandOff(message) => message.body(piece).await,
            Self::Passage(message) => message.body(piece).await,
        }
    }

    /// Gives the message up; this will be the reply.
    pub(crate) fn refuse(&mut self, reply: Reply) {
        match self {
            Self::HandOff(message) => message.refuse(reply),
            Self::Passage(message) => message.refuse(reply),
        }
    }

    /// The message will not be completed.
    pub(crate) fn abort(&mut self) {
        match self {
            Self::HandOff(message) => message.abort(),
            // Nobody has anything of it yet.
            Self::Passage(_) => {}
        }
    }

    /// The message is whole and was judged: it is refused.
    pub(crate) fn refused(self, reply: &Reply, why: &str) {
        match self {
            Self::HandOff(message) => message.refused(reply, why),
            Self::Passage(message) => message.refused(reply, why),
        }
    }

    /// The message is whole: gives the replies for the sender when it is safe, or is not.
    pub(crate) async fn finish(self, verdict: Verdict, telling: Telling) -> Answers {
        match self {
            Self::HandOff(message) => message.finish(verdict, telling).await,
            Self::Passage(message) => message.finish(verdict, telling).await,
        }
    }
}
