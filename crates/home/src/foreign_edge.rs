//! Mail from an MTA of another kind that takes it from the world: SMTP with TLS first, from nobody else.
//!
//! It is known by its certificate or by a login. Recipients are checked and messages judged within the session, as
//! an edge of ours would; from there on they go the way of all arrivals. The client that the foreign edge saw is not
//! known here, so nothing is found out about it.

mod message;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use daemon::files;
use daemon::problem::Problem;
use directory::logins::{Client as Caller, FOREIGN_EDGE, Logins, Refused};
use link::Snapshot;
use link::notification::{self, Known, Sender};
use mail::{Address, Client, Domain, Envelope, Recipient, Reply};
use net::home_tls::Fingerprint;
use net::patience::Patience;
use net::port_places::Place;
use net::smtp_server::{Answers, Service};
use sha2::{Digest as _, Sha256};
use smtp::server::{Cause, MailFrom, Secret};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use self::message::Message;
use super::arrive::Arrivals;
use super::snapshot::SnapshotSource;
use crate::config::ForeignEdgeConfig;

/// From which the key of its snapshot's hashes is derived; nobody else ever sees that snapshot.
const SNAPSHOT_NAME: &str = "foreign edge";
/// How often a client that is not known may say MAIL in one session.
const STRANGER_TRIES_MAX: u32 = 3;

/// The parts that all sessions with the foreign edge share.
pub(crate) struct ForeignEdge {
    config: ForeignEdgeConfig,
    password: Option<String>,
    /// The name by which Home greets it.
    hostname: String,
    arrivals: Arc<Arrivals>,
    snapshots: SnapshotSource,
    logins: Logins,
    /// What recipients are checked by, and the news that it is old.
    kept: Mutex<(watch::Receiver<u64>, Arc<Snapshot>)>,
}

impl ForeignEdge {
    /// Reads the password, if there is one.
    pub(crate) fn open(
        config: &ForeignEdgeConfig,
        hostname: String,
        arrivals: Arc<Arrivals>,
        snapshots: SnapshotSource,
        logins: Logins,
    ) -> Result<Arc<Self>, Problem> {
        let key = "[foreign_edge] password_file in home.toml";
        let password =
            config.password_file.as_deref().map(|path| files::read_secret(path, key)).transpose()?;
        let kept = (snapshots.changes(), Arc::new(snapshots.snapshot(SNAPSHOT_NAME, arrivals.clock.now())));
        let (config, kept) = (config.clone(), Mutex::new(kept));
        Ok(Arc::new(Self { config, password, hostname, arrivals, snapshots, logins, kept }))
    }

    /// Whether a connection from this address is spoken to at all.
    pub(crate) fn lets_in(&self, ip: IpAddr) -> bool {
        self.config.networks.is_empty() || self.config.networks.iter().any(|network| network.contains(ip))
    }

    /// The service of one session with the client that has this place.
    pub(crate) fn session(self: &Arc<Self>, place: Place) -> HandIn {
        HandIn {
            shared: Arc::clone(self),
            place,
            logged_in: false,
            shown: None,
            strange: 0,
            transaction: Transaction::default(),
            message: None,
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.has_changed().unwrap_or(false) {
            kept.0.mark_unchanged();
            kept.1 = Arc::new(self.snapshots.snapshot(SNAPSHOT_NAME, self.arrivals.clock.now()));
        }
        Arc::clone(&kept.1)
    }

    /// Whether name and password are the foreign edge's; takes as long whatever is wrong with them.
    fn is_login(&self, user: &str, password: &Secret) -> bool {
        let digest = |text: &str| <[u8; 32]>::from(Sha256::digest(text));
        let same = |a: &str, b: &str| digest(a).ct_eq(&digest(b));
        let (Some(known), Some(right)) = (&self.config.user, &self.password) else { return false };
        bool::from(same(known, user) & same(right, password.expose()))
    }

    /// `postmaster` without a domain is this host's: it is one of ours.
    fn addressed(&self, address: &Address) -> Address {
        let policy = self.snapshots.directory.policy();
        let here = address.domain().as_str().eq_ignore_ascii_case(&self.hostname);
        let ours =
            policy.domains.first().filter(|_| here && address.local().eq_ignore_ascii_case("postmaster"));
        ours.and_then(|domain: &Domain| Address::at("postmaster", domain).ok())
            .unwrap_or_else(|| address.clone())
    }
}

/// One session with the foreign edge.
pub(crate) struct HandIn {
    shared: Arc<ForeignEdge>,
    place: Place,
    logged_in: bool,
    /// The certificate that the client showed.
    shown: Option<Fingerprint>,
    /// How often it said MAIL without being known.
    strange: u32,
    transaction: Transaction,
    message: Option<Box<Message>>,
}

#[derive(Default)]
struct Transaction {
    sender: Option<Sender>,
    recipients: usize,
    /// Whether a report of a failure is refused.
    untagged: bool,
    /// Whether the client hears of each recipient (PRDR).
    apart: bool,
}

impl HandIn {
    fn is_pinned(&self) -> bool {
        self.shown.is_some_and(|shown| self.shared.config.fingerprints.contains(&shown))
    }

    /// Why this client may not hand in mail.
    fn stranger(&self, client: &Client) -> Option<Reply> {
        if client.login.is_some() {
            return None;
        }
        let Some(shown) = self.shown else {
            tracing::warn!(client = %self.place.ip(), "a client without certificate and login wants to hand in mail");
            let text = "Show a client certificate that is known here, or log in";
            return Some(Reply::new(530, (5, 7, 0), text));
        };
        if self.is_pinned() {
            return None;
        }
        tracing::error!(client = %self.place.ip(), fingerprint = %shown,
            "a client with an unknown certificate wants to hand in mail; if it is your edge with a new one, put this \
             fingerprint into [foreign_edge] fingerprints in home.toml and restart Home. The edge keeps the mail");
        // Temporary (RFC 4954 section 6): an edge whose certificate was renewed must not send everything back.
        Some(Reply::new(454, (4, 7, 0), "Your certificate is not known here; try again later"))
    }

    fn check_recipient(&mut self, address: &Address) -> Reply {
        let shared = Arc::clone(&self.shared);
        let address = shared.addressed(address);
        if !shared.snapshots.directory.is_local_domain(address.domain()) {
            let text = "This host takes no mail for that domain: relaying is not offered";
            return Reply::new(550, (5, 7, 1), text);
        }
        let sender = self.transaction.sender.unwrap_or(Sender::Somebody);
        if sender == Sender::Nobody && self.transaction.recipients > 0 {
            // A notification is for the one who sent the message (RFC 3464 section 2).
            return Reply::new(452, (4, 5, 3), "A message with the null reverse-path has one recipient");
        }
        match notification::check_recipient(&shared.snapshot(), &address, sender, shared.arrivals.clock.now())
        {
            Ok(known) => {
                self.transaction.untagged = known == Known::UnlessFailureNotice;
                self.transaction.recipients += 1;
                Reply::new(250, (2, 1, 5), "Recipient ok")
            }
            Err(refusal) => refusal,
        }
    }
}

impl Service for HandIn {
    fn showed(&mut self, certificate: Fingerprint) {
        self.shown = Some(certificate);
        if self.is_pinned() {
            self.place.know();
        }
    }

    fn patience(&self) -> Patience {
        match self.logged_in || self.is_pinned() {
            true => Patience::FULL,
            false => Patience::FULL.until_login().under(self.place.pressure()),
        }
    }

    async fn login(&mut self, user: &str, password: &Secret) -> (Option<String>, Reply) {
        let caller = Caller { ip: self.place.ip(), service: FOREIGN_EDGE };
        let shared = &self.shared;
        match shared.logins.compare(user, caller, || shared.is_login(user, password)).await {
            Ok(()) => {
                self.place.know();
                self.logged_in = true;
                (Some(user.to_owned()), Reply::new(235, (2, 7, 0), "Logged in"))
            }
            Err(Refused::Wrong) => (None, Reply::new(535, (5, 7, 8), "User name or password is wrong")),
            Err(Refused::Later) => (None, Reply::new(454, (4, 7, 0), "Not now; try again later")),
        }
    }

    async fn mail(&mut self, client: &Client, from: &MailFrom) -> Reply {
        self.message = None;
        if let Some(refusal) = self.stranger(client) {
            self.strange += 1;
            let enough = self.strange > STRANGER_TRIES_MAX;
            return if enough {
                Reply::new(421, (4, 7, 0), "Come again when you are known here")
            } else {
                refusal
            };
        }
        let sender = if from.reverse_path.address().is_some() { Sender::Somebody } else { Sender::Nobody };
        self.transaction = Transaction { sender: Some(sender), apart: from.prdr, ..Transaction::default() };
        Reply::new(250, (2, 1, 0), "Sender ok")
    }

    async fn recipient(&mut self, _client: &Client, recipient: &Recipient) -> Reply {
        self.check_recipient(&recipient.address)
    }

    async fn data(&mut self, mut envelope: Envelope) -> Result<(), Reply> {
        let snapshot = self.shared.snapshot();
        // Each was found good at RCPT: people are known by their plain addresses.
        for recipient in &mut envelope.recipients {
            recipient.address = snapshot.without_tag(&self.shared.addressed(&recipient.address));
        }
        self.message = Some(Box::new(Message::new(Arc::clone(&self.shared), envelope)));
        Ok(())
    }

    async fn body(&mut self, piece: Bytes) {
        if let Some(message) = &mut self.message {
            message.push(&piece).await;
        }
    }

    async fn end(&mut self) -> Answers {
        match self.message.take() {
            Some(message) => {
                let replies = Box::pin(message.finish(self.transaction.untagged)).await;
                answers(replies, self.transaction.apart)
            }
            None => message::not_taken().into(),
        }
    }

    async fn aborted(&mut self, _cause: Cause) {
        self.message = None;
    }
}

/// The one reply that SMTP has for those of all recipients. When one has to wait, the client comes again with all of
/// them: whoever has the message by then does not get it twice, since it has the same id.
fn answers(replies: Vec<Reply>, apart: bool) -> Answers {
    let positive = replies.iter().find(|reply| reply.is_positive());
    let temporary = replies.iter().find(|reply| !reply.is_positive() && reply.code < 500);
    let all = if apart { positive.or(temporary) } else { temporary.or(positive) };
    let all = all.or_else(|| replies.first()).cloned().unwrap_or_else(message::not_taken);
    Answers { all, each: replies }
}
