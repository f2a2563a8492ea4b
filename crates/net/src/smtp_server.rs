//! The driver of an SMTP server session: bytes, TLS and time between a client and the role's service.

mod pace;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mail::{Client, Envelope, Recipient, Reply};
use smtp::server::{Awaited, Cause, MailFrom, Question, Secret, Session, Settings, Step};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::duplex::{self, Duplex};
use crate::home_tls::Fingerprint;
use crate::patience::Patience;
use crate::tls;
use pace::Pace;

/// Octets asked for at one read while commands are exchanged; a session that idles holds no more.
const COMMAND_READ_OCTETS: usize = 4 * 1024;
/// Octets asked for at one read while a body comes in.
const BODY_READ_OCTETS: usize = 64 * 1024;
/// How long a client that said QUIT with its message may take to close, which shows that it read the reply.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// Octets that it may send meanwhile.
const CLOSE_OCTETS_MAX: usize = 64 * 1024;
/// How often a client that is waited for is looked at: patience may have shrunk meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
    /// The client made so many more errors. Said as they are made: how the session ends must not matter.
    fn erred(&mut self, _errors: u32) {}
    /// How long this client is waited for, now.
    fn patience(&self) -> Patience {
        Patience::FULL
    }
    /// Cancelled when the client may be here no longer: its account is gone, or has another password. Asked for
    /// whenever the session waits.
    fn revoked(&self) -> Option<CancellationToken> {
        None
    }
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
    /// The client has shown that it read the positive reply to its last message: it went on after it, or closed the
    /// connection in order. Not said of a reply that got lost with its connection; the client then sends the message
    /// again (RFC 1047).
    fn heard(&mut self) {}
    /// The body comes to nothing.
    fn aborted(&mut self, cause: Cause) -> impl Future<Output = ()> + Send;
}

/// What is said of a message that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The one reply to the message.
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
            let stream = handshake(acceptor, stream, service.patience().handshake).await?;
            let about = tls::describe(stream.get_ref().1);
            if let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
                service.showed(Fingerprint::of(certificate));
            }
            (Box::new(stream), Session::new(settings, peer, Some(about)))
        }
        None => (Box::new(stream), Session::new(settings, peer, None)),
    };
    let driver = Driver {
        stream,
        session,
        service,
        port,
        input: BytesMut::new(),
        pace: Pace::default(),
        lines: 0,
        errors: 0,
        hearing: Hearing::Nothing,
    };
    driver.run().await
}

async fn handshake<S>(
    acceptor: &TlsAcceptor,
    stream: S,
    patience: Duration,
) -> io::Result<tokio_rustls::server::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(patience, acceptor.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Whether the client has read the positive reply to its last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// There is none, or it did.
    Nothing,
    /// Whatever it sends or does after the reply will show it.
    Open,
    /// It had closed its side before the reply, so that an end of the stream shows nothing.
    ClosedBefore,
}

struct Driver<'a, V> {
    stream: Box<dyn Duplex>,
    session: Session,
    service: V,
    port: &'a Port,
    input: BytesMut,
    /// What the client has used up of the patience with it.
    pace: Pace,
    /// Lines that the pace knows of.
    lines: u64,
    /// Errors that the service was told of.
    errors: u32,
    hearing: Hearing,
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
        match timeout(pause, self.stream.read_buf(&mut self.input)).await {
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
            self.count();
            if self.session.talked_early() && !std::mem::replace(&mut early, true) {
                self.service.talked_early(Early::Hello);
            }
            match step {
                Step::NeedInput => {
                    self.flush().await?;
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Step::Flush => self.flush().await?,
                Step::Body(piece) => self.service.body(piece).await,
                Step::Ask(question) => {
                    self.ask(question).await;
                    self.count();
                }
                Step::StartTls => self = self.start_tls().await?,
                Step::Close => {
                    self.flush().await?;
                    let patience = self.service.patience().write;
                    timeout(patience, self.stream.shutdown()).await??;
                    self.see_it_close().await;
                    return Ok(());
                }
            }
        }
    }

    /// Tells the service of errors at once, and the pace of lines.
    fn count(&mut self) {
        let errors = self.session.errors();
        let more = errors.saturating_sub(std::mem::replace(&mut self.errors, errors));
        if more > 0 {
            self.service.erred(more);
        }
        let lines = self.session.lines();
        let more = lines.saturating_sub(std::mem::replace(&mut self.lines, lines));
        if more > 0 {
            self.pace.took_lines(more);
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
                if all.is_positive() {
                    self.pace.took_message();
                    self.look_ahead().await;
                }
                self.session.answer_each(&each, &all);
            }
            Question::Aborted(cause) => self.service.aborted(cause).await,
        }
    }

    /// Takes what the client has sent before the reply to its message: it shows nothing of the reply's being read.
    async fn look_ahead(&mut self) {
        self.hearing = Hearing::Open;
        self.input.reserve(COMMAND_READ_OCTETS);
        let read = {
            let mut reading = std::pin::pin!(self.stream.read_buf(&mut self.input));
            std::future::poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await
        };
        match read {
            Poll::Ready(Ok(0)) => self.hearing = Hearing::ClosedBefore,
            Poll::Ready(Ok(octets)) => self.pace.read(octets, Awaited::Command),
            // What is broken shows again when the reply is written.
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
    }

    /// The client went on, or ended the stream in order.
    fn has_heard(&mut self) {
        if std::mem::replace(&mut self.hearing, Hearing::Nothing) == Hearing::Open {
            self.service.heard();
        }
    }

    /// Who sent QUIT together with a message shows by closing that the reply arrived.
    async fn see_it_close(&mut self) {
        if self.hearing != Hearing::Open {
            return;
        }
        let closing = async {
            let mut octets = 0;
            while octets < CLOSE_OCTETS_MAX {
                self.input.clear();
                self.input.reserve(COMMAND_READ_OCTETS);
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) => return true,
                    Ok(more) => octets += more,
                    Err(_) => return false,
                }
            }
            false
        };
        if timeout(CLOSE_PATIENCE, closing).await.unwrap_or(false) {
            self.has_heard();
        }
    }

    /// Writes what the session has to say. A client that does not take it is given up.
    async fn flush(&mut self) -> io::Result<()> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        let mut output = self.session.output().split();
        let (began, revoked) = (Instant::now(), self.service.revoked());
        let mut writing = std::pin::pin!(duplex::flush(&mut *self.stream, &mut output));
        let mut revoked = std::pin::pin!(crate::cancelled(revoked));
        // Who may be here no longer gets a moment to take the reply that says so.
        let mut last_words = false;
        let ended = loop {
            let patience = self.service.patience().write;
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                break Err(io::ErrorKind::TimedOut.into());
            }
            tokio::select! {
                biased;
                written = &mut writing => break written,
                () = &mut revoked, if !last_words => last_words = true,
                () = tokio::time::sleep(left.min(LOOK_EVERY)) => {
                    if last_words {
                        break Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
        };
        self.pace.waited(began.elapsed(), Awaited::Command);
        ended
    }

    /// Reads more input. `false` when the client is gone.
    async fn read(&mut self) -> io::Result<bool> {
        let awaited = self.session.awaited();
        self.input.reserve(match awaited {
            Awaited::Command => COMMAND_READ_OCTETS,
            Awaited::BodyBlock => BODY_READ_OCTETS,
        });
        loop {
            let patience = self.service.patience();
            let left = self.pace.left(awaited, &patience);
            if left.is_zero() {
                self.session.timed_out();
                return Ok(true);
            }
            let began = Instant::now();
            let may_stop = !self.session.in_transaction() && !self.session.is_body_open();
            tokio::select! {
                biased;
                () = crate::cancelled(self.service.revoked()) => {
                    self.session.revoked();
                    return Ok(true);
                }
                () = self.port.stop.cancelled(), if may_stop => {
                    self.session.shut_down();
                    return Ok(true);
                }
                read = timeout(left.min(LOOK_EVERY), self.stream.read_buf(&mut self.input)) => {
                    self.pace.waited(began.elapsed(), awaited);
                    if let Ok(read) = read {
                        let octets = read?;
                        self.has_heard();
                        self.pace.read(octets, awaited);
                        return Ok(octets > 0);
                    }
                }
            }
        }
    }

    /// Upgrades the connection. Plaintext that came after STARTTLS is dropped with the buffer it is in.
    async fn start_tls(mut self) -> io::Result<Self> {
        self.flush().await?;
        let acceptor = self.port.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let stream = handshake(acceptor, self.stream, self.service.patience().handshake).await?;
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
    let _ = timeout(Duration::from_secs(5), farewell).await;
}
