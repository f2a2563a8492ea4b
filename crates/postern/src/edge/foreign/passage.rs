//! One message on its way to a home that is another program: held in memory, passed on when it was judged.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use link::Open;
use mail::{Reply, Verdict};
use net::smtp_server::Answers;
use smtp::client::{Quorum, Transaction};

use super::answer::{self, Asked, Blame};
use super::line::Unreachable;
use super::{ForeignHome, head, known};
use crate::edge::budget::Room;
use crate::edge::handoff::Telling;
use crate::received::Hop;

/// Octets of one piece in memory.
const PIECE_OCTETS: usize = 64 * 1024;
/// What is added to the time that a home has: it may be at the end of a slow line.
const OCTETS_PER_SECOND_MIN: u64 = 64 * 1024;

/// A message that is not passed on yet.
pub struct Passage {
    home: Arc<ForeignHome>,
    open: Box<Open>,
    /// The header section; it comes first, and whole.
    header: Option<Bytes>,
    pieces: Vec<Bytes>,
    /// The piece that is being filled.
    piece: BytesMut,
    octets: u64,
    is_ascii: bool,
    room: Room,
    held: Room,
    /// Set when the message can't be taken; the rest of it is then let go.
    refusal: Option<Reply>,
}

impl Passage {
    pub(super) fn new(home: Arc<ForeignHome>, open: Open) -> Self {
        let (room, held) = (home.shared.budget.room(), home.shared.budget.room());
        Self {
            home,
            open: Box::new(open),
            header: None,
            pieces: Vec::new(),
            piece: BytesMut::new(),
            octets: 0,
            is_ascii: true,
            room,
            held,
            refusal: None,
        }
    }

    /// Octets of the message so far.
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether the message was given up already.
    pub const fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Takes memory for so many octets of the header section, in all.
    pub async fn hold(&mut self, octets: usize) {
        if let Err(no_room) = self.held.reach(octets as u64).await {
            self.refuse(no_room.reply());
        }
    }

    /// Takes a piece of the message; the first is the whole header section.
    pub async fn body(&mut self, piece: &[u8]) {
        if self.refusal.is_some() {
            return;
        }
        self.octets += piece.len() as u64;
        let limit = self.home.message_octets_max;
        if self.octets > limit {
            // At once: what can't be passed on takes no memory.
            return self.refuse(Reply::new(
                552,
                (5, 3, 4),
                format!("The message is larger than {limit} octets"),
            ));
        }
        let whole_piece = PIECE_OCTETS as u64;
        if let Err(no_room) = self.room.reach(self.octets.next_multiple_of(whole_piece)).await {
            return self.refuse(no_room.reply());
        }
        self.is_ascii &= piece.is_ascii();
        if self.header.is_none() {
            self.header = Some(Bytes::from(head::without_ours(piece)));
            return;
        }
        // Copied: a piece may be a small part of what was read from the network.
        let mut rest = piece;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE_OCTETS - self.piece.len()));
            self.piece.extend_from_slice(now);
            rest = later;
            if self.piece.len() == PIECE_OCTETS {
                self.pieces.push(self.piece.split().freeze());
            }
        }
    }

    /// Gives the message up; this will be the reply.
    pub fn refuse(&mut self, reply: Reply) {
        self.pieces = Vec::new();
        self.piece = BytesMut::new();
        self.room.clear();
        self.refusal = Some(reply);
    }

    /// The message is whole and was judged: it is refused.
    pub fn refused(self, reply: &Reply, why: &str) {
        self.tell("refused", reply, &format!(" [{why}]"));
    }

    /// The message is whole: passes it on and gives the replies for the sender.
    pub async fn finish(mut self, verdict: Verdict, telling: Telling) -> Answers {
        if let Some(reply) = self.refusal.take() {
            return reply.into();
        }
        let pieces = self.pieces_below(&verdict);
        let transaction = self.transaction(&pieces, telling);
        let patience =
            self.home.shared.deadline + Duration::from_secs(transaction.octets / OCTETS_PER_SECOND_MIN);
        let line = &self.home.line;
        let answers = match tokio::time::timeout(patience, line.send(transaction, &pieces)).await {
            Ok(Ok(result)) => {
                let blame = match self.open.envelope.recipients.first() {
                    Some(first) => known::blame(&result, &first.address, line).await,
                    None => Blame::Envelope,
                };
                let (answers, asked) = answer::of_message(&result, blame, (telling, self.open.item), line);
                self.learn(asked);
                answers
            }
            Ok(Err(Unreachable)) => answer::away().into(),
            Err(_) => {
                tracing::warn!(home = %line.address(), "a home did not answer for a message in time; the sender was told to try again");
                answer::silent().into()
            }
        };
        let step = match answers.all.code {
            200..=299 => "passed-on",
            500..=599 => "refused",
            _ => "not-passed-on",
        };
        self.tell(step, &answers.all, "");
        answers
    }

    /// The whole message: what Edge writes above it, its header section, its body.
    fn pieces_below(&mut self, verdict: &Verdict) -> Vec<Bytes> {
        let open = &self.open;
        let shared = &self.home.shared;
        let hop =
            Hop { envelope: &open.envelope, by: &shared.hostname, item: open.item, accepted: open.accepted };
        let above = Bytes::from(head::above(&hop, verdict));
        self.is_ascii &= above.is_ascii();
        let mut pieces = vec![above];
        pieces.extend(self.header.clone());
        pieces.append(&mut self.pieces);
        pieces.push(self.piece.split().freeze());
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn transaction(&self, pieces: &[Bytes], telling: Telling) -> Transaction {
        let envelope = &self.open.envelope;
        // A header that needs SMTPUTF8 came with it; raw octets without it are an old program's, and 8BITMIME will do.
        let needs_smtputf8 =
            envelope.smtputf8 && self.header.as_ref().is_some_and(|header| !header.is_ascii());
        Transaction {
            envelope: Arc::new(envelope.clone()),
            recipients: envelope.recipients.clone(),
            octets: pieces.iter().map(|piece| piece.len() as u64).sum(),
            has_8bit: !self.is_ascii,
            needs_smtputf8,
            // A sender that hears one reply for all can't be told who has the message and who has not.
            quorum: if telling == Telling::Apart { Quorum::One } else { Quorum::All },
        }
    }

    /// Recipients that the home does not take after all are refused at RCPT when the sender comes again.
    fn learn(&self, asked: Vec<Option<Asked>>) {
        let envelope = &self.open.envelope;
        for (recipient, asked) in envelope.recipients.iter().zip(asked) {
            if let Some(Asked::Unknown(reply)) = asked {
                self.home.known.refused(&recipient.address, &envelope.reverse_path, reply);
            }
        }
    }

    /// One event for the trace: domains only, no local parts, and none of the home's words.
    fn tell(&self, step: &str, reply: &Reply, why: &str) {
        let envelope = &self.open.envelope;
        let sender = envelope.reverse_path.address().map_or("<>", |address| address.domain().as_str());
        let client = envelope.client.as_ref();
        let from = client.map_or_else(String::new, |client| format!("{} ({})", client.ip, client.helo));
        let tls = client.and_then(|client| client.tls.as_deref()).unwrap_or("no TLS");
        let detail = format!(
            "from {sender} by {from}, {tls}, {} octets, {} recipient(s), to {}: {} {}{why}",
            self.octets,
            envelope.recipients.len(),
            self.home.line.address(),
            reply.code,
            reply.status(),
        );
        self.home.shared.trace.event(Some(self.open.item), step, detail);
    }
}
