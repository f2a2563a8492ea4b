//! A small internet on one machine: a sender and Edge on the public side, Home behind a NAT that masquerades, and
//! whoever is added on either side.
//!
//! ```text
//! internet 203.0.113.1 ─┐                                        ┌─ home 192.168.77.2
//! edge     203.0.113.2 ─┼─ bridge, the backbone                  │
//! nat      203.0.113.9 ─┘   nat 192.168.77.1 ── bridge, the house ┘
//! ```

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::leavings::{self, NAMESPACE};
use crate::pair::Places;
use crate::process;

const PATIENCE: Duration = Duration::from_secs(30);
const PLACES: [&str; 4] = ["inet", "edge", "nat", "home"];
const BACKBONE: &str = "bridge0";
const HOUSE: &str = "lan";
/// The house's side of the NAT.
const ROUTER: &str = "192.168.77.1";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The namespaces. They go when it is dropped.
#[derive(Debug)]
pub struct NetworkLab {
    names: [String; 4],
    added: Vec<String>,
}

impl NetworkLab {
    /// Whether this process may make namespaces.
    #[must_use]
    pub fn is_possible() -> bool {
        rustix::process::geteuid().is_root() && Path::new("/proc/self/ns/net").exists() && {
            let name = format!("{NAMESPACE}{}try", std::process::id());
            let made = ip(&["netns", "add", &name]);
            made && ip(&["netns", "del", &name])
        }
    }

    /// Makes the network of the lab.
    ///
    /// # Panics
    /// When a step of it does not work.
    #[must_use]
    pub fn new() -> Self {
        let _guard = ONE_AT_A_TIME.lock();
        leavings::remove();
        let lab = Self { names: PLACES.map(namespace_of), added: Vec::new() };
        for name in &lab.names {
            make_namespace(name);
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

    /// Adds a host to the backbone and gives its namespace.
    ///
    /// # Panics
    /// When a step of it does not work.
    pub fn add_public_host(&mut self, place: &str, address: Ipv4Addr) -> String {
        let name = self.add(place);
        self.join_backbone(&name, address);
        name
    }

    /// Adds a host to the house and gives its namespace.
    ///
    /// # Panics
    /// When a step of it does not work.
    pub fn add_house_host(&mut self, place: &str, address: Ipv4Addr) -> String {
        let name = self.add(place);
        self.join_house(&name, address);
        name
    }

    fn add(&mut self, place: &str) -> String {
        let name = namespace_of(place);
        make_namespace(&name);
        self.added.push(name.clone());
        name
    }

    /// The wires of the backbone, as interfaces of the internet's namespace: everything that hosts out there send to
    /// each other is on one of them.
    #[must_use]
    pub fn wires(&self) -> Vec<String> {
        let mut list = process::command(Some(self.internet()), "ip");
        list.args(["-brief", "link", "show", "master", BACKBONE]);
        let printed = process::run_ok(list, b"", PATIENCE);
        printed.lines().filter_map(|line| line.split(['@', ' ']).next()).map(str::to_owned).collect()
    }

    /// A pair on the standard ports.
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

    /// Lets UDP through again.
    pub fn unblock_udp(&self) {
        self.nft("delete table ip block");
    }

    /// Gives the NAT, and so Home, another public address, as a provider does at night. The NAT forgets the
    /// connections of the old one.
    pub fn change_home_address(&self, from: Ipv4Addr, to: Ipv4Addr) {
        must(&["-n", self.nat(), "addr", "del", &format!("{from}/24"), "dev", "wan"]);
        must(&["-n", self.nat(), "addr", "add", &format!("{to}/24"), "dev", "wan"]);
    }

    /// Has the NAT forget a flow of UDP after so many seconds of silence, and take another port for the next.
    pub fn forget_flows_after(&self, seconds: u32) {
        for name in ["udp_timeout", "udp_timeout_stream"] {
            self.set(&format!("netfilter/nf_conntrack_{name}"), seconds);
        }
        self.nft(
            "flush chain ip nat postrouting; add rule ip nat postrouting oifname wan masquerade fully-random",
        );
    }

    /// Has the NAT pass connections to this port of its public address on to a host of the house.
    pub fn forward_port(&self, port: u16, to: SocketAddrV4) {
        self.nft(&format!(
            "add chain ip nat prerouting {{ type nat hook prerouting priority -100; }}; \
             add rule ip nat prerouting iifname wan tcp dport {port} dnat to {to}"
        ));
    }

    fn make_internet(&self) {
        let internet = self.internet();
        must(&["-n", internet, "link", "add", "name", BACKBONE, "type", "bridge"]);
        must(&["-n", internet, "link", "set", BACKBONE, "up"]);
        must(&["-n", internet, "addr", "add", "203.0.113.1/24", "dev", BACKBONE]);
        self.join_backbone(self.edge(), Ipv4Addr::new(203, 0, 113, 2));
        self.join_backbone(self.nat(), Ipv4Addr::new(203, 0, 113, 9));
    }

    fn make_home_network(&self) {
        let nat = self.nat();
        must(&["-n", nat, "link", "add", "name", HOUSE, "type", "bridge"]);
        must(&["-n", nat, "addr", "add", &format!("{ROUTER}/24"), "dev", HOUSE]);
        must(&["-n", nat, "link", "set", HOUSE, "up"]);
        self.join_house(self.home(), Ipv4Addr::new(192, 168, 77, 2));
        self.set("ipv4/ip_forward", 1);
        // What belongs to no connection is not translated, and would go out under the address of the house.
        self.nft(
            "add table ip nat; add chain ip nat postrouting { type nat hook postrouting priority 100; }; \
             add rule ip nat postrouting oifname wan masquerade; \
             add chain ip nat forward { type filter hook forward priority 0; }; \
             add rule ip nat forward ct state invalid drop",
        );
    }

    fn join_backbone(&self, namespace: &str, address: Ipv4Addr) {
        plug(namespace, "wan", address, (self.internet(), BACKBONE, 'p'));
    }

    fn join_house(&self, namespace: &str, address: Ipv4Addr) {
        plug(namespace, "lan", address, (self.nat(), HOUSE, 'l'));
        must(&["-n", namespace, "route", "add", "default", "via", ROUTER]);
    }

    fn nft(&self, rules: &str) {
        let mut command = process::command(Some(self.nat()), "nft");
        command.arg(rules);
        process::run_ok(command, b"", PATIENCE);
    }

    /// Sets a value of the NAT's kernel, below `net`.
    fn set(&self, name: &str, value: u32) {
        let mut write = process::command(Some(self.nat()), "sh");
        write.args(["-c", &format!("echo {value} > /proc/sys/net/{name}")]);
        process::run_ok(write, b"", PATIENCE);
    }
}

/// A wire from a host to a bridge of another namespace; the bridge's end is called by the last part of the address.
fn plug(namespace: &str, interface: &str, address: Ipv4Addr, (far, bridge, letter): (&str, &str, char)) {
    let port = format!("{letter}{}", address.octets()[3]);
    must(&["-n", far, "link", "add", &port, "type", "veth", "peer", interface, "netns", namespace]);
    must(&["-n", far, "link", "set", &port, "master", bridge, "up"]);
    must(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", interface]);
    must(&["-n", namespace, "link", "set", interface, "up"]);
}

fn namespace_of(place: &str) -> String {
    format!("{NAMESPACE}{}{place}", std::process::id())
}

fn make_namespace(name: &str) {
    must(&["netns", "add", name]);
    must(&["-n", name, "link", "set", "lo", "up"]);
}

impl Default for NetworkLab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetworkLab {
    fn drop(&mut self) {
        for name in self.names.iter().chain(&self.added) {
            ip(&["netns", "del", name]);
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
