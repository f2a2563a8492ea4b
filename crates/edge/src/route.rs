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
mod refresh;
mod session;
mod trial;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use daemon::problem::Problem;
use link::Attempt;
use mail::{Domain, EnhancedCode, Outcome};
use net::happy_eyeballs;
use net::mta_tls::RootCertStore;
use net::smtp_client::{Connection, OpenError};
use net::tls::{ShortHellos, TlsConnector};
use smtp::client::{Misfit, Settings, Transaction};
use tlspolicy::report::Results;
use tlspolicy::{Demand, Refusal};
use tokio::sync::OwnedSemaphorePermit;
use trial::{Ends, Trial};

use super::homes::Homes;
use crate::config::EdgeConfig;

pub use map::{Destination, Located, Map};
pub use policies::Heard;
pub use providers::Providers;
pub use refresh::refresh_policies;

/// What is needed to reach other MTAs.
pub struct Router {
    /// The hosts of other domains, and what they demand.
    pub map: Arc<Map>,
    /// TLS that takes any certificate.
    pub any_certificate: TlsConnector,
    /// TLS that wants a certificate of the host's name from a public root.
    pub public_roots: TlsConnector,
    /// The public roots, for policies that are being tested.
    pub roots: Arc<RootCertStore>,
    /// SMTP settings towards other MTAs: Edge's name, and what is used of their extensions.
    pub settings: Settings,
    /// The paired homes, whose domains belong to this Edge.
    pub homes: Arc<Homes>,
    /// Hosts to which only a short first message of TLS gets through.
    pub short_hellos: ShortHellos,
    /// How many connections each provider gets.
    pub providers: Providers,
}

/// A connection and the host it leads to.
pub struct Open {
    /// A connection that is ready for a transaction.
    pub connection: Connection,
    /// The host's name.
    pub host: String,
    terms: Terms,
    /// The provider's room that it takes.
    room: Option<OwnedSemaphorePermit>,
}

/// The TLS demands under which a connection was made.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// Whether its certificate was verified.
    verified: bool,
    /// Whether it may be less than its domain demands.
    heedless: bool,
}

impl Terms {
    const fn meet(self, need: Need) -> bool {
        match need {
            Need::Nothing => !self.heedless,
            Need::VerifiedTls => self.verified,
            Need::Arrival => true,
        }
    }
}

/// What the message itself needs of a connection, whatever the domain demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It needs nothing of the connection.
    Nothing,
    /// TLS with a certificate that was verified (RFC 8689 section 4.2.1).
    VerifiedTls,
    /// To arrive, whatever the domain demands of TLS (RFC 8689 section 5).
    Arrival,
}

impl Need {
    /// What the order says. REQUIRETLS is the stronger word (RFC 8689 section 5).
    pub const fn of(attempt: &Attempt) -> Self {
        match (attempt.envelope.require_tls, attempt.tls_optional) {
            (true, _) => Self::VerifiedTls,
            (false, true) => Self::Arrival,
            (false, false) => Self::Nothing,
        }
    }
}

/// What is to be sent, and what a host has to be like for it.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// What the message needs of the connection.
    pub need: Need,
    /// The message, for what a host's EHLO reply has to offer.
    pub transaction: &'a Transaction,
    /// The recipients for whom it has to offer that.
    pub whom: Whom,
}

/// Whom of the recipients a host has to take, as far as its EHLO reply tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// All recipients.
    All,
    /// Whoever it is: no host takes all.
    Some,
}

/// No host of the domain is willing and fit.
#[derive(Debug, PartialEq, Eq)]
pub struct Nowhere {
    /// The outcome for each recipient.
    pub outcome: Outcome,
    /// Whether there is a host that takes some of them ([`Whom::Some`]).
    pub some: bool,
}

impl From<Outcome> for Nowhere {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, some: false }
    }
}

impl Nowhere {
    /// After one more host: what may change is the last word, before what will not. A host that was away may take
    /// what the others never will.
    fn and(self, next: Self) -> Self {
        let keep = matches!((&self.outcome, &next.outcome), (Outcome::Deferred(_), Outcome::Failed(_)));
        let some = self.some || next.some;
        Self { outcome: if keep { self.outcome } else { next.outcome }, some }
    }
}

impl Open {
    /// Whether a message with this need may be sent over it.
    pub const fn meets(&self, need: Need) -> bool {
        self.terms.meet(need)
    }

    /// Whether the host takes this message, for all of its recipients, as far as its EHLO reply tells.
    pub fn fits(&self, transaction: &Transaction) -> bool {
        self.connection.misfit(transaction).is_none()
    }

    /// Whether its provider gets no further connection: then it should not wait idly.
    pub fn is_wanted(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room.semaphore().available_permits() == 0)
    }
}

/// TLS that believes the public roots and those that the configuration adds.
///
/// # Errors
/// When `[outbound] extra_roots` can't be read, or TLS can't be set up.
pub fn public_roots(config: &EdgeConfig) -> Result<TlsConnector, Problem> {
    net::mta_tls::verifying_connector(roots(config)?)
        .map_err(|error| Problem::failed(format!("TLS can't be set up: {error}"), ""))
}

/// The public roots and those that the configuration adds.
///
/// # Errors
/// When `[outbound] extra_roots` can't be read.
pub fn roots(config: &EdgeConfig) -> Result<Arc<RootCertStore>, Problem> {
    net::mta_tls::public_roots(config.outbound.extra_roots.as_deref())
        .map_err(|error| Problem::setup(error, "correct [outbound] extra_roots in edge.toml"))
}

impl Router {
    /// Connects to the best host of the domain that is willing and fit, and says for the trace how. What comes of TLS
    /// on the way there is counted in `tls`.
    ///
    /// # Errors
    /// What becomes of the recipients when there is none.
    pub async fn open(
        &self,
        domain: &Domain,
        wanted: Wanted<'_>,
        tls: &mut Results,
    ) -> Result<(Open, String), Nowhere> {
        let destination = self.map.destination(domain).await?;
        trial::count_unknown_policy(domain, &destination.heard, tls);
        let belongs_here = self.homes.has(domain);
        let mut last: Option<Nowhere> = None;
        for equal in destination.hosts.chunk_by(|one, next| one.preference == next.preference) {
            let mut located = Vec::with_capacity(equal.len());
            for host in equal {
                located.push(self.map.locate(&destination, host).await);
            }
            if !belongs_here && located.iter().any(|one| one.own) {
                return Err(last.unwrap_or_else(|| loops(domain).into()));
            }
            for one in located {
                let (host, dane) = (&one.host.name, &one.dane);
                let (tlsa_base, policy) = (&one.tlsa_base, destination.heard.policy.as_ref());
                let trial = Trial { domain, host, dane, tlsa_base, policy };
                match self.try_host(trial, &one, wanted, tls).await {
                    Ok(open) => return Ok(open),
                    Err(nowhere) => {
                        last = Some(match last {
                            Some(before) => before.and(nowhere),
                            None => nowhere,
                        });
                    }
                }
            }
        }
        let nobody = || Outcome::deferred(EnhancedCode(4, 4, 1), "no mail host has an address").into();
        Err(last.unwrap_or_else(nobody))
    }

    /// Tries a host's addresses until one of them gives a session that meets the demand.
    async fn try_host(
        &self,
        trial: Trial<'_>,
        located: &Located,
        wanted: Wanted<'_>,
        tls: &mut Results,
    ) -> Result<(Open, String), Nowhere> {
        let host = trial.host;
        let mut left = match &located.addresses {
            Ok(addresses) => addresses.clone(),
            Err(cause) => return Err(Outcome::deferred(EnhancedCode(4, 4, 3), cause).into()),
        };
        let demand = demand_of(trial, located, wanted.need, tls)?;
        let room = self.providers.enter(host).await;
        let mut last = Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} has no address to send to"));
        while !left.is_empty() {
            let (stream, remote) = happy_eyeballs::connect(&left)
                .await
                .map_err(|error| Outcome::deferred(EnhancedCode(4, 4, 1), format!("{host} ({error})")))?;
            left.retain(|address: &SocketAddr| *address != remote);
            let ours = stream.local_addr().ok().map(|address| address.ip());
            let ends = Ends { ours, theirs: remote.ip() };
            match self.session(stream, trial, demand).await {
                Ok((connection, failure)) => {
                    trial.count(ends, failure, tls);
                    if let Some(nowhere) = wanted.objection(&connection) {
                        connection.quit().await;
                        return Err(nowhere);
                    }
                    let about = about(&connection, host, remote.ip(), demand);
                    let heedless = located.demand.as_ref() != Ok(demand);
                    let terms = Terms { verified: verifies(demand), heedless };
                    return Ok((Open { connection, host: host.to_owned(), terms, room }, about));
                }
                Err(error) => {
                    if let Some(failure) = trial::failure_of(&error) {
                        trial.count(ends, Some(failure), tls);
                    }
                    last = refused(host, remote.ip(), demand, error);
                }
            }
        }
        Err(last.into())
    }
}

impl Wanted<'_> {
    /// What speaks against the host, by its EHLO reply. It is the host's, whichever of its addresses said it.
    fn objection(&self, connection: &Connection) -> Option<Nowhere> {
        match connection.misfit(self.transaction)? {
            Misfit::Message(outcome) => Some(outcome.into()),
            Misfit::Recipients(_) if self.whom == Whom::Some => None,
            Misfit::Recipients(outcome) => Some(Nowhere { outcome, some: true }),
        }
    }
}

/// What a connection to the host has to be like, for the domain and for the message.
fn demand_of<'a>(
    trial: Trial<'_>,
    located: &'a Located,
    need: Need,
    tls: &mut Results,
) -> Result<&'a Demand, Outcome> {
    let host = trial.host;
    let demand = match &located.demand {
        _ if need == Need::Arrival => return Ok(&Demand::Opportunistic),
        Ok(demand) => demand,
        Err(refusal) => {
            trial.count_refusal(refusal, tls);
            return Err(ruled_out(host, refusal));
        }
    };
    if need == Need::VerifiedTls && !verifies(demand) {
        let cause = format!("the sender asks for REQUIRETLS, and nothing says which certificate {host} has");
        return Err(Outcome::failed(EnhancedCode(5, 7, 10), cause));
    }
    Ok(demand)
}

const fn verifies(demand: &Demand) -> bool {
    matches!(demand, Demand::Dane(_) | Demand::PublicRoots)
}

fn about(connection: &Connection, host: &str, ip: IpAddr, demand: &Demand) -> String {
    let tls = connection.tls().unwrap_or("no TLS");
    let verified = match demand {
        Demand::Opportunistic | Demand::Encrypted => "",
        Demand::Dane(_) => ", verified by DANE",
        Demand::PublicRoots => ", verified for MTA-STS",
    };
    format!("via {host} ({ip}), {tls}{verified}")
}

fn refused(host: &str, ip: IpAddr, demand: &Demand, error: OpenError) -> Outcome {
    match error {
        OpenError::Closed(closed) => closed.outcome(Some(host)),
        OpenError::Tls(error) | OpenError::Unanswered(error) if *demand != Demand::Opportunistic => {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_change_is_the_last_word_whichever_host_says_it() {
        let failed = || Nowhere { outcome: Outcome::failed(EnhancedCode(5, 6, 7), "no"), some: true };
        let deferred = || Nowhere::from(Outcome::deferred(EnhancedCode(4, 4, 1), "away"));
        let with_some = |nowhere: Nowhere| Nowhere { some: true, ..nowhere };
        assert_eq!(failed().and(deferred()), with_some(deferred()));
        assert_eq!(deferred().and(failed()), with_some(deferred()));
        let larger = || Nowhere::from(Outcome::failed(EnhancedCode(5, 3, 4), "too large"));
        assert_eq!(larger().and(failed()), failed());
    }

    #[test]
    fn a_connection_is_shared_with_those_only_whose_needs_it_meets() {
        let meets = |verified, heedless| {
            let terms = Terms { verified, heedless };
            [Need::Nothing, Need::VerifiedTls, Need::Arrival].map(|need| terms.meet(need))
        };
        assert_eq!(meets(false, false), [true, false, true]);
        assert_eq!(meets(true, false), [true, true, true]);
        assert_eq!(meets(false, true), [false, false, true], "the domain demands more than it is");
    }

    #[test]
    fn requiretls_is_stronger_than_tls_required_no() {
        let attempt = |require_tls, tls_optional| {
            let envelope = json!({ "reverse_path": "", "recipients": [], "require_tls": require_tls });
            let id = "00000000000000000000000001";
            let order = json!({
                "attempt": id, "item": id, "domain": "a.test", "envelope": envelope, "octets": 1,
                "eight_bit": false, "utf8_header": false, "tls_optional": tls_optional,
            });
            Need::of(&serde_json::from_value(order).unwrap())
        };
        assert_eq!((attempt(true, true), attempt(true, false)), (Need::VerifiedTls, Need::VerifiedTls));
        assert_eq!((attempt(false, true), attempt(false, false)), (Need::Arrival, Need::Nothing));
    }
}
