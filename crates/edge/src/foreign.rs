//! Homes that are another program: an MTA that takes mail by SMTPS from this Edge (ADR 17).
//!
//! Such a home has no key that mail could be sealed to. So nothing rests here: a message is held in memory while it
//! comes in and is judged, then it is passed on inside the sender's session, and the home's reply is the sender's.
//! A home that is away, or that can't be believed, is 451 to the sender; Edge writes no failure notice.

mod answer;
mod head;
mod known;
mod line;
mod list;
mod passage;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemon::clock::Clock;
use daemon::files;
use daemon::problem::Problem;
use daemon::trace::Trace;
use known::Known;
use line::Line;
use link::Open;
use mail::{Address, Domain, Reply, ReversePath};
use net::home_tls::{ClientIdentity, KnownBy};
use net::tls::CertificateFiles;
use serde_json::{Value, json};
use smtp::Secret;
use smtp::client::{Login, Settings};

use super::budget::Budget;
use crate::config::{EdgeConfig, ForeignHomeConfig};
pub(crate) use passage::Passage;

/// The parts that messages to all of them share.
struct Shared {
    /// This host's name.
    hostname: String,
    /// Memory for messages.
    budget: Budget,
    /// How long a home may take over a message, the time to send it not counted.
    deadline: Duration,
    trace: Trace,
}

/// One home that is another program.
pub(crate) struct ForeignHome {
    domains: Vec<Domain>,
    /// The largest message that it gets.
    message_octets_max: u64,
    line: Arc<Line>,
    known: Known,
    shared: Arc<Shared>,
}

/// All homes of this Edge that are other programs.
#[derive(Default)]
pub(crate) struct ForeignHomes(Vec<Arc<ForeignHome>>);

impl ForeignHomes {
    /// Reads the files that they are configured with; `budget` is for their messages.
    ///
    /// # Errors
    /// A [`Problem`] that names the file.
    pub(crate) fn open(
        config: &EdgeConfig,
        budget: Budget,
        trace: &Trace,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Problem> {
        let shared = Arc::new(Shared {
            hostname: config.hostname.to_ascii_lowercase(),
            budget,
            deadline: Duration::from_secs(config.limits.hand_off.0),
            trace: trace.clone(),
        });
        let homes = config.foreign_homes.iter().map(|home| ForeignHome::open(config, home, &shared, clock));
        Ok(Self(homes.collect::<Result<_, _>>()?))
    }

    /// The home that takes mail for a domain.
    pub(crate) fn route(&self, domain: &Domain) -> Option<&Arc<ForeignHome>> {
        self.0.iter().find(|home| home.domains.contains(domain))
    }

    /// The first of them.
    pub(crate) fn first(&self) -> Option<&Arc<ForeignHome>> {
        self.0.first()
    }

    /// The domains of all.
    pub(crate) fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.0.iter().flat_map(|home| &home.domains)
    }

    /// Octets of the largest message that any of them takes; `None` without any.
    pub(crate) fn message_octets_max(&self) -> Option<u64> {
        self.0.iter().map(|home| home.message_octets_max).max()
    }

    /// Reads the recipients files again. A file that can't be read leaves the old list in force.
    pub(crate) async fn reload(&self) {
        for home in &self.0 {
            home.known.reload().await;
        }
    }

    /// The state of each, as `status` shows it.
    pub(crate) fn status(&self) -> Vec<Value> {
        self.0
            .iter()
            .map(|home| {
                let (state, cause) = home.line.state();
                json!({
                    "address": home.line.address(),
                    "domains": home.domains.iter().map(Domain::as_str).collect::<Vec<_>>(),
                    "state": state,
                    "cause": cause,
                    "recipients": home.known.count(),
                    "certificate": home.line.shown().map(|fingerprint| fingerprint.to_string()),
                })
            })
            .collect()
    }
}

impl ForeignHome {
    fn open(
        config: &EdgeConfig,
        home: &ForeignHomeConfig,
        shared: &Arc<Shared>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Problem> {
        let (host, port) = home.host_and_port().unwrap_or_default();
        let login = login(home)?;
        let identity = if login.is_none() { Some(identity(config, home)?) } else { None };
        let connector = net::home_tls::connector(known_by(home)?, identity.as_ref()).map_err(|error| {
            Problem::failed(format!("TLS towards {} can't be set up: {error}", home.address), "")
        })?;
        let shown = identity.map(|identity| identity.fingerprint);
        if let Some(fingerprint) = shown {
            tracing::info!(home = %home.address, %fingerprint, "Edge shows this home a certificate; its SHA-256 fingerprint");
        }
        let line = Line::new(line::Way {
            host: host.to_owned(),
            port,
            tls_name: home.server_name.clone().unwrap_or_else(|| host.to_owned()),
            connector,
            settings: Settings { login, ..Settings::new(&config.hostname) },
            shown,
            connections: home.connections,
        });
        Ok(Arc::new(Self {
            domains: home.domains.clone(),
            message_octets_max: home.message.0,
            known: Known::open(home, clock)?,
            line: Arc::new(line),
            shared: Arc::clone(shared),
        }))
    }

    /// The largest message that it gets, in octets.
    pub(crate) const fn message_octets_max(&self) -> u64 {
        self.message_octets_max
    }

    /// The address as the home knows it: `postmaster` of this host is the one of its first domain.
    pub(crate) fn own_address(&self, address: &Address) -> Address {
        match self.domains.first() {
            Some(first) if !self.domains.contains(address.domain()) => {
                Address::at(address.local(), first).unwrap_or_else(|_| address.clone())
            }
            _ => address.clone(),
        }
    }

    /// Whether the home takes mail for this address from that one: the reply to RCPT.
    pub(crate) async fn check_recipient(&self, address: &Address, from: &ReversePath) -> Reply {
        self.known.check(&self.own_address(address), from, &self.line).await
    }

    /// Begins a message for this home.
    ///
    /// # Errors
    /// The reply for the sender, when the home was away a moment ago.
    pub(crate) fn begin(self: &Arc<Self>, open: Open) -> Result<Passage, Reply> {
        if self.line.was_down_just_now() {
            return Err(answer::away());
        }
        Ok(Passage::new(Arc::clone(self), open))
    }
}

/// The proof by which Edge knows the home's server: a fingerprint, or its name under these roots.
fn known_by(home: &ForeignHomeConfig) -> Result<KnownBy, Problem> {
    if let Some(fingerprint) = home.fingerprint {
        return Ok(KnownBy::Fingerprint(fingerprint));
    }
    let roots = match &home.roots {
        Some(path) => net::mta_tls::roots_of(path),
        None => net::mta_tls::public_roots(None),
    };
    let advice = format!("correct roots of [[foreign_home]] {} in edge.toml", home.address);
    roots.map(KnownBy::Roots).map_err(|error| Problem::setup(error, advice))
}

/// The certificate that Edge shows; one of its own making for all homes that are given no other.
fn identity(config: &EdgeConfig, home: &ForeignHomeConfig) -> Result<ClientIdentity, Problem> {
    let advice =
        "correct certificate and key of [[foreign_home]], or remove both for a self-made certificate";
    let problem = |error| Problem::setup(error, advice);
    let (certificate, key) = match (&home.certificate, &home.key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => {
            let files = self_made(&config.data);
            net::tls::ensure_self_signed(&files, &config.hostname).map_err(problem)?;
            (files.certificate, files.key)
        }
    };
    ClientIdentity::load(&CertificateFiles { certificate, key }).map_err(problem)
}

fn self_made(data: &Path) -> CertificateFiles {
    CertificateFiles {
        certificate: data.join("client-certificate.pem"),
        key: data.join("client-certificate-key.pem"),
    }
}

fn login(home: &ForeignHomeConfig) -> Result<Option<Login>, Problem> {
    let (Some(user), Some(path)) = (&home.user, &home.password_file) else { return Ok(None) };
    let password =
        files::read_password(path, "put the password into its first line, readable for Edge alone")?;
    Ok(Some(Login { user: user.clone(), password: Secret::new(password) }))
}
