//! The driver of an SMTP client session: one connection to one host, reused while there is mail for it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use smtp::client::{Closed, Misfit, Session, Settings, Step, TlsUse, Transaction, TransactionResult};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::duplex::{self, Duplex};
use crate::endpoint::Endpoint;
use crate::handshake::{Failed, handshake};
use crate::tls;

/// How long a TCP connection may take to come about.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const READ_OCTETS: usize = 4 * 1024;

/// Gives a message piece by piece.
pub trait BodySource: Send {
    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// When the message can't be completed; the connection is then given up before the message's end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyLost>> + Send;
}

/// The message of a question ([`Transaction::question`]): there is none.
#[derive(Debug, Clone, Copy)]
pub struct NoBody;

impl BodySource for NoBody {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        Ok(None)
    }
}

/// The rest of a message will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLost;

/// The reasons why no session came about.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No connection came about.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The host does not want us, or does not speak SMTP.
    #[error("{0}")]
    Closed(Closed),
    /// TLS failed; where it is not demanded the caller may connect anew without it.
    #[error("TLS could not be started: {0}")]
    Tls(io::Error),
    /// As [`OpenError::Tls`], and the server said nothing at all to the handshake's first message: it may not have got
    /// there, and the caller may connect anew with [`Hello::Short`](crate::tls::Hello::Short).
    #[error("TLS could not be started: no answer to its first message ({0})")]
    Unanswered(io::Error),
}

impl OpenError {
    /// Whether it is TLS that failed.
    #[must_use]
    pub const fn is_of_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Unanswered(_) | Self::Closed(Closed::TlsFailed))
    }
}

impl From<Failed> for OpenError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unanswered(cause) => Self::Unanswered(cause),
            Failed::Tls(cause) => Self::Tls(cause),
        }
    }
}

/// A TCP connection, within 30 s.
///
/// # Errors
/// [`OpenError::Connect`].
pub async fn connect(remote: SocketAddr) -> Result<TcpStream, OpenError> {
    let connecting = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(remote));
    let stream = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    stream.map_err(OpenError::Connect)
}

/// A session that is ready for a transaction.
pub struct Connection {
    stream: Box<dyn Duplex>,
    session: Session,
    input: BytesMut,
    tls: Option<String>,
}

impl Connection {
    /// Connects to `remote`, which is the host `mta`, and gets as far as the EHLO reply, encrypted if the
    /// settings say so.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub async fn open(
        remote: SocketAddr,
        mta: &str,
        settings: Arc<Settings>,
        connector: &TlsConnector,
    ) -> Result<Self, OpenError> {
        Self::open_on(connect(remote).await?, mta, settings, connector).await
    }

    /// As [`Connection::open`] on a connection that is there.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub async fn open_on(
        stream: TcpStream,
        mta: &str,
        settings: Arc<Settings>,
        connector: &TlsConnector,
    ) -> Result<Self, OpenError> {
        Self::open_as(stream, (mta, mta), settings, connector).await
    }

    /// As [`Connection::open_on`] with a host that has another name in TLS.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub async fn open_as(
        stream: TcpStream,
        (mta, tls_name): (&str, &str),
        settings: Arc<Settings>,
        connector: &TlsConnector,
    ) -> Result<Self, OpenError> {
        stream.set_nodelay(true).map_err(OpenError::Connect)?;
        let remote = stream.peer_addr().map_err(OpenError::Connect)?;
        let session = Session::new(settings).with_mta(mta);
        let connection = Self { stream: Box::new(stream), session, input: BytesMut::new(), tls: None };
        connection.until_ready(tls_name, remote, connector).await
    }

    /// As [`Connection::open_on`] with TLS from the first octet (RFC 8314 section 3.3). `tls_name` is what the
    /// certificate is looked at for, if the connector does; an address has none and stands for itself.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent within TLS, or no more than a login.
    pub async fn open_implicit(
        stream: TcpStream,
        (mta, tls_name): (&str, &str),
        settings: Settings,
        connector: &TlsConnector,
    ) -> Result<Self, OpenError> {
        stream.set_nodelay(true).map_err(OpenError::Connect)?;
        let remote = stream.peer_addr().map_err(OpenError::Connect)?;
        let settings = Arc::new(Settings { tls: TlsUse::Established, ..settings });
        let name =
            ServerName::try_from(tls_name.to_owned()).unwrap_or(ServerName::IpAddress(remote.ip().into()));
        let stream = handshake(connector, name, stream).await?;
        let tls = Some(tls::describe(stream.get_ref().1));
        let session = Session::new(settings).with_mta(mta);
        let connection = Self { stream: Box::new(stream), session, input: BytesMut::new(), tls };
        connection.until_ready(tls_name, remote, connector).await
    }

    /// A session with a service beside us, without TLS: LMTP into mailboxes (RFC 2033).
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub async fn open_beside(endpoint: &Endpoint, settings: Settings) -> Result<Self, OpenError> {
        let stream = endpoint.connect().await.map_err(OpenError::Connect)?;
        let settings = Arc::new(Settings { tls: TlsUse::Never, ..settings });
        let session = Session::new(settings).with_mta(endpoint.to_string());
        let mut connection = Self { stream, session, input: BytesMut::new(), tls: None };
        loop {
            match connection.session.advance(&mut connection.input) {
                Step::Ready => return Ok(connection),
                Step::Closed(reason) => {
                    let _ = connection.flush().await;
                    return Err(OpenError::Closed(reason));
                }
                Step::NeedInput => connection.exchange().await,
                Step::StartTls | Step::Flush | Step::SendBody | Step::Finished(_) => {
                    let _ = connection.flush_or_close().await;
                }
            }
        }
    }

    /// Gets as far as a transaction may begin.
    async fn until_ready(
        mut self,
        tls_name: &str,
        remote: SocketAddr,
        connector: &TlsConnector,
    ) -> Result<Self, OpenError> {
        loop {
            match self.session.advance(&mut self.input) {
                Step::StartTls => self = self.start_tls(tls_name, remote, connector).await?,
                Step::Ready => return Ok(self),
                Step::Closed(reason) => {
                    let _ = self.flush().await;
                    return Err(OpenError::Closed(reason));
                }
                Step::NeedInput => self.exchange().await,
                Step::Flush | Step::SendBody | Step::Finished(_) => drop(self.flush_or_close().await),
            }
        }
    }

    /// Version and cipher suite, when the session is encrypted.
    #[must_use]
    pub fn tls(&self) -> Option<&str> {
        self.tls.as_deref()
    }

    /// What the server lacks for this transaction, as far as its EHLO reply tells.
    #[must_use]
    pub fn misfit(&self, transaction: &Transaction) -> Option<Misfit> {
        self.session.misfit(transaction)
    }

    /// Whether the server has said nothing since the last transaction and has not closed the connection: what it says
    /// unasked would be read as the answer to the next command. A closed one is best noticed before it is used.
    async fn is_quiet(&mut self) -> bool {
        self.input.reserve(1);
        // Looks once and does not wait.
        let look = tokio::time::timeout(Duration::ZERO, self.stream.read_buf(&mut self.input));
        look.await.is_err() && self.input.is_empty()
    }

    /// Carries out one transaction. Never fails: what went wrong is in the outcomes, one per recipient. Where something
    /// came unasked nothing is sent, as on a connection that was closed.
    pub async fn send(&mut self, transaction: Transaction, body: &mut impl BodySource) -> TransactionResult {
        let recipients = transaction.recipients.len();
        if !self.is_quiet().await {
            let outcomes = vec![Closed::Dropped.outcome(None); recipients];
            return TransactionResult { outcomes, reusable: false, in_doubt: false, body_begun: false };
        }
        self.session.start(transaction);
        loop {
            match self.session.advance(&mut self.input) {
                Step::Finished(result) => return result,
                Step::SendBody => self.send_body(body).await,
                Step::Closed(reason) => {
                    let outcomes = vec![reason.outcome(None); recipients];
                    return TransactionResult {
                        outcomes,
                        reusable: false,
                        in_doubt: false,
                        body_begun: false,
                    };
                }
                Step::NeedInput => self.exchange().await,
                Step::Flush | Step::StartTls | Step::Ready => drop(self.flush_or_close().await),
            }
        }
    }

    /// Says QUIT and closes the connection, within 2 seconds.
    pub async fn quit(mut self) {
        self.session.quit();
        let goodbye = async {
            self.flush().await?;
            self.stream.read_buf(&mut self.input).await?;
            self.stream.shutdown().await
        };
        // The mail is settled; a host that dawdles over its goodbye is left.
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }

    async fn send_body(&mut self, body: &mut impl BodySource) {
        loop {
            match body.next().await {
                Ok(Some(piece)) => self.session.body(&piece),
                Ok(None) => return self.session.body_end(),
                Err(BodyLost) => return self.session.abandon(),
            }
            if self.flush_or_close().await.is_break() {
                return;
            }
        }
    }

    /// Writes the output, then reads; a broken connection or silence is told to the session.
    async fn exchange(&mut self) {
        if self.flush_or_close().await.is_break() {
            return;
        }
        self.input.reserve(READ_OCTETS);
        let patience = self.session.awaited().timeout();
        match tokio::time::timeout(patience, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => self.session.closed_by_peer(),
            Err(_) => self.session.timed_out(),
        }
    }

    async fn flush_or_close(&mut self) -> std::ops::ControlFlow<()> {
        let patience = self.session.awaited().timeout();
        match tokio::time::timeout(patience, self.flush()).await {
            Ok(Ok(())) => std::ops::ControlFlow::Continue(()),
            Ok(Err(_)) => {
                self.session.closed_by_peer();
                std::ops::ControlFlow::Break(())
            }
            Err(_) => {
                self.session.timed_out();
                std::ops::ControlFlow::Break(())
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        duplex::flush(&mut *self.stream, self.session.output()).await
    }

    /// Upgrades the connection. Plaintext that came after the 220 was dropped by the session (CVE-2021-38371).
    async fn start_tls(
        mut self,
        tls_name: &str,
        remote: SocketAddr,
        connector: &TlsConnector,
    ) -> Result<Self, OpenError> {
        let name =
            ServerName::try_from(tls_name.to_owned()).unwrap_or(ServerName::IpAddress(remote.ip().into()));
        let stream = handshake(connector, name, self.stream).await?;
        self.session.tls_started();
        let tls = Some(tls::describe(stream.get_ref().1));
        Ok(Self { stream: Box::new(stream), session: self.session, input: BytesMut::new(), tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection whose server has said these things, and the server's end.
    async fn idle(said: &[u8]) -> (Connection, tokio::io::DuplexStream) {
        let (ours, mut servers) = tokio::io::duplex(1024);
        servers.write_all(said).await.unwrap();
        let session = Session::new(Arc::new(Settings::new("a.example")));
        (Connection { stream: Box::new(ours), session, input: BytesMut::new(), tls: None }, servers)
    }

    /// Symptom: a message is taken for delivered by a reply that was for another. Cause: what a server said late, while
    /// the connection idled, was read as the answer to the next command.
    #[tokio::test]
    async fn a_connection_on_which_something_came_unasked_is_not_used_again() {
        assert!(!idle(b"250 late\r\n").await.0.is_quiet().await);
        let (mut connection, server) = idle(b"").await;
        assert!(connection.is_quiet().await && connection.is_quiet().await);
        drop(server);
        assert!(!connection.is_quiet().await, "it was closed");

        let (mut connection, mut server) = idle(b"250 late\r\n").await;
        let question = Transaction::question(mail::Address::parse("b@c.example").unwrap().into());
        let result = connection.send(question, &mut NoBody).await;
        assert!(matches!(result.outcomes[..], [mail::Outcome::Deferred(_)]) && !result.reusable);
        drop(connection);
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        assert!(heard.is_empty(), "nothing was said there: {heard:?}");
    }
}
