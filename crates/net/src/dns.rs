//! DNS: which hosts take mail for a domain (RFC 5321 section 5.1, RFC 7505), and where they are.

mod questions;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use mail::Domain;

pub use questions::Questions;

/// Most MX hosts that are looked at; more is no service but an attack.
const HOSTS_MAX: usize = 20;
/// Most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
/// Patience with one name server.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);

/// A resolver with its own cache.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

/// One host that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailHost {
    /// Lower is tried first.
    pub preference: u16,
    /// Its name, without the last dot; or the address literal.
    pub name: String,
}

/// Where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailHosts {
    /// These, best first.
    Hosts(Vec<MailHost>),
    /// Null MX: the domain takes no mail (RFC 7505).
    NullMx,
    /// The domain does not exist, or has neither MX nor address.
    NoSuchDomain,
}

/// The question could not be answered; the caller tries later.
#[derive(Debug, thiserror::Error)]
#[error("DNS gave no answer for {name}: {cause}")]
pub struct DnsError {
    /// The name asked for.
    pub name: String,
    /// What the resolver said.
    pub cause: String,
}

impl Dns {
    /// A resolver that asks `servers`, or those of the system when the list is empty.
    ///
    /// # Errors
    /// When the system's resolver configuration can't be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let failed = |error: NetError| DnsError {
            name: "the system's name servers".to_owned(),
            cause: error.to_string(),
        };
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let config = ResolverConfig::from_name_servers(servers.iter().map(name_server).collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = QUESTION_PATIENCE;
        options.attempts = 2;
        options.ndots = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = 4096;
        // What this machine calls itself and its neighbours is not what the world is to be judged by.
        options.use_hosts_file = ResolveHosts::Never;
        Ok(Self { resolver: builder.build().map_err(failed)? })
    }

    /// For mail authentication: the same resolver and cache.
    #[must_use]
    pub fn questions(&self) -> Questions {
        Questions::new(self.resolver.clone())
    }

    /// The hosts that take mail for `domain`, best first; hosts of equal preference in the order `shuffle`
    /// gives them (RFC 5321 section 5.1 asks for a random one).
    ///
    /// # Errors
    /// [`DnsError`] when DNS gives no usable answer now.
    pub async fn mail_hosts(
        &self,
        domain: &Domain,
        mut shuffle: impl FnMut(&MailHost) -> u64,
    ) -> Result<MailHosts, DnsError> {
        if domain.is_literal() {
            let name = domain.as_str().to_owned();
            return Ok(MailHosts::Hosts(vec![MailHost { preference: 0, name }]));
        }
        let mut hosts = match self.resolver.lookup(absolute(domain.as_str()), RecordType::MX).await {
            Ok(answer) => mx_hosts(answer.answers().iter().map(|record| &record.data)),
            Err(error) if error.is_nx_domain() => return Ok(MailHosts::NoSuchDomain),
            Err(error) if error.is_no_records_found() => Vec::new(),
            Err(error) => return Err(failed(domain.as_str(), &error)),
        };
        if hosts.iter().any(|host| host.name.is_empty()) {
            return Ok(MailHosts::NullMx);
        }
        if hosts.is_empty() {
            // No MX: the domain itself is the host (RFC 5321 section 5.1), if it has an address.
            let name = domain.as_str().to_owned();
            if self.addresses(&name).await?.is_empty() {
                return Ok(MailHosts::NoSuchDomain);
            }
            return Ok(MailHosts::Hosts(vec![MailHost { preference: 0, name }]));
        }
        hosts.sort_by_cached_key(|host| (host.preference, shuffle(host)));
        hosts.truncate(HOSTS_MAX);
        Ok(MailHosts::Hosts(hosts))
    }

    /// The addresses of a host, IPv6 and IPv4 by turns (RFC 8305 section 4), at most 8; of an address literal,
    /// itself. Empty when it has none.
    ///
    /// # Errors
    /// [`DnsError`] when DNS gives no usable answer now.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let literal = literal.strip_prefix("ipv6:").unwrap_or(literal);
            return Ok(literal.parse().into_iter().collect());
        }
        match self.resolver.lookup_ip(absolute(host)).await {
            Ok(found) => {
                let (v6, v4): (Vec<_>, Vec<_>) = found.iter().partition(IpAddr::is_ipv6);
                Ok(by_turns(v6, v4))
            }
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(failed(host, &error)),
        }
    }
}

/// One of each family after the other, so that a family that does not work costs one pause only.
fn by_turns(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let longest = first.len().max(second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let pairs = (0..longest).flat_map(|_| [first.next(), second.next()]).flatten();
    pairs.take(ADDRESSES_MAX).collect()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

fn mx_hosts<'a>(answers: impl Iterator<Item = &'a RData>) -> Vec<MailHost> {
    let mut best: HashMap<String, u16> = HashMap::new();
    for data in answers {
        if let RData::MX(mx) = data {
            let name = mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase();
            let preference = best.entry(name).or_insert(mx.preference);
            *preference = mx.preference.min(*preference);
        }
    }
    best.into_iter().map(|(name, preference)| MailHost { preference, name }).collect()
}

/// Names are asked as they are: no search list of the machine's own network.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn failed(name: &str, error: &NetError) -> DnsError {
    DnsError { name: name.to_owned(), cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: a client's name was sometimes `localhost` and sometimes this machine's own. Cause: the resolver
    /// looked into `/etc/hosts` before it asked. Analysis: whoever is named there, as Debian names its own host
    /// under 127.0.1.1, has other addresses in SPF and as a mail host than DNS says.
    #[tokio::test]
    async fn the_hosts_file_of_this_machine_is_not_asked() {
        let servers = ["127.0.0.1:9".parse().unwrap()];
        let dns = Dns::new(&servers).unwrap();
        assert!(matches!(dns.resolver.options().use_hosts_file, ResolveHosts::Never));
    }

    #[test]
    fn addresses_of_both_families_take_turns_and_are_bounded() {
        let v6: Vec<IpAddr> = ["2001:db8::1", "2001:db8::2"].iter().map(|a| a.parse().unwrap()).collect();
        let v4: Vec<IpAddr> = (1..=20).map(|n| [192, 0, 2, n].into()).collect();
        let all = by_turns(v6.clone(), v4.clone());
        assert_eq!(all[..5], [v6[0], v4[0], v6[1], v4[1], v4[2]]);
        assert_eq!(all.len(), ADDRESSES_MAX);
        assert_eq!(by_turns(Vec::new(), v4[..2].to_vec()), v4[..2]);
    }
}
