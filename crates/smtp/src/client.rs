//! The client session: gives a message to the next hop and finds out what became of each recipient.
//!
//! The driver loops: [`Session::advance`], deal with the [`Step`], again. Everything the server says is
//! hostile input (CVE-2020-8794): bounded, cleaned, and what was never asked for ends the session. Which
//! host to try, and whether to try again, is the caller's decision.

mod closed;
mod commands;
mod extensions;
mod hand_in;
mod login;
mod misfit;
mod settings;
mod transaction;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use mail::Reply;

pub use self::closed::Closed;
pub use self::extensions::Extensions;
pub use self::hand_in::{BESIDE, Quorum, Transaction, TransactionResult};
pub use self::login::Login;
pub use self::misfit::Misfit;
pub use self::settings::{Chunking, Protocol, Settings, TlsUse};
use self::transaction::Running;
use crate::OUTPUT_OCTETS;
use crate::reply::ReplyReader;
pub use crate::reply::{ReplyError, ReplyLimits};

/// What the driver has to do before it calls [`Session::advance`] again.
#[derive(Debug)]
pub enum Step {
    /// Write the output, then read more input.
    NeedInput,
    /// Write the output: there is much of it.
    Flush,
    /// Start TLS, then call [`Session::tls_started`] or [`Session::tls_failed`].
    StartTls,
    /// EHLO is done: call [`Session::start`] or [`Session::quit`]. Said once.
    Ready,
    /// Call [`Session::body`] for each piece of the message, writing the output after each, then
    /// [`Session::body_end`]. Said once. Input that comes meanwhile may be given to `advance`.
    SendBody,
    /// The transaction is over.
    Finished(TransactionResult),
    /// Write what output there is, without waiting for it, and close. Final.
    Closed(Closed),
}

/// What the session waits for, and so which timeout applies (RFC 5321 section 4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The greeting.
    Greeting,
    /// The reply to EHLO, HELO, STARTTLS, AUTH, RSET or QUIT.
    Command,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The 354 to DATA.
    DataInitiation,
    /// That a piece of the body can be written.
    DataBlock,
    /// The reply to the whole body.
    DataTermination,
    /// Nothing: the caller is next.
    Caller,
}

impl Awaited {
    /// How long a client waits. For what the RFC gives no figure: 5 minutes.
    #[must_use]
    pub const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Greeting | Self::Command | Self::Mail | Self::Rcpt | Self::Caller => 5 * 60,
            Self::DataInitiation => 2 * 60,
            Self::DataBlock => 3 * 60,
            Self::DataTermination => 10 * 60,
        })
    }
}

/// One connection to a server: the client's side of SMTP (RFC 5321) or LMTP (RFC 2033).
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    /// The host's name for [`mail::Why::mta`].
    mta: Option<String>,
    encrypted: bool,
    extensions: Extensions,
    replies: ReplyReader,
    /// What was sent and not yet answered, oldest first.
    pending: VecDeque<Sent>,
    /// Input was left when nothing was unanswered: the next reply was sent before it was asked for.
    early: bool,
    /// Steps that `advance` has yet to give.
    steps: VecDeque<Step>,
    phase: Phase,
    /// The response to AUTH was too long for the command and waits for 334.
    login_waits: bool,
    /// A transaction was opened and not completed: RSET goes before the next MAIL.
    needs_reset: bool,
    running: Option<Box<Running>>,
    output: BytesMut,
}

/// What is to be answered by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The connection itself, answered by the greeting.
    Connection,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Rset,
    Mail,
    /// With the recipient's place in the transaction.
    Rcpt(usize),
    Data,
    /// The body: answered by the reply to the message.
    Body,
    /// The body, of which LMTP says what became of it for the recipient at this place.
    BodyFor(usize),
    /// The empty body after a 354 that came although every recipient was refused. Nobody wants its reply.
    EmptyBody,
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Greeting, EHLO, STARTTLS, AUTH.
    Opening,
    /// TLS is being started by the driver.
    TlsHandshake,
    /// Between transactions.
    Idle,
    /// Commands of a transaction.
    Envelope,
    /// The caller gives the body.
    Body,
    /// QUIT was sent.
    Quitting,
    /// [`Step::Closed`] was or will be said.
    Closed,
}

impl Session {
    /// A session that expects the greeting.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        let encrypted = settings.tls == TlsUse::Established;
        let replies = ReplyReader::new(settings.limits.clone());
        Self {
            settings,
            mta: None,
            encrypted,
            extensions: Extensions::default(),
            replies,
            pending: VecDeque::from([Sent::Connection]),
            early: false,
            steps: VecDeque::new(),
            phase: Phase::Opening,
            login_waits: false,
            needs_reset: false,
            running: None,
            output: BytesMut::new(),
        }
    }

    /// The same with the host's name, which outcomes then state as [`mail::Why::mta`].
    #[must_use]
    pub fn with_mta(mut self, host: impl Into<String>) -> Self {
        self.mta = Some(host.into());
        self
    }

    /// Takes input and says what to do next. Never blocks and never loops without taking input.
    pub fn advance(&mut self, input: &mut BytesMut) -> Step {
        loop {
            if self.output.len() > OUTPUT_OCTETS && self.phase != Phase::Closed {
                return Step::Flush;
            }
            // A server that speaks before it has the body is heard before the body is sent.
            let heard_first = matches!(self.steps.front(), Some(Step::SendBody)) && !input.is_empty();
            if let Some(step) = self.steps.pop_front_if(|_| !heard_first) {
                return step;
            }
            match self.phase {
                Phase::Closed => {
                    input.clear();
                    return Step::Closed(Closed::Done);
                }
                Phase::TlsHandshake => {
                    // Driver and TLS own the input now; none of it is a reply.
                    input.clear();
                    return Step::StartTls;
                }
                _ => {}
            }
            match self.replies.read(input) {
                Ok(Some(reply)) => self.take_reply(reply, input),
                Ok(None) => return self.steps.pop_front().unwrap_or(Step::NeedInput),
                Err(error) => self.close(Closed::Malformed(error)),
            }
        }
    }

    /// What is to be written to the server. The driver clears what it has written.
    pub const fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// TLS has started after [`Step::StartTls`]: EHLO is said again, all that was known is forgotten.
    pub fn tls_started(&mut self) {
        if self.phase == Phase::TlsHandshake {
            self.encrypted = true;
            self.phase = Phase::Opening;
            self.extensions = Extensions::default();
            self.say_ehlo();
        }
    }

    /// TLS could not be started after [`Step::StartTls`]. The connection is lost; under
    /// [`TlsUse::Opportunistic`] the caller may connect anew with [`TlsUse::Never`].
    pub fn tls_failed(&mut self) {
        self.close(Closed::TlsFailed);
    }

    /// Starts a transaction. Only after [`Step::Ready`] or a reusable [`Step::Finished`]. When the session is
    /// over all recipients are deferred; while another transaction runs, that one is lost as well.
    pub fn start(&mut self, transaction: Transaction) {
        if self.phase != Phase::Idle {
            self.close(Closed::Misused);
            let last = self.steps.pop_back();
            self.running = Some(Box::new(Running::new(transaction)));
            match &last {
                Some(Step::Closed(reason)) => self.settle_rest(reason),
                _ => self.settle_rest(&Closed::Done),
            }
            self.steps.extend(last);
            return;
        }
        self.running = Some(Box::new(Running::new(transaction)));
        self.begin();
    }

    /// A piece of the message, cut anywhere, with CRLF line ends only. A bare CR or LF, or more octets than
    /// announced, is the caller's error: the recipients are deferred and the connection is given up
    /// before the end of the body, so that nothing of it is taken.
    pub fn body(&mut self, piece: &[u8]) {
        let Some(running) = self.running.as_mut().filter(|_| self.phase == Phase::Body) else { return };
        if running.body_piece(piece, &mut self.output).is_err() {
            self.close(Closed::BadBody);
        }
    }

    /// The message is complete. With `DATA` a last line without CRLF gets one.
    pub fn body_end(&mut self) {
        let Some(running) = self.running.as_mut().filter(|_| self.phase == Phase::Body) else { return };
        match running.body_end(&mut self.output) {
            Ok(()) => self.phase = Phase::Envelope,
            Err(_) => self.close(Closed::BadBody),
        }
    }

    /// The caller can't go on with the body: the connection is given up before its end.
    pub fn abandon(&mut self) {
        self.close(Closed::BadBody);
    }

    /// Says QUIT. Only between transactions; at another time the session just closes.
    pub fn quit(&mut self) {
        if self.phase == Phase::Idle {
            self.output.put_slice(b"QUIT\r\n");
            self.pending.push_back(Sent::Quit);
            self.phase = Phase::Quitting;
        } else {
            self.close(Closed::Misused);
        }
    }

    /// What was awaited did not come in time.
    pub fn timed_out(&mut self) {
        self.close(Closed::TimedOut);
    }

    /// Tells the session that the connection is gone.
    pub fn closed_by_peer(&mut self) {
        let reason = if self.phase == Phase::Quitting { Closed::Done } else { Closed::Dropped };
        self.close(reason);
    }

    /// The answer that the session waits for.
    #[must_use]
    pub fn awaited(&self) -> Awaited {
        if self.phase == Phase::Body {
            return Awaited::DataBlock;
        }
        match self.pending.front() {
            None => Awaited::Caller,
            Some(Sent::Connection) => Awaited::Greeting,
            Some(Sent::Ehlo | Sent::Helo | Sent::StartTls | Sent::Auth | Sent::Rset | Sent::Quit) => {
                Awaited::Command
            }
            Some(Sent::Mail) => Awaited::Mail,
            Some(Sent::Rcpt(_)) => Awaited::Rcpt,
            Some(Sent::Data) => Awaited::DataInitiation,
            Some(Sent::Body | Sent::BodyFor(_) | Sent::EmptyBody) => Awaited::DataTermination,
        }
    }

    /// What the server offered in its last EHLO reply.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether TLS protects the session.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    fn take_reply(&mut self, reply: Reply, input: &mut BytesMut) {
        if reply.code == 421 {
            return self.close(Closed::Refused(reply));
        }
        if self.early {
            return self.close(Closed::Unexpected(reply));
        }
        let sent = self.pending.pop_front();
        let answered = self.pending.is_empty();
        self.answered(sent, reply, input);
        // What came while the body was wanted is judged as a reply to it.
        self.early = answered && !input.is_empty() && self.phase != Phase::Body;
    }

    fn answered(&mut self, sent: Option<Sent>, reply: Reply, input: &mut BytesMut) {
        match sent {
            Some(Sent::Connection) if reply.is_positive() => self.say_ehlo(),
            Some(Sent::Connection) => self.refused(reply),
            Some(Sent::Ehlo) => self.take_ehlo(reply),
            Some(Sent::Helo) if reply.is_positive() => self.begin_login(),
            Some(Sent::Helo) => self.refused(reply),
            Some(Sent::StartTls) => self.take_starttls(reply, input),
            Some(Sent::Auth) => self.take_login(reply),
            Some(Sent::Quit) => self.close(Closed::Done),
            None => self.close(Closed::Unexpected(reply)),
            Some(sent) => self.take_transaction_reply(sent, reply),
        }
    }

    /// The server does not want us: RFC 5321 section 3.1 asks for QUIT. Its reply is not waited for.
    fn refused(&mut self, reply: Reply) {
        self.output.put_slice(b"QUIT\r\n");
        self.close(Closed::Refused(reply));
    }

    fn say_ehlo(&mut self) {
        let verb = if self.speaks_lmtp() { "LHLO" } else { "EHLO" };
        commands::hello(verb, &self.settings.ehlo_name, &mut self.output);
        self.pending.push_back(Sent::Ehlo);
    }

    fn speaks_lmtp(&self) -> bool {
        self.settings.protocol == Protocol::Lmtp
    }

    fn take_ehlo(&mut self, reply: Reply) {
        if reply.is_positive() {
            self.extensions = Extensions::parse(&reply.text);
        } else if reply.code < 500 || self.speaks_lmtp() {
            return self.refused(reply);
        }
        match self.settings.tls {
            TlsUse::Opportunistic | TlsUse::Required if !self.encrypted && self.extensions.starttls => {
                self.output.put_slice(b"STARTTLS\r\n");
                self.pending.push_back(Sent::StartTls);
            }
            TlsUse::Required if !self.encrypted => {
                self.output.put_slice(b"QUIT\r\n");
                self.close(Closed::TlsNotOffered);
            }
            _ if reply.is_positive() => self.begin_login(),
            _ => {
                commands::hello("HELO", &self.settings.ehlo_name, &mut self.output);
                self.pending.push_back(Sent::Helo);
            }
        }
    }

    fn take_starttls(&mut self, reply: Reply, input: &mut BytesMut) {
        if reply.code == 220 {
            // Plain text after the 220 was not said within TLS, whoever put it there (CVE-2021-38371).
            if input.is_empty() {
                self.phase = Phase::TlsHandshake;
            } else {
                input.clear();
                self.close(Closed::TlsFailed);
            }
        } else if self.settings.tls == TlsUse::Required {
            self.output.put_slice(b"QUIT\r\n");
            self.close(Closed::TlsRefused(reply));
        } else {
            self.begin_login();
        }
    }

    fn ready(&mut self) {
        self.phase = Phase::Idle;
        self.steps.push_back(Step::Ready);
    }

    /// Settles what is running, then closes. The first reason counts.
    fn close(&mut self, reason: Closed) {
        if self.phase == Phase::Closed {
            return;
        }
        self.steps.clear();
        self.phase = Phase::Closed;
        self.pending.clear();
        self.settle_rest(&reason);
        self.steps.push_back(Step::Closed(reason));
    }
}
