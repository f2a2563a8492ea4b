//! A message that is whole: shown to the filters, committed to every account, answered.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use link::Open;
use mail::{Place, Reply, Verdict, header};
use store::{Delivery, FlagList, Receipt, StoreError};

use super::buffer::Buffer;
use super::head::{self, path};
use super::plan::{Onward, Plan, Planned, plan};
use super::waiting::Waiting;
use super::{Arrivals, not_now};
use crate::home::directory::AccountId;
use crate::home::filters::{self, Action, Arrived, Contents, Filters, Judgement, Subject};
use crate::home::forward::Forwarding;
use crate::home::quarantine::{Entry, QUARANTINE, Quarantine};
use crate::system;
use crate::trace::Trace;

/// Where mail goes that a filter takes for spam, in an account that has no mailbox with the special use.
const JUNK: &str = "Junk";

/// How a message came.
pub(super) struct Arrival {
    pub(super) open: Box<Open>,
    pub(super) edge: String,
    pub(super) sealed: bool,
    /// What Edge found out.
    pub(super) verdict: Verdict,
}

impl Arrival {
    /// What a refusal would mean. Whoever reports abuse, or writes to postmaster, and to nobody else, is heard.
    fn arrived(&self) -> Arrived {
        let reachable = ["postmaster", "abuse"];
        let mut locals = self.open.envelope.recipients.iter().map(|recipient| recipient.address.local());
        match (self.sealed, locals.all(|local| reachable.iter().any(|name| local.eq_ignore_ascii_case(name))))
        {
            (false, false) => Arrived::Live,
            (false, true) => Arrived::LiveForPostmaster,
            (true, false) => Arrived::Sealed,
            (true, true) => Arrived::SealedForPostmaster,
        }
    }
}

/// A message, where it is to go, and who waits for the answer.
struct Whole {
    arrival: Arrival,
    plan: Plan,
    buffer: Buffer,
    waiting: Waiting,
}

/// Takes a message that is whole. Without filters it goes straight to the store; with filters it waits for
/// them beside the link, which goes on.
pub(super) fn arrived(shared: &Arc<Arrivals>, arrival: Arrival, buffer: Buffer, waiting: Waiting) {
    let mut plan = plan(&shared.directory, &shared.forwarder, &arrival);
    if !plan.onward.is_empty() {
        match buffer.contents().and_then(|contents| contents.header()) {
            Ok(header) => plan.break_loops(&shared.directory, &header, arrival.sealed),
            Err(error) => {
                return unreadable(shared, Whole { arrival, plan, buffer, waiting }, &error);
            }
        }
    }
    let whole = Whole { arrival, plan, buffer, waiting };
    match &shared.filters {
        Some(filters) if !whole.plan.is_empty() => judge(shared, filters, whole),
        _ => deliver(shared, whole, &Judgement::default()),
    }
}

fn judge(shared: &Arc<Arrivals>, filters: &Arc<Filters>, whole: Whole) {
    let contents = match whole.buffer.contents() {
        Ok(contents) => contents,
        Err(error) => return unreadable(shared, whole, &error),
    };
    let subject = Subject {
        item: whole.arrival.open.item,
        envelope: whole.arrival.open.envelope.clone(),
        edge: whole.arrival.edge.clone(),
        contents,
    };
    let (shared, asked) = (Arc::clone(shared), Arc::clone(filters));
    filters.spawn(async move {
        let judgement = asked.judge(&subject).await;
        let committing = move || deliver(&shared, whole, &judgement);
        // Rewriting a header and asking for a mailbox's name read the disk.
        if let Err(error) = tokio::task::spawn_blocking(committing).await {
            tracing::error!(item = %subject.item, %error, "a message was not delivered; Edge keeps it");
        }
    });
}

fn unreadable(shared: &Arrivals, whole: Whole, error: &io::Error) {
    tracing::error!(item = %whole.arrival.open.item, %error, "a message can't be read again; it stays with Edge");
    Answering::new(shared, whole.arrival, whole.waiting, 0).answer_all(&not_now());
}

/// Delivers to every account as the judgement says; the answer goes out when all have committed.
fn deliver(shared: &Arc<Arrivals>, mut whole: Whole, judgement: &Judgement) {
    let mut action = judgement.action.clone().possible(whole.arrival.arrived());
    if action == Action::Accept && whole.arrival.verdict.place == Place::Junk {
        action = Action::Junk;
    }
    match &action {
        Action::Accept => {}
        Action::Junk => whole.plan.divert_to_junk(&shared.directory, |account| junk_of(shared, account)),
        Action::Quarantine => whole.plan.divert_to_quarantine(&shared.directory),
        Action::Defer(reply) | Action::Reject(reply) => return refuse(shared, whole, reply),
    }
    if !judgement.rewrites.is_empty()
        && let Err(error) = rewrite(shared, &mut whole.buffer, judgement)
    {
        // Fields that a filter wants gone are less than the message.
        tracing::warn!(item = %whole.arrival.open.item, %error, "the header stays as it came");
    }
    let kept = (action == Action::Quarantine).then(|| (judgement.reason.clone(), judgement.score));
    commit(shared, whole, judgement, kept);
}

fn refuse(shared: &Arrivals, whole: Whole, reply: &Reply) {
    let envelope = &whole.arrival.open.envelope;
    let to: Vec<String> = envelope.recipients.iter().map(|to| format!("<{}>", to.address)).collect();
    let step = if reply.code >= 500 { "refused" } else { "not-taken" };
    let id = message_id(whole.buffer.pieces.first(), whole.buffer.file.as_ref());
    let from = path(&envelope.reverse_path);
    let detail = format!("from <{from}> to {}: {reply}, message-id {id}", to.join(", "));
    shared.trace.event(Some(whole.arrival.open.item), step, detail);
    Answering::new(shared, whole.arrival, whole.waiting, 0).answer_all(reply);
}

/// The account's mailbox for spam.
fn junk_of(shared: &Arrivals, account: &AccountId) -> String {
    let mailboxes = shared.store.reader(account.as_str()).and_then(|reader| reader.mailboxes());
    let is_junk = |mailbox: &store::Mailbox| mailbox.special_use.as_deref() == Some("\\Junk");
    let found = mailboxes.unwrap_or_default().into_iter().find(is_junk);
    found.map_or_else(|| JUNK.to_owned(), |mailbox| mailbox.name)
}

/// Puts the header as the filters want it in place of the one that came.
fn rewrite(shared: &Arrivals, buffer: &mut Buffer, judgement: &Judgement) -> io::Result<()> {
    let contents = buffer.contents()?;
    let old = contents.header()?;
    let new = filters::rewrite(&old, &judgement.rewrites);
    match &contents {
        Contents::Memory(pieces) => {
            let all = Bytes::from(pieces.concat());
            buffer.pieces = vec![new.into(), all.slice(old.len()..)];
        }
        Contents::File(file, _) => {
            let mut rest = file.try_clone()?;
            rest.seek(io::SeekFrom::Start(old.len() as u64))?;
            let mut out = tempfile::tempfile_in(&shared.drafts)?;
            out.write_all(&new)?;
            io::copy(&mut rest, &mut out)?;
            buffer.file = Some(out);
        }
    }
    Ok(())
}

/// `kept` is why the operator gets it, when a filter wants that.
fn commit(shared: &Arc<Arrivals>, whole: Whole, judgement: &Judgement, kept: Option<(String, Option<f64>)>) {
    let Whole { arrival, plan, mut buffer, waiting } = whole;
    let contents = match buffer.contents() {
        Ok(contents) => contents,
        Err(error) => return unreadable(shared, Whole { arrival, plan, buffer, waiting }, &error),
    };
    let pieces = std::mem::take(&mut buffer.pieces);
    let file = buffer.file.take();
    let item = arrival.open.item;
    let owed = plan.deliveries.len() + plan.onward.len();
    let mut answering = Answering::new(shared, arrival, waiting, owed);
    answering.message_id = message_id(pieces.first(), file.as_ref());
    answering.kept = kept;
    answering.buffer = Some(buffer);
    answering.refuse(plan.refused);
    if owed == 0 {
        return answering.send();
    }
    let answering = Arc::new(answering);
    for onward in plan.onward {
        forward(shared, &answering, onward, contents.clone());
    }
    for planned in plan.deliveries {
        let body = match &file {
            Some(file) => match file.try_clone().and_then(|file| Ok((file.metadata()?.len(), file))) {
                Ok((octets, file)) => store::Body::File(file, octets),
                Err(error) => {
                    answering.settle(&planned, Err(&error.to_string()));
                    continue;
                }
            },
            None => store::Body::Memory(pieces.clone()),
        };
        let delivery = Delivery {
            item: Some(item),
            mailbox: planned.mailbox.clone(),
            head: head::above(&answering.arrival, &planned, judgement),
            body,
            flags: FlagList::default(),
            internal_date: system::now(),
        };
        let account = planned.account.clone();
        let answering = Arc::clone(&answering);
        shared.store.deliver(account.as_str(), delivery, move |result: Result<Receipt, StoreError>| {
            match result {
                Ok(receipt) => answering.committed(planned, receipt),
                Err(error) => answering.settle(&planned, Err(&error.to_string())),
            }
        });
    }
}

/// Queues the message for where a recipient leads.
fn forward(shared: &Arrivals, answering: &Arc<Answering>, onward: Onward, contents: Contents) {
    let Onward { recipient, targets, places } = onward;
    let arrival = &answering.arrival;
    let forwarding = Forwarding {
        item: arrival.open.item,
        received: head::received(arrival, &recipient.address),
        recipient,
        targets,
        envelope: arrival.open.envelope.clone(),
        verdict: arrival.verdict.clone(),
        contents,
    };
    let answering = Arc::clone(answering);
    shared.forwarder.forward(forwarding, move |result| {
        if let Err(cause) = &result {
            tracing::error!(item = %answering.arrival.open.item, %cause,
                "a message could not be forwarded; its sender or Edge keeps it");
        }
        answering.reply(&places, result.is_ok());
    });
}

/// Replies that are collected until every account has answered; the last one sends them.
struct Answering {
    arrival: Arrival,
    waiting: Waiting,
    trace: Trace,
    quarantine: Quarantine,
    /// For the trace; empty when the message has none.
    message_id: String,
    /// Why a filter has it quarantined, and its score.
    kept: Option<(String, Option<f64>)>,
    replies: Mutex<(usize, Vec<Option<Reply>>)>,
    /// Keeps the body's share of the memory until all is committed.
    buffer: Option<Buffer>,
}

impl Answering {
    fn new(shared: &Arrivals, arrival: Arrival, waiting: Waiting, owed: usize) -> Self {
        let replies = vec![None; arrival.open.envelope.recipients.len()];
        Self {
            arrival,
            waiting,
            trace: shared.trace.clone(),
            quarantine: shared.quarantine.clone(),
            message_id: String::new(),
            kept: None,
            replies: Mutex::new((owed, replies)),
            buffer: None,
        }
    }

    fn answer_all(&self, reply: &Reply) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.1.fill(Some(reply.clone()));
        drop(replies);
        self.send();
    }

    fn refuse(&self, refused: Vec<(usize, Reply)>) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, reply) in refused {
            if let Some(slot) = replies.1.get_mut(place) {
                *slot = Some(if self.arrival.sealed { not_now() } else { reply });
            }
        }
    }

    /// The message is in the account. One in quarantine is only answered when it is known for whom it is and why.
    fn committed(self: Arc<Self>, planned: Planned, receipt: Receipt) {
        if planned.mailbox != QUARANTINE {
            return self.settle(&planned, Ok(&receipt));
        }
        let entry = self.entry(&planned, &receipt);
        let quarantine = self.quarantine.clone();
        quarantine.record(entry, move |recorded| match &recorded {
            Ok(()) => self.settle(&planned, Ok(&receipt)),
            Err(error) => self.settle(&planned, Err(error.as_str())),
        });
    }

    fn entry(&self, planned: &Planned, receipt: &Receipt) -> Entry {
        let envelope = &self.arrival.open.envelope;
        let recipients = planned.places.iter().filter_map(|place| envelope.recipients.get(*place));
        let (reason, score) = self.kept.clone().unwrap_or_else(|| (planned.reason.to_owned(), None));
        Entry {
            item: self.arrival.open.item,
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

    fn settle(&self, planned: &Planned, result: Result<&Receipt, &str>) {
        match result {
            Ok(receipt) => self.tell(planned, receipt),
            Err(cause) => tracing::error!(item = %self.arrival.open.item, account = %planned.account, %cause,
                "a message could not be stored; its sender or Edge keeps it"),
        }
        self.reply(&planned.places, result.is_ok());
    }

    /// One of those that were waited for is done; the last one sends the answer.
    fn reply(&self, places: &[usize], is_kept: bool) {
        let reply = if is_kept {
            Reply::new(250, (2, 0, 0), format!("Delivered as {}", self.arrival.open.item))
        } else {
            not_now()
        };
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        for place in places {
            // An alias may lead to several accounts: one that failed makes the recipient's reply.
            if let Some(slot) =
                replies.1.get_mut(*place).filter(|s| s.as_ref().is_none_or(Reply::is_positive))
            {
                *slot = Some(reply.clone());
            }
        }
        replies.0 = replies.0.saturating_sub(1);
        let last = replies.0 == 0;
        drop(replies);
        if last {
            self.send();
        }
    }

    fn tell(&self, planned: &Planned, receipt: &Receipt) {
        let open = &self.arrival.open;
        let step = if receipt.duplicate { "already-here" } else { "delivered" };
        let detail = format!(
            "from <{}> to <{}>: {} of {}, message {} ({} of {}, {} hops), score {}, message-id {}",
            open.envelope.reverse_path,
            planned.recipient,
            planned.mailbox,
            planned.account,
            receipt.uid,
            if self.arrival.sealed { "sealed mail" } else { "live mail" },
            self.arrival.edge,
            self.arrival.verdict.hops,
            self.arrival.verdict.score(),
            self.message_id,
        );
        self.trace.event(Some(open.item), step, detail);
    }

    fn send(&self) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let replies: Vec<Reply> = replies.1.drain(..).map(|reply| reply.unwrap_or_else(not_now)).collect();
        let replies = if self.arrival.sealed { vec![worst(replies)] } else { replies };
        self.waiting.answer(self.arrival.open.item, replies);
    }
}

/// The Message-ID, if it stands in the first piece of the message; cut to what a line of the trace bears.
fn message_id(piece: Option<&Bytes>, file: Option<&File>) -> String {
    use std::os::unix::fs::FileExt as _;
    let mut start = [0; 16 * 1024];
    let start = match (piece, file) {
        (Some(piece), _) => &piece[..],
        (None, Some(file)) => {
            let octets = file.read_at(&mut start, 0).unwrap_or(0);
            start.get(..octets).unwrap_or_default()
        }
        (None, None) => &[],
    };
    let field = header::find(start, "Message-ID");
    field.map_or_else(String::new, |field| {
        field.unfolded().chars().filter(|c| !c.is_control()).take(256).collect()
    })
}

/// A sealed item is done when every recipient is; else it stays with Edge and comes again.
fn worst(replies: Vec<Reply>) -> Reply {
    let failed = replies.iter().position(|reply| !reply.is_positive());
    let at = failed.unwrap_or(0);
    replies.into_iter().nth(at).unwrap_or_else(not_now)
}
