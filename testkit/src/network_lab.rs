//! A small internet on one machine: a sender and Edge on the public side, Home behind a NAT that masquerades.
//!
//! ```text
//! internet 203.0.113.1 ─┐
//! edge     203.0.113.2 ─┼─ bridge in the internet's namespace
//! nat      203.0.113.9 ─┘   nat 192.168.77.1 ── home 192.168.77.2
//! ```

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::pair::Places;
use crate::process;

const PATIENCE: Duration = Duration::from_secs(30);
/// Names of a lab are this, the process id of the test, and the place.
const PREFIX: &str = "psn";
const PLACES: [&str; 4] = ["inet", "edge", "nat", "home"];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The namespaces. They go when it is dropped.
#[derive(Debug)]
pub struct NetworkLab {
    names: [String; 4],
}

impl NetworkLab {
    /// Whether this process may make namespaces.
    #[must_use]
    pub fn is_possible() -> bool {
        rustix::process::geteuid().is_root() && Path::new("/proc/self/ns/net").exists() && {
            let name = format!("{PREFIX}{}try", std::process::id());
            let made = ip(&["netns", "add", &name]);
            made && ip(&["netns", "del", &name])
        }
    }

    /// Makes the lab.
    ///
    /// # Panics
    /// When a step of it does not work.
    #[must_use]
    pub fn new() -> Self {
        let _guard = ONE_AT_A_TIME.lock();
        remove_stale();
        let lab = Self { names: PLACES.map(|place| format!("{PREFIX}{}{place}", std::process::id())) };
        for name in &lab.names {
            must(&["netns", "add", name]);
            must(&["-n", name, "link", "set", "lo", "up"]);
        }
        lab.make_internet();
        lab.make_home_network();
        lab
    }

    /// The namespace of a sender on the internet.
    #[must_use]
    pub fn internet(&self) -> &str {
        &self.names[0]
    }

    /// The namespace of Edge.
    #[must_use]
    pub fn edge(&self) -> &str {
        &self.names[1]
    }

    /// The namespace of the NAT.
    #[must_use]
    pub fn nat(&self) -> &str {
        &self.names[2]
    }

    /// The namespace of Home.
    #[must_use]
    pub fn home(&self) -> &str {
        &self.names[3]
    }

    /// A pair on the real ports.
    ///
    /// # Panics
    /// Never: the addresses are constants.
    #[must_use]
    pub fn places(&self) -> Places {
        let address = |text: &str| text.parse().expect("an address");
        Places {
            edge_namespace: self.edge().to_owned(),
            home_namespace: self.home().to_owned(),
            smtp: address("203.0.113.2:25"),
            link: address("203.0.113.2:443"),
            submission: address("192.168.77.2:465"),
            imap: address("192.168.77.2:993"),
        }
    }

    /// Drops UDP to port 443 on its way through the NAT.
    pub fn block_udp(&self) {
        self.nft(
            "add table ip block; add chain ip block forward { type filter hook forward priority 0; }; \
             add rule ip block forward udp dport 443 drop",
        );
    }

    /// Gives the NAT, and so Home, another public address, as a provider does at night. The NAT forgets the
    /// connections of the old one.
    pub fn change_home_address(&self) {
        must(&["-n", self.nat(), "addr", "del", "203.0.113.9/24", "dev", "wan"]);
        must(&["-n", self.nat(), "addr", "add", "203.0.113.77/24", "dev", "wan"]);
    }

    fn make_internet(&self) {
        let internet = self.internet();
        must(&["-n", internet, "link", "add", "name", "bridge0", "type", "bridge"]);
        must(&["-n", internet, "link", "set", "bridge0", "up"]);
        must(&["-n", internet, "addr", "add", "203.0.113.1/24", "dev", "bridge0"]);
        for (namespace, address) in [(self.edge(), "203.0.113.2/24"), (self.nat(), "203.0.113.9/24")] {
            let port = format!("p{}", &address[10..11]);
            must(&["-n", internet, "link", "add", &port, "type", "veth", "peer", "wan", "netns", namespace]);
            must(&["-n", internet, "link", "set", &port, "master", "bridge0", "up"]);
            must(&["-n", namespace, "addr", "add", address, "dev", "wan"]);
            must(&["-n", namespace, "link", "set", "wan", "up"]);
        }
    }

    fn make_home_network(&self) {
        let (nat, home) = (self.nat(), self.home());
        must(&["-n", nat, "link", "add", "lan", "type", "veth", "peer", "lan", "netns", home]);
        for (namespace, address) in [(nat, "192.168.77.1/24"), (home, "192.168.77.2/24")] {
            must(&["-n", namespace, "addr", "add", address, "dev", "lan"]);
            must(&["-n", namespace, "link", "set", "lan", "up"]);
        }
        must(&["-n", home, "route", "add", "default", "via", "192.168.77.1"]);
        let mut forward = process::command(Some(nat), "sh");
        forward.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        process::run_ok(forward, b"", PATIENCE);
        self.nft(
            "add table ip nat; add chain ip nat postrouting { type nat hook postrouting priority 100; }; \
             add rule ip nat postrouting oifname wan masquerade",
        );
    }

    fn nft(&self, rules: &str) {
        let mut command = process::command(Some(self.nat()), "nft");
        command.arg(rules);
        process::run_ok(command, b"", PATIENCE);
    }
}

impl Default for NetworkLab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetworkLab {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

/// Removes the labs of tests that were killed.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id: String =
            name.strip_prefix(PREFIX).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        if !id.is_empty() && !Path::new(&format!("/proc/{id}")).exists() {
            ip(&["netns", "del", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = process::command(None, "ip");
    command.args(arguments);
    process::run(command, b"", PATIENCE).status.success()
}

fn must(arguments: &[&str]) {
    let mut command = process::command(None, "ip");
    command.args(arguments);
    process::run_ok(command, b"", PATIENCE);
}
