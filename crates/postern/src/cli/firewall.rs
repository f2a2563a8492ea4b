//! `postern firewall`: the rules of a role's host, printed or loaded.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::PathBuf;

use clap::Subcommand;
use net::endpoint::Endpoint;

use super::{EDGE_CONFIG, HOME_CONFIG, Output, print};
use crate::config::{self, EdgeConfig, HomeConfig};
use crate::firewall::{self, Surroundings, Wishes, apply};
use crate::network::Network;
use crate::problem::Problem;

/// Networks that houses have.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8", "fe80::/10"];
const RESOLV_CONF: &str = "/etc/resolv.conf";

#[derive(Debug, Subcommand)]
pub enum FirewallCommand {
    /// The rules of Edge's host
    Edge {
        #[command(flatten)]
        how: How,
        /// The configuration file
        #[arg(long, default_value = EDGE_CONFIG)]
        config: PathBuf,
    },
    /// The rules of Home's host
    Home {
        #[command(flatten)]
        how: How,
        /// A network of mail programs; may be given several times. All private networks when it is not given
        #[arg(long, value_name = "NETWORK")]
        lan: Vec<Network>,
        /// Where an edge takes links that is not in the configuration yet, such as 192.0.2.7:443: let Home out to it
        /// before you run 'postern home pair'; may be given several times
        #[arg(long, value_name = "ADDRESS:PORT", value_parser = crate::network::address_and_port)]
        edge: Vec<SocketAddr>,
        /// The configuration file
        #[arg(long, default_value = HOME_CONFIG)]
        config: PathBuf,
    },
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
pub struct How {
    /// Let ssh in from this network; may be given several times
    #[arg(long, value_name = "NETWORK")]
    ssh_from: Vec<Network>,
    /// The port of ssh
    #[arg(long, default_value_t = 22)]
    ssh_port: u16,
    /// Load the rules with nft; they are taken back unless you confirm them
    #[arg(long)]
    apply: bool,
    /// How long they wait to be confirmed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// Prints or loads.
pub fn run(command: FirewallCommand) -> Result<(), Problem> {
    match command {
        FirewallCommand::Edge { how, config } => {
            let edge: EdgeConfig = config::load(&config)?;
            finish(&how, &firewall::edge(&edge, &how.wishes()))
        }
        FirewallCommand::Home { how, lan, edge, config } => {
            let home: HomeConfig = config::load(&config)?;
            let around = surroundings(&home, lan, edge)?;
            finish(&how, &firewall::home(&home, &how.wishes(), &around))
        }
        FirewallCommand::Confirm { json, config: _ } => {
            apply::confirm()?;
            match Output::of(json) {
                Output::Json => print::value(&serde_json::json!({ "confirmed": true }), true),
                Output::Text => print::text(
                    "the rules stay; to have them after a reboot, print them into a file that nft loads at boot",
                ),
            }
            Ok(())
        }
        FirewallCommand::Guard { load, seconds } => apply::guard(load, seconds),
    }
}

impl How {
    fn wishes(&self) -> Wishes {
        Wishes { ssh_from: self.ssh_from.clone(), ssh_port: self.ssh_port }
    }
}

fn finish(how: &How, ruleset: &str) -> Result<(), Problem> {
    if !how.apply {
        print::text(ruleset.trim_end());
        return Ok(());
    }
    apply::load(ruleset, how.seconds)?;
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
    let private = || PRIVATE.iter().filter_map(|text| text.parse().ok()).collect();
    let mut around = Surroundings {
        lan: if lan.is_empty() { private() } else { lan },
        edges,
        name_servers: name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
        ..Surroundings::default()
    };
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
    let found = name.to_socket_addrs().map_err(|error| {
        Problem::failed(
            format!("the address of {name} can't be found: {error}"),
            "see that names can be looked up here",
        )
    })?;
    Ok(found.collect())
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
    fn the_addresses_of_a_literal_need_no_dns() {
        assert_eq!(addresses("203.0.113.2:443").unwrap(), ["203.0.113.2:443".parse().unwrap()]);
    }
}
