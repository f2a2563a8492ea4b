//! One message on its way to a home that is another program: held in memory, passed on when it was judged.

use daemon::mail_line::{MailLine, Way};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use link::{Open, TraceStep};
use mail::received::Hop;
use mail::{Reply, Verdict};
use net::smtp_server::Answers;
use smtp::client::{Quorum, Transaction};
use tokio::time::Instant;

use super::answer::{self, Asked, Blame};
use super::line::Unreachable;
use super::{ForeignHome, head, known};
use crate::budget::{NoRoom, Room};
use crate::handoff::Telling;

/// Octets of one piece in memory.
const PIECE_OCTETS: usize = 64 * 1024;
/// What is added to the time that a home has: it may be at the end of a slow line.
const OCTETS_PER_SECOND_MIN: u64 = 64 * 1024;

/// The longest that a home has. A sender waits for 10 minutes (RFC 5321 section 4.5.3.2.6); past that he comes again, and
/// what the home took meanwhile it takes twice. The rest is for the question about its postmaster.
const PATIENCE_MAX: Duration = Duration::from_secs(500);
/// Octets of a message that may come as slowly as they like.
const LEISURE_OCTETS: u64 = 128 * 1024;
/// How often it is looked how fast a larger one comes.
const MINUTE: Duration = Duration::from_secs(60);
/// What has to come in that time while memory is short: 16 KiB a second.
const OCTETS_PER_MINUTE_MIN: u64 = 60 * 16 * 1024;

/// A message that is not passed on yet.
pub(crate) struct Passage {
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
    /// When the last minute of its client began, and how much there was then.
    minute: (Instant, u64),
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
            minute: (Instant::now(), 0),
            refusal: None,
        }
    }

    /// Octets of the message so far.
    pub(crate) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether the message was given up already.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Takes memory for so many octets of the header section, in all.
    pub(crate) async fn hold(&mut self, octets: usize) {
        if let Err(no_room) = self.held.reach(octets as u64).await {
            self.refuse(no_room.reply());
        }
    }

    /// Takes a piece of the message; the first is the whole header section.
    pub(crate) async fn body(&mut self, piece: &[u8]) {
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
        if self.dawdles() {
            return self.refuse(NoRoom.reply());
        }
        let whole_piece = PIECE_OCTETS as u64;
        let before = Instant::now();
        if let Err(no_room) = self.room.reach(self.octets.next_multiple_of(whole_piece)).await {
            return self.refuse(no_room.reply());
        }
        // To wait for memory is not the client's slowness.
        self.minute.0 += before.elapsed();
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

    /// Whether the client keeps memory that others wait for, and hardly fills it.
    fn dawdles(&mut self) -> bool {
        let (began, octets) = self.minute;
        if began.elapsed() < MINUTE {
            return false;
        }
        self.minute = (Instant::now(), self.octets);
        let is_slow = self.octets - octets < OCTETS_PER_MINUTE_MIN;
        is_slow && self.octets > LEISURE_OCTETS && self.home.shared.budget.is_short()
    }

    /// Gives the message up; this will be the reply.
    pub(crate) fn refuse(&mut self, reply: Reply) {
        self.header = None;
        self.pieces = Vec::new();
        self.piece = BytesMut::new();
        self.room.clear();
        self.refusal = Some(reply);
    }

    /// The message is whole and was judged: it is refused.
    pub(crate) fn refused(self, reply: &Reply, why: &str) {
        self.tell(TraceStep::Refused, reply, &format!(" [{why}]"));
    }

    /// The message is whole: passes it on and gives the replies for the sender.
    pub(crate) async fn finish(mut self, verdict: Verdict, telling: Telling) -> Answers {
        if let Some(reply) = self.refusal.take() {
            return reply.into();
        }
        let pieces = self.pieces_below(&verdict);
        let transaction = self.transaction(&pieces, telling);
        let patience = patience(self.home.shared.deadline, transaction.octets);
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
            200..=299 => TraceStep::PassedOn,
            500..=599 => TraceStep::Refused,
            _ => TraceStep::NotPassedOn,
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
    fn tell(&self, step: TraceStep, reply: &Reply, why: &str) {
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
        self.home.shared.trace.passed(&MailLine {
            item: Some(self.open.item),
            octets: self.octets,
            verdict: step.word(),
            code: reply.code,
            peer: client.map_or(&"-" as &dyn std::fmt::Display, |client| &client.ip),
            ..MailLine::of(Way::In, envelope)
        });
    }
}

/// How long a home may take over a message of so many octets.
fn patience(hand_off: Duration, octets: u64) -> Duration {
    (hand_off + Duration::from_secs(octets / OCTETS_PER_SECOND_MIN)).min(PATIENCE_MAX)
}

#[cfg(test)]
mod tests {
    use mail::{Domain, Envelope, ItemId, UnixTime};

    use super::super::line::Line;
    use super::super::{Known, Shared};
    use super::*;
    use crate::budget::Budget;
    use crate::config::ForeignHomeConfig;
    use daemon::trace::Trace;

    /// A home that takes 8 MiB, and memory for so much.
    fn home(dir: &std::path::Path, memory: u64) -> Arc<ForeignHome> {
        let text = "domains = [\"example.org\"]\naddress = \"127.0.0.1\"\nrecipients = \"call-ahead\"\n";
        let config: ForeignHomeConfig = toml::from_str(text).unwrap();
        let shared = Shared {
            hostname: "mx.example.org".to_owned(),
            budget: Budget::of_octets(memory),
            deadline: Duration::from_secs(60),
            trace: Trace::open(dir, link::Role::Edge).unwrap(),
        };
        Arc::new(ForeignHome {
            domains: vec![Domain::parse("example.org").unwrap()],
            message_octets_max: 8 << 20,
            line: Line::nowhere(1),
            known: Known::open(&config, &daemon::clock::SystemClock::shared()).unwrap(),
            shared: Arc::new(shared),
        })
    }

    fn begin(home: &Arc<ForeignHome>) -> Passage {
        let envelope: Envelope =
            serde_json::from_str(r#"{"reverse_path":"","recipients":[{"address":"b@example.org"}]}"#)
                .unwrap();
        home.begin(Open { item: ItemId::from_bytes([1; 16]), accepted: UnixTime(1), envelope }).unwrap()
    }

    /// So many octets, then one a minute. The reply that ends it, if one does.
    async fn dawdle(passage: &mut Passage, octets: usize, minutes: usize) -> Option<u16> {
        passage.body(b"A: b\r\n\r\n").await;
        passage.body(&vec![b'a'; octets]).await;
        for _ in 0..minutes {
            tokio::time::advance(Duration::from_secs(61)).await;
            passage.body(b"a").await;
        }
        passage.refusal.as_ref().map(|reply| reply.code)
    }

    /// Symptom: a few clients that send one octet now and then keep all mail from the homes. Cause: a message takes
    /// memory for as long as its client likes.
    #[tokio::test(start_paused = true)]
    async fn who_dawdles_over_a_large_message_is_sent_away_when_memory_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path(), 10 << 20);
        let mut first = begin(&home);
        assert_eq!(dawdle(&mut first, 4 << 20, 100).await, None, "there is memory enough");
        let mut second = begin(&home);
        assert_eq!(dawdle(&mut second, 2 << 20, 2).await, Some(452));
        let mut other = begin(&home);
        assert_eq!(other.room.reach(2 << 20).await, Ok(()));
        assert_eq!(dawdle(&mut begin(&home), 100_000, 100).await, None, "it takes little");
        let mut third = begin(&home);
        third.body(b"A: b\r\n\r\n").await;
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(2)).await;
            third.body(&[b'a'; 40_000]).await;
        }
        assert!(!third.is_refused(), "20 KB a second will do");
    }

    #[tokio::test]
    async fn a_message_that_was_given_up_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut passage = begin(&home(dir.path(), 4 << 20));
        passage.body(b"A: b\r\n\r\n").await;
        passage.body(b"text").await;
        passage.refuse(Reply::bare(552, "no"));
        assert!(passage.header.is_none() && passage.pieces.is_empty() && passage.piece.is_empty());
    }

    /// Symptom: a large message comes again and again. Cause: the home was given longer than a sender waits, so that
    /// nobody heard that it took it.
    #[test]
    fn no_home_has_longer_than_a_sender_waits() {
        let hand_off = Duration::from_secs(60);
        assert_eq!(patience(hand_off, 0), hand_off);
        assert_eq!(patience(hand_off, 64 << 20), PATIENCE_MAX);
        assert_eq!(patience(Duration::from_secs(3600), 0), PATIENCE_MAX);
        assert!(PATIENCE_MAX + known::PATIENCE < Duration::from_secs(600));
    }
}
