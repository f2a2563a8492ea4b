//! What all arrivals share, whether they come over a link or in a session of ours.

use std::path::Path;
use std::sync::Arc;

use content::Budget;
use daemon::clock::Clock;
use daemon::trace::Trace;
use directory::Directory;
use mail::Reply;
use seal::UnsealWith;
use tokio::runtime::Handle;

use super::repeats::Repeats;
use super::unsealers::Unsealers;
use crate::filters::Filters;
use crate::forward::Forwarder;
use crate::keeper::Keeper;
use crate::quarantine::Quarantine;
use crate::round_trips::RoundTrips;

/// The parts of Home that arrivals of all links share.
pub(crate) struct Arrivals {
    /// The keeper, who takes copies into mailboxes.
    pub keeper: Keeper,
    /// The accounts and aliases.
    pub directory: Directory,
    /// The trace.
    pub trace: Trace,
    /// Who is asked about the content of messages, if anybody.
    pub filters: Option<Arc<Filters>>,
    /// The messages that are kept for the operator.
    pub quarantine: Quarantine,
    /// The forwarder, for recipients that lead elsewhere.
    pub forwarder: Arc<Forwarder>,
    /// The key that opens sealed items.
    pub unseal: UnsealWith,
    /// The threads on which they are opened.
    pub unsealers: Unsealers,
    /// The directory for temporary files.
    pub drafts: Arc<Path>,
    /// Memory for bodies in flight.
    pub memory: Budget,
    /// Memory for what waits to be written.
    pub waiting: Budget,
    /// Most octets of one message.
    pub message_octets_max: u64,
    /// What senders may send again, since they may not have heard the 250.
    pub repeats: Repeats,
    /// Messages of Home's own that are on their way round.
    pub round_trips: RoundTrips,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where a message that came over a link is taken in.
    pub runtime: Handle,
}

impl Arrivals {
    /// Does work beside the link. With filters it ends when Home stops: what it was about is not answered then, and so
    /// stays with Edge.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        match &self.filters {
            Some(filters) => filters.spawn(work),
            None => drop(self.runtime.spawn(work)),
        }
    }
}

/// The sender, or Edge, keeps it and comes again.
pub(super) fn not_now() -> Reply {
    Reply::new(451, (4, 3, 0), "The message could not be kept; try again later")
}

/// The address leads elsewhere alone, and nothing is sent there.
pub(super) fn not_sent_on() -> Reply {
    Reply::new(550, (5, 2, 1), "Mail for this address is not taken at present")
}

/// Nobody here has the address.
pub(super) fn unknown() -> Reply {
    Reply::new(550, (5, 1, 1), "There is no such recipient here")
}
