//! What the bench asks of a mail system, ours or another.

use std::net::SocketAddr;

/// An edge and a home, running on loopback, with bob@example.org.
pub(crate) trait System {
    /// Where the edge takes mail from the internet.
    fn inbound(&self) -> SocketAddr;

    /// Messages that bob can read.
    fn delivered(&mut self) -> usize;

    /// The processes that it consists of; what these started belongs to it, too.
    fn processes(&self) -> Vec<u32>;

    /// Stops the home.
    fn send_home_away(&mut self);
}
