//! Replies that are collected until every account has answered; the last one sends them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemon::system;
use link::TraceStep;
use mail::{EnhancedCode, ItemId, Reply, Why};
use outbound::queue::derived_id;
use store::{Receipt, StoreError};

use super::buffer::Buffer;
use super::deliver::{self, Arrival};
use super::head::path;
use super::plan::Planned;
use super::repeats::Digest;
use super::waiting::Waiting;
use super::{Arrivals, not_now};
use crate::filters::{Contents, Judgement};
use crate::keeper::{Failure, Kept, QUARANTINE};
use crate::quarantine::Entry;

pub(super) struct Answering {
    shared: Arc<Arrivals>,
    pub(super) arrival: Arrival,
    waiting: Waiting,
    /// For the trace; empty when the message has none.
    pub(super) message_id: String,
    /// Why a filter has it quarantined, and its score.
    pub(super) kept: Option<(String, Option<f64>)>,
    /// The message, for what is refused only after others have it.
    pub(super) contents: Option<(Contents, Judgement)>,
    replies: Mutex<Replies>,
    /// What it is known by, should its sender not hear the reply.
    pub(super) digest: Option<Digest>,
    /// Keeps the body's share of the memory until all is committed.
    pub(super) buffer: Option<Buffer>,
}

struct Replies {
    /// How many are waited for.
    owed: usize,
    /// One for each recipient.
    slots: Vec<Option<Reply>>,
    /// Whether somebody has the message.
    is_kept: bool,
    /// What LMTP refused for good, and its words.
    refused: Vec<(Planned, String)>,
}

impl Answering {
    pub(super) fn new(shared: &Arc<Arrivals>, arrival: Arrival, waiting: Waiting, owed: usize) -> Self {
        let slots = vec![None; arrival.open.envelope.recipients.len()];
        Self {
            shared: Arc::clone(shared),
            arrival,
            waiting,
            message_id: String::new(),
            kept: None,
            contents: None,
            digest: None,
            replies: Mutex::new(Replies { owed, slots, is_kept: false, refused: Vec::new() }),
            buffer: None,
        }
    }

    fn replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn item(&self) -> ItemId {
        self.arrival.open.item
    }

    pub(super) fn answer_all(&self, reply: &Reply) {
        self.replies().slots.fill(Some(reply.clone()));
        self.send();
    }

    /// Its sender has sent it before, and did not hear that it was taken.
    pub(super) fn is_the_same_as(&self, first: ItemId) {
        let envelope = &self.arrival.open.envelope;
        let detail = format!(
            "from <{}>: the same message as {first}, whose 250 its sender may not have heard; not delivered again",
            envelope.reverse_path
        );
        self.shared.trace.event(Some(self.item()), TraceStep::Repeated, detail);
        self.answer_all(&taken(first));
    }

    pub(super) fn refuse(&self, refused: Vec<(usize, Reply)>) {
        let mut replies = self.replies();
        for (place, reply) in refused {
            if let Some(slot) = replies.slots.get_mut(place) {
                *slot = Some(if self.arrival.sealed { not_now() } else { reply });
            }
        }
    }

    /// A recipient that leads elsewhere was queued, or was not.
    pub(super) fn forwarded(self: &Arc<Self>, places: &[usize], is_kept: bool) {
        let reply = if is_kept { self.taken() } else { not_now() };
        self.reply(places, &reply, None);
    }

    /// What came of an account's delivery. One in quarantine is only answered when it is known for whom it is and why.
    pub(super) fn delivered(self: Arc<Self>, planned: Planned, result: Result<Kept, Failure>) {
        match result {
            Ok(Kept::Stored(receipt)) if planned.mailbox == QUARANTINE => {
                let item = self.item();
                self.record(item, planned, receipt, None);
            }
            Ok(kept) => {
                self.tell(&planned, kept);
                self.reply(&planned.places, &self.taken(), None);
            }
            Err(failure) => self.not_delivered(planned, &failure),
        }
    }

    fn not_delivered(self: &Arc<Self>, planned: Planned, failure: &Failure) {
        let (item, account) = (self.item(), &planned.account);
        let Some(refusal) = failure.refusal() else {
            tracing::error!(%item, %account, cause = %failure,
                "a message could not be stored; its sender or Edge keeps it");
            return self.reply(&planned.places, &not_now(), None);
        };
        tracing::warn!(%item, %account, cause = %refusal, "the mailbox server refused a message");
        let reply = refused(refusal);
        let detail = format!("<{}>: {} refused it: {refusal}", planned.recipient, planned.account);
        self.shared.trace.event(Some(item), TraceStep::Refused, detail);
        let places = planned.places.clone();
        let words = format!("the mailbox server refused it: {refusal}");
        self.reply(&places, &reply, Some((planned, words)));
    }

    fn record(self: Arc<Self>, item: ItemId, planned: Planned, receipt: Receipt, why: Option<String>) {
        let mut entry = self.entry(item, &planned, receipt);
        if let Some(why) = why {
            (entry.reason, entry.score) = (why, None);
        }
        let quarantine = self.shared.quarantine.clone();
        quarantine.record(entry, move |recorded| match recorded {
            Ok(()) => {
                self.tell(&planned, Kept::Stored(receipt));
                self.reply(&planned.places, &self.taken(), None);
            }
            Err(error) => self.not_delivered(planned, &StoreError::Source(error).into()),
        });
    }

    fn entry(&self, item: ItemId, planned: &Planned, receipt: Receipt) -> Entry {
        let envelope = &self.arrival.open.envelope;
        let recipients = planned.places.iter().filter_map(|place| envelope.recipients.get(*place));
        let (reason, score) = self.kept.clone().unwrap_or_else(|| (planned.reason.to_owned(), None));
        Entry {
            item,
            at: system::now(),
            account: planned.account.to_string(),
            uidvalidity: receipt.uidvalidity,
            uid: receipt.uid,
            reverse_path: path(&envelope.reverse_path),
            recipients: recipients.map(|recipient| recipient.address.to_string()).collect(),
            reason,
            score,
        }
    }

    fn taken(&self) -> Reply {
        taken(self.item())
    }

    /// One of those that were waited for is done; the last one sends the answer.
    fn reply(self: &Arc<Self>, places: &[usize], reply: &Reply, refused: Option<(Planned, String)>) {
        let mut replies = self.replies();
        for place in places {
            // An alias may lead to several accounts: one that failed makes the recipient's reply.
            if let Some(slot) =
                replies.slots.get_mut(*place).filter(|slot| slot.as_ref().is_none_or(Reply::is_positive))
            {
                *slot = Some(reply.clone());
            }
        }
        replies.is_kept |= reply.is_positive();
        replies.refused.extend(refused);
        replies.owed = replies.owed.saturating_sub(1);
        if replies.owed > 0 {
            return;
        }
        // The sender can be told of a refusal as long as nobody has the message.
        let is_told = !self.arrival.sealed && !replies.is_kept;
        let refused = if is_told { Vec::new() } else { std::mem::take(&mut replies.refused) };
        drop(replies);
        if refused.is_empty() { self.send() } else { self.quarantine(&refused) }
    }

    /// Gives the operator what was refused when it is too late to tell the sender.
    fn quarantine(self: &Arc<Self>, refused: &[(Planned, String)]) {
        let postmaster = self.shared.directory.postmaster();
        let (Some(account), Some((contents, judgement)), Some((first, why))) =
            (postmaster, &self.contents, refused.first())
        else {
            return self.send();
        };
        let mut places: Vec<usize> = refused.iter().flat_map(|(planned, _)| planned.places.clone()).collect();
        places.sort_unstable();
        places.dedup();
        let recipient = first.recipient.clone();
        let planned = Planned { account, mailbox: QUARANTINE.to_owned(), recipient, places, reason: "" };
        {
            let mut replies = self.replies();
            replies.owed = 1;
            for place in &planned.places {
                if let Some(slot) = replies.slots.get_mut(*place) {
                    *slot = None;
                }
            }
        }
        // Another id than that of what else the postmaster gets of this message.
        let item = derived_id("postern refused by LMTP", self.item());
        let (answering, why) = (Arc::clone(self), why.clone());
        match deliver::delivery(&self.arrival, &planned, judgement, contents, item) {
            Ok(delivery) => {
                let account = planned.account.clone();
                self.shared.keeper.deliver(account.as_str(), delivery, move |result| match result {
                    Ok(Kept::Stored(receipt)) => answering.record(item, planned, receipt, Some(why)),
                    other => answering.delivered(planned, other),
                });
            }
            Err(error) => answering.delivered(planned, Err(StoreError::Source(error.to_string()).into())),
        }
    }

    fn tell(&self, planned: &Planned, kept: Kept) {
        let open = &self.arrival.open;
        let (step, place) = match kept {
            Kept::Stored(receipt) => {
                let step = if receipt.duplicate { TraceStep::AlreadyHere } else { TraceStep::Delivered };
                (step, format!("message {}", receipt.uid))
            }
            Kept::HandedOver => (TraceStep::Delivered, "by LMTP".to_owned()),
            Kept::HandedOverBefore => (TraceStep::AlreadyHere, "by LMTP".to_owned()),
        };
        let detail = format!(
            "from <{}> to <{}>: {} of {}, {place} ({} of {}, {} hops), score {}, message-id {}",
            open.envelope.reverse_path,
            planned.recipient,
            planned.mailbox,
            planned.account,
            if self.arrival.sealed { "sealed mail" } else { "live mail" },
            self.arrival.edge,
            self.arrival.verdict.hops,
            self.arrival.verdict.score(),
            self.message_id,
        );
        self.shared.trace.event(Some(open.item), step, detail);
    }

    pub(super) fn send(&self) {
        let mut replies = self.replies();
        let replies: Vec<Reply> =
            replies.slots.drain(..).map(|reply| reply.unwrap_or_else(not_now)).collect();
        if let Some(digest) = self.digest.filter(|_| replies.iter().all(Reply::is_positive)) {
            self.shared.repeats.kept(self.item(), digest, system::now());
        }
        let replies = if self.arrival.sealed { vec![worst(replies)] } else { replies };
        self.waiting.answer(self.item(), replies);
    }
}

/// The same words as Edge has for what it seals: no sender is to see whether the house is there.
fn taken(item: ItemId) -> Reply {
    Reply::new(250, (2, 0, 0), format!("Taken as {item}"))
}

/// What the sender hears of a mailbox server's refusal: its codes, and none of its words, which name the account
/// that an alias leads to.
fn refused(why: &Why) -> Reply {
    let EnhancedCode(class, subject, detail) = why.status;
    let text = match why.status {
        EnhancedCode(_, 2, 2) => "The mailbox is full",
        EnhancedCode(_, 1, 1) => "There is no such mailbox",
        _ => "The mailbox does not take this message",
    };
    let code = why.reply.as_ref().map_or(554, |reply| reply.code);
    Reply::new(code, (class, subject, detail), text)
}

/// A sealed item is done when every recipient is; else it stays with Edge and comes again.
fn worst(replies: Vec<Reply>) -> Reply {
    let failed = replies.iter().position(|reply| !reply.is_positive());
    let at = failed.unwrap_or(0);
    replies.into_iter().nth(at).unwrap_or_else(not_now)
}
