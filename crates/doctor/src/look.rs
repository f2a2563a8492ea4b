//! Gathers facts: what DNS says, which ports answer, how the machine is.
//!
//! Everything at one time, and all of it until one moment: whoever asks waits for a number of seconds that is known before,
//! however many name servers are dead.

mod apart;
mod deadline;
mod edge;
mod home;
mod host;
mod names;
mod port;
mod real;
mod world;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use apart::apart;
pub use edge::{EdgeKnows, edge, own_names};
pub use home::{DomainKnows, EdgePlace, HomeKnows, NOBODY, home};
pub use host::{HostKnows, host, own_addresses};
pub use real::RealWorld;
pub use world::{MailQuestions, World};

/// How long Edge looks when Home asks it: what Home waits for, with the way there and back, is longer.
pub const EDGE_PATIENCE: Duration = Duration::from_secs(10);
/// How long Home looks.
pub const HOME_PATIENCE: Duration = Duration::from_secs(14);
