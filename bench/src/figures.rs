//! The figures, each in a file of its own.

mod destinations;
mod drain;
mod growth;
mod inbound;
mod large;
pub(crate) mod latency;
mod limit;
pub(crate) mod memory;
pub(crate) mod outbound;
mod sealed;

use crate::bench::Bench;
use crate::report::Row;

/// One figure.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// Measures it: the rows, and how it was done.
    pub(crate) measure: fn(&Bench) -> (Vec<Row>, String),
}

/// All, in the order of the report.
pub(crate) const ALL: &[Figure] = &[
    Figure { name: "inbound", measure: inbound::measure },
    Figure { name: "limit", measure: limit::measure },
    Figure { name: "latency", measure: latency::measure },
    Figure { name: "memory", measure: memory::measure },
    Figure { name: "sealed", measure: sealed::measure },
    Figure { name: "drain", measure: drain::measure },
    Figure { name: "outbound", measure: outbound::measure },
    Figure { name: "destinations", measure: destinations::measure },
    Figure { name: "large", measure: large::measure },
    Figure { name: "growth", measure: growth::measure },
];

/// The names of all figures.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|figure| figure.name).collect()
}
