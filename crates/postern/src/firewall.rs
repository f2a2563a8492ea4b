//! `postern firewall`: what a role's host has to let in and out, as an nftables ruleset.
//!
//! The text is made of the configuration and nothing else, in one table of its own, `inet postern`, which is replaced
//! as a whole; tables of others stay. It lets in what the role serves, out of Home only what Home needs, and out of Edge no
//! mail while nobody sends. Loading it, and taking it back when nobody confirms it, is in [`apply`].

pub(crate) mod apply;
pub(crate) mod boot;
pub(crate) mod host;
mod ruleset;
pub(crate) mod tunnel;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use daemon::network::Network;
use edge::config::EdgeConfig;
use home::config::HomeConfig;

use self::ruleset::{Out, Ruleset, table};
use self::tunnel::Tunnel;

/// What the operator says beside the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// From where ssh is let in; from nowhere when empty.
    pub ssh_from: Vec<Network>,
    /// The port of ssh.
    pub ssh_port: u16,
    /// Whether the host may fetch from the web, as for its updates.
    pub web: bool,
    /// What carries tunnels that end on this host.
    pub tunnels: Vec<Tunnel>,
}

/// Whether mail for the world leaves Edge's host.
#[derive(Debug, Clone)]
pub(crate) enum Sending {
    /// A home sends.
    On,
    /// None does. Homes that are other programs take their mail at these addresses, all the same.
    Off(Vec<SocketAddr>),
}

/// What Home's rules are made of beside its configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
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

/// A Home that is Postfix and Dovecot, as the page on standard hops has it: no file of ours says anything of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct PostfixHome {
    /// The networks from which Edge hands mail in.
    pub edges: Vec<Network>,
    /// The port where Edge hands mail in.
    pub port: u16,
    /// The networks of the mail programs.
    pub lan: Vec<Network>,
    /// The name servers.
    pub name_servers: Vec<IpAddr>,
    /// The smarthost's addresses; without any no mail leaves.
    pub smarthost: Vec<SocketAddr>,
}

/// New link connections of one address in a second: behind one there are few homes. Each is counted apart, or whoever
/// sends that many packets would keep all homes out. Edge counts by the same sources and shares its places among them
/// (ADR 21), whatever is let in here: this only spares it the work.
const LINKS_PER_SECOND: u32 = 20;
/// The sets of counted addresses.
const COUNTED: [(&str, &str); 4] =
    [("smtp4", "ipv4_addr"), ("smtp6", "ipv6_addr"), ("link4", "ipv4_addr"), ("link6", "ipv6_addr")];
/// Where mail programs look for the mailboxes of another program; `[listen] imap` is ours.
const IMAPS: u16 = 993;
/// Where they hand in what they send (RFC 8314 section 3.3).
const SUBMISSIONS: u16 = 465;

/// What Edge's rules speak of, as networks: a tunnel may be what leads there.
pub(crate) fn of_edge(config: &EdgeConfig, homes: &[SocketAddr]) -> Vec<Network> {
    of_addresses(config.listen.smtp.iter().chain(&config.listen.link).chain(homes))
}

/// The networks that Home's rules name.
pub(crate) fn of_home(config: &HomeConfig, around: &Surroundings) -> Vec<Network> {
    let edge = config.foreign_edge.iter();
    let own = edge.clone().flat_map(|edge| &edge.listen).chain(&config.listen.submission);
    let mut all = of_addresses(own.chain(&config.listen.imap).chain(&around.smarthost));
    all.extend(edge.flat_map(|edge| &edge.networks));
    all
}

/// What the rules of a Home that is Postfix speak of.
pub(crate) fn of_postfix_home(around: &PostfixHome) -> Vec<Network> {
    let mut all = of_addresses(&around.smarthost);
    all.extend(&around.edges);
    all
}

fn of_addresses<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> Vec<Network> {
    let ips = addresses.into_iter().map(SocketAddr::ip);
    ips.filter_map(|ip| Network::new(ip, if ip.is_ipv4() { 32 } else { 128 })).collect()
}

/// Edge's ruleset.
pub(crate) fn edge(config: &EdgeConfig, wishes: &Wishes, sending: &Sending) -> String {
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
    rules.tunnels_in(&wishes.tunnels);
    rules.ssh(wishes);
    table("postern firewall edge", &COUNTED, &rules, &mail_out(config.outbound.port, sending))
}

/// What leaves Edge's host: everything but mail that nobody sends. Refused and not dropped, so that whoever tries hears of it.
fn mail_out(port: u16, sending: &Sending) -> Out {
    let Sending::Off(homes) = sending else { return Out::All };
    let mut rules = Ruleset::default();
    for home in homes.iter().filter(|home| home.port() == port) {
        rules.to(home.ip(), "tcp", port);
    }
    rules.line("# No home sends, so no mail leaves this host, whichever program tries. Once one does, make this anew.");
    rules.line(&format!("tcp dport {port} counter reject with tcp reset"));
    Out::AllBut(rules)
}

/// Home's ruleset: in from its own network only, out to what it needs only.
pub(crate) fn home(config: &HomeConfig, wishes: &Wishes, around: &Surroundings) -> String {
    let mut rules = Ruleset::default();
    let imap = imap(config, around);
    rules.line("# Mail programs in the house. Nothing comes from outside: Home dials out.");
    for network in &around.lan {
        for address in config.listen.submission.iter().chain(&imap) {
            rules.let_in_from(*network, *address);
        }
    }
    foreign_edge(&mut rules, config);
    rules.tunnels_in(&wishes.tunnels);
    rules.ssh(wishes);

    let mut out = Ruleset::default();
    out.line("# The link to its edges.");
    for edge in &around.edges {
        for protocol in ["udp", "tcp"] {
            out.to(edge.ip(), protocol, edge.port());
        }
    }
    out_to_all("The smarthost", &around.smarthost, &mut out);
    what_every_home_needs(&around.name_servers, wishes, &mut out);
    out_to_all("Filters and mailboxes on other hosts", &around.filters, &mut out);
    table("postern firewall home", &[], &rules, &Out::Only(out))
}

/// The ruleset of a Home that is Postfix and Dovecot: Edge gets in, and so do mail programs; mail leaves by the smarthost only.
pub(crate) fn postfix_home(wishes: &Wishes, around: &PostfixHome) -> String {
    let mut rules = Ruleset::default();
    rules.line("# Edge hands mail in; its certificate or login is asked for by Postfix.");
    for edge in &around.edges {
        every_address(around.port).iter().for_each(|listener| rules.let_in_from(*edge, *listener));
    }
    rules.line("# Mail programs in the house.");
    for network in &around.lan {
        for port in [SUBMISSIONS, IMAPS] {
            every_address(port).iter().for_each(|listener| rules.let_in_from(*network, *listener));
        }
    }
    rules.tunnels_in(&wishes.tunnels);
    rules.ssh(wishes);

    let mut out = Ruleset::default();
    out_to_all("The smarthost", &around.smarthost, &mut out);
    what_every_home_needs(&around.name_servers, wishes, &mut out);
    table("postern firewall home --home postfix", &[], &rules, &Out::Only(out))
}

const fn every_address(port: u16) -> [SocketAddr; 2] {
    use std::net::{SocketAddrV4, SocketAddrV6};
    [
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)),
    ]
}

fn out_to_all(what: &str, addresses: &[SocketAddr], out: &mut Ruleset) {
    if !addresses.is_empty() {
        out.line(&format!("# {what}."));
    }
    for address in addresses {
        out.to(address.ip(), "tcp", address.port());
    }
}

fn what_every_home_needs(name_servers: &[IpAddr], wishes: &Wishes, out: &mut Ruleset) {
    out.tunnels_out(&wishes.tunnels);
    out.names(name_servers);
    if wishes.web {
        out.line("# The web, for this host's updates.");
        out.line("tcp dport { 80, 443 } counter accept");
    } else {
        out.line("# No web: --web lets this host fetch its updates.");
    }
    out.line("# Time, an address from the router.");
    out.line("udp dport 123 accept");
    out.line("udp sport 68 udp dport 67 accept");
    out.line("udp sport 546 udp dport 547 accept");
}

/// The one way in from outside, if there is one.
fn foreign_edge(rules: &mut Ruleset, config: &HomeConfig) {
    let Some(edge) = &config.foreign_edge else { return };
    rules.line("# The foreign edge; its certificate or login is asked for by Home.");
    for address in &edge.listen {
        if edge.networks.is_empty() {
            rules.let_in(*address);
        }
        edge.networks.iter().for_each(|network| rules.let_in_from(*network, *address));
    }
}

/// Where mail programs find mailboxes on this host: ours, or those of another program, which it serves itself.
fn imap(config: &HomeConfig, around: &Surroundings) -> Vec<SocketAddr> {
    match (&config.deliver, around.mailboxes_here) {
        (None, _) => config.listen.imap.clone(),
        (Some(_), true) => every_address(IMAPS).to_vec(),
        (Some(_), false) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(ssh: &[&str]) -> Wishes {
        Wishes {
            ssh_from: ssh.iter().map(|text| text.parse().unwrap()).collect(),
            ssh_port: 22,
            web: false,
            tunnels: Vec::new(),
        }
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
        let text = edge(&config, &wishes(&["198.51.100.0/24", "2001:db8::7"]), &Sending::On);
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
        assert!(
            !edge(&config, &wishes(&[]), &Sending::On).contains("dport 22 "),
            "no ssh unless it is asked for"
        );
    }

    /// Symptom: 25 packets a second from anybody, to the port of the link, kept all homes out. Cause: what was new there
    /// was counted for the whole world together. Analysis: a rule that drops above a rate has to have a set.
    #[test]
    fn new_connections_are_counted_for_each_address_apart() {
        let text = edge(&EdgeConfig::of_nobody(), &wishes(&[]), &Sending::On);
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
        let edge = edge(&EdgeConfig::of_nobody(), &wishes(&[]), &Sending::On);
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

    fn tunnelled(tunnels: &[&str]) -> Wishes {
        Wishes { tunnels: tunnels.iter().map(|text| text.parse().unwrap()).collect(), ..wishes(&[]) }
    }

    /// The rules of a chain, without the counters.
    fn chain<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let begin = format!("\tchain {name} {{\n");
        let rules = text.split_once(&begin).map_or("", |(_, rest)| rest.split("\t}\n").next().unwrap());
        rules.lines().map(str::trim).collect()
    }

    /// Symptom: with the rules loaded nothing came through the tunnel that the page on standard hops has. Cause: they let in
    /// what comes out of a tunnel, by its address, and not the packets that carry it.
    #[test]
    fn what_carries_a_tunnel_is_let_in_and_at_home_also_out() {
        let wishes = tunnelled(&["udp/51820", "tcp/1194"]);
        let (edge, home) = (
            edge(&EdgeConfig::of_nobody(), &wishes, &Sending::On),
            home(&plain_home(), &wishes, &Surroundings::default()),
        );
        let other = postfix_home(&wishes, &PostfixHome::default());
        for text in [&edge, &home, &other] {
            let rules = chain(text, "input");
            assert!(rules.contains(&"udp dport 51820 counter accept"), "{text}");
            assert!(rules.contains(&"tcp dport 1194 counter accept"), "{text}");
        }
        for text in [&home, &other] {
            let rules = chain(text, "output");
            assert!(rules.contains(&"udp dport 51820 counter accept"), "{text}");
            assert!(rules.contains(&"udp sport 51820 counter accept"), "{text}");
        }
        assert!(!super::home(&plain_home(), &tunnelled(&[]), &Surroundings::default()).contains("tunnel"));
    }

    #[test]
    fn every_address_that_the_rules_speak_of_is_looked_for_among_the_tunnels() {
        let shown = |all: Vec<Network>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config: HomeConfig = toml::from_str(&format!(
            "domains = [\"example.org\"]\n[foreign_edge]\nlisten = [\"10.8.0.2:4465\"]\nnetworks = [\"10.8.0.0/24\"]\n\
             fingerprints = [\"{}\"]\n[listen]\nsubmission = []\nimap = [\"10.9.0.2:993\"]\n",
            "ab".repeat(32)
        ))
        .unwrap();
        assert_eq!(
            shown(of_home(&config, &Surroundings::default())),
            ["10.8.0.2/32", "10.9.0.2/32", "10.8.0.0/24"]
        );
        let homes = ["10.8.0.2:465".parse().unwrap()];
        let config: EdgeConfig = toml::from_str(
            "hostname = \"mx.example.org\"\n[listen]\nsmtp = [\"0.0.0.0:25\"]\nlink = [\"10.8.0.1:443\"]\n",
        )
        .unwrap();
        assert_eq!(shown(of_edge(&config, &homes)), ["0.0.0.0/32", "10.8.0.1/32", "10.8.0.2/32"]);
        let around = PostfixHome {
            edges: vec!["10.8.0.1".parse().unwrap()],
            smarthost: vec!["10.8.0.1:465".parse().unwrap()],
            ..PostfixHome::default()
        };
        assert_eq!(shown(of_postfix_home(&around)), ["10.8.0.1/32", "10.8.0.1/32"]);
    }

    #[test]
    fn no_mail_leaves_edge_while_no_home_sends() {
        let config = EdgeConfig::of_nobody();
        let homes = ["10.8.0.2:465", "10.8.0.3:25"].map(|text| text.parse().unwrap()).to_vec();
        let text = edge(&config, &wishes(&[]), &Sending::Off(homes));
        let rules = chain(&text, "output");
        assert_eq!(rules[0], "type filter hook output priority filter; policy accept;");
        let at = |rule: &str| {
            rules.iter().position(|line| *line == rule).unwrap_or_else(|| panic!("{rule}\n{text}"))
        };
        let refused = at("tcp dport 25 counter reject with tcp reset");
        // What a client of ours hears is no mail that leaves, whatever port it came from.
        assert!(at("ct state established,related accept") < refused);
        assert!(at("ip daddr 10.8.0.3 tcp dport 25 counter accept") < refused, "a home takes its mail there");
        assert!(!text.contains("10.8.0.2"), "nothing else is refused");
        assert!(!edge(&config, &wishes(&[]), &Sending::On).contains("hook output"));
    }

    #[test]
    fn a_home_that_is_postfix_lets_edge_in_and_mail_out_to_the_smarthost_only() {
        let around = PostfixHome {
            edges: vec!["10.8.0.1".parse().unwrap()],
            port: 4465,
            lan: vec!["192.168.77.0/24".parse().unwrap()],
            name_servers: vec!["192.168.77.1".parse().unwrap()],
            smarthost: vec!["203.0.113.9:465".parse().unwrap()],
        };
        let text = postfix_home(&wishes(&["192.168.77.3"]), &around);
        let (input, output) = (chain(&text, "input"), chain(&text, "output"));
        for rule in [
            "ip saddr 10.8.0.1/32 meta nfproto ipv4 tcp dport 4465 counter accept",
            "ip saddr 192.168.77.0/24 meta nfproto ipv4 tcp dport 465 counter accept",
            "ip saddr 192.168.77.0/24 meta nfproto ipv4 tcp dport 993 counter accept",
            "ip saddr 192.168.77.3/32 tcp dport 22 counter accept",
        ] {
            assert!(input.contains(&rule), "{rule}\n{text}");
        }
        assert_eq!(text.matches("dport 4465").count(), 1, "from Edge only:\n{text}");
        for rule in [
            "type filter hook output priority filter; policy drop;",
            "ip daddr 203.0.113.9 tcp dport 465 counter accept",
            "ip daddr 192.168.77.1 udp dport 53 counter accept",
        ] {
            assert!(output.contains(&rule), "{rule}\n{text}");
        }
        assert!(!text.contains("dport 25 "), "Postfix speaks with no stranger");
        let text = postfix_home(&wishes(&[]), &PostfixHome { smarthost: Vec::new(), ..around });
        assert!(!text.contains("203.0.113.9") && !text.contains("smarthost"), "{text}");
    }
}
