//! Reports to senders: from what the queue remembers to a message in the sender's own INBOX.
//!
//! Only what was handed in with a login is reported on, so a report never leaves this Home. Its id is derived from the
//! original's: the same report written again after a crash is dropped by the store.

use std::sync::Arc;

use mail::dsn::{Action, Original, Report, ReportedRecipient};
use mail::{Address, EnhancedCode, ItemId, Notify, Outcome, Ret, UnixTime};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError};

use super::dispatch::{LocalMessage, Octets};
use super::queue::{QueueState, QueuedRecipient, RecipientState, Submitted};
use crate::system;

/// Longest message that a report carries whole when the sender asked for that (`RET=FULL`).
const FULL_OCTETS_MAX: u64 = 256 * 1024;
/// What is said of a recipient that nobody could try.
const NO_WAY: &str = "there was no way to the world yet";
/// Octets of the message in which its header is looked for.
const HEADER_OCTETS_MAX: usize = 64 * 1024;

/// Where a report goes.
pub struct Mailboxes<'a> {
    /// The mailboxes.
    pub store: &'a Arc<Store>,
    /// Who gets the report when the sender's account is gone.
    pub postmaster: Option<String>,
    /// Whether a domain's recipients are here.
    pub is_local: Box<dyn Fn(&Address) -> bool + Send + Sync + 'a>,
}

/// Commits the report on a message whose recipients are all settled, if one is owed. Only after this may
/// the original go.
///
/// # Errors
/// Why the report is not in a mailbox; the original has to stay.
pub async fn report(
    submitted: Submitted<'_>,
    original: spool::Body,
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
        write(state, "postern report", &recipients, (original, part), system::now(), mailboxes).await?;
    Ok(action.filter(|_| told))
}

/// Commits a report that the message is late and goes on being tried until `retry_until`, if the sender wants to
/// know. Tells whether there is one.
///
/// # Errors
/// Why the report is not in a mailbox.
pub async fn report_delay(
    submitted: Submitted<'_>,
    original: spool::Body,
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

/// Commits a report with an id that follows from the original's and from `kind`. `false`: it would be for nobody.
async fn write(
    state: &QueueState,
    kind: &str,
    recipients: &[ReportedRecipient],
    (original, part): (spool::Body, Part),
    retry_until: UnixTime,
    mailboxes: &Mailboxes<'_>,
) -> Result<bool, String> {
    let Some(to) = state.envelope.reverse_path.address().filter(|_| !recipients.is_empty()) else {
        return Ok(false);
    };
    let octets_max = if part == Part::Whole { usize::MAX } else { HEADER_OCTETS_MAX };
    let octets = tokio::task::spawn_blocking(move || original.read(0, octets_max))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let item = report_id(kind, state.item);
    let message = Report {
        item,
        domain: to.domain(),
        to,
        now: system::now(),
        arrived: state.submitted,
        retry_until,
        envid: state.envelope.envid.as_deref(),
        recipients,
        original: if part == Part::Whole { Original::Full(&octets) } else { Original::Header(&octets) },
        boundary: &format!("{:032x}", u128::from_le_bytes(system::random())),
    };
    let message = LocalMessage {
        item,
        reverse_path: mail::ReversePath::Null,
        octets: Octets::Memory(message.to_message().into()),
    };
    commit(&message, &state.account, mailboxes).await.map(|()| true)
}

async fn commit(message: &LocalMessage, account: &str, mailboxes: &Mailboxes<'_>) -> Result<(), String> {
    let result = message.deliver_to(mailboxes.store, account, Vec::new()).await;
    let result = match (result, &mailboxes.postmaster) {
        (Err(StoreError::NoAccount(_)), Some(postmaster)) => {
            message.deliver_to(mailboxes.store, postmaster, Vec::new()).await
        }
        (result, _) => result,
    };
    result.map(drop).map_err(|error| error.to_string())
}

/// The id of a report on an item: its time, and octets that follow from its id and the kind of report.
fn report_id(kind: &str, item: ItemId) -> ItemId {
    let digest = Sha256::new().chain_update(kind).chain_update(item.as_bytes()).finalize();
    let mut octets = *item.as_bytes();
    for (octet, hashed) in octets.iter_mut().skip(6).zip(digest) {
        *octet = hashed;
    }
    ItemId::from_bytes(octets)
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
    fn the_id_of_a_report_follows_from_the_originals_and_the_kind() {
        let item = ItemId::new(UnixTime::from_secs(1_000), [7; 10]);
        assert_eq!(report_id("a", item), report_id("a", item));
        assert_ne!(report_id("a", item), item);
        assert_ne!(report_id("a", item), report_id("b", item));
        assert_ne!(report_id("a", report_id("a", item)), item);
    }

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
