//! One message and one filter: what is said in which order, and what the filter's answers come to.
//!
//! The message is known whole before the session begins, so each step follows as soon as the one before it is
//! answered, or at once where the filter does not answer. One connection carries one message.

#[cfg(test)]
mod tests;
mod transaction;

use bytes::{Bytes, BytesMut};

pub use transaction::{Client, HeaderField, Login, Tls, Transaction};

use crate::CHUNK_OCTETS_MAX;
use crate::error::Error;
use crate::flags::{Actions, Steps};
use crate::packet::{self, kind};
use crate::reply::{HeaderChange, Reply};

/// Most changes of the header that one message can get.
pub const CHANGES_MAX: usize = 256;
/// Most octets of all changes of one message together, names and values.
pub const CHANGE_OCTETS_MAX: usize = 256 * 1024;
/// Output that is gathered before it is written.
const OUTPUT_OCTETS: usize = 64 * 1024;

/// The step that the driver has to take next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write the output and call again.
    Flush,
    /// Write the output, then read.
    Read,
    /// Give the next piece of the body with [`Session::body`], or end it with [`Session::body_end`].
    Body,
    /// It is done; write the output, then close.
    Finished(Verdict),
}

/// What the filter wants done with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// The message may pass.
    Accept,
    /// It is refused, with the filter's own reply if it gave one.
    Reject(Option<mail::Reply>),
    /// It is refused for now, with the filter's own reply if it gave one.
    TempFail(Option<mail::Reply>),
    /// It is taken and thrown away.
    Discard,
}

/// All that a filter said of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the filter wants done with the message.
    pub disposition: Disposition,
    /// Changes of the header, in order.
    pub changes: Vec<HeaderChange>,
    /// The filter's reason to quarantine the message; `None` when it does not want that.
    pub quarantine: Option<String>,
    /// Changes that were asked for although they had not been offered; none was made.
    pub not_offered: u32,
}

/// Where the session is: what is said next, or what was said last and is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Options,
    Connect,
    Helo,
    Mail,
    Rcpt(usize),
    Data,
    Header(usize),
    Eoh,
    Body,
    End,
}

/// The state machine. Call [`Session::advance`] until it is finished.
#[derive(Debug)]
pub struct Session {
    transaction: Transaction,
    steps: Steps,
    stage: Stage,
    waiting: bool,
    output: BytesMut,
    /// What is left of the piece of the body that was given last.
    piece: Bytes,
    body_ended: bool,
    /// The first refusal of a recipient, and how many there were.
    refused: Option<(Disposition, usize)>,
    change_octets: usize,
    verdict: Verdict,
    finished: bool,
}

impl Session {
    /// A session about this message; its body comes later.
    #[must_use]
    pub fn new(transaction: Transaction) -> Self {
        let verdict = Verdict {
            disposition: Disposition::Accept,
            changes: Vec::new(),
            quarantine: None,
            not_offered: 0,
        };
        Self {
            transaction,
            steps: Steps::ALL,
            stage: Stage::Options,
            waiting: false,
            output: BytesMut::new(),
            piece: Bytes::new(),
            body_ended: false,
            refused: None,
            change_octets: 0,
            verdict,
            finished: false,
        }
    }

    /// Octets to write to the filter; the driver takes them out.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// A piece of the body, of any size, asked for with [`Step::Body`].
    pub fn body(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// There is no more of the body.
    pub fn body_end(&mut self) {
        self.body_ended = true;
    }

    /// Goes on with what has come in.
    ///
    /// # Errors
    /// What the filter did wrong; the session is over.
    pub fn advance(&mut self, input: &mut BytesMut) -> Result<Step, Error> {
        loop {
            if self.finished {
                return Ok(Step::Finished(self.verdict.clone()));
            }
            if self.waiting {
                match Reply::decode(input)? {
                    None => return Ok(Step::Read),
                    Some(reply) => self.answered(reply)?,
                }
            } else if self.output.len() >= OUTPUT_OCTETS {
                return Ok(Step::Flush);
            } else if self.stage == Stage::Body && self.wants_piece() {
                return Ok(Step::Body);
            } else {
                self.say();
            }
        }
    }

    fn wants_piece(&self) -> bool {
        self.piece.is_empty() && !self.body_ended && !self.steps.contains(Steps::NO_BODY)
    }

    /// Says what the stage is about, unless the filter does not want to hear it.
    fn say(&mut self) {
        let (left_out, unanswered) = self.wishes();
        if left_out || !self.has_something_to_say() {
            return self.stage = self.next();
        }
        self.write();
        if unanswered {
            self.stage = self.next();
        } else {
            self.waiting = true;
        }
    }

    /// Whether the filter leaves the stage out, and whether it leaves it unanswered.
    const fn wishes(&self) -> (bool, bool) {
        let (left_out, unanswered) = match self.stage {
            Stage::Options | Stage::End => return (false, false),
            Stage::Connect => (Steps::NO_CONNECT, Steps::NO_REPLY_CONNECT),
            Stage::Helo => (Steps::NO_HELO, Steps::NO_REPLY_HELO),
            Stage::Mail => (Steps::NO_MAIL, Steps::NO_REPLY_MAIL),
            Stage::Rcpt(_) => (Steps::NO_RCPT, Steps::NO_REPLY_RCPT),
            Stage::Data => (Steps::NO_DATA, Steps::NO_REPLY_DATA),
            Stage::Header(_) => (Steps::NO_HEADERS, Steps::NO_REPLY_HEADER),
            Stage::Eoh => (Steps::NO_EOH, Steps::NO_REPLY_EOH),
            Stage::Body => (Steps::NO_BODY, Steps::NO_REPLY_BODY),
        };
        (self.steps.contains(left_out), self.steps.contains(unanswered))
    }

    fn has_something_to_say(&self) -> bool {
        match self.stage {
            Stage::Rcpt(at) => at < self.transaction.recipients.len(),
            Stage::Header(at) => at < self.transaction.header.len(),
            Stage::Body => !self.piece.is_empty(),
            _ => true,
        }
    }

    fn write(&mut self) {
        let out = &mut self.output;
        let about = &self.transaction;
        match self.stage {
            Stage::Options => packet::options(out),
            Stage::Connect => {
                packet::macros(out, kind::CONNECT, &about.connect_macros());
                packet::connect(out, &about.client.name, about.client.address, about.client.port);
            }
            Stage::Helo => {
                packet::macros(out, kind::HELO, &about.helo_macros());
                packet::text(out, kind::HELO, &about.helo);
            }
            Stage::Mail => {
                packet::macros(out, kind::MAIL, &about.mail_macros());
                packet::text(out, kind::MAIL, &format!("<{}>", about.reverse_path));
            }
            Stage::Rcpt(at) => {
                let recipient = about.recipients.get(at).map_or("", String::as_str);
                packet::macros(out, kind::RCPT, &about.rcpt_macros(recipient));
                packet::text(out, kind::RCPT, &format!("<{recipient}>"));
            }
            Stage::Data => {
                packet::macros(out, kind::DATA, &about.item_macros());
                packet::bare(out, kind::DATA);
            }
            Stage::Header(at) => {
                if let Some(field) = about.header.get(at) {
                    packet::header(out, &field.name, field.value(self.steps));
                }
            }
            Stage::Eoh => {
                packet::macros(out, kind::EOH, &about.item_macros());
                packet::bare(out, kind::EOH);
            }
            Stage::Body => {
                let chunk = self.piece.split_to(self.piece.len().min(CHUNK_OCTETS_MAX));
                packet::body(out, &chunk);
            }
            Stage::End => {
                packet::macros(out, kind::END, &about.item_macros());
                packet::bare(out, kind::END);
            }
        }
    }

    fn next(&self) -> Stage {
        match self.stage {
            Stage::Options => Stage::Connect,
            Stage::Connect => Stage::Helo,
            Stage::Helo => Stage::Mail,
            Stage::Mail => Stage::Rcpt(0),
            Stage::Rcpt(at) if at + 1 < self.transaction.recipients.len() => Stage::Rcpt(at + 1),
            Stage::Rcpt(_) => Stage::Data,
            Stage::Data => Stage::Header(0),
            Stage::Header(at) if at + 1 < self.transaction.header.len() => Stage::Header(at + 1),
            Stage::Header(_) => Stage::Eoh,
            Stage::Eoh => Stage::Body,
            Stage::Body if self.wants_piece() || self.has_something_to_say() => Stage::Body,
            Stage::Body | Stage::End => Stage::End,
        }
    }

    /// An answer to what was said last.
    fn answered(&mut self, reply: Reply) -> Result<(), Error> {
        match reply {
            Reply::Options { version, actions, steps } => self.negotiated(version, actions, steps)?,
            Reply::Progress => {}
            _ if self.stage == Stage::Options => return Err(Error::Unexpected(b'O')),
            Reply::Continue if self.stage == Stage::End => self.finish(Disposition::Accept),
            Reply::Continue => self.go_on(),
            Reply::Skip if self.stage == Stage::Body => {
                self.piece.clear();
                self.body_ended = true;
                self.go_on();
            }
            Reply::Skip => return Err(Error::Unexpected(b's')),
            Reply::Accept => self.finish(Disposition::Accept),
            Reply::Discard => self.finish(Disposition::Discard),
            Reply::Reject => self.refuse(Disposition::Reject(None)),
            Reply::TempFail | Reply::ConnectionFail => self.refuse(Disposition::TempFail(None)),
            Reply::ReplyCode(reply) if reply.code >= 500 => self.refuse(Disposition::Reject(Some(reply))),
            Reply::ReplyCode(reply) => self.refuse(Disposition::TempFail(Some(reply))),
            Reply::Change(change) => self.change(change)?,
            Reply::Quarantine(_) if self.stage != Stage::End => return Err(Error::Unexpected(b'q')),
            Reply::Quarantine(reason) => self.verdict.quarantine = Some(reason),
            Reply::NotOffered(kind) if self.stage != Stage::End => return Err(Error::Unexpected(kind)),
            Reply::NotOffered(_) => self.verdict.not_offered = self.verdict.not_offered.saturating_add(1),
        }
        Ok(())
    }

    fn negotiated(&mut self, version: u32, actions: Actions, steps: Steps) -> Result<(), Error> {
        if self.stage != Stage::Options {
            return Err(Error::Unexpected(b'O'));
        }
        if !(2..=packet::VERSION).contains(&version) {
            return Err(Error::Version(version));
        }
        if !Actions::OFFERED.contains(actions) || !Steps::OFFERED.contains(steps) {
            return Err(Error::NotOffered);
        }
        self.steps = steps;
        self.go_on();
        Ok(())
    }

    fn go_on(&mut self) {
        self.waiting = false;
        self.stage = self.next();
    }

    /// A refusal: of the message, or of one recipient. There is one verdict for all of them, so those refused
    /// count only when nobody is left.
    fn refuse(&mut self, how: Disposition) {
        if !matches!(self.stage, Stage::Rcpt(_)) {
            return self.finish(how);
        }
        let (first, count) = self.refused.take().unwrap_or((how, 0));
        if count + 1 == self.transaction.recipients.len() {
            return self.finish(first);
        }
        self.refused = Some((first, count + 1));
        self.go_on();
    }

    fn change(&mut self, change: HeaderChange) -> Result<(), Error> {
        if self.stage != Stage::End {
            return Err(Error::Unexpected(b'm'));
        }
        self.change_octets += change.octets();
        if self.verdict.changes.len() >= CHANGES_MAX || self.change_octets > CHANGE_OCTETS_MAX {
            return Err(Error::TooMuch);
        }
        self.verdict.changes.push(change);
        Ok(())
    }

    /// Ends the session. A filter that decided before the end is told to forget the message.
    fn finish(&mut self, disposition: Disposition) {
        if self.stage != Stage::End {
            packet::bare(&mut self.output, kind::ABORT);
        }
        packet::bare(&mut self.output, kind::QUIT);
        self.verdict.disposition = disposition;
        self.waiting = false;
        self.finished = true;
    }
}
