//! The services for mail programs and for a foreign edge: who is let in, and what each connection gets.

use std::future::Future;
use std::io;
use std::sync::Arc;

use daemon::clock::Clock;
use directory::Pass;
use directory::logins::{Client, Logins, Refused};
use imap::Credentials;
use mailbox::AccountError;
use net::patience::{Patience, Pressure};
use net::port_places::{Place, Places, SeldomTold};
use net::smtp_server::Port;
use net::tls::TlsAcceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::foreign_edge::ForeignEdge;
use super::mailboxes::{Accounts, SessionMailboxes};
use super::submit::Submit;

/// What a port does with a connection.
pub(crate) trait Serve: Send + Sync + 'static {
    /// The name of the service in logs.
    const NAME: &'static str;
    /// Serves a connection until it ends.
    fn serve(&self, stream: TcpStream, place: Place) -> impl Future<Output = io::Result<()>> + Send;
}

/// The loop that accepts connections of one listener.
pub(crate) struct Accepting<S> {
    /// The service that connections get.
    pub service: Arc<S>,
    /// The places for connections, in all and for one address.
    pub places: Arc<Places>,
    /// The logins: for addresses that have logged in before some places are kept.
    pub logins: Logins,
    /// Whether the operator was told lately that there are too few.
    pub told: Arc<SeldomTold>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The tracker that counts the sessions.
    pub sessions: TaskTracker,
    /// Ends the loop.
    pub stop: CancellationToken,
}

impl<S: Serve> Accepting<S> {
    /// Accepts until told to stop. A connection too many is closed at once.
    pub(crate) async fn run(self, listener: TcpListener) {
        loop {
            let (stream, peer) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = net::listen::accept(&listener) => accepted,
            };
            let place = match self.places.take(peer.ip(), self.logins.standing(peer.ip())) {
                Ok(place) => place,
                Err(none) => {
                    if self.told.is_due(self.clock.now().as_secs()) {
                        tracing::warn!(client = %peer.ip(), service = S::NAME, cause = none.as_str(),
                            "connections are turned away; see [limits] sessions and sessions_per_address in home.toml");
                    }
                    continue;
                }
            };
            let service = Arc::clone(&self.service);
            self.sessions.spawn(async move {
                if let Err(error) = service.serve(stream, place).await {
                    tracing::debug!(%peer, %error, service = S::NAME, "session broke off");
                }
            });
        }
    }
}

/// IMAP on 993.
pub(crate) struct ImapService {
    /// TLS, which comes before anything else.
    pub acceptor: TlsAcceptor,
    /// The mailboxes.
    pub accounts: Accounts,
    /// The check of names and passwords.
    pub logins: Logins,
    /// Most octets of one appended message.
    pub append_octets_max: u64,
    /// Settings and limits that all sessions share.
    pub service: net::imap_server::Service,
}

impl Serve for ImapService {
    const NAME: &'static str = "IMAP";

    async fn serve(&self, stream: TcpStream, place: Place) -> io::Result<()> {
        let patience = Patience::FULL.under(place.pressure()).handshake;
        let handshake = tokio::time::timeout(patience, self.acceptor.accept(stream));
        let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
        let options =
            imap::Options { append_octets_max: self.append_octets_max, greeting: "Postern ready".to_owned() };
        let session = imap::Session::new(SessionMailboxes::new(self.accounts.clone()), options);
        let door = ImapDoor { logins: self.logins.clone(), place, pass: None };
        net::imap_server::serve(stream, session, door, &self.service).await
    }
}

/// The check of one IMAP session's login.
struct ImapDoor {
    logins: Logins,
    place: Place,
    pass: Option<Pass>,
}

impl net::imap_server::Logins for ImapDoor {
    async fn login(&mut self, credentials: Credentials) -> Result<String, AccountError> {
        let client = Client { ip: self.place.ip(), service: ImapService::NAME };
        let pass = self.logins.check(&credentials.user, &credentials.password, client).await;
        let pass = pass.map_err(|refused| match refused {
            Refused::Wrong => AccountError::Denied,
            Refused::Later => AccountError::Unavailable,
        })?;
        self.place.know();
        Ok(self.pass.insert(pass).account().to_string())
    }

    fn pressure(&self) -> Pressure {
        self.place.pressure()
    }

    fn revoked(&self) -> Option<CancellationToken> {
        self.pass.as_ref().map(Pass::revoked)
    }
}

/// Submission on 465.
pub(crate) struct SubmissionService {
    /// TLS first, settings, limits.
    pub port: Port,
    /// The submission service.
    pub submit: Arc<Submit>,
}

impl Serve for SubmissionService {
    const NAME: &'static str = super::submit::SERVICE;

    async fn serve(&self, stream: TcpStream, place: Place) -> io::Result<()> {
        let (ip, session) = (place.ip(), self.submit.session(place));
        net::smtp_server::serve(stream, ip, &self.port, session).await
    }
}

/// The way in for a foreign edge.
pub(crate) struct ForeignEdgeService {
    /// TLS first, settings, limits.
    pub port: Port,
    /// The foreign edge as Home knows it.
    pub edge: Arc<ForeignEdge>,
}

impl Serve for ForeignEdgeService {
    const NAME: &'static str = directory::logins::FOREIGN_EDGE;

    async fn serve(&self, stream: TcpStream, place: Place) -> io::Result<()> {
        let ip = place.ip();
        if !self.edge.lets_in(ip) {
            tracing::warn!(client = %ip, "a connection from outside [foreign_edge] networks was closed");
            return Ok(());
        }
        let session = self.edge.session(place);
        net::smtp_server::serve(stream, ip, &self.port, session).await
    }
}
