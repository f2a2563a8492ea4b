//! Edge's facts.

use std::net::{IpAddr, SocketAddr};

use mail::UnixTime;
use mailauth::spf::{Query, Spf, SpfResult, check_helo};
use tokio::time::Instant;

use super::deadline::{all, until};
use super::host::{HostKnows, host, own_addresses};
use super::names;
use super::world::{MailQuestions, World};
use crate::facts::{EdgeFacts, Fact, HomeSeen, MailPort, PortOutward};
use crate::judge::is_inner;

/// What Edge has to say for its facts.
#[derive(Debug, Clone)]
pub struct EdgeKnows {
    /// Of the machine.
    pub host: HostKnows,
    /// Whether its daemon runs.
    pub runs: Fact<()>,
    /// Its name.
    pub hostname: String,
    /// Whether a home sends through it.
    pub sends: bool,
    /// Whether it may send over IPv6.
    pub sends_ipv6: bool,
    /// Zones of blocklists.
    pub lists: Vec<String>,
    /// A host whose port 25 is to be tried.
    pub probe: Option<String>,
    /// When mail was delivered last.
    pub delivered: Option<UnixTime>,
    /// When somebody from outside connected to port 25 last.
    pub strangers: Option<UnixTime>,
    /// Where it listens: a word for each port, and where to connect to on this host.
    pub ports: Vec<(String, SocketAddr)>,
    /// Where its own mail port is, if it listens; and a recipient who does not exist there.
    pub own_port: Option<(SocketAddr, Option<String>)>,
    /// The homes that are paired; not known without a daemon.
    pub homes: Fact<Vec<HomeSeen>>,
    /// Octets that sealed mail may take for one home.
    pub spool_octets_max: u64,
}

/// Gathers Edge's facts until then.
pub async fn edge(world: &impl World, knows: EdgeKnows, deadline: Instant) -> EdgeFacts {
    let routes = own_addresses();
    let in_dns = until(deadline, names::addresses(world, &knows.hostname));
    let named = async {
        let in_dns = in_dns.await;
        let seen = seen_outside(&routes, in_dns.as_deref().unwrap_or_default());
        let (names, spf, lists) = tokio::join!(
            all(seen.iter().map(|ip| names::names_of(world, *ip, deadline))),
            all(seen.iter().map(|ip| ehlo_spf(world, *ip, &knows, deadline))),
            all(pairs(&seen, &knows.lists).map(|(ip, zone)| names::on_list(world, zone, ip, deadline))),
        );
        (in_dns, names, spf, lists)
    };
    let (host, (in_dns, names, ehlo_spf, lists), port_outward, ports, own_port) = tokio::join!(
        host(world, &knows.host, deadline),
        named,
        port_outward(world, &knows, deadline),
        all(knows.ports.iter().map(|(name, place)| async move {
            (name.clone(), until(deadline, world.connects(*place)).await)
        })),
        own_port(world, &knows, deadline),
    );
    EdgeFacts {
        host,
        runs: knows.runs,
        hostname: knows.hostname,
        sends: knows.sends,
        sends_ipv6: knows.sends_ipv6,
        routes,
        in_dns,
        names,
        ehlo_spf,
        lists,
        port_outward,
        strangers: knows.strangers,
        ports,
        own_port,
        homes: knows.homes,
        spool_octets_max: knows.spool_octets_max,
    }
}

/// What a stranger finds at its own mail port. Home looks there, too, unless its provider or its own firewall lets nothing out.
async fn own_port(world: &impl World, knows: &EdgeKnows, deadline: Instant) -> Option<Fact<MailPort>> {
    let (place, nobody) = knows.own_port.clone()?;
    let questions = MailQuestions { name: knows.hostname.clone(), nobody };
    Some(until(deadline, world.mail_port(place, &questions)).await)
}

/// The addresses that the world sees: the host's own, and behind a provider's NAT those of its name.
fn seen_outside(routes: &[IpAddr], in_dns: &[IpAddr]) -> Vec<IpAddr> {
    let own: Vec<IpAddr> = routes.iter().copied().filter(|ip| !is_inner(*ip)).collect();
    if own.is_empty() { in_dns.iter().copied().filter(|ip| !is_inner(*ip)).collect() } else { own }
}

fn pairs<'a>(addresses: &'a [IpAddr], zones: &'a [String]) -> impl Iterator<Item = (IpAddr, &'a str)> {
    addresses.iter().flat_map(|ip| zones.iter().map(|zone| (*ip, zone.as_str())))
}

async fn ehlo_spf(
    world: &impl World,
    ip: IpAddr,
    knows: &EdgeKnows,
    deadline: Instant,
) -> (IpAddr, SpfResult) {
    let name = &knows.hostname;
    let query = Query { ip, helo: name, mail_from: "", receiver: name, now: knows.host.now.as_secs() };
    let checked = tokio::time::timeout_at(deadline, check_helo(world, &query)).await;
    (ip, checked.unwrap_or_else(|_| Spf::unanswered(&query)).result)
}

async fn port_outward(world: &impl World, knows: &EdgeKnows, deadline: Instant) -> PortOutward {
    match (&knows.probe, knows.delivered) {
        (Some(host), _) => match until(deadline, world.mail_hosts(host)).await {
            Ok(places) if places.is_empty() => {
                PortOutward::NoSuchHost(host.clone(), format!("there is no mail host {host}"))
            }
            Ok(places) => PortOutward::Tried(host.clone(), until(deadline, world.greets(&places)).await),
            Err(why) => PortOutward::NoSuchHost(host.clone(), why),
        },
        (None, Some(at)) => PortOutward::Proven(at),
        (None, None) => PortOutward::Untried,
    }
}

/// The addresses of this host that the world sees, each with its names that lead back to it.
pub async fn own_names(world: &impl World, deadline: Instant) -> Vec<(IpAddr, Vec<String>)> {
    let outside: Vec<IpAddr> = own_addresses().into_iter().filter(|ip| !is_inner(*ip)).collect();
    let named = all(outside.iter().map(|ip| names::names_of(world, *ip, deadline))).await;
    let confirmed = named.into_iter().map(|of| {
        let leads_back = |led: &Fact<Vec<IpAddr>>| led.as_ref().is_ok_and(|all| all.contains(&of.address));
        let names = of.names.unwrap_or_default();
        (of.address, names.into_iter().filter(|(_, led)| leads_back(led)).map(|(name, _)| name).collect())
    });
    confirmed.collect()
}
