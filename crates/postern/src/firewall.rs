//! `postern firewall`: what a role's host has to let in and out, as an nftables ruleset.
//!
//! The text is made of the configuration and nothing else, in one table of its own, `inet postern`, which is replaced
//! as a whole; tables of others stay. It lets in what the role serves, and out of Home only what Home needs. Loading
//! it, and taking it back when nobody confirms it, is in [`apply`].

pub mod apply;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{EdgeConfig, HomeConfig};
use crate::network::Network;

/// What the operator says beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// From where ssh is let in; from nowhere when empty.
    pub ssh_from: Vec<Network>,
    /// The port of ssh.
    pub ssh_port: u16,
}

/// What Home's rules are made of beside its configuration.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The networks of the mail programs.
    pub lan: Vec<Network>,
    /// The edges' addresses.
    pub edges: Vec<SocketAddr>,
    /// The name servers.
    pub name_servers: Vec<IpAddr>,
    /// The smarthost's addresses.
    pub smarthost: Vec<SocketAddr>,
    /// Filters and mailboxes on other hosts.
    pub filters: Vec<SocketAddr>,
    /// Whether the mailboxes of another program are on this host.
    pub mailboxes_here: bool,
}

/// Connections that one address may begin at one time, on top of the rate.
const BURST: u32 = 20;
/// New link connections of one address in a second: behind one there are few homes. Each is counted apart, or whoever
/// sends that many packets would keep all homes out. Edge counts by the same sources and shares its places among them
/// (ADR 21), whatever is let in here: this only spares it the work.
const LINKS_PER_SECOND: u32 = 20;
/// Addresses that are counted at one time. More are let in uncounted: who fills the set keeps nobody out.
const COUNTED_MAX: u32 = 65_536;
/// The sets of counted addresses.
const COUNTED: [(&str, &str); 4] =
    [("smtp4", "ipv4_addr"), ("smtp6", "ipv6_addr"), ("link4", "ipv4_addr"), ("link6", "ipv6_addr")];
/// Where mail programs look for the mailboxes of another program; `[listen] imap` is ours.
const IMAPS: u16 = 993;

/// Edge's ruleset.
pub fn edge(config: &EdgeConfig, wishes: &Wishes) -> String {
    let mut rules = Ruleset::default();
    rules.line("# Mail from the world. Who comes too often is dropped before he costs a process anything.");
    let per_minute = config.door.connections_per_minute.max(1);
    for address in &config.listen.smtp {
        rules.counted(*address, "tcp", "smtp", &format!("{per_minute}/minute"));
    }
    rules.line("# The link, which a home dials: QUIC, and TLS where UDP is blocked.");
    for address in &config.listen.link {
        for protocol in ["udp", "tcp"] {
            rules.counted(*address, protocol, "link", &format!("{LINKS_PER_SECOND}/second"));
        }
    }
    rules.ssh(wishes);
    table("edge", &COUNTED, &rules.0, None)
}

/// Home's ruleset: in from its own network only, out to what it needs only.
pub fn home(config: &HomeConfig, wishes: &Wishes, around: &Surroundings) -> String {
    let mut rules = Ruleset::default();
    let imap = imap(config, around);
    rules.line("# Mail programs in the house. Nothing comes from outside: Home dials out.");
    for network in &around.lan {
        for address in config.listen.submission.iter().chain(&imap) {
            let family = family_of(&network.address());
            if family_of(&address.ip()) == family {
                rules.line(&format!("{family} saddr {network} {}counter accept", place(*address, "tcp")));
            }
        }
    }
    rules.foreign_edge(config);
    rules.ssh(wishes);

    let mut out = Ruleset::default();
    out.line("# The link to its edges.");
    for edge in &around.edges {
        for protocol in ["udp", "tcp"] {
            out.to(edge.ip(), protocol, edge.port());
        }
    }
    if !around.smarthost.is_empty() {
        out.line("# The smarthost.");
    }
    for smarthost in &around.smarthost {
        out.to(smarthost.ip(), "tcp", smarthost.port());
    }
    out.names(&around.name_servers);
    out.line("# Time, an address from the router.");
    out.line("udp dport 123 accept");
    out.line("udp sport 68 udp dport 67 accept");
    out.line("udp sport 546 udp dport 547 accept");
    if !around.filters.is_empty() {
        out.line("# Filters and mailboxes on other hosts.");
    }
    for filter in &around.filters {
        out.to(filter.ip(), "tcp", filter.port());
    }
    table("home", &[], &rules.0, Some(&out.0))
}

/// Where mail programs find mailboxes on this host: ours, or those of another program, which it serves itself.
fn imap(config: &HomeConfig, around: &Surroundings) -> Vec<SocketAddr> {
    match (&config.deliver, around.mailboxes_here) {
        (None, _) => config.listen.imap.clone(),
        (Some(_), true) => vec![(Ipv4Addr::UNSPECIFIED, IMAPS).into(), (Ipv6Addr::UNSPECIFIED, IMAPS).into()],
        (Some(_), false) => Vec::new(),
    }
}

#[derive(Default)]
struct Ruleset(String);

impl Ruleset {
    fn line(&mut self, rule: &str) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "\t\t{rule}");
    }

    fn to(&mut self, address: IpAddr, protocol: &str, port: u16) {
        self.line(&format!("{} daddr {address} {protocol} dport {port} counter accept", family_of(&address)));
    }

    /// To a listener, for everybody who does not begin connections at more than a rate. A /64 of IPv6 is one: whoever
    /// has one address of it has all.
    fn counted(&mut self, listener: SocketAddr, protocol: &str, set: &str, rate: &str) {
        let place = place(listener, protocol);
        let (version, who) =
            if listener.is_ipv4() { (4, "ip saddr") } else { (6, "ip6 saddr & ffff:ffff:ffff:ffff::") };
        self.line(&format!(
            "{place}ct state new add @{set}{version} {{ {who} limit rate over {rate} burst {BURST} packets }} counter drop"
        ));
        self.line(&format!("{place}counter accept"));
    }

    /// To the name servers. Without any but those on this host it is this host that asks the world's: anywhere.
    fn names(&mut self, servers: &[IpAddr]) {
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

    /// The one way in from outside, if there is one.
    fn foreign_edge(&mut self, config: &HomeConfig) {
        let Some(edge) = &config.foreign_edge else { return };
        self.line("# The foreign edge; its certificate or login is asked for by Home.");
        for address in &edge.listen {
            let place = place(*address, "tcp");
            if edge.networks.is_empty() {
                self.line(&format!("{place}counter accept"));
            }
            for network in &edge.networks {
                let family = family_of(&network.address());
                if family == family_of(&address.ip()) {
                    self.line(&format!("{family} saddr {network} {place}counter accept"));
                }
            }
        }
    }

    fn ssh(&mut self, wishes: &Wishes) {
        if wishes.ssh_from.is_empty() {
            return self.line("# No ssh: --ssh-from NETWORK lets it in.");
        }
        self.line("# ssh, from where you said.");
        for network in &wishes.ssh_from {
            let family = family_of(&network.address());
            self.line(&format!("{family} saddr {network} tcp dport {} counter accept", wishes.ssh_port));
        }
    }
}

const fn family_of(address: &IpAddr) -> &'static str {
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

/// The whole file. `out` is what may leave; everything may when it is missing.
fn table(role: &str, sets: &[(&str, &str)], rules: &str, out: Option<&str>) -> String {
    let mut text = format!(
        "#!/usr/sbin/nft -f\n# Made by 'postern firewall {role}'. The table is ours alone: load the file again to \
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
    text.push_str(rules);
    text.push_str("\t\tcounter comment \"dropped\"\n\t}\n");
    // No chain for what is forwarded: containers, virtual machines and tunnels of this host are not ours to cut off.
    if let Some(out) = out {
        text.push_str("\tchain output {\n\t\ttype filter hook output priority filter; policy drop;\n");
        text.push_str("\t\toif \"lo\" accept\n\t\tct state established,related accept\n");
        text.push_str("\t\tmeta l4proto { icmp, ipv6-icmp } accept\n");
        text.push_str(out);
        text.push_str("\t\tcounter reject comment \"refused\"\n\t}\n");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(ssh: &[&str]) -> Wishes {
        Wishes { ssh_from: ssh.iter().map(|text| text.parse().unwrap()).collect(), ssh_port: 22 }
    }

    #[test]
    fn a_network_is_an_address_with_bits_that_fit_it() {
        for (text, shown) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
        }
        for wrong in ["10.0.0.0/33", "fd00::/129", "lan", "", "10.0.0.0/", "10.0.0.0/x", "1.2.3.4; accept"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn edge_lets_in_mail_and_the_link_and_ssh_from_where_it_is_said() {
        let config: EdgeConfig = toml::from_str(
            "hostname = \"mx.example.org\"\n[listen]\nsmtp = [\"0.0.0.0:25\", \"[::]:25\"]\nlink = [\"203.0.113.2:443\"]\n",
        )
        .unwrap();
        let text = edge(&config, &wishes(&["198.51.100.0/24", "2001:db8::7"]));
        for rule in [
            "meta nfproto ipv4 tcp dport 25 counter accept",
            "meta nfproto ipv6 tcp dport 25 counter accept",
            "ip daddr 203.0.113.2 udp dport 443 counter accept",
            "ip daddr 203.0.113.2 tcp dport 443 counter accept",
            "ip saddr 198.51.100.0/24 tcp dport 22 counter accept",
            "ip6 saddr 2001:db8::7/128 tcp dport 22 counter accept",
            "udp sport 67 udp dport 68 accept",
            "udp sport 547 udp dport 546 accept",
        ] {
            assert!(text.contains(rule), "{rule}\n{text}");
        }
        assert!(!text.contains("hook output"), "mail goes anywhere");
        assert!(!edge(&config, &wishes(&[])).contains("dport 22 "), "no ssh unless it is asked for");
    }

    /// Symptom: 25 packets a second from anybody, to the port of the link, kept all homes out. Cause: what was new there
    /// was counted for the whole world together. Analysis: a rule that drops above a rate has to have a set.
    #[test]
    fn new_connections_are_counted_for_each_address_apart() {
        let text = edge(&EdgeConfig::of_nobody(), &wishes(&[]));
        for rule in [
            "meta nfproto ipv4 tcp dport 25 ct state new add @smtp4 { ip saddr limit rate over 120/minute ",
            "meta nfproto ipv6 tcp dport 25 ct state new add @smtp6 { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over ",
            "meta nfproto ipv4 udp dport 443 ct state new add @link4 { ip saddr limit rate over 20/second ",
            "meta nfproto ipv4 tcp dport 443 ct state new add @link4 { ip saddr limit rate over ",
            "meta nfproto ipv6 udp dport 443 ct state new add @link6 { ip6 saddr & ffff:ffff:ffff:ffff:: limit ",
        ] {
            assert!(text.contains(rule), "{rule}\n{text}");
        }
        for line in text.lines().filter(|line| line.contains("limit rate over")) {
            assert!(line.contains("add @"), "{line}");
        }
        for (name, kind) in COUNTED {
            assert!(text.contains(&format!("set {name} {{\n\t\ttype {kind}\n")), "{text}");
        }
    }

    fn plain_home() -> HomeConfig {
        toml::from_str("domains = [\"example.org\"]").unwrap()
    }

    /// Symptom: Home was gone after the next dial. Cause: its host has a resolver of its own, and the questions of that
    /// were refused. Analysis: nobody knows beforehand whom such a resolver asks.
    #[test]
    fn a_resolver_on_home_itself_may_ask_any_name_server() {
        let anywhere = ["udp dport 53 counter accept", "tcp dport { 53, 853 } counter accept"];
        let line = |text: &str, rule: &str| text.lines().any(|line| line.trim() == rule);
        let text = home(&plain_home(), &wishes(&[]), &Surroundings::default());
        assert!(anywhere.iter().all(|rule| line(&text, rule)), "{text}");
        let around =
            Surroundings { name_servers: vec!["192.168.77.1".parse().unwrap()], ..Default::default() };
        let text = home(&plain_home(), &wishes(&[]), &around);
        assert!(anywhere.iter().all(|rule| !line(&text, rule)), "{text}");
    }

    #[test]
    fn what_the_host_forwards_for_others_is_not_ours_to_forbid() {
        let home = home(&plain_home(), &wishes(&[]), &Surroundings::default());
        let edge = edge(&EdgeConfig::of_nobody(), &wishes(&[]));
        assert!(!home.contains("hook forward") && !edge.contains("hook forward"));
    }

    #[test]
    fn home_lets_in_its_own_network_and_goes_out_to_what_it_needs() {
        let pin = "ab".repeat(32);
        let config: HomeConfig = toml::from_str(&format!(
            "domains = [\"example.org\"]\n[foreign_edge]\nlisten = [\"10.8.0.2:4465\"]\n\
             fingerprints = [\"{pin}\"]\nnetworks = [\"10.8.0.1\"]\n"
        ))
        .unwrap();
        let around = Surroundings {
            lan: vec!["192.168.77.0/24".parse().unwrap(), "fd00::/8".parse().unwrap()],
            edges: vec!["203.0.113.2:443".parse().unwrap()],
            name_servers: vec!["192.168.77.1".parse().unwrap()],
            smarthost: vec!["203.0.113.9:465".parse().unwrap()],
            filters: vec!["192.168.77.5:11333".parse().unwrap()],
            mailboxes_here: false,
        };
        let text = home(&config, &wishes(&[]), &around);
        for rule in [
            "ip saddr 192.168.77.0/24 meta nfproto ipv4 tcp dport 465 counter accept",
            "ip saddr 192.168.77.0/24 meta nfproto ipv4 tcp dport 993 counter accept",
            "ip6 saddr fd00::/8 meta nfproto ipv6 tcp dport 993 counter accept",
            "ip daddr 203.0.113.2 udp dport 443 counter accept",
            "ip daddr 203.0.113.2 tcp dport 443 counter accept",
            "ip daddr 192.168.77.1 udp dport 53 counter accept",
            "ip daddr 192.168.77.5 tcp dport 11333 counter accept",
            "ip saddr 10.8.0.1/32 ip daddr 10.8.0.2 tcp dport 4465 counter accept",
            "ip daddr 203.0.113.9 tcp dport 465 counter accept",
            "hook output priority filter; policy drop;",
        ] {
            assert!(text.contains(rule), "{rule}\n{text}");
        }
        assert!(!text.contains("dport 25 "), "Home speaks no SMTP with the world");
    }

    /// Symptom: with the rules loaded the house had no IMAP. Cause: mailboxes of another program were left out, also
    /// when that program is on Home's host. Analysis: then it has the usual port there, whatever `[listen] imap` says.
    #[test]
    fn the_mailboxes_of_another_program_are_let_in_to_when_they_are_on_this_host() {
        let text = "domains = [\"example.org\"]\nlisten.imap = [\"192.168.77.2:1993\"]\n\
                    deliver.lmtp = \"unix:/run/dovecot/lmtp\"";
        let config: HomeConfig = toml::from_str(text).unwrap();
        let around = Surroundings { lan: vec!["192.168.77.0/24".parse().unwrap()], ..Default::default() };
        let text = home(&config, &wishes(&[]), &around);
        assert!(text.contains("dport 465 ") && !text.contains("993 "), "{text}");
        let text = home(&config, &wishes(&[]), &Surroundings { mailboxes_here: true, ..around });
        let rule = "ip saddr 192.168.77.0/24 meta nfproto ipv4 tcp dport 993 counter accept";
        assert!(text.contains(rule) && !text.contains("1993"), "{text}");
        assert!(!text.contains("dport 143"), "TLS only");
    }
}
