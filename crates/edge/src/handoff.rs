//! The hand-off of one message: live over the link, or sealed.
//!
//! Until Home has answered, Edge keeps the message: a small one in memory, a larger one in a draft that is
//! sealed as it is written. So a link that is lost at any moment costs nothing but the sealing: the message
//! rests under the same item id, and Home drops what it already has.

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use daemon::mail_line::{MailLine, Way};
use daemon::trace::Trace;
use link::{Away, BODY_FRAME_MAX, Frame, Open, TraceStep};
use mail::{ItemId, Reply, Verdict};
use net::link_session::live::{LinkDown, LiveItem, Stopped};
use net::smtp_server::Answers;
use seal::Sealing;
use spool::SpoolError;
use tokio::sync::{Semaphore, oneshot};

use super::budget::{Budget, NoRoom, Room};
use super::draft::SealedDraft;
use super::homes::{Home, KnownHome};

/// Octets of a message that are kept in memory; a larger one goes to a draft, which needs as much for its
/// buffers, so that no more memory is asked for.
const MEMORY_OCTETS_MAX: usize = 128 * 1024;

/// What all hand-offs of an Edge share.
pub(crate) struct HandOffs {
    /// Memory for messages.
    memory: Budget,
    /// Memory for frames of large messages on their way, in KiB.
    in_flight: Arc<Semaphore>,
    deadline: Duration,
    trace: Trace,
}

impl HandOffs {
    /// Hand-offs within a budget of memory; Home has `deadline` to answer.
    pub(crate) fn new(memory_octets: u64, deadline: Duration, trace: Trace) -> Self {
        let kib = usize::try_from(memory_octets / 1024).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let in_flight = (kib / 8).max(BODY_FRAME_MAX / 1024);
        let memory = kib.saturating_sub(in_flight);
        Self {
            memory: Budget::of_kib(memory),
            in_flight: Arc::new(Semaphore::new(in_flight)),
            deadline,
            trace,
        }
    }

    /// Begins the hand-off of a message to `home`.
    ///
    /// # Errors
    /// The reply for the sender, when the message can't be taken now.
    pub(crate) fn begin(
        self: &Arc<Self>,
        home: Arc<Home>,
        kept: Arc<KnownHome>,
        open: Open,
    ) -> Result<HandOff, Reply> {
        if home.live().is_none() {
            if kept.snapshot.away == Away::Defer {
                return Err(Reply::new(451, (4, 3, 2), "The recipient's server is away; try again later"));
            }
            if !home.sealed.has_room_for(0) {
                return Err(NoRoom.reply());
            }
        }
        let (memory, held) = (self.memory.room(), self.memory.room());
        Ok(HandOff {
            shared: Arc::clone(self),
            home,
            kept,
            open: Box::new(open),
            chunk: BytesMut::new(),
            octets: 0,
            retained: Retained::Memory(Vec::new()),
            memory,
            held,
            live: LiveState::NotYet,
            refusal: None,
        })
    }
}

/// What the client can be told of a message's recipients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Telling {
    /// All recipients get one reply.
    #[default]
    Together,
    /// Each recipient's own reply (PRDR).
    Apart,
}

/// A message on its way to its home.
pub(crate) struct HandOff {
    shared: Arc<HandOffs>,
    home: Arc<Home>,
    kept: Arc<KnownHome>,
    open: Box<Open>,
    /// The piece that is being filled up to one frame.
    chunk: BytesMut,
    octets: u64,
    retained: Retained,
    memory: Room,
    /// For the header section, which is held until it is whole and kept until the message is judged.
    held: Room,
    live: LiveState,
    /// Set when the message can't be taken; the rest of it is then let go.
    refusal: Option<Reply>,
}

enum Retained {
    Memory(Vec<Bytes>),
    Draft(SealedDraft),
}

enum LiveState {
    NotYet,
    Item(LiveItem),
    /// Home has answered before it had all of it, and takes no more.
    Answered(LiveItem),
    Lost,
}

impl HandOff {
    /// The home that the message is for.
    pub(crate) fn home(&self) -> Arc<Home> {
        Arc::clone(&self.home)
    }

    /// The id of the message.
    pub(crate) const fn item(&self) -> ItemId {
        self.open.item
    }

    /// Octets of the message so far.
    pub(crate) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Takes a piece of the message.
    pub(crate) async fn body(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while self.refusal.is_none() && !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BODY_FRAME_MAX - self.chunk.len()));
            self.reserve(now.len()).await;
            self.chunk.extend_from_slice(now);
            self.octets += now.len() as u64;
            rest = later;
            if self.chunk.len() == BODY_FRAME_MAX {
                self.pass_on().await;
            }
        }
    }

    /// Takes memory from the budget for `more` octets, as long as the message is kept in memory.
    async fn reserve(&mut self, more: usize) {
        let needed = (self.octets + more as u64).min(MEMORY_OCTETS_MAX as u64);
        if let Err(no_room) = self.memory.reach(needed).await {
            self.refuse(no_room.reply());
        }
    }

    /// Gives the message up; this will be the reply.
    pub(crate) fn refuse(&mut self, reply: Reply) {
        self.abort();
        self.retained = Retained::Memory(Vec::new());
        self.memory.clear();
        self.refusal = Some(reply);
    }

    /// Whether the message was given up already; what still comes of it is let go.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Takes memory for so many octets that are held elsewhere for this message, in all.
    pub(crate) async fn hold(&mut self, octets: usize) {
        if let Err(no_room) = self.held.reach(octets as u64).await {
            self.refuse(no_room.reply());
        }
    }

    /// The message is whole and was judged: it is refused.
    pub(crate) fn refused(mut self, reply: &Reply, why: &str) {
        self.abort();
        let text = format!("{} [{why}]", reply.text);
        self.tell(TraceStep::Refused, &Reply { text, code: reply.code, enhanced: reply.enhanced });
    }

    /// A frame's worth is there: it is sent if the link is up, and kept.
    async fn pass_on(&mut self) {
        let chunk = self.chunk.split().freeze();
        if let Err(reply) = self.keep(chunk.clone()).await {
            return self.refuse(reply);
        }
        match std::mem::replace(&mut self.live, LiveState::Lost) {
            LiveState::NotYet => self.live = self.go_live().await,
            LiveState::Item(item) => {
                // A Home that answers pings and takes no more of a body would hold the sender for ever.
                let sending = send_large(&self.shared, &item, chunk);
                let sent = tokio::time::timeout(self.shared.deadline, sending).await;
                self.live = match sent {
                    Ok(Ok(())) => LiveState::Item(item),
                    Ok(Err(Stopped::Over)) => LiveState::Answered(item),
                    Ok(Err(Stopped::LinkDown)) | Err(_) => {
                        item.send(Frame::Abort(self.open.item));
                        LiveState::Lost
                    }
                };
            }
            same => self.live = same,
        }
    }

    /// Begins the message on the link, with what is kept in memory so far.
    async fn go_live(&self) -> LiveState {
        let Retained::Memory(pieces) = &self.retained else { return LiveState::Lost };
        let Some(Ok(item)) = self.home.live().map(|live| live.begin(self.item())) else {
            return LiveState::Lost;
        };
        item.send(Frame::Open(self.open.clone()));
        for piece in pieces {
            match item.body(piece.clone(), None).await {
                Ok(()) => {}
                Err(Stopped::Over) => return LiveState::Answered(item),
                Err(Stopped::LinkDown) => return LiveState::Lost,
            }
        }
        LiveState::Item(item)
    }

    /// Keeps a piece; turns to a sealed draft when memory is not enough.
    async fn keep(&mut self, chunk: Bytes) -> Result<(), Reply> {
        let pieces = match &mut self.retained {
            Retained::Draft(draft) => {
                return draft.write(chunk).await.map_err(|error| disk_reply(&error));
            }
            Retained::Memory(pieces) => pieces,
        };
        pieces.push(chunk);
        let full = pieces.iter().map(Bytes::len).sum::<usize>() >= MEMORY_OCTETS_MAX;
        if full && !matches!(self.live, LiveState::NotYet) {
            let pieces = std::mem::take(pieces);
            let draft = SealedDraft::begin(&self.home, &self.kept.seal_to, &self.open, self.item(), pieces);
            self.retained = Retained::Draft(draft);
        }
        Ok(())
    }

    /// The message will not be completed.
    pub(crate) fn abort(&mut self) {
        if let LiveState::Item(item) = std::mem::replace(&mut self.live, LiveState::Lost) {
            item.send(Frame::Abort(self.open.item));
        }
    }

    /// The message is whole: hands it off and gives the replies for the sender.
    pub(crate) async fn finish(mut self, verdict: Verdict, telling: Telling) -> Answers {
        if let Some(reply) = self.refusal.take() {
            return reply.into();
        }
        let answer = tokio::time::timeout(self.shared.deadline, self.hand_over(verdict.clone())).await;
        match answer {
            Ok(Ok(replies)) => match judge(replies, telling) {
                Some(answers) => {
                    self.tell(TraceStep::HandedOff, &answers.all);
                    answers
                }
                None => self.seal(verdict, "some recipients have to wait").await.into(),
            },
            Ok(Err(LinkDown)) => self.seal(verdict, "home is away").await.into(),
            Err(_) => {
                self.live = LiveState::Lost;
                // What Home has of it, if it is not whole, is of no use there; a whole one it takes no harm from.
                if let Some(live) = self.home.live() {
                    live.frames.send(Frame::Abort(self.item()));
                }
                self.seal(verdict, "home did not answer in time").await.into()
            }
        }
    }

    /// Sends what is left, then waits for Home's replies.
    async fn hand_over(&mut self, verdict: Verdict) -> Result<Vec<Reply>, LinkDown> {
        if matches!(self.live, LiveState::NotYet) {
            self.live = self.go_live().await;
        }
        let last = self.chunk.split().freeze();
        if let Err(reply) = if last.is_empty() { Ok(()) } else { self.keep(last.clone()).await } {
            self.refuse(reply);
            return Err(LinkDown);
        }
        let item = match std::mem::replace(&mut self.live, LiveState::Lost) {
            LiveState::Item(item) => item,
            LiveState::Answered(item) => return Ok(item.answer().await?.replies),
            LiveState::NotYet | LiveState::Lost => return Err(LinkDown),
        };
        let sent = if last.is_empty() { Ok(()) } else { item.body(last, None).await };
        match sent {
            Ok(()) => item.send(Frame::End(self.open.item, verdict)),
            Err(Stopped::Over) => {}
            Err(Stopped::LinkDown) => return Err(LinkDown),
        }
        Ok(item.answer().await?.replies)
    }

    /// Seals what is kept and makes it durable.
    async fn seal(mut self, verdict: Verdict, why: &str) -> Reply {
        if let Some(reply) = self.refusal.take() {
            return reply;
        }
        let home = Arc::clone(&self.home);
        let item = self.item();
        let (sender, receipt) = oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        match std::mem::replace(&mut self.retained, Retained::Memory(Vec::new())) {
            Retained::Memory(pieces) => match self.seal_in_memory(&pieces, &verdict) {
                Ok(sealed) => home.sealed.append(item, Vec::new(), vec![sealed.into()], done),
                Err(error) => return disk_reply(&error),
            },
            Retained::Draft(draft) => {
                let spool = home.sealed.clone();
                let draft = match draft.finish(verdict).await {
                    Ok(draft) => draft,
                    Err(error) => return disk_reply(&error),
                };
                // It blocks for the draft's own fdatasync.
                drop(tokio::task::spawn_blocking(move || spool.append_draft(draft, Vec::new(), done)));
            }
        }
        match receipt.await {
            Ok(Ok(_)) => {
                let reply = Reply::new(250, (2, 0, 0), format!("Taken as {item}"));
                self.tell(
                    TraceStep::Sealed,
                    &Reply { text: why.to_owned(), code: reply.code, enhanced: reply.enhanced },
                );
                home.stirred.notify_waiters();
                reply
            }
            Ok(Err(error)) => spool_reply(&error),
            Err(_) => Reply::new(451, (4, 3, 0), "The message could not be kept; try again later"),
        }
    }

    fn seal_in_memory(&self, pieces: &[Bytes], verdict: &Verdict) -> std::io::Result<Vec<u8>> {
        let octets = usize::try_from(self.octets).unwrap_or(0);
        let output = Vec::with_capacity(octets + octets / 1000 + 2048);
        let mut sealing = Sealing::begin(&self.kept.seal_to, output, &self.open)?;
        pieces.iter().try_for_each(|piece| sealing.write(piece))?;
        sealing.finish(verdict)
    }

    /// One event for the trace: domains only, no local parts.
    fn tell(&self, step: TraceStep, reply: &Reply) {
        let envelope = &self.open.envelope;
        let sender = envelope.reverse_path.address().map_or("<>", |address| address.domain().as_str());
        let client = envelope.client.as_ref();
        let from = client.map_or_else(String::new, |client| format!("{} ({})", client.ip, client.helo));
        let tls = client.and_then(|client| client.tls.as_deref()).unwrap_or("no TLS");
        let detail = format!(
            "from {sender} by {from}, {tls}, {} octets, {} recipient(s): {reply}",
            self.octets,
            envelope.recipients.len()
        );
        let event = self.shared.trace.event(Some(self.open.item), step, detail);
        self.home.tell(event);
        self.shared.trace.passed(&MailLine {
            item: Some(self.open.item),
            octets: self.octets,
            verdict: step.word(),
            code: reply.code,
            peer: client.map_or(&"-" as &dyn std::fmt::Display, |client| &client.ip),
            ..MailLine::of(Way::In, envelope)
        });
    }
}

/// Sends a piece of a large message; the frame holds memory until it is written.
async fn send_large(shared: &HandOffs, item: &LiveItem, chunk: Bytes) -> Result<(), Stopped> {
    let kib = u32::try_from(chunk.len().div_ceil(1024)).unwrap_or(u32::MAX);
    let held = tokio::select! {
        held = Arc::clone(&shared.in_flight).acquire_many_owned(kib) => held.map_err(|_| Stopped::LinkDown)?,
        stopped = item.stopped() => return Err(stopped),
    };
    item.body(chunk, Some(held)).await
}

/// The one reply that SMTP has for the replies of all recipients, and these for whoever can be told apart;
/// `None` when the message has to be kept for those who could not have it now, because others have it already
/// and the sender can't be told.
pub(super) fn judge(replies: Vec<Reply>, telling: Telling) -> Option<Answers> {
    let positive = replies.iter().find(|reply| reply.is_positive());
    let temporary = replies.iter().find(|reply| reply.code < 500 && !reply.is_positive());
    let all = match (positive, temporary) {
        (Some(_), Some(_)) if telling == Telling::Together => return None,
        (Some(reply), _) | (None, Some(reply)) => reply.clone(),
        (None, None) => replies
            .first()
            .cloned()
            .unwrap_or_else(|| Reply::new(451, (4, 3, 0), "No answer; try again later")),
    };
    Some(Answers { all, each: replies })
}

fn spool_reply(error: &SpoolError) -> Reply {
    tracing::error!(%error, "a message could not be sealed; the sender was told to try again");
    match error {
        SpoolError::Full { .. } => NoRoom.reply(),
        _ => Reply::new(451, (4, 3, 0), "The message could not be kept; try again later"),
    }
}

fn disk_reply(error: &std::io::Error) -> Reply {
    tracing::error!(%error, "a message could not be sealed; the sender was told to try again");
    match error.kind() {
        std::io::ErrorKind::StorageFull => NoRoom.reply(),
        _ => Reply::new(451, (4, 3, 0), "The message could not be kept; try again later"),
    }
}
