//! DNS: which hosts take mail for a domain (RFC 5321 section 5.1, RFC 7505), where they are, and which
//! certificates they have (RFC 7672). With DNSSEC, whether an answer can be believed.

mod data;
mod look_up;
mod name;
mod parts;
mod questions;
mod server;
mod signed;
mod step;
pub mod update;
mod words;
mod zone;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use mail::Domain;
use tlspolicy::tlsa::Tlsa;

use parts::Parts;

pub use data::{Data, DataKind, NoSuchData};
pub use look_up::{Alias, Validation};
pub use questions::Questions;
pub use server::{ServerError, ZoneServer};
pub use signed::{RootSigned, root_signed};
pub use zone::Zone;

/// Most MX hosts that are looked at; more is no service but an attack.
const HOSTS_MAX: usize = 20;
/// Most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
/// Most TLSA records of one host that are looked at.
const TLSA_RECORDS_MAX: usize = 32;
/// Patience with one name server.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);

/// A resolver with its own cache.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    /// For answers that the resolver finds bogus; with DNSSEC only.
    parts: Option<Parts>,
}

/// One host that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailHost {
    /// The preference of the MX record: lower is tried first (RFC 5321 section 5.1).
    pub preference: u16,
    /// Its name, without the last dot; or the address literal.
    pub name: String,
}

/// The hosts that take a domain's mail (RFC 5321 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailHosts {
    /// These hosts, best first.
    Hosts(Vec<MailHost>),
    /// Null MX: the domain takes no mail (RFC 7505).
    NullMx,
    /// The domain does not exist, or has neither MX nor address.
    NoSuchDomain,
    /// Each of its MX records names an address, where a host belongs (RFC 5321 section 5.1).
    OnlyAddresses,
}

/// What DNS said, and whether DNSSEC vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    /// The answer.
    pub value: T,
    /// Whether every part of the answer has signatures that lead to a trust anchor. Never without DNSSEC.
    pub secure: bool,
}

/// The question could not be answered; the caller tries later.
#[derive(Debug, thiserror::Error)]
#[error("DNS gave no answer for {name}: {cause}")]
pub struct DnsError {
    /// The name asked for.
    pub name: String,
    /// The resolver's error, in words.
    pub cause: String,
}

impl Dns {
    /// A resolver that asks `servers`, or those of the system when the list is empty.
    ///
    /// # Errors
    /// When the system's resolver configuration can't be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        Self::build(servers, None)
    }

    /// A resolver that validates every answer. An answer with a signature that is wrong, or that is missing
    /// where it should be, is an error. `anchors` is a file of DNSKEY records that are trusted instead of
    /// those of the root.
    ///
    /// # Errors
    /// As [`Dns::new`], and when the file can't be read.
    pub fn validating(servers: &[SocketAddr], anchors: Option<&Path>) -> Result<Self, DnsError> {
        let anchors = match anchors {
            None => TrustAnchors::default(),
            Some(path) => TrustAnchors::from_file(path).map_err(|error| DnsError {
                name: format!("the trust anchors in {}", path.display()),
                cause: error.to_string(),
            })?,
        };
        Self::build(servers, Some(anchors))
    }

    fn build(servers: &[SocketAddr], anchors: Option<TrustAnchors>) -> Result<Self, DnsError> {
        let failed = |error: NetError| DnsError {
            name: "the system's name servers".to_owned(),
            cause: words::of(&error),
        };
        let (config, mut options) = if servers.is_empty() {
            read_system_conf().map_err(failed)?
        } else {
            let servers = servers.iter().map(name_server).collect();
            (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
        };
        options.timeout = QUESTION_PATIENCE;
        options.attempts = 2;
        options.ndots = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = 4096;
        // What this machine calls itself and its neighbours is not what the world is to be judged by.
        options.use_hosts_file = ResolveHosts::Never;
        let anchors = anchors.map(Arc::new);
        let parts = anchors.as_ref().map(|anchors| Parts::new(&config, &options, Arc::clone(anchors)));
        let parts = parts.transpose().map_err(failed)?;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        if let Some(anchors) = anchors {
            builder = builder.with_trust_anchor(anchors);
        }
        Ok(Self { resolver: builder.build().map_err(failed)?, parts })
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
    ) -> Result<Answered<MailHosts>, DnsError> {
        let name = domain.as_str().to_owned();
        if domain.is_literal() {
            let value = MailHosts::Hosts(vec![MailHost { preference: 0, name }]);
            return Ok(Answered { value, secure: false });
        }
        let found = self.look_up(&name, RecordType::MX).await?;
        let secure = found.secure;
        if !found.name_exists {
            return Ok(Answered { value: MailHosts::NoSuchDomain, secure });
        }
        let mut hosts = mx_hosts(found.records.iter());
        if hosts.iter().any(|host| host.name.is_empty()) {
            return Ok(Answered { value: MailHosts::NullMx, secure });
        }
        if hosts.is_empty() {
            // No MX: the domain itself is the host (RFC 5321 section 5.1), if it has an address.
            let value = if self.addresses(&name).await?.value.is_empty() {
                MailHosts::NoSuchDomain
            } else {
                MailHosts::Hosts(vec![MailHost { preference: 0, name }])
            };
            return Ok(Answered { value, secure });
        }
        // An address in a host's place is the domain's mistake; other servers do not guess what it means either.
        hosts.retain(|host| !is_address(&host.name));
        if hosts.is_empty() {
            return Ok(Answered { value: MailHosts::OnlyAddresses, secure });
        }
        hosts.sort_by_cached_key(|host| (host.preference, shuffle(host)));
        hosts.truncate(HOSTS_MAX);
        Ok(Answered { value: MailHosts::Hosts(hosts), secure })
    }

    /// The addresses of a host, IPv6 and IPv4 by turns (RFC 8305 section 4), at most 8; of an address literal,
    /// itself. Empty when it has none.
    ///
    /// # Errors
    /// [`DnsError`] when DNS gives no usable answer now.
    pub async fn addresses(&self, host: &str) -> Result<Answered<Vec<IpAddr>>, DnsError> {
        self.addresses_and_alias(host).await.map(|(addresses, _)| addresses)
    }

    /// As [`Dns::addresses`], and what the host is an alias of.
    ///
    /// # Errors
    /// [`DnsError`] when DNS gives no usable answer now.
    pub async fn addresses_and_alias(
        &self,
        host: &str,
    ) -> Result<(Answered<Vec<IpAddr>>, Option<Alias>), DnsError> {
        if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let literal = literal.strip_prefix("ipv6:").unwrap_or(literal);
            let value = literal.parse().into_iter().collect();
            return Ok((Answered { value, secure: false }, None));
        }
        let (v6, v4) = tokio::join!(self.look_up(host, RecordType::AAAA), self.look_up(host, RecordType::A));
        let (v6, v4) = match (v6, v4) {
            // Servers that know no AAAA are not rare; what the other family has is enough.
            (Err(_), Ok(v4)) if !v4.records.is_empty() => (look_up::Found::default(), v4),
            (Ok(v6), Err(_)) if !v6.records.is_empty() => (v6, look_up::Found::default()),
            (v6, v4) => (v6?, v4?),
        };
        // What can be connected to has to be vouched for, not that there is no more.
        let secure = {
            let mut some = [&v6, &v4].into_iter().filter(|found| !found.records.is_empty()).peekable();
            some.peek().is_some() && some.all(|found| found.secure)
        };
        let first = v6.records.iter().filter_map(|data| match data {
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        let second = v4.records.iter().filter_map(|data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            _ => None,
        });
        let value = by_turns(first.collect(), second.collect());
        let alias = if v4.records.is_empty() { v6.alias } else { v4.alias };
        Ok((Answered { value, secure }, alias))
    }

    /// The zone that a name lies in, as the name servers that are asked see it.
    ///
    /// # Errors
    /// [`DnsError`] when they do not tell.
    pub async fn zone_of(&self, host: &str) -> Result<Zone, DnsError> {
        let failed = |cause: String| DnsError { name: host.to_owned(), cause };
        let asked = name::to_wire(host).ok_or_else(|| failed("it is no name".to_owned()))?;
        let (start, primary) = zone::start_of(&self.resolver, asked).await.map_err(failed)?;
        let name = name::to_text(&start).to_ascii_lowercase();
        let found = self.look_up(&name, RecordType::NS).await?;
        Ok(Zone { name, primary, servers: self.all_located(zone::servers(&found.records)).await })
    }

    /// Hosts and their addresses, asked for at one time.
    async fn all_located(&self, hosts: Vec<String>) -> Vec<(String, Vec<IpAddr>)> {
        let locate = |host: String| {
            let dns = self.clone();
            tokio::spawn(async move {
                let addresses = dns.addresses(&host).await.map(|found| found.value).unwrap_or_default();
                (host, addresses)
            })
        };
        let asked: Vec<_> = hosts.into_iter().map(locate).collect();
        let mut all = Vec::with_capacity(asked.len());
        for located in asked {
            all.extend(located.await);
        }
        all
    }

    /// The TLSA records of a host's port (RFC 7672 section 2.2), at most 32.
    ///
    /// # Errors
    /// [`DnsError`] when DNS gives no usable answer now: whether there are any is not known. Nor is it where nothing
    /// proves that there are none, or that the zone has no signatures: who sits in between could make them vanish.
    pub async fn tlsa(&self, host: &str, port: u16) -> Result<Answered<Vec<Tlsa>>, DnsError> {
        let name = format!("_{port}._tcp.{host}");
        let found = self.look_up(&name, RecordType::TLSA).await?;
        if found.records.is_empty() && !found.judged {
            return Err(DnsError { name, cause: "that there are no TLSA records is not proven".to_owned() });
        }
        let records = found.records.iter().filter_map(|data| match data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        });
        Ok(Answered { value: records.take(TLSA_RECORDS_MAX).collect(), secure: found.secure })
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
            let name = name::to_text(&mx.exchange).to_ascii_lowercase();
            let preference = best.entry(name).or_insert(mx.preference);
            *preference = mx.preference.min(*preference);
        }
    }
    best.into_iter().map(|(name, preference)| MailHost { preference, name }).collect()
}

/// Whether what an MX record names is an address, however it is written there.
fn is_address(host: &str) -> bool {
    // Written as one label it has its dots escaped.
    let host = host.replace("\\.", ".");
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
    inner.strip_prefix("ipv6:").unwrap_or(inner).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_hosts_name_in_every_form_that_an_mx_record_may_have() {
        for address in ["192.0.2.1", "192\\.0\\.2\\.1", "[192.0.2.1]", "2001:db8::1", "[ipv6:2001:db8::1]"] {
            assert!(is_address(address), "{address}");
        }
        for host in ["192.0.2.1.example.org", "192.0.2", "192.0.2.256", "mail_1.us.example", "[mx]", ""] {
            assert!(!is_address(host), "{host}");
        }
    }

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
