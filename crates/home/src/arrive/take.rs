//! A message that is whole is taken in: judged, put where it belongs, answered. All of it is here, from top to bottom.

use std::io;
use std::sync::Arc;

use content::Content;
use daemon::mail_line::{MailLine, Way};
use link::TraceStep;
use mail::received::Readers;
use mail::{ItemId, Place, Reply};
use outbound::queue::derived_id;
use store::{Receipt, StoreError};

use super::arrival::Arrival;
use super::arrivals::{Arrivals, not_now};
use super::buffer::Whole;
use super::plan::{Onward, Plan, Planned, plan};
use super::repeats::Digest;
use super::replies::{Replies, refused, taken, worst};
use super::together::together;
use super::{head, letter};
use crate::filters::{self, Action, Judgement, Subject};
use crate::forward::Forwarding;
use crate::keeper::{Failure, Kept, Tray};
use crate::quarantine::Entry;

/// Takes a message in. One reply per recipient, or one in all to an item that was sealed; a positive one is given when the
/// message is where it belongs, durably.
pub(super) async fn take(shared: &Arc<Arrivals>, arrival: Arrival, mut message: Whole) -> Vec<Reply> {
    let (recipients, octets) = (arrival.open.envelope.recipients.len(), message.content.octets());
    if shared.round_trips.take_back(&arrival.open.envelope, &message.content).await {
        let replies = Replies::all(recipients, &taken(arrival.open.item)).into_replies();
        shared.trace.event(
            Some(arrival.open.item),
            TraceStep::Delivered,
            "the answer to a message sent round",
        );
        return if arrival.sealed { vec![worst(replies)] } else { replies };
    }
    let replies = match judge(shared, &arrival, &mut message).await {
        Ok(judged) => keep(shared, &arrival, judged, message).await,
        Err(Turned::Away(reply)) => {
            tell_of_refusal(shared, &arrival, &message.content, &reply).await;
            Replies::all(recipients, &reply)
        }
        Err(Turned::Unreadable(error)) => unreadable(&arrival, recipients, &error),
    };
    let replies = replies.into_replies();
    passed(shared, &arrival, octets, &replies);
    if arrival.sealed { vec![worst(replies)] } else { replies }
}

/// Writes the log's line.
fn passed(shared: &Arrivals, arrival: &Arrival, octets: u64, replies: &[Reply]) {
    let reply = replies.iter().find(|reply| reply.is_positive()).or(replies.first());
    let code = reply.map_or(0, |reply| reply.code);
    let verdict = match code {
        200..=299 => TraceStep::Delivered,
        500..=599 => TraceStep::Refused,
        _ => TraceStep::NotTaken,
    };
    shared.trace.passed(&MailLine {
        item: Some(arrival.open.item),
        octets,
        verdict: verdict.word(),
        code,
        peer: &arrival.edge,
        ..MailLine::of(Way::In, &arrival.open.envelope)
    });
}

/// Why a message is not taken in at all.
enum Turned {
    /// A filter wants the message refused with this reply.
    Away(Reply),
    /// What came of it can't be read again.
    Unreadable(io::Error),
}

/// Where everybody's copy goes, and what the filters say.
struct Judged {
    plan: Plan,
    judgement: Judgement,
    /// Whether a filter wants the operator to look at it.
    is_quarantined: bool,
}

/// Asks directory and filters.
async fn judge(shared: &Arc<Arrivals>, arrival: &Arrival, message: &mut Whole) -> Result<Judged, Turned> {
    let mut plan = plan(&shared.directory, &shared.forwarder, arrival);
    if !plan.onward.is_empty() {
        let content = message.content.clone();
        let header = blocking(move || filters::header_of(&content)).await.map_err(Turned::Unreadable)?;
        plan.break_loops(&shared.directory, &header, arrival.sealed);
    }
    let judgement = match &shared.filters {
        Some(filters) if !plan.is_empty() => {
            let subject = Subject {
                item: arrival.open.item,
                envelope: arrival.open.envelope.clone(),
                edge: arrival.edge.clone(),
                content: message.content.clone(),
            };
            filters.judge(&subject).await
        }
        _ => Judgement::default(),
    };
    let mut action = judgement.action.clone().possible(arrival.arrived());
    if action == Action::Accept && arrival.verdict.place == Place::Junk {
        action = Action::Junk;
    }
    match &action {
        Action::Accept => {}
        Action::Junk => plan.divert_to_junk(&shared.directory),
        Action::Quarantine => plan.divert_to_quarantine(&shared.directory),
        Action::Defer(reply) | Action::Reject(reply) => return Err(Turned::Away(reply.clone())),
    }
    if !judgement.rewrites.is_empty()
        && let Err(error) = rewrite(shared, message, &judgement).await
    {
        // Fields that a filter wants gone are less than the message.
        tracing::warn!(item = %arrival.open.item, %error, "the header stays as it came");
    }
    Ok(Judged { plan, judgement, is_quarantined: action == Action::Quarantine })
}

/// The header as the filters want it. A large message is copied for that.
async fn rewrite(shared: &Arc<Arrivals>, message: &mut Whole, judgement: &Judgement) -> io::Result<()> {
    let (content, drafts) = (message.content.clone(), Arc::clone(&shared.drafts));
    let rewrites = judgement.rewrites.clone();
    message.content = blocking(move || letter::rewritten(&content, &rewrites, &drafts)).await?;
    Ok(())
}

/// Work that may have to read a file or to write one.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn unreadable(arrival: &Arrival, recipients: usize, error: &io::Error) -> Replies {
    tracing::error!(item = %arrival.open.item, %error, "a message can't be read again; it stays with Edge");
    Replies::all(recipients, &not_now())
}

async fn tell_of_refusal(shared: &Arrivals, arrival: &Arrival, content: &Content, reply: &Reply) {
    let envelope = &arrival.open.envelope;
    let to: Vec<String> = envelope.recipients.iter().map(|to| format!("<{}>", to.address)).collect();
    let step = if reply.code >= 500 { TraceStep::Refused } else { TraceStep::NotTaken };
    let marks = letter::marks(content, &shared.trace).await;
    let from = head::path(&envelope.reverse_path);
    let detail = format!("from <{from}> to {}: {reply}, message-id {marks}", to.join(", "));
    shared.trace.event(Some(arrival.open.item), step, detail);
}

/// Puts it where it belongs, once.
async fn keep(shared: &Arc<Arrivals>, arrival: &Arrival, judged: Judged, message: Whole) -> Replies {
    let (item, recipients) = (arrival.open.item, arrival.open.envelope.recipients.len());
    let digest = message.digest(&arrival.open.envelope, &judged.plan.places(&shared.directory));
    if let Some(first) = known_as(shared, item, digest).await {
        let detail = format!(
            "from <{}>: the same message as {first}, whose 250 its sender may not have heard; not delivered again",
            arrival.open.envelope.reverse_path
        );
        shared.trace.event(Some(item), TraceStep::Repeated, detail);
        return Replies::all(recipients, &taken(first));
    }
    let Judged { plan, judgement, is_quarantined } = judged;
    let taking = Taking {
        shared,
        arrival,
        judgement: &judgement,
        is_quarantined,
        marks: letter::marks(&message.content, &shared.trace).await,
        content: &message.content,
    };
    let replies = taking.everybodys(plan).await;
    // The sender may send it again if it does not hear this.
    if let Some(digest) = digest.filter(|_| replies.are_all_positive()) {
        shared.repeats.kept(item, digest, shared.clock.now());
    }
    replies
}

/// The id under which the same message was taken before, whose sender may not have heard so. While that is not known the
/// word on it is waited for; what was sealed has had it before it came.
async fn known_as(shared: &Arrivals, item: ItemId, digest: Option<Digest>) -> Option<ItemId> {
    let digest = digest?;
    if shared.repeats.is_open(digest, shared.clock.now()) {
        shared.repeats.word_on(digest, || shared.clock.now()).await;
    }
    // The same item, live and then sealed, is the store's to know: it looks at what each account has.
    shared.repeats.first_of(digest, shared.clock.now()).filter(|first| *first != item)
}

/// A message on its way to everybody who gets it.
struct Taking<'a> {
    shared: &'a Arc<Arrivals>,
    arrival: &'a Arrival,
    judgement: &'a Judgement,
    is_quarantined: bool,
    content: &'a Content,
    /// Message-ID and subject, for the trace.
    marks: String,
}

/// What a mailbox server refused for good, for whom, and its words.
struct Refused {
    planned: Planned,
    words: String,
}

impl Taking<'_> {
    const fn item(&self) -> ItemId {
        self.arrival.open.item
    }

    /// All copies and what is forwarded, begun together.
    async fn everybodys(&self, plan: Plan) -> Replies {
        let mut replies = Replies::new(self.arrival.open.envelope.recipients.len());
        for (place, reply) in plan.refused {
            let reply = if self.arrival.sealed { not_now() } else { reply };
            replies.give(&[place], &reply);
        }
        let (here, there) = (plan.deliveries, plan.onward);
        let delivered = async { together(here.into_iter().map(|planned| self.deliver(planned))).await };
        let forwarded = async { together(there.into_iter().map(|onward| self.forward(onward))).await };
        let (delivered, forwarded) = tokio::join!(delivered, forwarded);
        for (places, reply) in forwarded {
            replies.give(&places, &reply);
        }
        let mut refusals = Vec::new();
        for (places, reply, refusal) in delivered {
            replies.give(&places, &reply);
            refusals.extend(refusal);
        }
        // The sender can be told of a refusal as long as nobody has the message.
        if !refusals.is_empty() && (self.arrival.sealed || replies.is_kept()) {
            self.keep_for_the_operator(&refusals, &mut replies).await;
        }
        replies
    }

    /// Delivers one account's copy.
    async fn deliver(&self, planned: Planned) -> (Vec<usize>, Reply, Option<Refused>) {
        let kept = self.commit(&planned, self.item(), None).await;
        let places = planned.places.clone();
        match kept {
            Ok(kept) => {
                self.tell(&planned, &kept);
                (places, taken(self.item()), None)
            }
            Err(failure) => {
                let (reply, refusal) = self.not_delivered(planned, &failure);
                (places, reply, refusal)
            }
        }
    }

    /// Commits a copy under this id. One in quarantine is only there when it is known for whom it is and why.
    async fn commit(&self, planned: &Planned, item: ItemId, why: Option<&str>) -> Result<Kept, Failure> {
        let delivery = letter::delivery(
            self.arrival,
            planned,
            self.judgement,
            self.content,
            (item, self.shared.clock.now()),
        );
        let kept = self.shared.keeper.deliver(planned.account.as_str(), planned.tray, delivery).await?;
        if let (Tray::Quarantine, Kept::Stored(receipt, _)) = (planned.tray, &kept) {
            let entry = self.entry(item, planned, *receipt, why);
            self.shared.quarantine.record(entry).await.map_err(StoreError::Source)?;
        }
        Ok(kept)
    }

    fn entry(&self, item: ItemId, planned: &Planned, receipt: Receipt, why: Option<&str>) -> Entry {
        let envelope = &self.arrival.open.envelope;
        let recipients = planned.places.iter().filter_map(|place| envelope.recipients.get(*place));
        let (reason, score) = match why {
            Some(why) => (why.to_owned(), None),
            None if self.is_quarantined => (self.judgement.reason.clone(), self.judgement.score),
            None => (planned.reason.to_owned(), None),
        };
        Entry {
            item,
            at: self.shared.clock.now(),
            account: planned.account.to_string(),
            uidvalidity: receipt.uidvalidity,
            uid: receipt.uid,
            reverse_path: head::path(&envelope.reverse_path),
            recipients: recipients.map(|recipient| recipient.address.to_string()).collect(),
            reason,
            score,
        }
    }

    fn not_delivered(&self, planned: Planned, failure: &Failure) -> (Reply, Option<Refused>) {
        let (item, account) = (self.item(), &planned.account);
        let Some(refusal) = failure.refusal() else {
            tracing::error!(%item, %account, cause = %failure,
                "a message could not be stored; its sender or Edge keeps it");
            return (not_now(), None);
        };
        tracing::warn!(%item, %account, cause = %refusal, "the mailbox server refused a message");
        let detail = format!("<{}>: {account} refused it: {refusal}", planned.recipient);
        self.shared.trace.event(Some(item), TraceStep::Refused, detail);
        let words = format!("the mailbox server refused it: {refusal}");
        (refused(refusal), Some(Refused { planned, words }))
    }

    /// Gives the operator what was refused when it is too late to tell the sender.
    async fn keep_for_the_operator(&self, refusals: &[Refused], replies: &mut Replies) {
        let (Some(account), Some(Refused { planned: first, words })) =
            (self.shared.directory.postmaster(), refusals.first())
        else {
            return;
        };
        let mut places: Vec<usize> =
            refusals.iter().flat_map(|refusal| refusal.planned.places.clone()).collect();
        places.sort_unstable();
        places.dedup();
        replies.take_back(&places);
        let recipient = first.recipient.clone();
        let planned = Planned { account, tray: Tray::Quarantine, recipient, places, reason: "" };
        // Another id than that of what else the postmaster gets of this message.
        let item = derived_id("postern refused by LMTP", self.item());
        match self.commit(&planned, item, Some(words)).await {
            Ok(kept) => {
                self.tell(&planned, &kept);
                replies.give(&planned.places, &taken(self.item()));
            }
            Err(failure) => {
                let places = planned.places.clone();
                replies.give(&places, &self.not_delivered(planned, &failure).0);
            }
        }
    }

    /// Queues the message for where a recipient leads.
    async fn forward(&self, onward: Onward) -> (Vec<usize>, Reply) {
        let Onward { recipient, targets, places } = onward;
        let forwarding = Forwarding {
            item: self.item(),
            received: head::received(self.arrival, &recipient.address, Readers::World),
            recipient,
            targets,
            envelope: self.arrival.open.envelope.clone(),
            verdict: self.arrival.verdict.clone(),
            content: self.content.clone(),
        };
        match self.shared.forwarder.forward(forwarding).await {
            Ok(()) => (places, taken(self.item())),
            Err(cause) => {
                tracing::error!(item = %self.item(), %cause,
                    "a message could not be forwarded; its sender or Edge keeps it");
                (places, not_now())
            }
        }
    }

    fn tell(&self, planned: &Planned, kept: &Kept) {
        let open = &self.arrival.open;
        let (step, mailbox, place) = match kept {
            Kept::Stored(receipt, mailbox) => {
                let step = if receipt.duplicate { TraceStep::AlreadyHere } else { TraceStep::Delivered };
                (step, &**mailbox, format!("message {}", receipt.uid))
            }
            Kept::HandedOver => (TraceStep::Delivered, planned.tray.name(), "by LMTP".to_owned()),
            Kept::HandedOverBefore => (TraceStep::AlreadyHere, planned.tray.name(), "by LMTP".to_owned()),
        };
        let detail = format!(
            "from <{}> to <{}>: {mailbox} of {}, {place} ({} of {}, {} hops), score {}, message-id {}",
            open.envelope.reverse_path,
            planned.recipient,
            planned.account,
            if self.arrival.sealed { "sealed mail" } else { "live mail" },
            self.arrival.edge,
            self.arrival.verdict.hops,
            self.arrival.verdict.score(),
            self.marks,
        );
        self.shared.trace.event(Some(open.item), step, detail);
    }
}
