//! Where a domain's mail goes and what is demanded there, as DNS and its policy have it. No mail host is
//! spoken to.

use std::net::SocketAddr;
use std::path::Path;

use mail::{Domain, EnhancedCode, Outcome};
use net::dns::{Dns, MailHost, MailHosts};
use tlspolicy::{Dane, Demand, Refusal};

use super::names::Names;
use super::own::OwnPlaces;
use super::policies::{Heard, Policies};
use crate::config::EdgeConfig;
use crate::problem::Problem;
use crate::system;

/// What is asked about other domains.
pub struct Map {
    names: Names,
    /// None when MTA-STS is off.
    policies: Option<Policies>,
    own: OwnPlaces,
    port: u16,
    ipv6: bool,
}

/// A domain's mail hosts and its policy.
pub struct Destination {
    /// Best first, in the order of trying.
    pub hosts: Vec<MailHost>,
    /// Whether DNSSEC vouches for them.
    pub secure: bool,
    /// Its MTA-STS policy.
    pub heard: Heard,
}

/// A host, where it is and what is demanded of it.
pub struct Located {
    /// The host.
    pub host: MailHost,
    /// Its addresses that may be used, in the order of trying; or why they are not known.
    pub addresses: Result<Vec<SocketAddr>, String>,
    /// Its TLSA records.
    pub dane: Dane,
    /// What a connection has to be like; or why none is made.
    pub demand: Result<Demand, Refusal>,
    /// Whether it is this Edge.
    pub own: bool,
}

impl Map {
    /// The map that the configuration describes. Policies are kept in the directory, if there
    /// is one.
    ///
    /// # Errors
    /// When a file that it names can't be read.
    pub fn new(config: &EdgeConfig, dns: Dns, dir: Option<&Path>) -> Result<Self, Problem> {
        let outbound = &config.outbound;
        let policies = if outbound.mta_sts {
            let connector = super::public_roots(config)?;
            Some(Policies::open(dir, dns.questions(), connector, outbound.mta_sts_port)?)
        } else {
            None
        };
        Ok(Self {
            names: Names::new(config, dns)?,
            policies,
            own: OwnPlaces::new(&config.hostname, &config.listen.smtp),
            port: outbound.port,
            ipv6: outbound.ipv6,
        })
    }

    /// A domain's mail hosts and its policy.
    ///
    /// # Errors
    /// What becomes of its recipients when there are none.
    pub async fn destination(&self, domain: &Domain) -> Result<Destination, Outcome> {
        let failed = |status, cause: &str| Err(Outcome::failed(status, cause));
        let dns = self.names.resolver().await;
        let answered = match dns.mail_hosts(domain, |_| system::random_u64()).await {
            Ok(answered) => answered,
            Err(error) => return Err(Outcome::deferred(EnhancedCode(4, 4, 3), error.to_string())),
        };
        let hosts = match answered.value {
            MailHosts::Hosts(hosts) => hosts,
            MailHosts::NullMx => return failed(EnhancedCode(5, 1, 10), "the domain takes no mail"),
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

    /// Where one of the destination's hosts is, and what is demanded of it.
    pub async fn locate(&self, destination: &Destination, host: &MailHost) -> Located {
        let dns = self.names.resolver().await;
        let mut own = self.own.has_name(&host.name);
        let (addresses, dane) = match dns.addresses(&host.name).await {
            Ok(answered) => {
                let mut addresses: Vec<SocketAddr> =
                    answered.value.into_iter().map(|ip| (ip, self.port).into()).collect();
                own |= addresses.iter().any(|address| self.own.has_address(*address));
                addresses.retain(|address| self.ipv6 || address.is_ipv4());
                let dane = if destination.secure && answered.secure {
                    self.dane(dns, &host.name).await
                } else {
                    Dane::Absent
                };
                (Ok(addresses), dane)
            }
            Err(error) => (Err(error.to_string()), Dane::Absent),
        };
        let demand = Demand::strongest(&host.name, dane.clone(), destination.heard.policy.as_ref());
        Located { host: host.clone(), addresses, dane, demand, own }
    }

    /// The TLSA records of a host whose name and addresses are signed.
    async fn dane(&self, dns: &Dns, host: &str) -> Dane {
        match dns.tlsa(host, self.port).await {
            Ok(answered) if answered.secure => Dane::Secure(answered.value),
            Ok(answered) if !answered.value.is_empty() => Dane::Absent,
            // The host is signed, so that there are none has to be signed as well: otherwise who sits in
            // between could make them vanish.
            Ok(_) => Dane::Unknown("that there are none is not signed".to_owned()),
            Err(error) => Dane::Unknown(error.to_string()),
        }
    }
}
