//! A message that is whole: shown to the filters, committed to every account, answered.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use daemon::system;
use directory::AccountId;
use link::{Open, TraceStep};
use mail::received::Readers;
use mail::{ItemId, Place, Reply, Verdict, header};
use store::{Delivery, FlagList, StoreError};

use super::answering::Answering;
use super::buffer::Buffer;
use super::head::{self, path};
use super::plan::{Onward, Plan, Planned, plan};
use super::repeats::Digest;
use super::waiting::Waiting;
use super::{Arrivals, not_now};
use crate::filters::{self, Action, Arrived, Contents, Filters, Judgement, Subject};
use crate::forward::Forwarding;

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

fn unreadable(shared: &Arc<Arrivals>, whole: Whole, error: &io::Error) {
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

fn refuse(shared: &Arc<Arrivals>, whole: Whole, reply: &Reply) {
    let envelope = &whole.arrival.open.envelope;
    let to: Vec<String> = envelope.recipients.iter().map(|to| format!("<{}>", to.address)).collect();
    let step = if reply.code >= 500 { TraceStep::Refused } else { TraceStep::NotTaken };
    let id = message_id(whole.buffer.pieces.first(), whole.buffer.file.as_ref());
    let from = path(&envelope.reverse_path);
    let detail = format!("from <{from}> to {}: {reply}, message-id {id}", to.join(", "));
    shared.trace.event(Some(whole.arrival.open.item), step, detail);
    Answering::new(shared, whole.arrival, whole.waiting, 0).answer_all(reply);
}

/// The account's mailbox for spam.
fn junk_of(shared: &Arrivals, account: &AccountId) -> String {
    let mailboxes = shared.keeper.store().reader(account.as_str()).and_then(|reader| reader.mailboxes());
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

/// `kept` is why the operator gets it, when a filter wants that. The same message as one that may not have been heard
/// waits beside the link for the word on that one; what was sealed has had it before it came.
fn commit(shared: &Arc<Arrivals>, whole: Whole, judgement: &Judgement, kept: Option<(String, Option<f64>)>) {
    let digest = whole.buffer.digest(&whole.arrival.open.envelope, &whole.plan.places(&shared.directory));
    let open = digest.filter(|digest| shared.repeats.is_open(*digest, system::now()));
    match (open, tokio::runtime::Handle::try_current()) {
        (Some(open), Ok(runtime)) => {
            let (shared, judgement) = (Arc::clone(shared), judgement.clone());
            runtime.spawn(async move {
                shared.repeats.word_on(open, system::now).await;
                commit_now(&shared, whole, &judgement, (kept, digest));
            });
        }
        _ => commit_now(shared, whole, judgement, (kept, digest)),
    }
}

/// Why the operator gets it, if he does; and what it is known by.
type About = (Option<(String, Option<f64>)>, Option<Digest>);

fn commit_now(shared: &Arc<Arrivals>, whole: Whole, judgement: &Judgement, (kept, digest): About) {
    let Whole { arrival, plan, buffer, waiting } = whole;
    let contents = match buffer.contents() {
        Ok(contents) => contents,
        Err(error) => return unreadable(shared, Whole { arrival, plan, buffer, waiting }, &error),
    };
    let item = arrival.open.item;
    // The same item, live and then sealed, is the store's to know: it looks at what each account has.
    let first = digest.and_then(|digest| shared.repeats.first_of(digest, system::now()));
    let first = first.filter(|first| *first != item);
    let owed = plan.deliveries.len() + plan.onward.len();
    let mut answering = Answering::new(shared, arrival, waiting, owed);
    if let Some(first) = first {
        return answering.is_the_same_as(first);
    }
    answering.digest = digest;
    answering.message_id = message_id(buffer.pieces.first(), buffer.file.as_ref());
    answering.kept = kept;
    answering.contents = Some((contents.clone(), judgement.clone()));
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
        let delivery = delivery(&answering.arrival, &planned, judgement, &contents, item);
        let account = planned.account.clone();
        let answering = Arc::clone(&answering);
        match delivery {
            Ok(delivery) => shared.keeper.deliver(account.as_str(), delivery, move |result| {
                answering.delivered(planned, result);
            }),
            Err(error) => answering.delivered(planned, Err(StoreError::Source(error.to_string()).into())),
        }
    }
}

/// What an account gets, under this id.
pub(super) fn delivery(
    arrival: &Arrival,
    planned: &Planned,
    judgement: &Judgement,
    contents: &Contents,
    item: ItemId,
) -> io::Result<Delivery> {
    let body = match contents {
        Contents::Memory(pieces) => store::Body::Memory(pieces.clone()),
        Contents::File(file, octets) => store::Body::File(file.try_clone()?, *octets),
    };
    Ok(Delivery {
        item: Some(item),
        mailbox: planned.mailbox.clone(),
        head: head::above(arrival, planned, judgement),
        body,
        flags: FlagList::default(),
        internal_date: system::now(),
    })
}

/// Queues the message for where a recipient leads.
fn forward(shared: &Arc<Arrivals>, answering: &Arc<Answering>, onward: Onward, contents: Contents) {
    let Onward { recipient, targets, places } = onward;
    let arrival = &answering.arrival;
    let forwarding = Forwarding {
        item: arrival.open.item,
        received: head::received(arrival, &recipient.address, Readers::World),
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
        answering.forwarded(&places, result.is_ok());
    });
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
