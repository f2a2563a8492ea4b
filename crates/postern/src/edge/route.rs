//! The way to a domain: which hosts take its mail, at which addresses, and a connection to the first that is
//! willing.
//!
//! A host that is this Edge itself ends the list (RFC 5321 section 5.1), unless Edge is where the domain's mail
//! belongs. What is sent over the connection is `edge/lane.rs`'s business.

mod own;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mail::{Domain, EnhancedCode, Outcome};
use net::dns::{Dns, MailHost, MailHosts};
use net::happy_eyeballs;
use net::smtp_client::{Connection, OpenError};
use net::tls::TlsConnector;
use smtp::client::Settings;

use super::homes::Homes;
use crate::system;

pub use own::OwnPlaces;

/// What is needed to reach other MTAs.
pub struct Router {
    /// Where mail hosts and their addresses are asked for.
    pub dns: Dns,
    /// TLS that takes any certificate.
    pub connector: TlsConnector,
    /// How Edge introduces itself.
    pub settings: Settings,
    /// The port of other MTAs.
    pub port: u16,
    /// Whether IPv6 is used.
    pub ipv6: bool,
    /// Names and addresses of this Edge.
    pub own: OwnPlaces,
    /// Whose mail belongs here.
    pub homes: Arc<Homes>,
}

/// A connection and the host it leads to.
pub struct Open {
    /// Ready for a transaction.
    pub connection: Connection,
    /// The host's name.
    pub host: String,
}

/// A host and where it is.
struct Located {
    host: MailHost,
    addresses: Result<Vec<SocketAddr>, Outcome>,
}

impl Router {
    /// Connects to the best host of the domain that is willing, and says for the trace how.
    ///
    /// # Errors
    /// What becomes of each recipient when there is none.
    pub async fn open(&self, domain: &Domain) -> Result<(Open, String), Outcome> {
        let hosts = self.hosts(domain).await?;
        let belongs_here = self.homes.route(domain).is_some();
        let mut last = None;
        for equal in hosts.chunk_by(|one, next| one.preference == next.preference) {
            let located = self.locate(equal).await;
            if !belongs_here && located.iter().any(|one| self.is_own(one)) {
                return Err(last.unwrap_or_else(|| loops(domain)));
            }
            for Located { host, addresses } in located {
                match self.try_host(&host.name, addresses).await {
                    Ok(open) => return Ok(open),
                    Err(outcome) => last = Some(outcome),
                }
            }
        }
        Err(last.unwrap_or_else(|| Outcome::deferred(EnhancedCode(4, 4, 1), "no mail host has an address")))
    }

    async fn hosts(&self, domain: &Domain) -> Result<Vec<MailHost>, Outcome> {
        let failed = |status, cause: &str| Err(Outcome::failed(status, cause));
        match self.dns.mail_hosts(domain, |_| system::random_u64()).await {
            Ok(MailHosts::Hosts(hosts)) => Ok(hosts),
            Ok(MailHosts::NullMx) => failed(EnhancedCode(5, 1, 10), "the domain takes no mail"),
            Ok(MailHosts::NoSuchDomain) => {
                failed(EnhancedCode(5, 1, 2), "the domain does not exist or takes no mail")
            }
            Err(error) => Err(Outcome::deferred(EnhancedCode(4, 4, 3), error.to_string())),
        }
    }

    /// The addresses of hosts of one preference.
    async fn locate(&self, hosts: &[MailHost]) -> Vec<Located> {
        let mut located = Vec::with_capacity(hosts.len());
        for host in hosts {
            let addresses = match self.dns.addresses(&host.name).await {
                Ok(addresses) => Ok(addresses.into_iter().map(|ip| (ip, self.port).into()).collect()),
                Err(error) => Err(Outcome::deferred(EnhancedCode(4, 4, 3), error.to_string())),
            };
            located.push(Located { host: host.clone(), addresses });
        }
        located
    }

    fn is_own(&self, located: &Located) -> bool {
        let addresses = located.addresses.as_deref().unwrap_or_default();
        self.own.has_name(&located.host.name)
            || addresses.iter().any(|address| self.own.has_address(*address))
    }

    /// Tries a host's addresses until one of them gives a session.
    async fn try_host(
        &self,
        host: &str,
        addresses: Result<Vec<SocketAddr>, Outcome>,
    ) -> Result<(Open, String), Outcome> {
        let mut left = addresses?;
        left.retain(|address| self.ipv6 || address.is_ipv4());
        let mut last = Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} has no address to send to"));
        while !left.is_empty() {
            let (stream, remote) = happy_eyeballs::connect(&left)
                .await
                .map_err(|error| Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} ({error})")))?;
            left.retain(|address| *address != remote);
            match Connection::open_opportunistic(stream, host, &self.settings, &self.connector).await {
                Ok(connection) => return Ok(opened(connection, host, remote.ip())),
                Err(error) => last = refused(host, remote.ip(), error),
            }
        }
        Err(last)
    }
}

fn opened(connection: Connection, host: &str, ip: IpAddr) -> (Open, String) {
    let about = format!("via {host} ({ip}), {}", connection.tls().unwrap_or("no TLS"));
    (Open { connection, host: host.to_owned() }, about)
}

fn refused(host: &str, ip: IpAddr, error: OpenError) -> Outcome {
    match error {
        OpenError::Closed(closed) => closed.outcome(Some(host)),
        error => Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} ({ip}): {error}")),
    }
}

fn loops(domain: &Domain) -> Outcome {
    Outcome::failed(EnhancedCode(5, 4, 6), format!("the mail hosts of {domain} lead back to this host"))
}
