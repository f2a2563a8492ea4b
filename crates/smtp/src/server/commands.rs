//! Command lines of the server session: which command may come when, and what it does.

use bytes::BytesMut;
use mail::{Address, Domain, Recipient, Reply};

use super::auth::{self, Exchange, Progress};
use super::line::{self, Line};
use super::transaction::Chunk;
use super::{Asked, Cause, Mode, Question, Session, State, Step, replies};
use crate::command::{self, Command, CommandError, ForwardPath, Mail, Rcpt};

/// Behind EHLO and HELO nothing may be sent before the reply (RFC 2920 section 3.1).
fn says_hello(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"EHLO") || word.eq_ignore_ascii_case(b"HELO"))
}

impl Session {
    /// The next line of the input: a command, or a response within a login.
    pub(super) fn take_line(&mut self, input: &mut BytesMut) -> Option<Step> {
        let in_login = matches!(self.state, State::Login(_));
        if !in_login && line::is_foreign(&input[..input.len().min(1)]) {
            return self.hang_up();
        }
        match line::take_line(input, self.line_limit(input)) {
            Line::NeedInput => Some(Step::NeedInput),
            Line::Whole(line) => {
                self.lines = self.lines.saturating_add(1);
                match std::mem::replace(&mut self.state, State::Command) {
                    State::Login(exchange) => self.progress(exchange.respond(&line)),
                    _ if line::is_foreign(&line) => self.hang_up(),
                    _ => {
                        self.early |= !input.is_empty() && says_hello(&line);
                        self.take_command(&line)
                    }
                }
            }
            Line::TooLong | Line::BareLineEnd if !in_login && line::is_foreign(input) => self.hang_up(),
            Line::TooLong if in_login => self.refuse_line(&replies::response_too_long()),
            Line::TooLong => self.refuse_line(&replies::line_too_long()),
            Line::BareLineEnd => self.refuse_line(&replies::bare_line_end()),
        }
    }

    pub(super) fn skip_line(&mut self, input: &mut BytesMut) -> Option<Step> {
        if line::skip_line(input) {
            self.state = State::Command;
            None
        } else {
            Some(Step::NeedInput)
        }
    }

    /// Octets that the line at the front of the input may have. A login's may be longer.
    fn line_limit(&self, input: &[u8]) -> usize {
        let limit = self.settings.limits.command_octets;
        let auth = input.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        match self.state {
            State::Login(_) => auth::RESPONSE_OCTETS + 2,
            _ if auth && self.may_log_in() => limit.max(auth::COMMAND_OCTETS),
            _ => limit,
        }
    }

    fn may_log_in(&self) -> bool {
        self.settings.mode.offers_login() && self.client.tls.is_some()
    }

    fn refuse_line(&mut self, reply: &Reply) -> Option<Step> {
        self.state = State::RestOfLine;
        self.reject(reply);
        None
    }

    /// Another protocol is spoken at us: it gets no reply.
    fn hang_up(&mut self) -> Option<Step> {
        self.state = State::Closing;
        None
    }

    fn take_command(&mut self, line: &[u8]) -> Option<Step> {
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(error) => {
                self.reject(&error.reply());
                // Where the chunk ends is unknown, and what is in it must not be taken for commands.
                if error == CommandError::Chunk {
                    self.state = State::Closing;
                }
                return None;
            }
        };
        if let Some(reply) = self.objection(&command) {
            if let Command::Bdat { octets, last: _ } = command {
                self.swallow(octets, reply);
                self.count_error();
            } else {
                self.reject(&reply);
            }
            return None;
        }
        self.obey(command)
    }

    /// What stands against the command before its own arguments are looked at.
    fn objection(&self, command: &Command<'_>) -> Option<Reply> {
        let mailing =
            matches!(command, Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Bdat { .. });
        let logged_in = self.settings.mode != Mode::Submission || self.client.login.is_some();
        if !logged_in && (mailing || *command == Command::Vrfy) {
            let encrypted = self.client.tls.is_some();
            return Some(if encrypted { replies::login_first() } else { replies::tls_first() });
        }
        if mailing && self.client.helo.is_empty() {
            return Some(replies::out_of_order("Send EHLO first"));
        }
        None
    }

    fn obey(&mut self, command: Command<'_>) -> Option<Step> {
        match command {
            Command::Ehlo(name) => {
                let reply = replies::ehlo(&self.settings, self.client.tls.is_some());
                self.introduce(name, true, &reply)
            }
            Command::Helo(name) => {
                let reply = replies::helo(&self.settings.hostname);
                self.introduce(name, false, &reply)
            }
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(rcpt) => self.rcpt(rcpt),
            Command::Data => self.data(),
            Command::Bdat { octets, last } => self.bdat(Chunk { octets, last }),
            Command::Rset => self.reset(&replies::ok()),
            Command::Noop => self.reply(&replies::ok()),
            Command::Vrfy => self.reply(&replies::cannot_verify()),
            Command::Quit => {
                self.queue(&replies::bye());
                self.state = State::Closing;
                None
            }
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
            Command::NotOffered => self.refused(&replies::not_offered()),
        }
    }

    fn reply(&mut self, reply: &Reply) -> Option<Step> {
        self.queue(reply);
        None
    }

    fn refused(&mut self, reply: &Reply) -> Option<Step> {
        self.reject(reply);
        None
    }

    fn reset(&mut self, reply: &Reply) -> Option<Step> {
        self.transaction = None;
        self.queue(reply);
        self.abort_body(Cause::Reset)
    }

    fn introduce(&mut self, name: &str, esmtp: bool, reply: &Reply) -> Option<Step> {
        name.clone_into(&mut self.client.helo);
        self.client.esmtp = esmtp;
        self.reset(reply)
    }

    fn mail(&mut self, mail: Mail) -> Option<Step> {
        if self.transaction.is_some() {
            return self.refused(&replies::out_of_order("A transaction is open, send RSET first"));
        }
        if mail.extended && !self.client.esmtp {
            return self.refused(&CommandError::UnknownParameter.reply());
        }
        if mail.from.prdr && self.settings.mode == Mode::Submission {
            return self.refused(&CommandError::UnknownParameter.reply());
        }
        if mail.from.require_tls && self.client.tls.is_none() {
            return self.refused(&CommandError::UnknownParameter.reply());
        }
        if mail.international && !mail.from.smtputf8 {
            return self.refused(&replies::needs_smtputf8());
        }
        // Other people's are taken as they come. What begins here keeps to the limit that every host has to take.
        if mail.from.reverse_path.is_long() && self.settings.mode == Mode::Submission {
            return self.refused(&CommandError::ReversePath.reply());
        }
        if mail.from.size.is_some_and(|size| size > self.settings.limits.message_octets) {
            return self.reply(&replies::too_large());
        }
        self.state = State::Asked(Asked::Mail(mail.from.clone()));
        Some(Step::Ask(Question::Mail(mail.from)))
    }

    fn rcpt(&mut self, rcpt: Rcpt) -> Option<Step> {
        let Some(transaction) = self.transaction.as_mut().filter(|transaction| transaction.chunks.is_none())
        else {
            return self.refused(&replies::out_of_order("Send MAIL first"));
        };
        transaction.tried = true;
        if rcpt.extended && !self.client.esmtp {
            return self.refused(&CommandError::UnknownParameter.reply());
        }
        if rcpt.international && !transaction.from.smtputf8 {
            return self.refused(&replies::needs_smtputf8());
        }
        if transaction.recipients.len() >= self.settings.limits.recipients {
            return self.reply(&replies::too_many_recipients());
        }
        let address = match rcpt.to {
            ForwardPath::Address(address) => Some(address),
            ForwardPath::Postmaster => {
                let here = Domain::parse(&self.settings.hostname);
                here.and_then(|here| Address::at("postmaster", &here)).ok()
            }
        };
        let Some(address) = address else { return self.refused(&CommandError::ForwardPath.reply()) };
        let recipient = Recipient { address, notify: rcpt.notify, orcpt: rcpt.orcpt };
        self.state = State::Asked(Asked::Recipient(recipient.clone()));
        Some(Step::Ask(Question::Recipient(recipient)))
    }

    fn data(&mut self) -> Option<Step> {
        if self.transaction.as_ref().is_some_and(|transaction| transaction.chunks.is_some()) {
            return self.refused(&replies::out_of_order("Go on with BDAT, or send RSET"));
        }
        match self.body_objection() {
            // Not the client's fault: it pipelined DATA before it knew (RFC 2920 section 3.1).
            Some(reply) if reply.code == 554 => self.reply(&reply),
            Some(reply) => self.refused(&reply),
            None => self.ask_data(),
        }
    }

    fn bdat(&mut self, chunk: Chunk) -> Option<Step> {
        match self.body_objection() {
            Some(reply) => {
                let pipelined = reply.code == 554;
                self.swallow(chunk.octets, reply);
                if !pipelined {
                    self.count_error();
                }
                None
            }
            None => self.start_chunk(chunk),
        }
    }

    fn start_tls(&mut self) -> Option<Step> {
        if self.client.tls.is_some() {
            return self.refused(&replies::out_of_order("TLS has started already"));
        }
        if !self.settings.starttls {
            return self.refused(&replies::not_offered());
        }
        if !self.client.esmtp {
            return self.refused(&replies::out_of_order("Send EHLO first"));
        }
        self.transaction = None;
        self.queue(&replies::start_tls());
        self.state = State::StartTls;
        self.abort_body(Cause::Reset)
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Option<Step> {
        if !self.settings.mode.offers_login() {
            return self.refused(&replies::not_offered());
        }
        if self.client.tls.is_none() {
            return self.refused(&replies::tls_before_login());
        }
        if !self.client.esmtp {
            return self.refused(&replies::out_of_order("Send EHLO first"));
        }
        if self.client.login.is_some() || self.transaction.is_some() {
            return self.refused(&replies::out_of_order("Log in once, before MAIL"));
        }
        match Exchange::of(mechanism) {
            Some(exchange) => self.progress(exchange.start(initial)),
            None => self.refused(&replies::unknown_mechanism()),
        }
    }

    fn progress(&mut self, progress: Progress) -> Option<Step> {
        match progress {
            Progress::Challenge(exchange, challenge) => {
                self.queue(&challenge);
                self.state = State::Login(exchange);
                None
            }
            Progress::Credentials { user, password } => {
                self.state = State::Asked(Asked::Login { user: user.clone() });
                Some(Step::Ask(Question::Login { user, password }))
            }
            Progress::Refused(reply) => self.refused(&reply),
        }
    }
}
