//! The driver of an SMTP server session: bytes, TLS and time between a client and the role's service.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mail::{Client, Envelope, Recipient, Reply};
use smtp::server::{Awaited, Cause, MailFrom, Question, Secret, Session, Settings, Step};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::duplex::{self, Duplex};
use crate::home_tls::Fingerprint;
use crate::tls;

/// Octets asked for at one read while commands are exchanged; a session that idles holds no more.
const COMMAND_READ_OCTETS: usize = 4 * 1024;
/// Octets asked for at one read while a body comes in.
const BODY_READ_OCTETS: usize = 64 * 1024;

/// What a role answers to a client. One value per session; it is dropped when the session ends, whatever the
/// reason, and has to let go of an unfinished message then.
pub trait Service: Send {
    /// A client has connected. Gives how long it is to wait for the greeting; who speaks meanwhile is reported.
    ///
    /// # Errors
    /// The reply that turns it away.
    fn connected(&mut self, _ip: IpAddr) -> impl Future<Output = Result<Duration, Reply>> + Send {
        async { Ok(Duration::ZERO) }
    }
    /// The client proved in TLS that it has the key of the certificate with this fingerprint. Said before
    /// [`Service::connected`], and only where TLS comes first and clients are asked for one.
    fn showed(&mut self, _certificate: Fingerprint) {}
    /// The client spoke when it had to listen: before the greeting, or before the reply to EHLO.
    fn talked_early(&mut self, _when: Early) {}
    /// The session has ended, with so many errors of the client.
    fn left(&mut self, _errors: u32) {}
    /// Whether these are an account's name and password: the account's canonical name, and the reply.
    fn login(
        &mut self,
        user: &str,
        password: &Secret,
    ) -> impl Future<Output = (Option<String>, Reply)> + Send;
    /// `MAIL FROM`.
    fn mail(&mut self, client: &Client, from: &MailFrom) -> impl Future<Output = Reply> + Send;
    /// `RCPT TO`.
    fn recipient(&mut self, client: &Client, recipient: &Recipient) -> impl Future<Output = Reply> + Send;
    /// A body is about to come.
    ///
    /// # Errors
    /// The reply that refuses it.
    fn data(&mut self, envelope: Envelope) -> impl Future<Output = Result<(), Reply>> + Send;
    /// A piece of the body. Waiting here is the back-pressure.
    fn body(&mut self, piece: Bytes) -> impl Future<Output = ()> + Send;
    /// The body is whole: the replies to the message.
    fn end(&mut self) -> impl Future<Output = Answers> + Send;
    /// The body comes to nothing.
    fn aborted(&mut self, cause: Cause) -> impl Future<Output = ()> + Send;
}

/// What is said of a message that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The reply to the message.
    pub all: Reply,
    /// One for each recipient, in the envelope's order, or none: then `all` stands for each. Only a client
    /// that asked for PRDR hears them.
    pub each: Vec<Reply>,
}

impl From<Reply> for Answers {
    fn from(all: Reply) -> Self {
        Self { all, each: Vec::new() }
    }
}

/// When a client spoke out of turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Early {
    /// Before it was greeted (RFC 5321 section 3.1).
    Greeting,
    /// Before the reply to EHLO or HELO, behind which nothing may be sent unasked (RFC 2920 section 3.1).
    Hello,
}

/// What a listener gives each of its sessions.
#[derive(Clone)]
pub struct Port {
    /// The session's settings.
    pub settings: Arc<Settings>,
    /// For STARTTLS, or for implicit TLS.
    pub tls: Option<TlsAcceptor>,
    /// Whether TLS comes first (RFC 8314).
    pub implicit_tls: bool,
    /// Ends the session between two transactions.
    pub stop: CancellationToken,
}

/// Serves one connection until it ends.
///
/// # Errors
/// When the connection breaks; the caller logs it at most.
pub async fn serve<S, V>(stream: S, peer: IpAddr, port: &Port, mut service: V) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    V: Service,
{
    let settings = Arc::clone(&port.settings);
    let (stream, session): (Box<dyn Duplex>, _) = match port.tls.as_ref().filter(|_| port.implicit_tls) {
        Some(acceptor) => {
            let stream = handshake(acceptor, stream).await?;
            let about = tls::describe(stream.get_ref().1);
            if let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
                service.showed(Fingerprint::of(certificate));
            }
            (Box::new(stream), Session::new(settings, peer, Some(about)))
        }
        None => (Box::new(stream), Session::new(settings, peer, None)),
    };
    Driver { stream, session, service, port, input: BytesMut::new() }.run().await
}

async fn handshake<S>(acceptor: &TlsAcceptor, stream: S) -> io::Result<tokio_rustls::server::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let patience = Awaited::Command.timeout();
    tokio::time::timeout(patience, acceptor.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

struct Driver<'a, V> {
    stream: Box<dyn Duplex>,
    session: Session,
    service: V,
    port: &'a Port,
    input: BytesMut,
}

impl<V: Service> Driver<'_, V> {
    async fn run(mut self) -> io::Result<()> {
        match self.service.connected(self.session.client().ip).await {
            Err(reply) => self.session.refuse(reply),
            Ok(pause) => {
                if self.talks_first(pause).await? {
                    self.service.talked_early(Early::Greeting);
                }
                self.session.greet();
            }
        }
        self.converse().await
    }

    /// Whether the client speaks while it is to wait for the greeting. What it says is kept.
    async fn talks_first(&mut self, pause: Duration) -> io::Result<bool> {
        if pause.is_zero() {
            return Ok(false);
        }
        self.input.reserve(COMMAND_READ_OCTETS);
        match tokio::time::timeout(pause, self.stream.read_buf(&mut self.input)).await {
            Err(_) => Ok(false),
            Ok(read) => match read? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(true),
            },
        }
    }

    async fn converse(mut self) -> io::Result<()> {
        let mut early = false;
        loop {
            let step = self.session.advance(&mut self.input);
            if self.session.talked_early() && !std::mem::replace(&mut early, true) {
                self.service.talked_early(Early::Hello);
            }
            match step {
                Step::NeedInput => {
                    self.flush().await?;
                    if !self.read().await? {
                        self.service.left(self.session.errors());
                        return Ok(());
                    }
                }
                Step::Flush => self.flush().await?,
                Step::Body(piece) => self.service.body(piece).await,
                Step::Ask(question) => self.ask(question).await,
                Step::StartTls => self = self.start_tls().await?,
                Step::Close => {
                    self.service.left(self.session.errors());
                    self.flush().await?;
                    return self.stream.shutdown().await;
                }
            }
        }
    }

    async fn ask(&mut self, question: Question) {
        match question {
            Question::Login { user, password } => {
                let (account, reply) = self.service.login(&user, &password).await;
                self.session.answer_login(account, &reply);
            }
            Question::Mail(from) => {
                let reply = self.service.mail(self.session.client(), &from).await;
                self.session.answer(reply);
            }
            Question::Recipient(recipient) => {
                let reply = self.service.recipient(self.session.client(), &recipient).await;
                self.session.answer(reply);
            }
            Question::Data(envelope) => match self.service.data(envelope).await {
                Ok(()) => self.session.accept_body(),
                Err(reply) => self.session.answer(reply),
            },
            Question::End { .. } => {
                let Answers { all, each } = self.service.end().await;
                self.session.answer_each(&each, &all);
            }
            Question::Aborted(cause) => self.service.aborted(cause).await,
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        duplex::flush(&mut *self.stream, self.session.output()).await
    }

    /// Reads more input. `false` when the client is gone.
    async fn read(&mut self) -> io::Result<bool> {
        let awaited = self.session.awaited();
        self.input.reserve(match awaited {
            Awaited::Command => COMMAND_READ_OCTETS,
            Awaited::BodyBlock => BODY_READ_OCTETS,
        });
        let may_stop = !self.session.in_transaction() && !self.session.is_body_open();
        tokio::select! {
            biased;
            () = self.port.stop.cancelled(), if may_stop => {
                self.session.shut_down();
                Ok(true)
            }
            read = tokio::time::timeout(awaited.timeout(), self.stream.read_buf(&mut self.input)) => match read {
                Ok(read) => Ok(read? > 0),
                Err(_) => {
                    self.session.timed_out();
                    Ok(true)
                }
            }
        }
    }

    /// Upgrades the connection. Plaintext that came after STARTTLS is dropped with the buffer it is in.
    async fn start_tls(mut self) -> io::Result<Self> {
        self.flush().await?;
        let acceptor = self.port.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let stream = handshake(acceptor, self.stream).await?;
        self.session.tls_started(tls::describe(stream.get_ref().1));
        Ok(Self { stream: Box::new(stream), input: BytesMut::new(), ..self })
    }
}

/// Answers a connection that can't be served now and closes it.
pub async fn turn_away<S: AsyncWrite + Unpin>(mut stream: S, reply: Reply) {
    let mut output = BytesMut::new();
    smtp::reply::write(&reply, smtp::reply::Charset::Ascii, &mut output);
    let farewell = async {
        stream.write_all(&output).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), farewell).await;
}
