//! One mail transaction of the server session and the reading of its body (RFC 5321 section 3.3, RFC 3030).

use bytes::{Buf as _, BytesMut};
use mail::{Client, Envelope, Recipient, Reply};

use super::{Asked, Cause, MailFrom, Question, Session, State, Step, replies};
use crate::body::{ChunkChecker, Decoded, Defect};

/// The chunk that one `BDAT` announced (RFC 3030).
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) octets: u64,
    pub(super) last: bool,
}

/// From an accepted MAIL to the reply to the message.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) from: MailFrom,
    pub(super) recipients: Vec<Recipient>,
    /// How many recipients the envelope has that was asked about: the replies that PRDR owes.
    pub(super) addressed: usize,
    /// Whether RCPT has been tried at all.
    pub(super) tried: bool,
    /// Set by the first `BDAT`; from then on nothing but `BDAT` and `RSET` makes sense.
    pub(super) chunks: Option<Chunks>,
}

/// A message that comes in chunks.
#[derive(Debug)]
pub(super) enum Chunks {
    Good(ChunkChecker),
    /// A chunk was refused: every further one is refused alike, up to the last.
    Failed(Reply),
}

impl Transaction {
    pub(super) const fn new(from: MailFrom) -> Self {
        Self { from, recipients: Vec::new(), addressed: 0, tried: false, chunks: None }
    }

    /// The envelope. The recipients move into it.
    fn envelope(&mut self, client: &Client) -> Envelope {
        self.addressed = self.recipients.len();
        Envelope {
            reverse_path: self.from.reverse_path.clone(),
            recipients: std::mem::take(&mut self.recipients),
            body: self.from.body,
            smtputf8: self.from.smtputf8,
            require_tls: self.from.require_tls,
            ret: self.from.ret,
            envid: self.from.envid.clone(),
            client: Some(client.clone()),
        }
    }
}

impl Session {
    /// What stands against a body now, whether by DATA or BDAT.
    pub(super) fn body_objection(&self) -> Option<Reply> {
        match &self.transaction {
            None => Some(replies::out_of_order("Send MAIL first")),
            Some(Transaction { chunks: Some(_), .. }) => None,
            Some(transaction) if !transaction.recipients.is_empty() => None,
            Some(Transaction { tried: true, .. }) => Some(replies::no_recipients()),
            Some(_) => Some(replies::out_of_order("Send RCPT first")),
        }
    }

    /// Asks whether to take the body that DATA announces.
    pub(super) fn ask_data(&mut self) -> Option<Step> {
        let envelope = self.transaction.as_mut()?.envelope(&self.client);
        self.state = State::Asked(Asked::Data);
        Some(Step::Ask(Question::Data(envelope)))
    }

    /// A chunk that fits its transaction was announced.
    pub(super) fn start_chunk(&mut self, chunk: Chunk) -> Option<Step> {
        let max = self.settings.limits.message_octets;
        let transaction = self.transaction.as_mut()?;
        let taken = match &transaction.chunks {
            None => 0,
            Some(Chunks::Good(checker)) => checker.octets(),
            Some(Chunks::Failed(reply)) => {
                let reply = reply.clone();
                self.fail_chunk(chunk, reply);
                return None;
            }
        };
        if taken.saturating_add(chunk.octets) > max {
            self.fail_chunk(chunk, replies::too_large());
            return self.abort_body(Cause::Defect(Defect::TooLarge));
        }
        if transaction.chunks.is_some() {
            self.open_chunk(chunk);
            return None;
        }
        let envelope = transaction.envelope(&self.client);
        transaction.chunks = Some(Chunks::Good(ChunkChecker::new(self.settings.limits.body())));
        self.state = State::Asked(Asked::Chunk(chunk));
        Some(Step::Ask(Question::Data(envelope)))
    }

    pub(super) fn open_chunk(&mut self, chunk: Chunk) {
        if let Some(Transaction { chunks: Some(Chunks::Good(checker)), .. }) = &mut self.transaction {
            checker.begin(chunk.octets);
        }
        self.state = State::Chunk { last: chunk.last };
    }

    /// Refuses the chunk and with it the message. With the last chunk the transaction is over.
    pub(super) fn fail_chunk(&mut self, chunk: Chunk, reply: Reply) {
        match &mut self.transaction {
            Some(transaction) if !chunk.last => transaction.chunks = Some(Chunks::Failed(reply.clone())),
            transaction => *transaction = None,
        }
        self.swallow(chunk.octets, reply);
    }

    /// Throws `octets` away, then replies. What is too much to throw away ends the session instead.
    pub(super) fn swallow(&mut self, octets: u64, reply: Reply) {
        if octets > self.settings.limits.swallow_octets {
            self.queue(&reply);
            self.state = State::Closing;
        } else {
            self.state = State::SwallowChunk { remaining: octets, reply };
        }
    }

    pub(super) fn swallow_chunk(&mut self, input: &mut BytesMut) -> Option<Step> {
        let State::SwallowChunk { remaining, reply } = &mut self.state else { return None };
        let octets = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
        input.advance(octets);
        *remaining -= octets as u64;
        if *remaining > 0 {
            return Some(Step::NeedInput);
        }
        let reply = reply.clone();
        self.state = State::Command;
        self.queue(&reply);
        None
    }

    pub(super) fn take_chunk(&mut self, input: &mut BytesMut) -> Option<Step> {
        let State::Chunk { last } = self.state else { return None };
        let Some(Transaction { chunks: Some(Chunks::Good(checker)), .. }) = &mut self.transaction else {
            self.state = State::Command;
            return None;
        };
        match checker.decode(input) {
            // A bad chunk is swallowed elsewhere, so this reader never meets an endless one.
            Decoded::NeedInput | Decoded::Endless => Some(Step::NeedInput),
            Decoded::Piece(piece) => Some(Step::Body(piece)),
            Decoded::Bad(defect) => Some(self.spoil_chunk(last, defect)),
            Decoded::End if !last => {
                let octets = checker.octets();
                self.state = State::Command;
                self.queue(&replies::chunk_taken(octets));
                None
            }
            Decoded::End => match (checker.finish(), checker.octets()) {
                (Ok(()), octets) => Some(self.ask_end(octets)),
                (Err(defect), _) => Some(self.spoil_chunk(last, defect)),
            },
        }
    }

    /// The chunk that is being read is bad: its rest is swallowed.
    fn spoil_chunk(&mut self, last: bool, defect: Defect) -> Step {
        let octets = match &self.transaction {
            Some(Transaction { chunks: Some(Chunks::Good(checker)), .. }) => checker.remaining(),
            _ => 0,
        };
        self.fail_chunk(Chunk { octets, last }, replies::defect(defect));
        self.abort_body(Cause::Defect(defect)).unwrap_or(Step::NeedInput)
    }

    pub(super) fn take_body(&mut self, input: &mut BytesMut) -> Option<Step> {
        let State::Data(decoder) = &mut self.state else { return None };
        match (decoder.decode(input), decoder.defect()) {
            (Decoded::NeedInput, _) => Some(Step::NeedInput),
            (Decoded::Piece(piece), _) => Some(Step::Body(piece)),
            (Decoded::Bad(defect), _) => self.abort_body(Cause::Defect(defect)),
            (Decoded::End, None) => {
                let octets = decoder.octets();
                Some(self.ask_end(octets))
            }
            (Decoded::End, Some(defect)) => {
                self.refuse_body(defect);
                self.state = State::Command;
                None
            }
            (Decoded::Endless, defect) => {
                self.refuse_body(defect.unwrap_or(Defect::TooLarge));
                self.state = State::Closing;
                None
            }
        }
    }

    fn refuse_body(&mut self, defect: Defect) {
        self.queue(&replies::defect(defect));
        self.transaction = None;
    }

    /// Replies to the message. With PRDR a message that somebody gets has one reply per recipient first; a
    /// refusal of the whole is one reply, as without (draft-hall-prdr-00 section 4.4).
    pub(super) fn answer_message(&mut self, each: &[Reply], reply: &Reply) {
        let addressed =
            self.transaction.as_ref().filter(|open| open.from.prdr).map_or(0, |open| open.addressed);
        if addressed > 0 && (each.len() == addressed || reply.is_positive()) {
            self.queue(&replies::replies_follow());
            for place in 0..addressed {
                let own = each.get(place).filter(|_| each.len() == addressed);
                self.queue(own.unwrap_or(reply));
            }
        }
        self.queue(reply);
        self.body_open = false;
        self.transaction = None;
    }

    fn ask_end(&mut self, octets: u64) -> Step {
        self.state = State::Asked(Asked::End);
        // From here on the role holds the whole body; what follows is its answer.
        self.body_open = false;
        Step::Ask(Question::End { octets })
    }
}
