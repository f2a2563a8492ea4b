//! The services for mail programs and for a foreign edge: who is let in, and what each connection gets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use net::smtp_server::Port;
use net::tls::TlsAcceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::foreign_edge::ForeignEdge;
use super::mailboxes::{Accounts, Mailboxes};
use super::submit::Submit;

/// How long a client may take over the TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);

/// What a port does with a connection.
pub trait Serve: Send + Sync + 'static {
    /// The word for logs.
    const NAME: &'static str;
    /// Serves it until it ends.
    fn serve(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = io::Result<()>> + Send;
}

/// A listener's loop.
pub struct Accepting<S> {
    /// What connections get.
    pub service: Arc<S>,
    /// How many there may be.
    pub slots: Arc<Semaphore>,
    /// Where they are counted.
    pub sessions: TaskTracker,
    /// Ends the loop.
    pub stop: CancellationToken,
}

impl<S: Serve> Accepting<S> {
    /// Accepts until told to stop. A connection too many is closed at once.
    pub async fn run(self, listener: TcpListener) {
        loop {
            let (stream, peer) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = net::listen::accept(&listener) => accepted,
            };
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                tracing::warn!(%peer, service = S::NAME, "too many sessions; see [limits] sessions in home.toml");
                continue;
            };
            let service = Arc::clone(&self.service);
            self.sessions.spawn(async move {
                let _slot = slot;
                if let Err(error) = service.serve(stream, peer).await {
                    tracing::debug!(%peer, %error, service = S::NAME, "session broke off");
                }
            });
        }
    }
}

/// IMAP on 993.
pub struct ImapService {
    /// TLS first.
    pub acceptor: TlsAcceptor,
    /// The mailboxes.
    pub accounts: Accounts,
    /// Octets of one appended message.
    pub append_octets_max: u64,
    /// Ends sessions.
    pub stop: CancellationToken,
}

impl Serve for ImapService {
    const NAME: &'static str = "IMAP";

    async fn serve(&self, stream: TcpStream, _peer: SocketAddr) -> io::Result<()> {
        let handshake = tokio::time::timeout(HANDSHAKE_PATIENCE, self.acceptor.accept(stream));
        let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
        let options =
            imap::Options { append_octets_max: self.append_octets_max, greeting: "Postern ready".to_owned() };
        let session = imap::Session::new(Mailboxes::new(self.accounts.clone()), options);
        net::imap_server::serve(stream, session, &self.stop).await
    }
}

/// Submission on 465.
pub struct SubmissionService {
    /// TLS first, settings, limits.
    pub port: Port,
    /// What is submitted to.
    pub submit: Arc<Submit>,
}

impl Serve for SubmissionService {
    const NAME: &'static str = "submission";

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let session = self.submit.session(peer.ip());
        net::smtp_server::serve(stream, peer.ip(), &self.port, session).await
    }
}

/// The way in for a foreign edge.
pub struct ForeignEdgeService {
    /// TLS first, settings, limits.
    pub port: Port,
    /// Who it is.
    pub edge: Arc<ForeignEdge>,
}

impl Serve for ForeignEdgeService {
    const NAME: &'static str = "foreign edge";

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        if !self.edge.lets_in(peer.ip()) {
            tracing::warn!(%peer, "a connection from outside [foreign_edge] networks was closed");
            return Ok(());
        }
        let session = self.edge.session(peer.ip());
        net::smtp_server::serve(stream, peer.ip(), &self.port, session).await
    }
}
