//! Who carries out attempts: what it is called, and what it is.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a carrier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CarrierKind {
    /// An edge of ours: it keeps outcomes until Home has them, and is asked about attempts whenever it comes.
    Edge,
    /// An MTA of another kind: what it was given is known only as long as the Home that gave it runs.
    Smarthost,
}

/// A carrier, as the queue's records and the trace name it. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "Recorded")]
pub struct CarrierName {
    kind: CarrierKind,
    name: Arc<str>,
}

impl CarrierName {
    /// An edge, by its host name.
    #[must_use]
    pub fn edge(name: &str) -> Self {
        Self { kind: CarrierKind::Edge, name: name.into() }
    }

    /// A smarthost, by its `HOST:PORT`.
    #[must_use]
    pub fn smarthost(address: &str) -> Self {
        Self { kind: CarrierKind::Smarthost, name: address.into() }
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> CarrierKind {
        self.kind
    }

    /// What it is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for CarrierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The fields that say it in a record. Both were one before: a smarthost was known by the port in its name.
#[derive(Serialize, Deserialize)]
struct Recorded {
    edge: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carrier: Option<CarrierKind>,
}

impl From<Recorded> for CarrierName {
    fn from(Recorded { edge, carrier }: Recorded) -> Self {
        let by_its_name = || if edge.contains(':') { CarrierKind::Smarthost } else { CarrierKind::Edge };
        Self { kind: carrier.unwrap_or_else(by_its_name), name: edge.into() }
    }
}

impl From<CarrierName> for Recorded {
    fn from(carrier: CarrierName) -> Self {
        Self { edge: carrier.name.as_ref().to_owned(), carrier: Some(carrier.kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> CarrierName {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_record_says_what_a_carrier_is_and_an_older_one_by_the_port_in_its_name() {
        assert_eq!(read(r#"{"edge":"mx.example.org"}"#), CarrierName::edge("mx.example.org"));
        for address in ["10.8.0.1:465", "[fd00::1]:465", "mx.example.net:587"] {
            let json = format!(r#"{{"edge":"{address}"}}"#);
            assert_eq!(read(&json), CarrierName::smarthost(address));
        }
        for carrier in [CarrierName::edge("mx.example.org"), CarrierName::smarthost("10.8.0.1:465")] {
            assert_eq!(read(&serde_json::to_string(&carrier).unwrap()), carrier);
        }
        // What is written wins over what the name looks like.
        let odd = read(r#"{"edge":"mx.example.org","carrier":"smarthost"}"#);
        assert_eq!((odd.kind(), odd.as_str()), (CarrierKind::Smarthost, "mx.example.org"));
    }
}
