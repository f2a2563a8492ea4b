//! Edge.

use std::net::{IpAddr, Ipv4Addr};

use mail::UnixTime;
use mailauth::spf::SpfResult;

use super::fact::Fact;
use super::host::HostFacts;
use super::port::MailPort;

/// Everything that Edge's half is judged by.
#[derive(Debug, Clone)]
pub struct EdgeFacts {
    /// The machine.
    pub host: HostFacts,
    /// Whether the daemon runs.
    pub runs: Fact<()>,
    /// Edge's name.
    pub hostname: String,
    /// Whether a home sends through it, so that what only sending needs is a fault and no warning.
    pub sends: bool,
    /// Whether it may send over IPv6.
    pub sends_ipv6: bool,
    /// The addresses from which connections of this host come: as its routes say, IPv4 and IPv6.
    pub routes: Vec<IpAddr>,
    /// The addresses of its name in DNS.
    pub in_dns: Fact<Vec<IpAddr>>,
    /// The names of each address that the world sees.
    pub names: Vec<NamesOf>,
    /// What SPF says of each of them for Edge's name.
    pub ehlo_spf: Vec<(IpAddr, SpfResult)>,
    /// What each list says of each of them.
    pub lists: Vec<ListSeen>,
    /// Port 25 of others.
    pub port_outward: PortOutward,
    /// When somebody from outside connected to port 25 last.
    pub strangers: Option<UnixTime>,
    /// Own ports: what each is, and whether it answers on this host.
    pub ports: Vec<(String, Fact<()>)>,
    /// Its own mail port, as a stranger finds it; `None` where nobody listens, which is told by `runs`.
    pub own_port: Option<Fact<MailPort>>,
    /// The homes that are paired; not known without a daemon.
    pub homes: Fact<Vec<HomeSeen>>,
    /// Octets that sealed mail may take for one home.
    pub spool_octets_max: u64,
}

/// An address and its names.
#[derive(Debug, Clone)]
pub struct NamesOf {
    /// The address.
    pub address: IpAddr,
    /// Its names (PTR), each with the addresses that the name leads to.
    pub names: Fact<Vec<(String, Fact<Vec<IpAddr>>)>>,
}

/// One list and one address.
#[derive(Debug, Clone)]
pub struct ListSeen {
    /// The zone.
    pub zone: String,
    /// The address.
    pub address: IpAddr,
    /// The codes that it has on the list; none when it is not on it.
    pub codes: Fact<Vec<Ipv4Addr>>,
    /// The codes of the entry that every list has (RFC 5782 section 5).
    pub test_entry: Fact<Vec<Ipv4Addr>>,
    /// The codes of what no list has.
    pub never_entry: Fact<Vec<Ipv4Addr>>,
}

/// Whether others' port 25 can be reached.
#[derive(Debug, Clone)]
pub enum PortOutward {
    /// This host was tried.
    Tried(String, Fact<()>),
    /// Mail was delivered at this time.
    Proven(UnixTime),
    /// This host was to be tried, and there is none of that name: why.
    NoSuchHost(String, String),
    /// No host was named, and nothing was delivered lately.
    Untried,
}

/// A paired home, as Edge knows it.
#[derive(Debug, Clone)]
pub struct HomeSeen {
    /// Its name at Edge: digits of its key.
    pub name: String,
    /// Whether it is linked.
    pub linked: bool,
    /// When it was here last.
    pub last_here: Option<UnixTime>,
    /// How many recipients its list has; `None` without a list.
    pub recipients: Option<usize>,
    /// Whether a domain of it takes mail for whatever name.
    pub takes_everybody: bool,
    /// Messages that wait for it, sealed.
    pub sealed: usize,
    /// When the oldest of them came.
    pub oldest: Option<UnixTime>,
    /// Octets that they take.
    pub sealed_octets: u64,
    /// What its half found, by name alone, and when it said so.
    pub told: Option<(UnixTime, Vec<(crate::Check, crate::Verdict)>)>,
}
