//! What the doctor asks of a Home that runs.

use std::sync::Arc;

use daemon::clock::Clock;
use directory::Directory;
use outbound::queue::Queue;

use crate::dkim::DomainKeys;
use crate::edges::Edges;
use crate::in_force::InForce;
use crate::quarantine::Quarantine;
use crate::traveller::Traveller;

/// What the doctor asks of this home.
pub(crate) struct CheckupParts {
    /// The configuration.
    pub(crate) config: InForce,
    /// The people.
    pub(crate) directory: Directory,
    /// The outbound queue.
    pub(crate) queue: Queue,
    /// The edges.
    pub(crate) edges: Edges,
    /// The keys that sign.
    pub(crate) keys: DomainKeys,
    /// What a message is sent round with.
    pub(crate) traveller: Traveller,
    /// The quarantine.
    pub(crate) quarantine: Quarantine,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}
