//! A tunnel between two hosts, of which one dials. It stands for WireGuard, which not every kernel has: IP in UDP, on an
//! interface without a wire.

use std::path::Path;
use std::time::Duration;

use crate::process::{self, Process};
use crate::until;

const PATIENCE: Duration = Duration::from_secs(30);
const SCRIPT: &str = include_str!("tunnel.py");
/// What the interface is called.
const NAME: &str = "tun0";

/// The part that an end plays.
#[derive(Debug, Clone, Copy)]
pub enum End<'a> {
    /// It waits at this address for the other.
    Listens(&'a str),
    /// It dials the other there, and tells it again and again where it is itself.
    Dials(&'a str),
}

/// One end. The interface goes with it when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    _process: Process,
}

impl Tunnel {
    /// Starts an end in a namespace that has this address and network within the tunnel, such as `10.8.0.1/24`. It is carried
    /// by UDP to this port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(namespace: &str, own: &str, end: End<'_>, port: u16, dir: &Path) -> Self {
        let (role, address) = match end {
            End::Listens(address) => ("listen", address),
            End::Dials(address) => ("dial", address),
        };
        let mut python = process::command(Some(namespace), "/usr/bin/python3");
        python.args(["-c", SCRIPT, NAME, own, role, address, &port.to_string()]);
        let process = Process::start(python, &dir.join(format!("tunnel-{role}.log")));
        until("the tunnel's end is there", PATIENCE, || process.log().contains("ready").then_some(()));
        Self { _process: process }
    }
}
