//! The connections to one home: opened when there is mail, used again while there is more, closed after a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mail::{Outcome, Reply, Why};
use net::home_tls::Fingerprint;
use net::smtp_client::{BodyLost, BodySource, Connection, OpenError};
use net::tls::TlsConnector;
use smtp::client::{Closed, Settings, Transaction, TransactionResult};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a connection may take to come about: the home is one network away, and a sender waits.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take until EHLO is answered, and the login.
const OPEN_PATIENCE: Duration = Duration::from_secs(30);
/// How long a message waits for one of the connections.
const SLOT_PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection waits for the next message.
const LINGER: Duration = Duration::from_secs(20);
/// How often connections that idle are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long a home that could not be reached is not tried again: no sender has to give a message first to hear of it.
const DOWN_REMEMBERED: Duration = Duration::from_secs(5);

/// Where a home is and how it is talked to.
pub(super) struct Way {
    pub(super) host: String,
    pub(super) port: u16,
    /// What its certificate is for, where that counts.
    pub(super) tls_name: String,
    pub(super) connector: TlsConnector,
    pub(super) settings: Settings,
    /// The fingerprint of the certificate that Edge shows.
    pub(super) shown: Option<Fingerprint>,
    /// Most connections at one time.
    pub(super) connections: usize,
}

/// The connections to one home, a bounded number of them.
pub(super) struct Line {
    way: Way,
    slots: Arc<Semaphore>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Idle>,
    /// Whether a task looks after those that idle.
    is_swept: bool,
    state: State,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The result of the last attempt to reach the home.
#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Unknown,
    Up,
    /// It speaks with us and takes nothing from us.
    Refusing {
        cause: String,
    },
    Down {
        cause: String,
        since: Instant,
    },
}

/// No session came about: why is logged and shown by `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreachable;

impl Line {
    pub(super) fn new(way: Way) -> Self {
        let slots = Arc::new(Semaphore::new(way.connections));
        Self { way, slots, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For logs and `status`: as it is configured.
    pub(super) fn address(&self) -> String {
        let Way { host, port, .. } = &self.way;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The name of the host, which no sender is to hear.
    pub(super) fn host(&self) -> &str {
        &self.way.host
    }

    /// The fingerprint of the certificate that Edge shows it.
    pub(super) const fn shown(&self) -> Option<Fingerprint> {
        self.way.shown
    }

    /// What the last attempt came to, in a word, and why.
    pub(super) fn state(&self) -> (&'static str, Option<String>) {
        match &self.inner().state {
            State::Unknown => ("unknown", None),
            State::Up => ("up", None),
            State::Refusing { cause } => ("refusing", Some(cause.clone())),
            State::Down { cause, .. } => ("down", Some(cause.clone())),
        }
    }

    /// Whether it could not be reached in the last seconds.
    pub(super) fn was_down_just_now(&self) -> bool {
        matches!(&self.inner().state, State::Down { since, .. } if since.elapsed() < DOWN_REMEMBERED)
    }

    /// Carries out one transaction.
    ///
    /// # Errors
    /// When there is no session to carry it out in.
    pub(super) async fn send(
        self: &Arc<Self>,
        transaction: Transaction,
        pieces: &[Bytes],
    ) -> Result<TransactionResult, Unreachable> {
        let slot = tokio::time::timeout(SLOT_PATIENCE, Arc::clone(&self.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            let address = self.address();
            tracing::warn!(home = %address, "all connections to this home were busy for {SLOT_PATIENCE:?}; senders are told to try again");
            return Err(Unreachable);
        };
        if let Some(mut connection) = self.take_idle() {
            let result = connection.send(transaction.clone(), &mut Pieces::of(pieces)).await;
            if !result.is_as_if_never_begun() {
                self.put_back(connection, &result, slot);
                return Ok(result);
            }
            // The home had closed the idle connection, or will not go on with it: it has nothing of this message.
        }
        let mut connection = self.open().await?;
        let result = connection.send(transaction, &mut Pieces::of(pieces)).await;
        if let Some(cause) = lost(&result) {
            self.went_down(&cause);
        }
        self.put_back(connection, &result, slot);
        Ok(result)
    }

    fn take_idle(&self) -> Option<Connection> {
        // The one that was used last is the least likely to be closed.
        self.inner().idle.pop().map(|idle| idle.connection)
    }

    fn put_back(
        self: &Arc<Self>,
        connection: Connection,
        result: &TransactionResult,
        slot: OwnedSemaphorePermit,
    ) {
        if !result.reusable {
            return;
        }
        if !result.is_worth_keeping() {
            tokio::spawn(async move {
                connection.quit().await;
                // It was one of those that may be open until now.
                drop(slot);
            });
            return;
        }
        let mut inner = self.inner();
        inner.idle.push(Idle { connection, since: Instant::now() });
        if !std::mem::replace(&mut inner.is_swept, true) {
            tokio::spawn(Arc::clone(self).sweep());
        }
        drop(inner);
        // Last: whoever gets the slot has to find the connection, or there will be one more than is allowed.
        drop(slot);
    }

    /// Says goodbye on connections that have waited for long enough, until none is left.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let (old, is_over) = {
                let mut inner = self.inner();
                let (old, young) = inner.idle.drain(..).partition(|idle| idle.since.elapsed() >= LINGER);
                inner.idle = young;
                let old: Vec<Idle> = old;
                inner.is_swept = !inner.idle.is_empty();
                (old, inner.idle.is_empty())
            };
            for idle in old {
                idle.connection.quit().await;
            }
            if is_over {
                return;
            }
        }
    }

    async fn open(&self) -> Result<Connection, Unreachable> {
        let opened = tokio::time::timeout(OPEN_PATIENCE, self.connect()).await;
        match opened.unwrap_or(Err(OpenError::Closed(Closed::TimedOut))) {
            Ok(connection) => {
                self.came_up();
                Ok(connection)
            }
            Err(error) => {
                self.went_down(&cause(&error));
                Err(Unreachable)
            }
        }
    }

    async fn connect(&self) -> Result<Connection, OpenError> {
        let Way { host, port, tls_name, connector, settings, .. } = &self.way;
        let connecting = TcpStream::connect((host.as_str(), *port));
        let stream = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
        let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(OpenError::Connect)?;
        Connection::open_implicit(stream, (host, tls_name), settings.clone(), connector).await
    }

    fn came_up(&self) {
        let before = self.inner().state.clone();
        if let State::Down { .. } = before {
            tracing::info!(home = %self.address(), "the home can be reached again");
        }
        // Whether it takes mail again shows later.
        if !matches!(before, State::Refusing { .. }) {
            self.inner().state = State::Up;
        }
    }

    /// It took a recipient or a message.
    pub(super) fn is_willing(&self) {
        self.inner().state = State::Up;
    }

    /// It refuses a recipient for who we are, not for who that is. Said once until it takes one again.
    pub(super) fn refuses_us(&self, reply: &Reply) {
        let cause = format!("it refused a recipient with {} {}", reply.code, reply.status());
        let now = State::Refusing { cause: cause.clone() };
        let before = std::mem::replace(&mut self.inner().state, now);
        if !matches!(before, State::Refusing { .. }) {
            let advice = "let it take mail from this Edge's certificate or user, say 550 5.1.1 of unknown recipients, and take mail for postmaster";
            tracing::error!(home = %self.address(), %cause, %advice, "a home refuses this Edge: its mail is answered 451 and stays with the senders");
        }
    }

    /// Said once for each cause, not for each sender.
    fn went_down(&self, cause: &str) {
        let since = Instant::now();
        let now = State::Down { cause: cause.to_owned(), since };
        let before = std::mem::replace(&mut self.inner().state, now);
        if !matches!(&before, State::Down { cause: known, .. } if known == cause) {
            tracing::error!(home = %self.address(), %cause, "a home can't be reached: its mail is answered 451 and stays with the senders");
        }
    }
}

/// What the operator is told, with what to do where it is not plain.
fn cause(error: &OpenError) -> String {
    match error {
        OpenError::Closed(Closed::LoginRefused(reply)) => format!(
            "it refused the login with {} {}: correct user and password_file in edge.toml, or the user at the home",
            reply.code,
            reply.status()
        ),
        OpenError::Closed(Closed::LoginNotOffered) => {
            "it offers no AUTH PLAIN: turn it on there (Postfix: smtpd_sasl_auth_enable)".to_owned()
        }
        OpenError::Closed(Closed::Refused(reply)) => {
            format!("it refused the session with {} {}", reply.code, reply.status())
        }
        OpenError::Closed(Closed::Dropped) => {
            "it closed the connection before EHLO was answered: does it want another client certificate?"
                .to_owned()
        }
        OpenError::Tls(error) | OpenError::Unanswered(error) => {
            format!("TLS failed, so nothing was sent: {}", net::home_tls::reason(error))
        }
        other => other.to_string(),
    }
}

/// Whether the connection was lost before the message was begun. Later it may be for what is in the message: a sender
/// who knows what the home stumbles over must not keep other mail from it.
fn lost(result: &TransactionResult) -> Option<String> {
    let open = |outcome: &Outcome| matches!(outcome, Outcome::Deferred(Why { reply: None, .. }));
    let outcome = result.outcomes.iter().find(|outcome| open(outcome))?;
    if result.reusable || result.body_begun {
        return None;
    }
    Some(outcome.why().cause.clone())
}

/// A message that is in memory.
struct Pieces<'a>(std::slice::Iter<'a, Bytes>);

impl<'a> Pieces<'a> {
    fn of(pieces: &'a [Bytes]) -> Self {
        Self(pieces.iter())
    }
}

impl BodySource for Pieces<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        Ok(self.0.next().cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use net::home_tls::KnownBy;

    use super::*;

    impl Line {
        /// To a home where nobody listens.
        pub(in crate::foreign) fn nowhere(connections: usize) -> Arc<Self> {
            let known_by = KnownBy::Fingerprint(Fingerprint::from_str(&"00".repeat(32)).unwrap());
            Arc::new(Self::new(Way {
                host: "127.0.0.1".to_owned(),
                port: 9,
                tls_name: "127.0.0.1".to_owned(),
                connector: net::home_tls::connector(known_by, None).unwrap(),
                settings: Settings::new("mx.example.org"),
                shown: None,
                connections,
            }))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_a_connection_but_not_for_ever() {
        let line = Line::nowhere(1);
        let slot = Arc::clone(&line.slots).try_acquire_owned().unwrap();
        let question = Transaction::question(mail::Address::parse("bob@example.org").unwrap().into());
        let before = Instant::now();
        assert_eq!(line.send(question, &[]).await, Err(Unreachable));
        assert_eq!(
            (before.elapsed(), line.state().0),
            (SLOT_PATIENCE, "unknown"),
            "the home is not to blame"
        );
        drop(slot);
    }

    /// Symptom: whoever sends a message that the home's filter stumbles over keeps all other mail from it. Cause: a
    /// connection that was lost within a message counted as a home that is away.
    #[test]
    fn a_home_that_drops_one_message_is_not_away() {
        let dropped = Closed::Dropped.outcome(None);
        let result = |body_begun| TransactionResult {
            outcomes: vec![dropped.clone()],
            reusable: false,
            in_doubt: false,
            body_begun,
        };
        assert!(lost(&result(false)).is_some());
        assert_eq!(lost(&result(true)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_home_that_could_not_be_reached_is_left_alone_for_a_moment() {
        let line = Line::nowhere(1);
        assert!(!line.was_down_just_now());
        line.went_down("no connection");
        assert!(line.was_down_just_now());
        tokio::time::advance(DOWN_REMEMBERED).await;
        assert!(!line.was_down_just_now());
        assert_eq!(line.state(), ("down", Some("no connection".to_owned())));
        line.refuses_us(&Reply::new(554, (5, 7, 1), "bob@example.org: no"));
        assert_eq!(line.state(), ("refusing", Some("it refused a recipient with 554 5.7.1".to_owned())));
        assert!(!line.was_down_just_now(), "recipients are still asked about");
        line.came_up();
        assert_eq!(line.state().0, "refusing");
        line.is_willing();
        assert_eq!(line.state(), ("up", None));
    }
}
