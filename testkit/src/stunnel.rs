//! stunnel: TLS for a program that speaks SMTP without it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::namespace::within;
use crate::package::Package;
use crate::process::{self, Process};
use crate::until;

const PATIENCE: Duration = Duration::from_secs(60);
/// What the page does not say: it keeps its log to itself.
const MANNER: &str = "pid =\nsyslog = no\ndebug = notice\n";

/// One that runs. It ends when it is dropped.
#[derive(Debug)]
pub struct Stunnel {
    process: Process,
}

impl Stunnel {
    /// Starts one with these services, in a network namespace or on this host, and waits until it listens. Its files are
    /// in `dir`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(namespace: Option<&str>, services: &str, listens: SocketAddr, dir: &Path) -> Self {
        let config = dir.join("stunnel.conf");
        std::fs::write(&config, format!("{MANNER}{services}")).expect("a file");
        let program = Package::unpacked("stunnel4").root().join("usr/bin/stunnel4");
        let mut command = process::command(namespace, program);
        command.arg(&config);
        let process = Process::start(command, &dir.join("stunnel.log"));
        until("stunnel listens", PATIENCE, || {
            within(namespace, || std::net::TcpStream::connect(listens).is_ok()).then_some(())
        });
        Self { process }
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
