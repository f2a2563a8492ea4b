//! The text of a ruleset: its lines, and the table around them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use daemon::network::Network;

use super::Wishes;
use super::tunnel::Tunnel;

/// Connections that one address may begin at one time, on top of the rate.
const BURST: u32 = 20;
/// Addresses that are counted at one time. More are let in uncounted: who fills the set keeps nobody out.
const COUNTED_MAX: u32 = 65_536;

/// Rules of one chain.
#[derive(Default)]
pub(super) struct Ruleset(String);

impl Ruleset {
    pub(super) fn line(&mut self, rule: &str) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "\t\t{rule}");
    }

    /// Out to a port of an address.
    pub(super) fn to(&mut self, address: IpAddr, protocol: &str, port: u16) {
        self.line(&format!("{} daddr {address} {protocol} dport {port} counter accept", family_of(&address)));
    }

    /// In to a listener, from a network of the same family.
    pub(super) fn let_in_from(&mut self, network: Network, listener: SocketAddr) {
        let family = family_of(&network.address());
        if family == family_of(&listener.ip()) {
            self.line(&format!("{family} saddr {network} {}counter accept", place(listener, "tcp")));
        }
    }

    /// In to a listener, from everywhere.
    pub(super) fn let_in(&mut self, listener: SocketAddr) {
        self.line(&format!("{}counter accept", place(listener, "tcp")));
    }

    /// To a listener, for everybody who does not begin connections at more than a rate. A /64 of IPv6 is one: whoever
    /// has one address of it has all.
    pub(super) fn counted(&mut self, listener: SocketAddr, protocol: &str, set: &str, rate: &str) {
        let place = place(listener, protocol);
        let (version, who) =
            if listener.is_ipv4() { (4, "ip saddr") } else { (6, "ip6 saddr & ffff:ffff:ffff:ffff::") };
        self.line(&format!(
            "{place}ct state new add @{set}{version} {{ {who} limit rate over {rate} burst {BURST} packets }} counter drop"
        ));
        self.line(&format!("{place}counter accept"));
    }

    /// To the name servers. Without any but those on this host it is this host that asks the world's: anywhere.
    pub(super) fn names(&mut self, servers: &[IpAddr]) {
        self.line("# Names.");
        if servers.is_empty() {
            self.line(
                "# This host has a resolver of its own, which asks name servers that nobody here can list.",
            );
            self.line("udp dport 53 counter accept");
            self.line("tcp dport { 53, 853 } counter accept");
        }
        for server in servers {
            for protocol in ["udp", "tcp"] {
                self.to(*server, protocol, 53);
            }
        }
    }

    pub(super) fn ssh(&mut self, wishes: &Wishes) {
        if wishes.ssh_from.is_empty() {
            return self.line("# No ssh: --ssh-from NETWORK lets it in.");
        }
        self.line("# ssh, from where you said.");
        for network in &wishes.ssh_from {
            let family = family_of(&network.address());
            self.line(&format!("{family} saddr {network} tcp dport {} counter accept", wishes.ssh_port));
        }
    }

    /// In: what carries a tunnel of this host.
    pub(super) fn tunnels_in(&mut self, tunnels: &[Tunnel]) {
        if !tunnels.is_empty() {
            self.line("# The packets that carry a tunnel; what comes out of it is looked at as any other.");
        }
        for tunnel in tunnels {
            self.line(&format!("{} dport {} counter accept", tunnel.protocol, tunnel.port));
        }
    }

    /// Out: the same, to whichever end of it is elsewhere.
    pub(super) fn tunnels_out(&mut self, tunnels: &[Tunnel]) {
        if !tunnels.is_empty() {
            self.line("# The packets that carry a tunnel.");
        }
        for Tunnel { protocol, port } in tunnels {
            self.line(&format!("{protocol} dport {port} counter accept"));
            self.line(&format!("{protocol} sport {port} counter accept"));
        }
    }
}

pub(super) const fn family_of(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

/// What a packet to this listener looks like, with a space behind it.
fn place(address: SocketAddr, protocol: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    if ip.is_unspecified() {
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        return format!("meta nfproto {family} {protocol} dport {port} ");
    }
    format!("{} daddr {ip} {protocol} dport {port} ", family_of(&ip))
}

/// The traffic that may leave a host.
pub(super) enum Out {
    /// Everything: there is no chain for it.
    All,
    /// What these rules let out, and nothing else.
    Only(Ruleset),
    /// Everything but what these rules refuse.
    AllBut(Ruleset),
}

impl Out {
    fn chain(&self) -> String {
        let (policy, rules, rest) = match self {
            Self::All => return String::new(),
            // ICMP for IPv4 and IPv6, by number: a small Debian has no /etc/protocols, and nft then knows no names.
            Self::Only(rules) => ("drop", &rules.0, "\t\tmeta l4proto { 1, 58 } accept\n"),
            Self::AllBut(rules) => ("accept", &rules.0, ""),
        };
        let end = match self {
            // As forbidden, and not as a port where nobody listens: the doctor, and whoever else looks, can tell the two apart.
            Self::Only(_) => "\t\tcounter reject with icmpx type admin-prohibited comment \"refused\"\n",
            Self::All | Self::AllBut(_) => "",
        };
        format!(
            "\tchain output {{\n\t\ttype filter hook output priority filter; policy {policy};\n\t\toif \"lo\" \
             accept\n\t\tct state established,related accept\n{rest}{rules}{end}\t}}\n"
        )
    }
}

/// The whole file. `made_by` is the command that makes it, `sets` those that count addresses.
pub(super) fn table(made_by: &str, sets: &[(&str, &str)], rules: &Ruleset, out: &Out) -> String {
    let mut text = format!(
        "#!/usr/sbin/nft -f\n# Made by '{made_by}'. The table is ours alone: load the file again to \
         replace it,\n# 'nft delete table inet postern' takes it away.\ntable inet postern\ndelete table inet \
         postern\ntable inet postern {{\n"
    );
    for (name, kind) in sets {
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "\tset {name} {{\n\t\ttype {kind}\n\t\tsize {COUNTED_MAX}\n\t\tflags dynamic,timeout\n\t\ttimeout 2m\n\t}}"
        );
    }
    text.push_str(&format!(
        "\tchain input {{\n\t\ttype filter hook input priority filter; policy drop;\n{COMMON}"
    ));
    text.push_str(&rules.0);
    text.push_str("\t\tcounter comment \"dropped\"\n\t}\n");
    // No chain for what is forwarded: containers, virtual machines and tunnels of this host are not ours to cut off.
    text.push_str(&out.chain());
    text.push_str("}\n");
    text
}

/// What every host needs: its own processes, answers, the messages without which IP does not work, and DHCP.
const COMMON: &str = "\t\tiif \"lo\" accept
\t\tct state established,related accept
\t\tct state invalid drop
\t\ticmp type { destination-unreachable, time-exceeded, parameter-problem } accept
\t\ticmp type echo-request limit rate 10/second accept
\t\ticmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
\t\ticmpv6 type echo-request limit rate 10/second accept
\t\ticmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
\t\t# An address from the router.
\t\tudp sport 67 udp dport 68 accept
\t\tudp sport 547 udp dport 546 accept
";
