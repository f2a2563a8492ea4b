//! Where a domain's mail goes and what is demanded there, as DNS and its policy have it. No mail host is
//! spoken to.

use std::net::SocketAddr;
use std::path::Path;

use daemon::clock::Clock;
use daemon::problem::Problem;
use mail::{Domain, EnhancedCode, Outcome};
use net::dns::{Alias, Dns, MailHost, MailHosts};
use std::sync::Arc;
use tlspolicy::{Dane, Demand, Refusal};

use super::names::Names;
use super::own::OwnPlaces;
use super::policies::{Heard, Policies};
use crate::config::EdgeConfig;

/// What is asked about other domains.
pub struct Map {
    names: Names,
    /// The MTA-STS policies that are kept; `None` when MTA-STS is off.
    policies: Option<Policies>,
    own: OwnPlaces,
    port: u16,
    ipv6: bool,
    pub(super) clock: Arc<dyn Clock>,
}

/// A domain's mail hosts and its policy.
pub struct Destination {
    /// Best first, in the order of trying.
    pub hosts: Vec<MailHost>,
    /// Whether DNSSEC vouches for them.
    pub secure: bool,
    /// The domain's MTA-STS policy.
    pub heard: Heard,
}

/// A host, where it is and what is demanded of it.
pub struct Located {
    /// The host.
    pub host: MailHost,
    /// Its addresses that may be used, in the order of trying; or why they are not known.
    pub addresses: Result<Vec<SocketAddr>, String>,
    /// The host's TLSA records.
    pub dane: Dane,
    /// Whose they are: its own name, or the one that it is an alias of (RFC 7672 section 2.1.3). The
    /// certificate is for this one.
    pub tlsa_base: String,
    /// What a connection has to be like; or why none is made.
    pub demand: Result<Demand, Refusal>,
    /// Whether it is this Edge itself.
    pub own: bool,
}

impl Map {
    /// The map that the configuration describes. Policies are kept in the directory, if there
    /// is one.
    ///
    /// # Errors
    /// When a file that it names can't be read.
    pub fn new(
        config: &EdgeConfig,
        dns: Dns,
        dir: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Problem> {
        let outbound = &config.outbound;
        let policies = if outbound.mta_sts {
            let connector = super::public_roots(config)?;
            Some(Policies::open(dir, dns.questions(), connector, outbound.mta_sts_port, Arc::clone(&clock))?)
        } else {
            None
        };
        Ok(Self {
            names: Names::new(config, dns)?,
            policies,
            own: OwnPlaces::new(&config.hostname, &config.listen.smtp),
            port: outbound.port,
            ipv6: outbound.ipv6,
            clock,
        })
    }

    /// A domain's mail hosts and its policy.
    ///
    /// # Errors
    /// What becomes of its recipients when there are none.
    pub async fn destination(&self, domain: &Domain) -> Result<Destination, Outcome> {
        let failed = |status, cause: &str| Err(Outcome::failed(status, cause));
        let dns = self.names.resolver().await;
        let answered = match dns.mail_hosts(domain, |_| self.clock.random_u64()).await {
            Ok(answered) => answered,
            Err(error) => return Err(Outcome::deferred(EnhancedCode(4, 4, 3), error.to_string())),
        };
        let hosts = match answered.value {
            MailHosts::Hosts(hosts) => hosts,
            MailHosts::NullMx => return failed(EnhancedCode(5, 1, 10), "the domain takes no mail"),
            MailHosts::OnlyAddresses => {
                let cause = "the domain's MX records name addresses, where hosts belong";
                return failed(EnhancedCode(5, 4, 4), cause);
            }
            MailHosts::NoSuchDomain => {
                return failed(EnhancedCode(5, 1, 2), "the domain does not exist or takes no mail");
            }
        };
        let heard = match &self.policies {
            Some(policies) if !domain.is_literal() => policies.of(domain, dns, self.ipv6).await,
            _ => Heard::default(),
        };
        Ok(Destination { hosts, secure: answered.secure, heard })
    }

    /// Domains whose MTA-STS policies should be fetched anew at `now` seconds since 1970, the most urgent first.
    pub fn old_policies(&self, now: u64) -> Vec<Domain> {
        self.policies.as_ref().map_or_else(Vec::new, |policies| policies.old(now))
    }

    /// Fetches a domain's policy if it is old. What goes wrong is logged.
    pub async fn refresh_policy(&self, domain: &Domain) {
        if let Some(policies) = &self.policies {
            let dns = self.names.resolver().await;
            policies.of(domain, dns, self.ipv6).await;
        }
    }

    /// Where one of the destination's hosts is, and what is demanded of it.
    pub async fn locate(&self, destination: &Destination, host: &MailHost) -> Located {
        let dns = self.names.resolver().await;
        let mut own = self.own.has_name(&host.name);
        let nothing = || (Dane::Absent, host.name.clone());
        let (addresses, (dane, tlsa_base)) = match dns.addresses_and_alias(&host.name).await {
            Ok((answered, alias)) => {
                let signed = Signed { addresses: answered.secure, alias };
                let mut addresses: Vec<SocketAddr> =
                    answered.value.into_iter().map(|ip| (ip, self.port).into()).collect();
                own |= addresses.iter().any(|address| self.own.has_address(*address));
                addresses.retain(|address| self.ipv6 || address.is_ipv4());
                let dane = if destination.secure {
                    self.dane_of(dns, &signed.tlsa_bases(&host.name)).await
                } else {
                    None
                };
                (Ok(addresses), dane.unwrap_or_else(nothing))
            }
            Err(error) => (Err(error.to_string()), nothing()),
        };
        let demand = Demand::strongest(&host.name, dane.clone(), destination.heard.policy.as_ref());
        Located { host: host.clone(), addresses, dane, tlsa_base, demand, own }
    }

    /// The TLSA records of the first of these names that has any.
    async fn dane_of(&self, dns: &Dns, bases: &[&str]) -> Option<(Dane, String)> {
        let mut found = None;
        for base in bases {
            let dane = self.dane(dns, base).await;
            let goes_on = match &dane {
                Dane::Absent => true,
                Dane::Secure(records) => records.is_empty(),
                Dane::Unknown(_) => false,
            };
            found = Some((dane, (*base).to_owned()));
            if !goes_on {
                break;
            }
        }
        found
    }

    /// The TLSA records of a host whose name and addresses are signed.
    async fn dane(&self, dns: &Dns, host: &str) -> Dane {
        match dns.tlsa(host, self.port).await {
            Ok(answered) if answered.secure => Dane::Secure(answered.value),
            // Not signed, and that is proven: an alias may lead out of the host's own zone.
            Ok(_) => Dane::Absent,
            Err(error) => Dane::Unknown(error.to_string()),
        }
    }
}

/// What DNSSEC vouches for of a host's addresses.
struct Signed {
    /// Whether it vouches for all of them, and for each alias on the way to them.
    addresses: bool,
    alias: Option<Alias>,
}

impl Signed {
    /// The names at which TLSA records are looked for, in this order (RFC 7672 section 2.1.3): what the host is an
    /// alias of, then its own name. Of an alias into a zone that is not signed, its own name only.
    fn tlsa_bases<'a>(&'a self, host: &'a str) -> Vec<&'a str> {
        match (self.addresses, &self.alias) {
            (true, None) => vec![host],
            (true, Some(alias)) => vec![&alias.target, host],
            (false, Some(alias)) if alias.secure => vec![host],
            (false, _) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_looked_for_where_an_alias_leads_and_then_at_the_alias_as_far_as_it_is_signed() {
        let bases = |addresses, alias: Option<bool>| {
            let alias = alias.map(|secure| Alias { target: "to.test".to_owned(), secure });
            Signed { addresses, alias }.tlsa_bases("mx.test").join(" ")
        };
        assert_eq!(bases(true, None), "mx.test");
        assert_eq!(bases(true, Some(true)), "to.test mx.test");
        assert_eq!(bases(false, Some(true)), "mx.test", "the alias is signed, the addresses are not");
        assert_eq!((bases(false, Some(false)), bases(false, None)), (String::new(), String::new()));
    }
}
