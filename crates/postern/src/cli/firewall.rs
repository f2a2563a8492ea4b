//! `postern firewall`: the rules of a role's host, printed or loaded.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use daemon::config;
use daemon::network::Network;
use daemon::print::{self, Output};
use daemon::problem::Problem;
use edge::anybody_sends;
use edge::config::EdgeConfig;
use home::config::HomeConfig;
use net::endpoint::Endpoint;

use super::service::Services;
use super::{EDGE_CONFIG, HOME_CONFIG};
use crate::firewall::boot::{self, AT_BOOT};
use crate::firewall::tunnel::{Tunnel, not_on_a_wire};
use crate::firewall::{self, PostfixHome, Sending, Surroundings, Wishes, apply, host};

/// Networks that houses have.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8", "fe80::/10"];
const RESOLV_CONF: &str = "/etc/resolv.conf";

#[derive(Debug, Subcommand)]
pub(super) enum FirewallCommand {
    /// The rules of Edge's host
    Edge {
        #[command(flatten)]
        how: How,
        /// Let mail out to the world although no home sends yet
        #[arg(long)]
        sends: bool,
        /// The configuration file
        #[arg(long, default_value = EDGE_CONFIG)]
        config: PathBuf,
    },
    /// The rules of Home's host
    Home(HomeArguments),
    /// Keep the rules that were loaded with --apply
    Confirm {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Not needed: what waits is the host's, whichever role it is of
        #[arg(long, hide = true)]
        config: Option<PathBuf>,
    },
    /// Takes rules back that nobody confirmed
    #[command(hide = true)]
    Guard {
        #[arg(long)]
        load: u64,
        #[arg(long)]
        seconds: u64,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct HomeArguments {
    #[command(flatten)]
    how: How,
    /// Which program is the home on this host
    #[arg(long = "home", value_name = "PROGRAM", value_enum, default_value = "postern")]
    program: Program,
    /// A network of mail programs; may be given several times. All private networks when it is not given
    #[arg(long, value_name = "NETWORK")]
    lan: Vec<Network>,
    /// Where an edge takes links that is not in the configuration yet, such as 192.0.2.7:443: let Home out to it
    /// before you run 'postern home pair'. With --home postfix: the address that Edge comes from, such as 10.8.0.1.
    /// May be given several times
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    edge: Vec<EdgeAt>,
    /// With --home postfix: the port where it takes mail from Edge
    #[arg(long, default_value_t = 4465, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// With --home postfix: the smarthost, such as 192.0.2.7:465; without one no mail leaves this host
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = daemon::network::address_and_port)]
    smarthost: Vec<SocketAddr>,
    /// The configuration file; --home postfix reads none
    #[arg(long, default_value = HOME_CONFIG)]
    config: PathBuf,
}

/// The program that keeps the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    /// Home of this program
    Postern,
    /// Postfix with Dovecot
    Postfix,
}

/// Where an edge is: it takes links at a port, or comes from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EdgeAt {
    Port(SocketAddr),
    Network(Network),
}

impl FromStr for EdgeAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let port = text.parse().map(Self::Port).ok();
        port.or_else(|| text.parse().map(Self::Network).ok())
            .ok_or("write an address and a port, such as 192.0.2.7:443; with --home postfix an address, such as 10.8.0.1")
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// What carries a tunnel that ends on this host, such as udp/51820 for WireGuard; may be given several times
    #[arg(long, value_name = "PROTOCOL/PORT")]
    tunnel: Vec<Tunnel>,
    /// Let ssh in from this network; may be given several times
    #[arg(long, value_name = "NETWORK")]
    ssh_from: Vec<Network>,
    /// The port of ssh
    #[arg(long, default_value_t = 22)]
    ssh_port: u16,
    /// Load rules that let no ssh in, though somebody listens for it here
    #[arg(long, conflicts_with = "ssh_from")]
    no_ssh: bool,
    /// Let this host fetch from the web (TCP 80 and 443 to anywhere), as for its updates; Edge's may in any case
    #[arg(long)]
    web: bool,
    /// Load the rules with nft; they are taken back unless you confirm them
    #[arg(long)]
    apply: bool,
    /// How long they wait to be confirmed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// Prints or loads.
pub(super) fn run(command: FirewallCommand) -> Result<(), Problem> {
    match command {
        FirewallCommand::Edge { how, sends, config } => {
            let config: EdgeConfig = config::load(&config)?;
            let homes = foreign_homes(&config)?;
            how.tell_of_tunnels(firewall::of_edge(&config, &homes));
            let sends = sends || anybody_sends(&config.data.join("homes"))?;
            let sending = if sends { Sending::On } else { Sending::Off(homes) };
            finish(&how, &firewall::edge(&config, &how.wishes(), &sending))
        }
        FirewallCommand::Home(arguments) => {
            let ruleset = arguments.ruleset()?;
            finish(&arguments.how, &ruleset)
        }
        FirewallCommand::Confirm { json, config: _ } => {
            if session().is_some_and(|own| boot::loaded_in(&own)) {
                return Err(Problem::setup(
                    "this is the session in which the rules were loaded: that it goes on proves nothing",
                    "open a new one to this host, and type it there",
                ));
            }
            apply::confirm()?;
            let stay = stay_after_reboot()?;
            match Output::of(json) {
                Output::Json => {
                    let at_boot = (stay == Stay::AtBoot).then_some(AT_BOOT);
                    print::value(&serde_json::json!({ "confirmed": true, "at_boot": at_boot }), true);
                }
                Output::Text => print::text(stay.line()),
            }
            Ok(())
        }
        FirewallCommand::Guard { load, seconds } => apply::guard(load, seconds),
    }
}

/// How long rules stay that were confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// A unit loads them.
    AtBoot,
    /// They are in the file, and there is no systemd that would load it.
    InFile,
    /// They are of a network namespace, which ends with the host.
    UntilReboot,
}

impl Stay {
    const fn line(self) -> &'static str {
        match self {
            Self::AtBoot => {
                "the rules stay, after a reboot as well: postern-firewall.service loads /etc/postern/firewall.nft"
            }
            Self::InFile => {
                "the rules stay; to have them after a reboot, have nft load /etc/postern/firewall.nft at boot"
            }
            Self::UntilReboot => {
                "the rules stay; to have them after a reboot, print them into a file that nft loads at boot"
            }
        }
    }
}

/// The session of ssh in which this is typed: both ends' addresses and ports. sudo may keep it to itself.
fn session() -> Option<String> {
    std::env::var("SSH_CONNECTION").ok().filter(|session| !session.is_empty())
}

/// Whether somebody listens on this port of this host.
fn listens(port: u16) -> bool {
    let places: [SocketAddr; 2] =
        [([127, 0, 0, 1], port).into(), (std::net::Ipv6Addr::LOCALHOST, port).into()];
    places.iter().any(|place| TcpStream::connect_timeout(place, Duration::from_secs(1)).is_ok())
}

fn stay_after_reboot() -> Result<Stay, Problem> {
    if !boot::keep()? {
        return Ok(Stay::UntilReboot);
    }
    let known = Services::here().enable_firewall()?;
    Ok(if known { Stay::AtBoot } else { Stay::InFile })
}

impl HomeArguments {
    fn ruleset(&self) -> Result<String, Problem> {
        if self.program == Program::Postfix {
            let around = self.around_postfix()?;
            self.how.tell_of_tunnels(firewall::of_postfix_home(&around));
            return Ok(firewall::postfix_home(&self.how.wishes(), &around));
        }
        let config: HomeConfig = config::load(&self.config)?;
        let edges = self.edge.iter().map(|edge| match edge {
            EdgeAt::Port(address) => Ok(*address),
            EdgeAt::Network(network) => Err(Problem::setup(
                format!("--edge {network} has no port"),
                "write where it takes links, such as 192.0.2.7:443",
            )),
        });
        let around = surroundings(&config, self.lan(), edges.collect::<Result<_, _>>()?)?;
        self.how.tell_of_tunnels(firewall::of_home(&config, &around));
        Ok(firewall::home(&config, &self.how.wishes(), &around))
    }

    fn around_postfix(&self) -> Result<PostfixHome, Problem> {
        let edges = self.edge.iter().map(|edge| match edge {
            EdgeAt::Network(network) => Ok(*network),
            EdgeAt::Port(address) => Err(Problem::setup(
                format!("--edge {address} has a port, and Edge comes from any"),
                "write the address alone; --port is where Postfix takes mail",
            )),
        });
        let edges: Vec<Network> = edges.collect::<Result<_, _>>()?;
        if edges.is_empty() {
            let advice = "add --edge ADDRESS: the one that Edge comes from, in the tunnel for example";
            return Err(Problem::setup("--home postfix lets nobody hand mail in without --edge", advice));
        }
        let (lan, smarthost) = (self.lan(), self.smarthost.clone());
        Ok(PostfixHome { edges, port: self.port, lan, name_servers: own_name_servers(), smarthost })
    }

    fn lan(&self) -> Vec<Network> {
        match self.lan.is_empty() {
            true => PRIVATE.iter().filter_map(|text| text.parse().ok()).collect(),
            false => self.lan.clone(),
        }
    }
}

impl How {
    fn wishes(&self) -> Wishes {
        Wishes {
            ssh_from: self.ssh_from.clone(),
            ssh_port: self.ssh_port,
            web: self.web,
            tunnels: self.tunnel.clone(),
        }
    }

    /// Rules that let no ssh in shut out whoever loads them over ssh, for good when he confirms them in the session that he has.
    fn see_that_nobody_is_shut_out(&self) -> Result<(), Problem> {
        if !self.ssh_from.is_empty() || self.no_ssh {
            return Ok(());
        }
        let session = session();
        let from = session.as_deref().and_then(|session| session.split_whitespace().next());
        if from.is_none() && !listens(self.ssh_port) {
            return Ok(());
        }
        let (who, example) = match from {
            Some(from) => (format!("you come by ssh from {from}"), from),
            None => (format!("somebody listens on port {} here", self.ssh_port), "NETWORK"),
        };
        Err(Problem::setup(
            format!("these rules let no ssh in, and {who}"),
            format!(
                "add --ssh-from {example}, from where you will come; or --no-ssh, where you have another way to this host"
            ),
        ))
    }

    /// Says which of these networks only a tunnel can lead to, when no tunnel was named.
    fn tell_of_tunnels(&self, networks: Vec<Network>) {
        let Some(wired) = self.tunnel.is_empty().then(host::wired).flatten() else { return };
        for network in not_on_a_wire(networks, &wired) {
            eprintln!(
                "postern: {network} is in no network that this host has a wire to. If a tunnel of this host leads there, \
                 these rules cut it: name what carries it, --tunnel udp/51820 for WireGuard"
            );
        }
    }
}

/// Where homes that are other programs take their mail.
fn foreign_homes(config: &EdgeConfig) -> Result<Vec<SocketAddr>, Problem> {
    let named = config.foreign_homes.iter().filter_map(|home| home.host_and_port());
    let found: Vec<Vec<SocketAddr>> = named.map(of_host).collect::<Result<_, _>>()?;
    Ok(found.concat())
}

fn finish(how: &How, ruleset: &str) -> Result<(), Problem> {
    if !how.apply {
        print::text(ruleset.trim_end());
        return Ok(());
    }
    how.see_that_nobody_is_shut_out()?;
    apply::load(ruleset, how.seconds)?;
    boot::note(ruleset, session().as_deref())?;
    print::text(&format!(
        "loaded. Now open a NEW session to this host, so that you see that you can, and run there\n\n    postern firewall \
         confirm\n\nIf you don't, the rules from before are back in {} seconds.",
        how.seconds
    ));
    Ok(())
}

fn surroundings(
    config: &HomeConfig,
    lan: Vec<Network>,
    edges: Vec<SocketAddr>,
) -> Result<Surroundings, Problem> {
    let name_servers = own_name_servers();
    let mut around = Surroundings { lan, edges, name_servers, ..Surroundings::default() };
    for pin in &config.edges {
        around.edges.extend(addresses(&pin.address)?);
    }
    if let Some(smarthost) = &config.smarthost {
        let others = addresses(&smarthost.address)?.into_iter();
        around.smarthost.extend(others.filter(|address| !address.ip().is_loopback()));
    }
    let endpoints =
        config.filters.iter().flat_map(|filter| [Some(&filter.address), filter.learn_address.as_ref()]);
    let mailboxes = config.deliver.as_ref().map(|deliver| &deliver.lmtp);
    for endpoint in endpoints.flatten().chain(mailboxes) {
        if let Endpoint::Tcp(host, port) = endpoint {
            let others = addresses(&format!("{host}:{port}"))?.into_iter();
            around.filters.extend(others.filter(|address| !address.ip().is_loopback()));
        }
    }
    around.mailboxes_here = mailboxes.map_or(Ok(false), is_here)?;
    around.edges.dedup();
    around.filters.dedup();
    Ok(around)
}

/// Whether a service is on this host.
fn is_here(service: &Endpoint) -> Result<bool, Problem> {
    let Endpoint::Tcp(host, port) = service else { return Ok(true) };
    // Only addresses of this host can be bound to.
    let is_own = |mut address: SocketAddr| {
        address.set_port(0);
        UdpSocket::bind(address).is_ok()
    };
    Ok(addresses(&format!("{host}:{port}"))?.into_iter().all(is_own))
}

/// The addresses of `host:port` now.
fn addresses(name: &str) -> Result<Vec<SocketAddr>, Problem> {
    name.to_socket_addrs().map(Iterator::collect).map_err(|error| not_found(name, &error))
}

/// The addresses of this host at this port now.
fn of_host(host_and_port: (&str, u16)) -> Result<Vec<SocketAddr>, Problem> {
    let found = host_and_port.to_socket_addrs().map(Iterator::collect);
    found.map_err(|error| not_found(host_and_port.0, &error))
}

fn not_found(name: &str, error: &std::io::Error) -> Problem {
    Problem::failed(
        format!("the address of {name} can't be found: {error}"),
        "see that names can be looked up here",
    )
}

/// The name servers of this host that are others.
fn own_name_servers() -> Vec<IpAddr> {
    name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

/// The name servers of a `resolv.conf`, without those on this host.
fn name_servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.trim().split('%').next()?.parse::<IpAddr>().ok());
    // To resolvers 0.0.0.0 and :: are this host, too.
    addresses.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_without_those_on_this_host() {
        let text = "# x\nsearch lan\nnameserver 192.168.1.1\nnameserver 127.0.0.53\n nameserver fe80::1%eth0\nnameserver x\n";
        let wanted: [IpAddr; 2] = ["192.168.1.1".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(name_servers(text), wanted);
        for text in ["nameserver 127.0.0.53\nnameserver ::1\nnameserver 0.0.0.0\n", "", "search lan\n"] {
            assert!(name_servers(text).is_empty(), "{text}");
        }
        assert!(PRIVATE.iter().all(|text| text.parse::<Network>().is_ok()));
    }

    #[test]
    fn a_service_is_here_when_its_address_is_one_of_this_host() {
        for (service, here) in
            [("unix:/run/dovecot/lmtp", true), ("inet:127.0.0.1:24", true), ("inet:192.0.2.1:24", false)]
        {
            assert_eq!(is_here(&service.parse().unwrap()).unwrap(), here, "{service}");
        }
    }

    #[test]
    fn an_edge_is_at_a_port_or_comes_from_an_address() {
        for (text, port) in
            [("192.0.2.7:443", true), ("[2001:db8::7]:443", true), ("10.8.0.1", false), ("fd00::/64", false)]
        {
            assert_eq!(matches!(text.parse::<EdgeAt>().unwrap(), EdgeAt::Port(_)), port, "{text}");
        }
        for wrong in ["", "mx.example.org", "192.0.2.7:x", "192.0.2.7:70000"] {
            assert!(wrong.parse::<EdgeAt>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_addresses_of_a_literal_need_no_dns() {
        assert_eq!(of_host(("fd00::2", 465)).unwrap(), ["[fd00::2]:465".parse().unwrap()]);
        assert_eq!(addresses("203.0.113.2:443").unwrap(), ["203.0.113.2:443".parse().unwrap()]);
    }
}
