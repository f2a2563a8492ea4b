//! The port to those who carry out attempts.

mod name;

use content::Content;
use link::{Attempt, AttemptState, Outcomes};
use mail::{Domain, ItemId};

pub use name::{CarrierKind, CarrierName};

/// The edges, or a smarthost in their place. A carrier is in `up` before its [`CarrierEvent::Up`] is given, and one that
/// is asked of an attempt that it was ordered on the same link says that it is running.
pub trait Carriers: Send + Sync + 'static {
    /// Those who are there, the preferred one first.
    fn up(&self) -> Vec<CarrierName>;

    /// Those who are there and can take mail to this domain, the preferred one first: where the domain is a carrier's own name,
    /// nobody but that one knows who is there.
    fn up_for(&self, _domain: &Domain) -> Vec<CarrierName> {
        self.up()
    }

    /// Orders an attempt. `false`: it is not there, nothing has left.
    fn start(&self, carrier: &CarrierName, attempt: Attempt, content: Content) -> bool;

    /// Asks what is known of an attempt. `false`: it is not there.
    fn ask(&self, carrier: &CarrierName, attempt: ItemId) -> bool;

    /// Lets a carrier forget an attempt's outcomes. `false`: it is not there; they come again when it is.
    fn settled(&self, carrier: &CarrierName, attempt: ItemId) -> bool;
}

/// Events that may wait for the dispatcher; who has one more waits until there is room, and reads no link meanwhile.
pub const CARRIER_EVENTS_MAX: usize = 4096;

/// What the dispatcher hears of carriers.
#[derive(Debug)]
pub enum CarrierEvent {
    /// This carrier is there.
    Up(CarrierName),
    /// This carrier is gone.
    Down(CarrierName),
    /// Outcomes of an attempt.
    Outcomes {
        /// The carrier that made the attempt.
        carrier: CarrierName,
        /// Outcomes, one for each recipient.
        outcomes: Outcomes,
    },
    /// The answer to a question about an attempt.
    Known {
        /// The carrier that was asked.
        carrier: CarrierName,
        /// The attempt.
        attempt: ItemId,
        /// The carrier's knowledge of the attempt.
        state: AttemptState,
    },
}
