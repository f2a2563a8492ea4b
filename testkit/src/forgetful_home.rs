//! A home that takes a message and gives no reply to it. It offers no extension of SMTP.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::process::{self, Process};
use crate::{ports, until};

const SCRIPT: &str = include_str!("forgetful_home.py");

/// What it does after the end of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It closes the connection.
    Close,
    /// It says nothing and waits.
    Silent,
}

/// The home. It ends when it is dropped.
#[derive(Debug)]
pub struct ForgetfulHome {
    process: Process,
    address: SocketAddr,
    _dir: TempDir,
}

impl ForgetfulHome {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(certificate: &Certificate, manner: Manner) -> Self {
        let dir = crate::leavings::dir("forgetful");
        let address = ports::free();
        let mut python = process::command(None, "/usr/bin/python3");
        python.args(["-c", SCRIPT, &address.ip().to_string(), &address.port().to_string()]);
        python.arg(&certificate.chain).arg(&certificate.key);
        python.arg(if manner == Manner::Close { "close" } else { "silent" });
        let process = Process::start(python, &dir.path().join("log"));
        let home = Self { process, address, _dir: dir };
        until("the home is there", Duration::from_secs(30), || home.log().contains("ready").then_some(()));
        home
    }

    /// Where it takes mail, within TLS.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it did, a line for each message.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
