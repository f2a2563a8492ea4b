//! Who carries out attempts for this Home: its edges, or a smarthost in their place.

use content::Content;
use link::{Attempt, AttemptState};
use mail::{Domain, ItemId};
use outbound::{CarrierEvent, CarrierKind, CarrierName, Carriers};

use crate::edges::Edges;
use crate::smarthost::{Smarthost, told};

/// Who carries out attempts: the smarthost if there is one, else the edges. Of attempts that were ordered before the
/// configuration changed, whoever got them is asked.
pub(crate) struct OwnCarriers {
    /// Edges of ours.
    pub edges: Edges,
    /// The smarthost.
    pub smarthost: Option<Smarthost>,
}

impl OwnCarriers {
    /// The one that is configured, and no earlier one.
    fn smarthost(&self, name: &CarrierName) -> Option<&Smarthost> {
        self.smarthost.as_ref().filter(|smarthost| smarthost.name() == name)
    }
}

impl Carriers for OwnCarriers {
    fn up(&self) -> Vec<CarrierName> {
        self.smarthost.as_ref().map_or_else(|| self.edges.up(), |smarthost| vec![smarthost.name().clone()])
    }

    fn up_for(&self, domain: &Domain) -> Vec<CarrierName> {
        // An edge's test address is at its name.
        let own: Vec<CarrierName> =
            self.edges.up().into_iter().filter(|edge| edge.as_str() == domain.as_str()).collect();
        if own.is_empty() { self.up() } else { own }
    }

    fn start(&self, carrier: &CarrierName, attempt: Attempt, content: Content) -> bool {
        match (carrier.kind(), self.smarthost(carrier)) {
            (CarrierKind::Edge, _) => self.edges.start(carrier.as_str(), attempt, content),
            (CarrierKind::Smarthost, Some(smarthost)) => {
                smarthost.begin(attempt, content);
                true
            }
            (CarrierKind::Smarthost, None) => false,
        }
    }

    fn ask(&self, carrier: &CarrierName, attempt: ItemId) -> bool {
        match (carrier.kind(), self.smarthost(carrier)) {
            (CarrierKind::Edge, _) => self.edges.ask(carrier.as_str(), attempt),
            (CarrierKind::Smarthost, Some(smarthost)) => {
                smarthost.ask(attempt);
                true
            }
            (CarrierKind::Smarthost, None) => {
                // What an earlier one was given ended with the Home that gave it.
                let (carrier, state) = (carrier.clone(), AttemptState::Unknown);
                told(&self.edges.events(), CarrierEvent::Known { carrier, attempt, state });
                true
            }
        }
    }

    fn settled(&self, carrier: &CarrierName, attempt: ItemId) -> bool {
        match carrier.kind() {
            CarrierKind::Edge => self.edges.settled(carrier.as_str(), attempt),
            CarrierKind::Smarthost => self.smarthost(carrier).is_some(),
        }
    }
}
