//! One transaction of the client session: what was sent, what came back, what that means per recipient.

use bytes::{BufMut as _, BytesMut};
use mail::{EnhancedCode, Outcome, Reply};

use super::commands::{self, Facts};
use super::misfit;
use super::{
    BESIDE, Chunking, Closed, Phase, Protocol, Quorum, Sent, Session, Step, Transaction, TransactionResult,
};
use crate::body::{BareLineEnd, DotStuffer, LineEnds};

/// What the caller gave is not the message that was announced.
pub(super) struct NotSendable;

impl From<BareLineEnd> for NotSendable {
    fn from(_: BareLineEnd) -> Self {
        Self
    }
}

/// Commands sent ahead of their replies. Bounds what the server's replies may fill while we still write.
const PIPELINE: usize = 100;

/// A transaction that has been started.
#[derive(Debug)]
pub(super) struct Running {
    transaction: Transaction,
    facts: Facts,
    /// One per recipient; `None` until it is settled.
    outcomes: Vec<Option<Outcome>>,
    /// The next recipient to send.
    next: usize,
    /// Places of the recipients that the server has accepted, in the order of its replies.
    accepted: Vec<usize>,
    mail_sent: bool,
    mail_refused: bool,
    data_sent: bool,
    body: Body,
}

#[derive(Debug)]
enum Body {
    None,
    Dots(DotStuffer),
    Chunk {
        line_ends: LineEnds,
        remaining: u64,
    },
    /// All of it was given: from here on the server may have the message.
    Sent,
}

impl Running {
    pub(super) fn new(transaction: Transaction) -> Self {
        let count = transaction.recipients.len();
        let facts = Facts { octets: transaction.octets, has_8bit: transaction.has_8bit, smtputf8: false };
        Self {
            transaction,
            facts,
            outcomes: vec![None; count],
            next: 0,
            accepted: Vec::new(),
            mail_sent: false,
            mail_refused: false,
            data_sent: false,
            body: Body::None,
        }
    }

    /// Gives every recipient that has no outcome yet this one.
    fn settle(&mut self, outcome: &Outcome) {
        for open in self.outcomes.iter_mut().filter(|open| open.is_none()) {
            *open = Some(outcome.clone());
        }
    }

    fn into_result(self, reusable: bool, in_doubt: bool) -> TransactionResult {
        let unknown = || Outcome::deferred(EnhancedCode(4, 3, 0), "no outcome");
        let outcomes = self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unknown)).collect();
        let body_begun = !matches!(self.body, Body::None);
        TransactionResult { outcomes, reusable, in_doubt, body_begun }
    }

    /// Gives this outcome to all recipients past the first `most` that are to be sent.
    fn leave_over(&mut self, most: usize, outcome: &Outcome) {
        for open in self.outcomes.iter_mut().filter(|open| open.is_none()).skip(most) {
            *open = Some(outcome.clone());
        }
    }

    /// Places the next recipients that have no outcome yet; `None` when all are sent.
    fn next_recipient(&mut self) -> Option<usize> {
        let offset = self.outcomes.get(self.next..)?.iter().position(Option::is_none)?;
        let place = self.next + offset;
        self.next = place + 1;
        Some(place)
    }

    fn all_sent(&self) -> bool {
        self.outcomes.get(self.next..).is_none_or(|rest| rest.iter().all(Option::is_some))
    }

    pub(super) fn body_piece(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), NotSendable> {
        match &mut self.body {
            Body::Dots(stuffer) => Ok(stuffer.stuff(piece, out)?),
            Body::Chunk { line_ends, remaining } => {
                line_ends.check(piece)?;
                *remaining = remaining.checked_sub(piece.len() as u64).ok_or(NotSendable)?;
                out.put_slice(piece);
                Ok(())
            }
            Body::None | Body::Sent => Err(NotSendable),
        }
    }

    pub(super) fn body_end(&mut self, out: &mut BytesMut) -> Result<(), NotSendable> {
        match &mut self.body {
            Body::Dots(stuffer) => stuffer.finish(out)?,
            Body::Chunk { line_ends, remaining: 0 } => line_ends.finish()?,
            Body::Chunk { .. } | Body::None | Body::Sent => return Err(NotSendable),
        }
        self.body = Body::Sent;
        Ok(())
    }
}

impl Session {
    /// Starts [`Session::running`]: refuses what the server can't take, then sends.
    pub(super) fn begin(&mut self) {
        let Some(running) = self.running.as_mut() else { return };
        let offered = &self.extensions;
        if let Some(failure) = misfit::of_message(&running.transaction, offered, self.settings.protocol) {
            running.settle(&failure);
        }
        let mut utf8 = misfit::message_needs_smtputf8(&running.transaction);
        for (recipient, outcome) in running.transaction.recipients.iter().zip(&mut running.outcomes) {
            if recipient.address.needs_smtputf8() {
                utf8 = true;
                if !offered.smtputf8 && outcome.is_none() {
                    *outcome = Some(misfit::needs_smtputf8());
                }
            }
        }
        running.facts.smtputf8 = utf8 && offered.smtputf8;
        if running.transaction.quorum == Quorum::One
            && let Some(most) = offered.recipients_max
        {
            running.leave_over(most, &Outcome::left_over(self.mta.clone()));
        }
        if running.all_sent() {
            return self.finish(true);
        }
        self.phase = Phase::Envelope;
        if std::mem::replace(&mut self.needs_reset, true) {
            self.output.put_slice(b"RSET\r\n");
            self.pending.push_back(Sent::Rset);
        }
        self.send_more();
    }

    /// A reply within a transaction, other than 421.
    pub(super) fn take_transaction_reply(&mut self, sent: Sent, reply: Reply) {
        let Some(running) = self.running.as_mut() else { return self.close(Closed::Unexpected(reply)) };
        let fits = match sent {
            Sent::Data => reply.code == 354 || reply.code >= 400,
            Sent::Rset => reply.is_positive(),
            // The reply to a body that is not complete can only be a refusal.
            Sent::Body | Sent::BodyFor(_) => {
                reply.code >= 400 || (reply.is_positive() && self.phase != Phase::Body)
            }
            _ => reply.code < 300 || reply.code >= 400,
        };
        if !fits {
            return self.close(Closed::Unexpected(reply));
        }
        let mut outcome = Outcome::from_reply(self.mta.clone(), &reply);
        if let Outcome::Delivered(why) = &mut outcome {
            why.reports = self.extensions.dsn;
        }
        match sent {
            Sent::Mail => {
                running.mail_refused = !reply.is_positive();
                if running.mail_refused {
                    running.settle(&outcome);
                    self.needs_reset = false;
                }
            }
            Sent::Rcpt(_) if running.mail_refused => {}
            Sent::Rcpt(place) if reply.is_positive() && running.transaction.quorum != Quorum::Never => {
                running.accepted.push(place);
            }
            Sent::Rcpt(place) => {
                if let Some(open) = running.outcomes.get_mut(place) {
                    *open = Some(outcome);
                }
            }
            Sent::Data if reply.code == 354 => return self.open_data(),
            Sent::Data => running.settle(&outcome),
            Sent::Body => {
                running.settle(&outcome);
                self.needs_reset = false;
                if self.phase == Phase::Body {
                    // The server does not want the rest, and there is no way to stop within a body.
                    return self.close(Closed::Refused(reply));
                }
            }
            // One recipient's word is not the others', and the body can't be stopped.
            Sent::BodyFor(_) if self.phase == Phase::Body => return self.close(Closed::Unexpected(reply)),
            Sent::BodyFor(place) => {
                if let Some(open) = running.outcomes.get_mut(place) {
                    *open = Some(outcome);
                }
                self.needs_reset = false;
            }
            // RSET went well; the reply to an empty body is of no interest.
            _ => {}
        }
        self.send_more();
    }

    /// Sends what may be sent now, or finishes.
    fn send_more(&mut self) {
        let Some(running) = self.running.as_mut() else { return };
        let chunking = self.extensions.chunking && self.settings.chunking == Chunking::WhenOffered;
        let window = if self.extensions.pipelining { PIPELINE } else { 1 };
        if !running.mail_sent && self.pending.len() < window {
            running.mail_sent = true;
            commands::mail(&running.transaction.envelope, &running.facts, &self.extensions, &mut self.output);
            self.pending.push_back(Sent::Mail);
        }
        while !running.mail_refused && self.pending.len() < window {
            let Some(place) = running.next_recipient() else { break };
            if let Some(recipient) = running.transaction.recipients.get(place) {
                commands::rcpt(recipient, &running.facts, &self.extensions, &mut self.output);
                self.pending.push_back(Sent::Rcpt(place));
            }
        }
        let settled = running.outcomes.iter().all(Option::is_some);
        if self.pending.is_empty() && settled {
            return self.finish(true);
        }
        if running.data_sent || running.mail_refused || !running.all_sent() {
            return;
        }
        match running.transaction.quorum {
            // Who is only asked about gets no message, and no empty one either: DATA is never sent ahead.
            Quorum::Never => return,
            Quorum::All if !self.pending.is_empty() => return,
            Quorum::All if running.outcomes.iter().any(Option::is_some) => {
                running.settle(&Outcome::deferred(BESIDE, "another recipient was refused"));
                return self.finish(true);
            }
            Quorum::All | Quorum::One => {}
        }
        if !chunking && (self.pending.is_empty() || self.extensions.pipelining) {
            running.data_sent = true;
            self.output.put_slice(b"DATA\r\n");
            self.pending.push_back(Sent::Data);
        } else if chunking && self.pending.is_empty() {
            self.open_chunk();
        }
    }

    /// The server waits for the body: the message if it has a recipient, else an empty one (RFC 2920
    /// section 3.1), whose reply is ignored.
    fn open_data(&mut self) {
        let Some(running) = self.running.as_mut() else { return };
        if running.accepted.is_empty() {
            if self.settings.protocol == Protocol::Lmtp {
                // RFC 2033 section 4.2: DATA is refused then, and nobody would answer for an empty body.
                return self.close(Closed::Misused);
            }
            self.output.put_slice(b".\r\n");
            self.pending.push_back(Sent::EmptyBody);
            return;
        }
        running.body = Body::Dots(DotStuffer::new());
        self.open_body();
    }

    fn open_chunk(&mut self) {
        let Some(running) = self.running.as_mut() else { return };
        running.data_sent = true;
        let octets = running.transaction.octets;
        running.body = Body::Chunk { line_ends: LineEnds::default(), remaining: octets };
        self.output.put_slice(format!("BDAT {octets} LAST\r\n").as_bytes());
        self.open_body();
    }

    fn open_body(&mut self) {
        match &self.running {
            Some(running) if self.settings.protocol == Protocol::Lmtp => {
                self.pending.extend(running.accepted.iter().map(|place| Sent::BodyFor(*place)));
            }
            _ => self.pending.push_back(Sent::Body),
        }
        self.phase = Phase::Body;
        self.steps.push_back(Step::SendBody);
    }

    fn finish(&mut self, reusable: bool) {
        if let Some(running) = self.running.take() {
            self.phase = if reusable { Phase::Idle } else { self.phase };
            self.steps.push_back(Step::Finished(running.into_result(reusable, false)));
        }
    }

    /// The session ends: recipients without an outcome get that of its reason.
    pub(super) fn settle_rest(&mut self, reason: &Closed) {
        let Some(mut running) = self.running.take() else { return };
        let answered = matches!(reason, Closed::Refused(_));
        let open = running.outcomes.iter().any(Option::is_none);
        let in_doubt = matches!(running.body, Body::Sent) && open && !answered;
        running.settle(&reason.outcome(self.mta.as_deref()));
        self.steps.push_back(Step::Finished(running.into_result(false, in_doubt)));
    }
}
