//! How a message came.

use link::Open;
use mail::Verdict;

use crate::filters::Arrived;

/// A message that is whole, with all that is known of how it came.
pub(super) struct Arrival {
    pub(super) open: Box<Open>,
    pub(super) edge: String,
    pub(super) sealed: bool,
    /// The verdict that Edge gave.
    pub(super) verdict: Verdict,
}

impl Arrival {
    /// What a refusal would mean. Whoever reports abuse, or writes to postmaster, and to nobody else, is heard.
    pub(super) fn arrived(&self) -> Arrived {
        let reachable = ["postmaster", "abuse"];
        let mut locals = self.open.envelope.recipients.iter().map(|recipient| recipient.address.local());
        match (self.sealed, locals.all(|local| reachable.iter().any(|name| local.eq_ignore_ascii_case(name))))
        {
            (false, false) => Arrived::Live,
            (false, true) => Arrived::LiveForPostmaster,
            (true, false) => Arrived::Sealed,
            (true, true) => Arrived::SealedForPostmaster,
        }
    }
}
