//! TLS towards other MTAs: what a destination has published, what it demands of a host, and whether a
//! certificate meets it.
//!
//! DANE (RFC 6698, RFC 7672), MTA-STS (RFC 8461) and reports on both (RFC 8460), without I/O and without a
//! clock: records, policies and certificates come in as octets, decisions go out. Asking DNS, fetching policies
//! and handshakes are `net`'s.

pub mod certificate;
pub mod demand;
pub mod mta_sts;
pub mod report;
pub mod reporting;
pub mod tlsa;

pub use demand::{Dane, Demand, Refusal};
