//! The way to a domain: a connection to the first of its mail hosts that is willing and meets what its domain
//! demands of it.
//!
//! Where the hosts are and what is demanded says the [`Map`]. A host that is this Edge itself ends the list (RFC
//! 5321 section 5.1), unless Edge is where the domain's mail belongs. What is sent over the connection is
//! `edge/lane.rs`'s business.

mod map;
mod names;
mod own;
mod policies;
mod providers;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mail::{Domain, EnhancedCode, Envelope, Outcome};
use net::happy_eyeballs;
use net::smtp_client::{Connection, OpenError};
use net::tls::TlsConnector;
use smtp::client::{Settings, TlsUse};
use tlspolicy::{Demand, Refusal};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::homes::Homes;
use crate::config::EdgeConfig;
use crate::problem::Problem;

pub use map::{Destination, Located, Map};
pub use policies::Heard;
pub use providers::Providers;

/// What is needed to reach other MTAs.
pub struct Router {
    /// Where they are.
    pub map: Map,
    /// TLS that takes any certificate.
    pub any_certificate: TlsConnector,
    /// TLS that wants a certificate of the host's name from a public root.
    pub public_roots: TlsConnector,
    /// How Edge introduces itself.
    pub settings: Settings,
    /// Whose mail belongs here.
    pub homes: Arc<Homes>,
    /// How many connections each provider gets.
    pub providers: Providers,
}

/// A connection and the host it leads to.
pub struct Open {
    /// Ready for a transaction.
    pub connection: Connection,
    /// The host's name.
    pub host: String,
    /// Whether its certificate was verified.
    verified: bool,
    /// The provider's room that it takes.
    room: Option<OwnedSemaphorePermit>,
}

/// What the message itself needs of a connection, whatever the domain demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// TLS with a certificate that was verified (RFC 8689 section 4.2.1).
    VerifiedTls,
}

impl Need {
    /// What the envelope says.
    pub const fn of(envelope: &Envelope) -> Self {
        if envelope.require_tls { Self::VerifiedTls } else { Self::Nothing }
    }
}

impl Open {
    /// Whether a message with this need may be sent over it.
    pub fn meets(&self, need: Need) -> bool {
        self.verified || need == Need::Nothing
    }

    /// Whether its provider gets no further connection: then it should not wait idly.
    pub fn is_wanted(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room.semaphore().available_permits() == 0)
    }
}

/// TLS that believes the public roots and those that the configuration adds.
pub fn public_roots(config: &EdgeConfig) -> Result<TlsConnector, Problem> {
    let roots = net::mta_tls::public_roots(config.outbound.extra_roots.as_deref())
        .map_err(|error| Problem::setup(error, "correct [outbound] extra_roots in edge.toml"))?;
    net::mta_tls::verifying_connector(roots)
        .map_err(|error| Problem::failed(format!("TLS can't be set up: {error}"), ""))
}

impl Router {
    /// Connects to the best host of the domain that is willing, and says for the trace how.
    ///
    /// # Errors
    /// What becomes of each recipient when there is none.
    pub async fn open(&self, domain: &Domain, need: Need) -> Result<(Open, String), Outcome> {
        let destination = self.map.destination(domain).await?;
        let belongs_here = self.homes.route(domain).is_some();
        let mut last = None;
        for equal in destination.hosts.chunk_by(|one, next| one.preference == next.preference) {
            let mut located = Vec::with_capacity(equal.len());
            for host in equal {
                located.push(self.map.locate(&destination, host).await);
            }
            if !belongs_here && located.iter().any(|one| one.own) {
                return Err(last.unwrap_or_else(|| loops(domain)));
            }
            for one in located {
                match self.try_host(domain, one, need).await {
                    Ok(open) => return Ok(open),
                    // A host that was away may still take what the others never will.
                    Err(Outcome::Failed(_)) if matches!(last, Some(Outcome::Deferred(_))) => {}
                    Err(outcome) => last = Some(outcome),
                }
            }
        }
        Err(last.unwrap_or_else(|| Outcome::deferred(EnhancedCode(4, 4, 1), "no mail host has an address")))
    }

    /// Tries a host's addresses until one of them gives a session that meets the demand.
    async fn try_host(
        &self,
        domain: &Domain,
        located: Located,
        need: Need,
    ) -> Result<(Open, String), Outcome> {
        let host = &located.host.name;
        let mut left = match located.addresses {
            Ok(addresses) => addresses,
            Err(cause) => return Err(Outcome::deferred(EnhancedCode(4, 4, 3), cause)),
        };
        let demand = located.demand.map_err(|refusal| ruled_out(host, &refusal))?;
        if need == Need::VerifiedTls && !verifies(&demand) {
            let cause =
                format!("the sender asks for REQUIRETLS, and nothing says which certificate {host} has");
            return Err(Outcome::failed(EnhancedCode(5, 7, 10), cause));
        }
        let room = self.providers.enter(host).await;
        let mut last = Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} has no address to send to"));
        while !left.is_empty() {
            let (stream, remote) = happy_eyeballs::connect(&left)
                .await
                .map_err(|error| Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} ({error})")))?;
            left.retain(|address: &SocketAddr| *address != remote);
            match self.session(stream, host, domain, &demand).await {
                Ok(connection) => {
                    let (open, about) = opened(connection, host, remote.ip(), &demand);
                    return Ok((Open { room, ..open }, about));
                }
                Err(error) => last = refused(host, remote.ip(), &demand, error),
            }
        }
        Err(last)
    }

    /// Begins the session, with no less TLS than is demanded.
    async fn session(
        &self,
        stream: TcpStream,
        host: &str,
        domain: &Domain,
        demand: &Demand,
    ) -> Result<Connection, OpenError> {
        let dane;
        let connector = match demand {
            Demand::Opportunistic => {
                let any = &self.any_certificate;
                return Connection::open_opportunistic(stream, host, &self.settings, any).await;
            }
            Demand::Encrypted => &self.any_certificate,
            Demand::PublicRoots => &self.public_roots,
            Demand::Dane(records) => {
                let made = net::mta_tls::dane_connector(records.clone(), domain.as_str());
                dane = made.map_err(|error| OpenError::Tls(std::io::Error::other(error)))?;
                &dane
            }
        };
        let settings = Settings { tls: TlsUse::Required, ..self.settings.clone() };
        Connection::open_on(stream, host, Arc::new(settings), connector).await
    }
}

const fn verifies(demand: &Demand) -> bool {
    matches!(demand, Demand::Dane(_) | Demand::PublicRoots)
}

fn opened(connection: Connection, host: &str, ip: IpAddr, demand: &Demand) -> (Open, String) {
    let tls = connection.tls().unwrap_or("no TLS");
    let verified = match demand {
        Demand::Opportunistic | Demand::Encrypted => "",
        Demand::Dane(_) => ", verified by DANE",
        Demand::PublicRoots => ", verified for MTA-STS",
    };
    let about = format!("via {host} ({ip}), {tls}{verified}");
    (Open { connection, host: host.to_owned(), verified: verifies(demand), room: None }, about)
}

fn refused(host: &str, ip: IpAddr, demand: &Demand, error: OpenError) -> Outcome {
    match error {
        OpenError::Closed(closed) => closed.outcome(Some(host)),
        OpenError::Tls(error) if *demand != Demand::Opportunistic => {
            let cause = format!("{host} ({ip}) fails what {} demands: {error}", demand.as_str());
            Outcome::deferred(EnhancedCode(4, 7, 5), cause)
        }
        error => Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} ({ip}): {error}")),
    }
}

fn ruled_out(host: &str, refusal: &Refusal) -> Outcome {
    let cause = match refusal {
        Refusal::NotInPolicy => format!("{host} is not in the domain's MTA-STS policy"),
        Refusal::DnsUnknown(cause) => format!("whether {host} has DANE records is not known: {cause}"),
    };
    Outcome::deferred(EnhancedCode(4, 7, 5), cause)
}

fn loops(domain: &Domain) -> Outcome {
    Outcome::failed(EnhancedCode(5, 4, 6), format!("the mail hosts of {domain} lead back to this host"))
}
