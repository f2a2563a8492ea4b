//! Unbound: a validating resolver of other people, which asks one name server for everything.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{ports, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// An Unbound with files and a port of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Unbound {
    address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Unbound {
    /// Starts one that asks `server` for all names below `zone`, whose key is a line of a file of trust anchors.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(zone: &str, server: SocketAddr, anchor: &str) -> Self {
        let dir = crate::leavings::dir("unbound");
        let (address, at) = (ports::free(), dir.path().display());
        std::fs::write(dir.path().join("anchor"), anchor).expect("a file");
        let config = format!(
            "server:\n  interface: {ip}@{port}\n  do-daemonize: no\n  chroot: \"\"\n  username: \"\"\n\
             \x20 directory: \"{at}\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  verbosity: 2\n\
             \x20 num-threads: 1\n  do-ip6: no\n  trust-anchor-file: \"{at}/anchor\"\n\
             \x20 do-not-query-localhost: no\n  module-config: \"validator iterator\"\n\
             \x20 local-zone: \"{zone}.\" nodefault\n  val-log-level: 2\n\
             remote-control:\n  control-enable: no\n\
             stub-zone:\n  name: \"{zone}.\"\n  stub-addr: {server_ip}@{server_port}\n",
            ip = address.ip(),
            port = address.port(),
            server_ip = server.ip(),
            server_port = server.port(),
        );
        std::fs::write(dir.path().join("unbound.conf"), config).expect("a file");
        let mut command = process::command(None, "unbound");
        command.arg("-d").arg("-c").arg(dir.path().join("unbound.conf"));
        let process = Process::start(command, &dir.path().join("log"));
        let unbound = Self { address, _process: process, _dir: dir };
        until("Unbound answers", PATIENCE, || unbound.ask(zone, "SOA").contains("NOERROR").then_some(()));
        unbound
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers to `kdig`, whole.
    #[must_use]
    pub fn ask(&self, name: &str, kind: &str) -> String {
        let mut command = process::command(None, "kdig");
        command.arg(format!("@{}", self.address.ip())).args(["-p", &self.address.port().to_string()]);
        command.args(["+dnssec", "+retry=3", name, kind]);
        String::from_utf8_lossy(&process::run(command, b"", PATIENCE).stdout).into_owned()
    }
}
