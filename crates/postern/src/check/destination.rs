//! `postern check destination`: what would happen to mail for a domain, without a word to its mail hosts.

use std::net::SocketAddr;
use std::path::PathBuf;

use daemon::clock::SystemClock;
use daemon::config;
use daemon::print;
use daemon::problem::Problem;
use edge::config::EdgeConfig;
use edge::route::{Destination, Heard, Located, Map};
use mail::{Domain, Outcome};
use net::dns::Dns;
use serde_json::{Value, json};
use tlspolicy::{Dane, Demand, Refusal};

use super::{print_json, printable};

/// Arguments of `check destination`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DestinationArguments {
    /// Where the mail would go
    domain: String,
    /// The configuration file of Edge; without it the defaults hold
    #[arg(long)]
    config: Option<PathBuf>,
    /// Ask this name server instead of the configured ones
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    resolver: Vec<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl DestinationArguments {
    fn config(&self) -> Result<EdgeConfig, Problem> {
        let mut config: EdgeConfig = match &self.config {
            Some(path) => config::load(path)?,
            None => EdgeConfig::of_nobody(),
        };
        if !self.resolver.is_empty() {
            config.dns.servers.clone_from(&self.resolver);
        }
        Ok(config)
    }
}

/// `postern check destination`.
pub(crate) async fn check_destination(arguments: &DestinationArguments) -> Result<(), Problem> {
    let domain = Domain::parse(&arguments.domain)
        .map_err(|error| Problem::setup(format!("'{}': {error}", arguments.domain), "name a domain"))?;
    let config = arguments.config()?;
    let dns = Dns::new(&config.dns.servers)
        .map_err(|error| Problem::setup(error, "name a server with --resolver ADDR:PORT"))?;
    // Policies are fetched anew and not kept: the file belongs to the daemon.
    let map = Map::new(&config, dns, None, SystemClock::shared())?;
    let destination = match map.destination(&domain).await {
        Ok(destination) => destination,
        Err(outcome) => {
            nowhere(&domain, &outcome, arguments.json);
            return Ok(());
        }
    };
    let mut hosts = Vec::with_capacity(destination.hosts.len());
    for host in &destination.hosts {
        hosts.push(map.locate(&destination, host).await);
    }
    if arguments.json {
        print_json(&as_json(&domain, &destination, &hosts));
    } else {
        print_readable(&domain, &destination, &hosts);
    }
    Ok(())
}

/// There is no host to try.
fn nowhere(domain: &Domain, outcome: &Outcome, json: bool) {
    let warning = outcome.why().to_string();
    if json {
        print_json(&json!({ "domain": domain, "hosts": [], "warnings": [warning] }));
    } else {
        print::text(&format!("{domain}\n  warning: {}", printable(&warning)));
    }
}

/// What the operator should know before it happens.
fn warnings(destination: &Destination, hosts: &[Located]) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(own) = hosts.iter().find(|one| one.own) {
        let (name, preference) = (&own.host.name, own.host.preference);
        warnings
            .push(format!("{name} is this Edge: hosts of preference {preference} and above are not tried"));
    }
    for one in hosts {
        let name = &one.host.name;
        match &one.addresses {
            Ok(addresses) if addresses.is_empty() => {
                warnings.push(format!("{name} has no address to send to"))
            }
            Ok(_) => {}
            Err(cause) => warnings.push(cause.clone()),
        }
        match &one.demand {
            Ok(_) => {}
            Err(Refusal::NotInPolicy) => {
                warnings.push(format!("{name} is not in the MTA-STS policy: not used"))
            }
            Err(Refusal::DnsUnknown(cause)) => warnings.push(format!("{name} is not used: {cause}")),
        }
    }
    warnings.extend(destination.heard.failure.as_ref().map(|failure| failure.cause.clone()));
    warnings
}

fn demand_of(one: &Located) -> &'static str {
    one.demand.as_ref().map_or("refused", Demand::as_str)
}

/// The records of a host as a zone file has them, and whether they are signed.
fn records_of(dane: &Dane) -> (&'static str, Vec<String>) {
    match dane {
        Dane::Absent => ("insecure", Vec::new()),
        Dane::Secure(records) => ("secure", records.iter().map(ToString::to_string).collect()),
        Dane::Unknown(_) => ("unknown", Vec::new()),
    }
}

fn as_json(domain: &Domain, destination: &Destination, hosts: &[Located]) -> Value {
    let host = |one: &Located| {
        let addresses = one.addresses.as_deref().unwrap_or_default();
        let (dnssec, records) = records_of(&one.dane);
        json!({
            "preference": one.host.preference,
            "name": one.host.name,
            "addresses": addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>(),
            "dnssec": dnssec,
            "tlsa": records,
            "tlsa_base": one.tlsa_base,
            "policy": demand_of(one),
            "self": one.own,
        })
    };
    json!({
        "domain": domain,
        "mx_secure": destination.secure,
        "mta_sts": destination.heard.policy,
        "hosts": hosts.iter().map(host).collect::<Vec<_>>(),
        "warnings": warnings(destination, hosts),
    })
}

fn policy_line(heard: &Heard) -> String {
    match &heard.policy {
        None => "none".to_owned(),
        Some(policy) => {
            let mode = json!(policy.mode);
            let mode = mode.as_str().unwrap_or_default();
            format!("{mode}, {} s, mx {}", policy.max_age, policy.mx.join(" "))
        }
    }
}

fn print_readable(domain: &Domain, destination: &Destination, hosts: &[Located]) {
    let signed = if destination.secure { "signed" } else { "not signed" };
    print::text(&format!("{domain}, mail hosts {signed}"));
    print::text(&format!("  MTA-STS {}", printable(&policy_line(&destination.heard))));
    for one in hosts {
        print::text(&format!("  {:>5} {}", one.host.preference, printable(&one.host.name)));
        let addresses = one.addresses.as_deref().unwrap_or_default();
        addresses.iter().for_each(|address| print::text(&format!("          {}", address.ip())));
        let (_, records) = records_of(&one.dane);
        if !records.is_empty() && one.tlsa_base != one.host.name {
            print::text(&format!("          alias of {}", printable(&one.tlsa_base)));
        }
        records.iter().for_each(|record| print::text(&format!("          TLSA {record}")));
        print::text(&format!("          TLS: {}", demand_of(one)));
    }
    for warning in warnings(destination, hosts) {
        print::text(&format!("  warning: {}", printable(&warning)));
    }
}
