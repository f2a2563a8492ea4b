//! The server session: what a client says, as questions to the role and pieces of a body.
//!
//! The session knows SMTP and its limits, nothing of policy. The driver loops: [`Session::advance`], deal
//! with the [`Step`], again. On [`Step::NeedInput`] it writes the output, then reads; replies to pipelined
//! commands so go out in one write. LMTP would be another [`Mode`]; the one final
//! reply per recipient that it has is there for PRDR.

mod auth;
mod commands;
mod line;
mod replies;
mod settings;
mod transaction;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mail::{Client, Envelope, Recipient, Reply};

pub use self::settings::{Limits, Login, Mode, Settings};
use self::transaction::{Chunk, Transaction};
use crate::OUTPUT_OCTETS;
pub use crate::Secret;
use crate::body::{BodyDecoder, Defect};
pub use crate::command::MailFrom;
use crate::reply::{self, Charset};

/// What the driver has to do before it calls [`Session::advance`] again.
#[derive(Debug)]
pub enum Step {
    /// Write the output, then read more input.
    NeedInput,
    /// Write the output: there is much of it. Input is left.
    Flush,
    /// Answer the question; see [`Question`] for the call that does.
    Ask(Question),
    /// A piece of the body that was accepted, at most 64 KiB, dots of transparency removed. Line ends are
    /// CRLF throughout; a message sent with BDAT may lack the last one.
    Body(Bytes),
    /// Write the output, start TLS, then call [`Session::tls_started`]. Should TLS fail, drop the connection.
    StartTls,
    /// Write the output, then close. Final.
    Close,
}

/// What only the role can answer. Every question but [`Question::Aborted`] needs exactly one answer before
/// the next [`Session::advance`], which until then takes no input and returns [`Step::NeedInput`].
#[derive(Debug)]
pub enum Question {
    /// Somebody wants to log in. Answer with [`Session::answer_login`], or with [`Session::answer`]: a
    /// positive reply logs in as `user`. Any other counts as an error.
    Login {
        /// The name given.
        user: String,
        /// The password given.
        password: Secret,
    },
    /// `MAIL`. [`Session::answer`]: a positive reply opens the transaction, a 421 ends the session.
    Mail(MailFrom),
    /// `RCPT`. [`Session::answer`]: a positive reply adds it to the envelope. The same recipient may come twice.
    Recipient(Recipient),
    /// A body is about to come. [`Session::accept_body`] takes it; [`Session::answer`] refuses it and ends the
    /// transaction, and a chunk that is on its way already is swallowed.
    Data(Envelope),
    /// The whole body was given. [`Session::answer`] is the reply to the message and ends the transaction;
    /// [`Session::answer_each`] has one for each recipient as well.
    End {
        /// Size of the message: the sum of the pieces.
        octets: u64,
    },
    /// The accepted body will not be complete: drop the draft. No answer; the session replies by itself.
    Aborted(Cause),
}

/// Why an accepted body came to nothing. Every [`Session::accept_body`] is followed by one
/// [`Question::End`] or one [`Question::Aborted`], unless the driver drops the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The body broke a rule; it is refused once its end has come.
    Defect(Defect),
    /// The client started anew between two chunks (RSET, EHLO, STARTTLS).
    Reset,
    /// The session ends: QUIT between two chunks, a timeout, a shutdown, too many errors.
    SessionEnded,
}

/// What the session waits for. The driver knows how long (RFC 5321 section 4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The next command, or the next line of a login.
    Command,
    /// More of a body.
    BodyBlock,
}

/// One connection from a client: the server's side of SMTP (RFC 5321).
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    client: Client,
    state: State,
    transaction: Option<Transaction>,
    /// Whether the role has accepted a body and heard neither of its end nor of its abortion.
    body_open: bool,
    errors: u32,
    /// Whole lines taken: commands, and responses within a login.
    lines: u64,
    /// The client has sent commands before the reply to EHLO.
    early: bool,
    /// The last reply, kept back until the question that is open has been answered.
    farewell: Option<Reply>,
    output: BytesMut,
}

#[derive(Debug)]
enum State {
    Command,
    /// A refused line is thrown away up to its CRLF.
    RestOfLine,
    /// The next line belongs to a login.
    Login(auth::Exchange),
    Asked(Asked),
    /// The body of `DATA`; it is swallowed once it is bad.
    Data(BodyDecoder),
    /// A chunk of a good message; the transaction has its checker.
    Chunk {
        last: bool,
    },
    /// A refused chunk is thrown away, then `reply` is queued.
    SwallowChunk {
        remaining: u64,
        reply: Reply,
    },
    /// `STARTTLS` was accepted. Plain input is thrown away until TLS has started.
    StartTls,
    Closing,
}

/// The question that waits for its answer, and what the answer decides about.
#[derive(Debug)]
enum Asked {
    Login { user: String },
    Mail(MailFrom),
    Recipient(Recipient),
    Data,
    Chunk(Chunk),
    End,
}

impl Session {
    /// A session with the client at `peer`. `tls` is version and cipher suite where TLS came first.
    #[must_use]
    pub fn new(settings: Arc<Settings>, peer: IpAddr, tls: Option<String>) -> Self {
        Self {
            settings,
            client: Client { ip: peer, helo: String::new(), esmtp: false, tls, login: None },
            state: State::Command,
            transaction: None,
            body_open: false,
            errors: 0,
            lines: 0,
            early: false,
            farewell: None,
            output: BytesMut::new(),
        }
    }

    /// Queues the greeting. To be called first, unless the client is refused.
    pub fn greet(&mut self) {
        self.queue(&replies::greeting(&self.settings.hostname));
    }

    /// Queues `reply` (a 421 or 554) instead of the greeting; the session closes.
    pub fn refuse(&mut self, reply: Reply) {
        self.end(reply);
    }

    /// Takes input and says what to do next. Never blocks, never loops without taking input, and holds
    /// back at most one command line.
    pub fn advance(&mut self, input: &mut BytesMut) -> Step {
        loop {
            if self.output.len() > OUTPUT_OCTETS {
                return Step::Flush;
            }
            let step = match &mut self.state {
                State::Command | State::Login(_) => self.take_line(input),
                State::RestOfLine => self.skip_line(input),
                State::Data(_) => self.take_body(input),
                State::Chunk { .. } => self.take_chunk(input),
                State::SwallowChunk { .. } => self.swallow_chunk(input),
                State::Asked(_) => Some(Step::NeedInput),
                State::StartTls => {
                    // What came before TLS must not count as said within it (CVE-2011-0411).
                    input.clear();
                    Some(Step::StartTls)
                }
                State::Closing => {
                    input.clear();
                    Some(self.abort_body(Cause::SessionEnded).unwrap_or(Step::Close))
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// What is to be written to the client. The driver clears what it has written.
    pub const fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// The answer to the last [`Question`]. Without one it does nothing.
    pub fn answer(&mut self, reply: Reply) {
        // RFC 5321 section 3.8: a 421 says that the connection is closed.
        if reply.code == 421 && matches!(self.state, State::Asked(Asked::Mail(_))) {
            self.state = State::Command;
            return self.end(reply);
        }
        match std::mem::replace(&mut self.state, State::Command) {
            State::Asked(Asked::Login { user }) => self.settle_login(Some(user), &reply),
            State::Asked(Asked::Mail(from)) => {
                self.transaction = reply.is_positive().then(|| Transaction::new(from));
                self.queue(&reply);
            }
            State::Asked(Asked::Recipient(recipient)) => {
                if let Some(transaction) = self.transaction.as_mut().filter(|_| reply.is_positive()) {
                    transaction.recipients.push(recipient);
                }
                self.queue(&reply);
            }
            State::Asked(Asked::Data) => {
                let reply = replies::refusal(reply);
                self.queue(&reply);
                self.transaction = None;
            }
            State::Asked(Asked::Chunk(chunk)) => self.fail_chunk(chunk, replies::refusal(reply)),
            State::Asked(Asked::End) => self.answer_message(&[], &reply),
            other => self.state = other,
        }
        self.take_leave();
    }

    /// The answer to [`Question::End`] that has a reply for each recipient, in the envelope's order, beside
    /// the one to the message. A client that did not ask for PRDR hears the latter only. When the numbers
    /// differ, the latter stands for each.
    pub fn answer_each(&mut self, each: &[Reply], reply: &Reply) {
        if matches!(self.state, State::Asked(Asked::End)) {
            self.state = State::Command;
            self.answer_message(each, reply);
            self.take_leave();
        }
    }

    /// The answer to [`Question::Login`] that names the account: `Some` logs in if `reply` is positive.
    pub fn answer_login(&mut self, account: Option<String>, reply: &Reply) {
        if matches!(self.state, State::Asked(Asked::Login { .. })) {
            self.state = State::Command;
            self.settle_login(account, reply);
            self.take_leave();
        }
    }

    /// The answer to [`Question::Data`] that takes the body: its pieces come as [`Step::Body`].
    pub fn accept_body(&mut self) {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Asked(Asked::Data) => {
                self.body_open = true;
                self.state = State::Data(BodyDecoder::new(self.settings.limits.body()));
                if self.farewell.is_none() {
                    self.queue(&replies::go_ahead());
                }
            }
            State::Asked(Asked::Chunk(chunk)) => {
                self.body_open = true;
                self.open_chunk(chunk);
            }
            other => self.state = other,
        }
        self.take_leave();
    }

    /// TLS has started after [`Step::StartTls`]: the session is as new (RFC 3207 section 4.2).
    pub fn tls_started(&mut self, tls: String) {
        if matches!(self.state, State::StartTls) {
            self.client =
                Client { ip: self.client.ip, helo: String::new(), esmtp: false, tls: Some(tls), login: None };
            self.transaction = None;
            self.state = State::Command;
        }
    }

    /// The client has been silent for too long: 421, then [`Step::Close`].
    pub fn timed_out(&mut self) {
        self.end(replies::timed_out(&self.settings.hostname));
    }

    /// The program stops: 421, then [`Step::Close`]. A question that is open is still answered first.
    pub fn shut_down(&mut self) {
        self.end(replies::shutting_down(&self.settings.hostname));
    }

    /// The client may be here no longer: 421, then [`Step::Close`]. A message that is coming in comes to nothing.
    pub fn revoked(&mut self) {
        self.end(replies::revoked(&self.settings.hostname));
    }

    /// Whether the client has sent commands before the reply to its EHLO or HELO, where it had to wait
    /// (RFC 2920 section 3.1).
    #[must_use]
    pub const fn talked_early(&self) -> bool {
        self.early
    }

    /// Counts an error that the role has found, such as one more recipient that does not exist. Past
    /// [`Limits::errors`] the session ends with 421.
    pub fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        if self.errors > self.settings.limits.errors {
            self.end(replies::too_many_errors(&self.settings.hostname));
        }
    }

    /// The input that the session waits for.
    #[must_use]
    pub const fn awaited(&self) -> Awaited {
        match self.state {
            State::Data(_) | State::Chunk { .. } | State::SwallowChunk { .. } => Awaited::BodyBlock,
            _ => Awaited::Command,
        }
    }

    /// What is known of the client. `helo` is empty until it has said EHLO or HELO.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The settings the session was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a body was accepted and is neither complete nor aborted.
    #[must_use]
    pub const fn is_body_open(&self) -> bool {
        self.body_open
    }

    /// Whether a transaction is open: MAIL was accepted.
    #[must_use]
    pub const fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whole lines so far, whatever they said; lines of bodies do not count.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// The number of protocol errors so far.
    #[must_use]
    pub const fn errors(&self) -> u32 {
        self.errors
    }

    fn settle_login(&mut self, account: Option<String>, reply: &Reply) {
        match account.filter(|_| reply.is_positive()) {
            Some(account) => {
                self.client.login = Some(account);
                self.queue(reply);
            }
            None => self.reject(&replies::login_refusal(reply)),
        }
    }

    /// Queues a reply to something that the client should not have said.
    fn reject(&mut self, reply: &Reply) {
        if self.errors < self.settings.limits.errors {
            self.queue(reply);
        }
        self.count_error();
    }

    fn queue(&mut self, reply: &Reply) {
        let utf8 = self.transaction.as_ref().is_some_and(|transaction| transaction.from.smtputf8);
        let charset = if utf8 { Charset::Utf8 } else { Charset::Ascii };
        reply::write(reply, charset, &mut self.output);
    }

    /// Ends the session with `reply`, at once or after the answer that is owed. The first one counts.
    fn end(&mut self, reply: Reply) {
        if !matches!(self.state, State::Closing) {
            self.farewell.get_or_insert(reply);
            self.take_leave();
        }
    }

    fn take_leave(&mut self) {
        if matches!(self.state, State::Asked(_)) {
            return;
        }
        if let Some(reply) = self.farewell.take() {
            self.queue(&reply);
            self.state = State::Closing;
        }
    }

    /// Tells the role, if it has a body open, that it comes to nothing.
    fn abort_body(&mut self, cause: Cause) -> Option<Step> {
        std::mem::take(&mut self.body_open).then_some(Step::Ask(Question::Aborted(cause)))
    }
}
