//! Who carries out attempts for this Home: its edges, or a smarthost in their place.

use content::Content;
use link::{Attempt, AttemptState};
use mail::ItemId;
use outbound::{CarrierEvent, Carriers};

use crate::edges::Edges;
use crate::smarthost::Smarthost;

/// Who carries out attempts: the smarthost if there is one, else the edges. Of attempts that were ordered before the
/// configuration changed, whoever got them is asked.
pub(crate) struct OwnCarriers {
    /// Edges of ours.
    pub edges: Edges,
    /// The smarthost.
    pub smarthost: Option<Smarthost>,
}

impl OwnCarriers {
    fn smarthost(&self, name: &str) -> Option<&Smarthost> {
        self.smarthost.as_ref().filter(|smarthost| smarthost.name() == name)
    }
}

impl Carriers for OwnCarriers {
    fn up(&self) -> Vec<String> {
        self.smarthost.as_ref().map_or_else(|| self.edges.up(), |smarthost| vec![smarthost.name().to_owned()])
    }

    fn start(&self, name: &str, attempt: Attempt, content: Content) -> bool {
        match self.smarthost(name) {
            Some(smarthost) => {
                smarthost.begin(attempt, content);
                true
            }
            None => self.edges.start(name, attempt, content),
        }
    }

    fn ask(&self, name: &str, attempt: ItemId) -> bool {
        match self.smarthost(name) {
            Some(smarthost) => smarthost.ask(attempt),
            None if is_of_a_smarthost(name) => {
                // What an earlier one was given ended with the Home that gave it.
                let (carrier, state) = (name.to_owned(), AttemptState::Unknown);
                self.edges.events().try_send(CarrierEvent::Known { carrier, attempt, state }).is_ok()
            }
            None => self.edges.ask(name, attempt),
        }
    }

    fn settled(&self, name: &str, attempt: ItemId) -> bool {
        self.smarthost(name).is_some() || self.edges.settled(name, attempt)
    }
}

/// A smarthost's name is its address and port; an edge's is a host name.
fn is_of_a_smarthost(name: &str) -> bool {
    name.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_smarthost_is_told_from_an_edge_by_its_port() {
        assert!(is_of_a_smarthost("10.8.0.1:465") && is_of_a_smarthost("[fd00::1]:465"));
        assert!(!is_of_a_smarthost("mx.example.org"));
    }
}
