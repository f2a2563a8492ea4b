//! What Edge found out about a message while it arrived.

use serde::{Deserialize, Serialize};

/// Edge's typed finding; it follows the body, because it is complete only then, and travels sealed as well.
/// Fields are added, never changed: a role that does not know one leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// `Received` fields the message came with.
    #[serde(default)]
    pub hops: u32,
}
