//! Reports to senders: from what the queue remembers to a message in the sender's own INBOX.
//!
//! What was handed in with a login is reported on here, and never leaves this Home; what becomes of forwarded mail is
//! told by [`super::forwarded`]. Its id is derived from the
//! original's: the same report written again after a crash is dropped by the store.

use daemon::system;
use mail::dsn::{Action, Original, Report, ReportedRecipient};
use mail::{Address, Domain, EnhancedCode, ItemId, Notify, Outcome, Ret, UnixTime};
use outbound::queue::{QueueState, QueuedRecipient, RecipientState, Submitted, derived_id};
use store::StoreError;

use crate::keeper::{Failure, Keeper, LocalMessage};

/// Longest message that a report carries whole when the sender asked for that (`RET=FULL`).
const FULL_OCTETS_MAX: u64 = 256 * 1024;
/// What is said of a recipient that nobody could try.
const NO_WAY: &str = "there was no way to the world yet";
/// Octets of the message in which its header is looked for.
const HEADER_OCTETS_MAX: usize = 64 * 1024;

/// The mailboxes that reports go to.
pub(crate) struct Mailboxes<'a> {
    /// The mailboxes.
    pub keeper: &'a Keeper,
    /// The account that gets the report when the sender's is gone.
    pub postmaster: Option<String>,
    /// Whether the sender's account is another's by now: a report of what it never sent is not for it.
    pub is_anothers: bool,
    /// The clock.
    pub now: UnixTime,
    /// Whether a domain's recipients are here.
    pub is_local: Box<dyn Fn(&Address) -> bool + Send + Sync + 'a>,
}

/// Whether a report is owed on a message whose recipients are all settled.
pub(crate) fn is_owed(submitted: Submitted<'_>, is_local: &dyn Fn(&Address) -> bool) -> bool {
    let state = submitted.state();
    let is_told = |queued| reported(queued, is_local).is_some();
    state.envelope.reverse_path.address().is_some() && state.recipients.iter().any(is_told)
}

/// Commits the report on a message whose recipients are all settled, if one is owed. Only after this may
/// the original go.
///
/// # Errors
/// Why the report is not in a mailbox; the original has to stay.
pub(crate) async fn report(
    submitted: Submitted<'_>,
    original: content::Content,
    mailboxes: &Mailboxes<'_>,
) -> Result<Option<Action>, String> {
    let state = submitted.state();
    let recipients: Vec<ReportedRecipient> =
        state.recipients.iter().filter_map(|queued| reported(queued, &*mailboxes.is_local)).collect();
    let worst = recipients.iter().map(|reported| reported.action).find(|action| is_failure(*action));
    let action = worst.or_else(|| recipients.first().map(|reported| reported.action));
    let full = state.envelope.ret == Some(Ret::Full) && original.octets() <= FULL_OCTETS_MAX;
    let part = if full { Part::Whole } else { Part::Header };
    let told =
        write(state, "postern report", &recipients, (original, part), mailboxes.now, mailboxes).await?;
    Ok(action.filter(|_| told))
}

/// Commits a report that the message is late and goes on being tried until `retry_until`, if the sender wants to
/// know. Tells whether there is one.
///
/// # Errors
/// Why the report is not in a mailbox.
pub(crate) async fn report_delay(
    submitted: Submitted<'_>,
    original: content::Content,
    retry_until: UnixTime,
    mailboxes: &Mailboxes<'_>,
) -> Result<bool, String> {
    let state = submitted.state();
    let recipients: Vec<ReportedRecipient> = state.recipients.iter().filter_map(delayed).collect();
    write(state, "postern delay", &recipients, (original, Part::Header), retry_until, mailboxes).await
}

/// How much of the original a report carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Header,
}

/// A report to be written.
pub(crate) struct Reported<'a> {
    /// What kind it is: its id follows from it and from the original's.
    pub kind: &'a str,
    /// In whose name it is written.
    pub domain: &'a Domain,
    /// The address that gets the report.
    pub to: &'a Address,
    /// The recipients that it tells of, at least one.
    pub recipients: &'a [ReportedRecipient],
}

/// The report's id and octets, with the original's header.
///
/// # Errors
/// The original can't be read, for this reason.
pub(crate) async fn compose(
    state: &QueueState,
    reported: &Reported<'_>,
    original: content::Content,
    now: UnixTime,
) -> Result<(ItemId, Vec<u8>), String> {
    put_together(state, reported, (original, Part::Header), (now, now)).await
}

async fn put_together(
    state: &QueueState,
    reported: &Reported<'_>,
    (original, part): (content::Content, Part),
    (now, retry_until): (UnixTime, UnixTime),
) -> Result<(ItemId, Vec<u8>), String> {
    let octets_max = if part == Part::Whole { usize::MAX } else { HEADER_OCTETS_MAX };
    let octets = tokio::task::spawn_blocking(move || original.read_at(0, octets_max))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let item = derived_id(reported.kind, state.item);
    let report = Report {
        item,
        domain: reported.domain,
        to: reported.to,
        now,
        arrived: state.submitted,
        retry_until,
        envid: state.envelope.envid.as_deref(),
        recipients: reported.recipients,
        original: if part == Part::Whole { Original::Full(&octets) } else { Original::Header(&octets) },
        boundary: &format!("{:032x}", u128::from_le_bytes(system::random())),
    };
    Ok((item, report.to_message()))
}

/// Commits a report to the sender. `false`: it would be for nobody.
async fn write(
    state: &QueueState,
    kind: &str,
    recipients: &[ReportedRecipient],
    original: (content::Content, Part),
    retry_until: UnixTime,
    mailboxes: &Mailboxes<'_>,
) -> Result<bool, String> {
    let Some(to) = state.envelope.reverse_path.address().filter(|_| !recipients.is_empty()) else {
        return Ok(false);
    };
    let reported = Reported { kind, domain: to.domain(), to, recipients };
    let (item, octets) = put_together(state, &reported, original, (mailboxes.now, retry_until)).await?;
    let former = mailboxes.postmaster.as_ref().filter(|_| mailboxes.is_anothers);
    commit(&local(item, octets, mailboxes.now), former.unwrap_or(&state.account), mailboxes)
        .await
        .map(|()| true)
}

fn local(item: ItemId, octets: Vec<u8>, now: UnixTime) -> LocalMessage {
    LocalMessage { item, reverse_path: mail::ReversePath::Null, content: octets.into(), now }
}

/// Commits a report to the postmaster's INBOX.
///
/// # Errors
/// The reason why the report is not in the INBOX.
pub(crate) async fn commit_to_postmaster(
    item: ItemId,
    octets: Vec<u8>,
    mailboxes: &Mailboxes<'_>,
) -> Result<(), String> {
    let Some(postmaster) = &mailboxes.postmaster else {
        return Err("there is no account yet that could be told".to_owned());
    };
    commit(&local(item, octets, mailboxes.now), postmaster, mailboxes).await
}

async fn commit(message: &LocalMessage, account: &str, mailboxes: &Mailboxes<'_>) -> Result<(), String> {
    let result = message.deliver_to(mailboxes.keeper, account, store::Head::default()).await;
    let result = match (result, &mailboxes.postmaster) {
        // A report that its account can't have any more is the operator's.
        (Err(failure), Some(postmaster)) if is_final(&failure) => {
            message.deliver_to(mailboxes.keeper, postmaster, store::Head::default()).await
        }
        (result, _) => result,
    };
    result.map(drop).map_err(|error| error.to_string())
}

fn is_final(failure: &Failure) -> bool {
    matches!(failure, Failure::Store(StoreError::NoAccount(_))) || failure.refusal().is_some()
}

/// The recipients that a message failed for, whatever its sender wants to know.
pub(crate) fn failed(state: &QueueState) -> Vec<ReportedRecipient> {
    let failed = state.recipients.iter().filter_map(|queued| {
        let action = match queued.state {
            RecipientState::Failed => Action::Failed,
            RecipientState::Expired => Action::Expired,
            RecipientState::Pending | RecipientState::Delivered => return None,
        };
        let why = queued.last.as_ref().map(Outcome::why)?.clone();
        Some(ReportedRecipient { recipient: queued.recipient.clone(), action, why })
    });
    failed.collect()
}

/// What is told of a recipient, if anything (RFC 3461 section 4.1: without NOTIFY, failures are). What another host
/// reports of its own success is not told twice.
fn reported(queued: &QueuedRecipient, is_local: &dyn Fn(&Address) -> bool) -> Option<ReportedRecipient> {
    let notify = queued.recipient.notify.unwrap_or(Notify { failure: true, ..Notify::NEVER });
    let action = match queued.state {
        RecipientState::Pending => return None,
        RecipientState::Failed => Action::Failed,
        RecipientState::Expired => Action::Expired,
        RecipientState::Delivered if is_local(&queued.recipient.address) => Action::Delivered,
        RecipientState::Delivered => Action::Relayed,
    };
    let why = queued.last.as_ref().map(Outcome::why)?.clone();
    let wanted = if is_failure(action) { notify.failure } else { notify.success && !why.reports };
    wanted.then(|| ReportedRecipient { recipient: queued.recipient.clone(), action, why })
}

/// A recipient that waits, for a report on a delay (RFC 3461 section 4.1: without NOTIFY, delays may be told).
fn delayed(queued: &QueuedRecipient) -> Option<ReportedRecipient> {
    let wanted = queued.recipient.notify.is_none_or(|notify| notify.delay);
    let waits = queued.state == RecipientState::Pending && wanted;
    let why = queued.last.as_ref().map(Outcome::why).cloned();
    let why = why.unwrap_or_else(|| Outcome::deferred(EnhancedCode(4, 4, 1), NO_WAY).why().clone());
    waits.then(|| ReportedRecipient { recipient: queued.recipient.clone(), action: Action::Delayed, why })
}

const fn is_failure(action: Action) -> bool {
    matches!(action, Action::Failed | Action::Expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_says_what_is_told() {
        let success = Notify { success: true, ..Notify::NEVER };
        let failure = Notify { failure: true, ..Notify::NEVER };
        let cases = [
            (RecipientState::Failed, None, Some(Action::Failed)),
            (RecipientState::Failed, Some(failure), Some(Action::Failed)),
            (RecipientState::Failed, Some(success), None),
            (RecipientState::Expired, Some(Notify::NEVER), None),
            (RecipientState::Expired, None, Some(Action::Expired)),
            (RecipientState::Delivered, None, None),
            (RecipientState::Delivered, Some(success), Some(Action::Relayed)),
            (RecipientState::Pending, Some(success), None),
        ];
        for (state, notify, told) in cases {
            let mut recipient = mail::Recipient::from(Address::parse("b@example.net").unwrap());
            recipient.notify = notify;
            let last = Some(Outcome::failed(EnhancedCode(5, 0, 0), "x"));
            let queued = QueuedRecipient { recipient, state, last, attempts: 1 };
            let got = reported(&queued, &|_| false).map(|reported| reported.action);
            assert_eq!(got, told, "{state:?} {notify:?}");
            let late = delayed(&queued).map(|reported| reported.action);
            assert_eq!(late, None, "{state:?} {notify:?}");
        }
        // Symptom: two reports of one delivery, found with Exim. Cause: NOTIFY was passed on to a host that reports, and
        // the relaying was told all the same (RFC 3461 section 5.2.1).
        let mut last = Outcome::from_reply(None, &mail::Reply::new(250, (2, 0, 0), "OK"));
        for (reports, told) in [(false, Some(Action::Relayed)), (true, None)] {
            if let Outcome::Delivered(why) = &mut last {
                why.reports = reports;
            }
            let mut recipient = mail::Recipient::from(Address::parse("b@example.net").unwrap());
            recipient.notify = Some(success);
            let last = Some(last.clone());
            let queued = QueuedRecipient { recipient, state: RecipientState::Delivered, last, attempts: 1 };
            assert_eq!(reported(&queued, &|_| false).map(|reported| reported.action), told);
        }
        let late = |notify, last| {
            let mut recipient = mail::Recipient::from(Address::parse("b@example.net").unwrap());
            recipient.notify = notify;
            delayed(&QueuedRecipient { recipient, state: RecipientState::Pending, last, attempts: 1 })
        };
        assert_eq!(late(None, None).unwrap().why.cause, NO_WAY);
        let busy = Outcome::deferred(EnhancedCode(4, 3, 2), "busy");
        assert_eq!(late(Some(Notify { delay: true, ..failure }), Some(busy)).unwrap().why.cause, "busy");
        assert_eq!(late(Some(failure), None), None);
    }
}
