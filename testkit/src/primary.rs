//! Primary name servers of other people, Knot and BIND, that take changes of their zones from who has a key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// The key that may change the zones.
pub const KEY: &str = "postern.key";
/// A key that both servers know and that may change nothing.
pub const IDLE_KEY: &str = "idle.key";

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// CZ.NIC's.
    Knot,
    /// ISC's.
    Bind,
}

/// One of them, in a network namespace. It ends when it is dropped.
#[derive(Debug)]
pub struct Primary {
    process: Process,
    address: SocketAddr,
    namespace: String,
    dir: TempDir,
}

impl Primary {
    /// Starts one that serves these zones, each with its name and its whole file.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(program: Program, namespace: &str, address: SocketAddr, zones: &[(&str, &str)]) -> Self {
        let dir = crate::leavings::dir("primary");
        // BIND writes into the directory as who it is; both run as root here.
        for (name, records) in zones {
            std::fs::write(dir.path().join(format!("{name}.zone")), records).expect("a zone file");
        }
        for (at, name) in [KEY, IDLE_KEY].iter().enumerate() {
            std::fs::write(dir.path().join(name), key_file(name, at)).expect("a key");
        }
        let (config, mut command) = match program {
            Program::Knot => (knot(dir.path(), address, zones), process::command(Some(namespace), "knotd")),
            Program::Bind => (bind(dir.path(), address, zones), process::command(Some(namespace), "named")),
        };
        let path = dir.path().join("config");
        std::fs::write(&path, config).expect("a file");
        match program {
            Program::Knot => command.arg("--config").arg(path),
            Program::Bind => command.args(["-g", "-n", "1", "-c"]).arg(path),
        };
        let mut process = Process::start(command, &dir.path().join("log"));
        let started = match program {
            Program::Knot => "server started",
            Program::Bind => "all zones loaded",
        };
        until("a primary serves its zones", PATIENCE, || {
            assert!(process.is_running(), "it ended:\n{}", process.log());
            process.log().contains(started).then_some(())
        });
        Self { process, address, namespace: namespace.to_owned(), dir }
    }

    /// Where it answers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of one of its keys.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file with the key's name and another secret.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn wrong_key(&self) -> PathBuf {
        let path = self.dir.path().join("wrong");
        std::fs::write(&path, key_file(KEY, 7)).expect("a key");
        path
    }

    /// A file with a key that it does not know.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn unknown_key(&self) -> PathBuf {
        let path = self.dir.path().join("unknown");
        std::fs::write(&path, key_file("stranger.key", 0)).expect("a key");
        path
    }

    /// What it has at a name, as `kdig +short` shows it, sorted.
    #[must_use]
    pub fn has(&self, name: &str, kind: &str) -> Vec<String> {
        let mut command = process::command(Some(&self.namespace), "kdig");
        command.arg(format!("@{}", self.address.ip())).args(["-p", &self.address.port().to_string()]);
        command.args(["+short", name, kind]);
        let mut lines: Vec<String> =
            process::run_ok(command, b"", PATIENCE).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A key in BIND's form; keys of different numbers have different secrets.
fn key_file(name: &str, number: usize) -> String {
    format!("key \"{name}\" {{\n\talgorithm {};\n\tsecret \"{}\";\n}};\n", algorithm(name), secret(number))
}

/// Both kinds that are in use.
fn algorithm(name: &str) -> &'static str {
    if name == IDLE_KEY { "hmac-sha512" } else { "hmac-sha256" }
}

fn secret(number: usize) -> String {
    format!("{number}AAAbbbbCCCCddddEEEEffffGGGGhhhhIIIIjjjjKKI=")
}

fn knot(dir: &Path, address: SocketAddr, zones: &[(&str, &str)]) -> String {
    let (ip, port, dir) = (address.ip(), address.port(), dir.display());
    let keys: String = [KEY, IDLE_KEY]
        .iter()
        .enumerate()
        .map(|(at, name)| {
            format!("  - id: {name}\n    algorithm: {}\n    secret: {}\n", algorithm(name), secret(at))
        })
        .collect();
    let zones: String = zones
        .iter()
        .map(|(name, _)| format!("  - domain: \"{name}\"\n    file: \"{name}.zone\"\n"))
        .collect();
    format!(
        "server:\n  rundir: \"{dir}\"\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  \
           background-workers: 1\n\
         log:\n  - target: stdout\n    any: info\n\
         database:\n  storage: \"{dir}\"\n\
         key:\n{keys}\
         acl:\n  - id: change\n    key: {KEY}\n    action: update\n\
         template:\n  - id: default\n    storage: \"{dir}\"\n    file: \"%s.zone\"\n    acl: change\n\
         zone:\n{zones}"
    )
}

fn bind(dir: &Path, address: SocketAddr, zones: &[(&str, &str)]) -> String {
    let (ip, port, at) = (address.ip(), address.port(), dir.display());
    let zones: String = zones
        .iter()
        .map(|(name, _)| {
            format!(
                "zone \"{name}\" {{ type primary; file \"{at}/{name}.zone\"; \
                 update-policy {{ grant {KEY} zonesub ANY; }}; }};\n"
            )
        })
        .collect();
    format!(
        "options {{ directory \"{at}\"; listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }}; \
         recursion no; dnssec-validation no; pid-file none; session-keyfile none; notify no; }};\n\
         controls {{ }};\n{}{}{zones}",
        key_file(KEY, 0),
        key_file(IDLE_KEY, 1),
    )
}
