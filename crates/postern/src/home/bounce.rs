//! Reports to senders: from what the queue remembers to a message in the sender's own INBOX.
//!
//! Only what was handed in with a login is reported on, so a report never leaves this Home. Its id is derived from the
//! original's: the same report written again after a crash is dropped by the store.

use std::sync::Arc;

use mail::dsn::{Action, Original, Report, ReportedRecipient};
use mail::{Address, ItemId, Notify, Outcome, Ret};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError};

use super::dispatch::{LocalMessage, Octets};
use super::queue::{QueuedRecipient, RecipientState, Submitted};
use crate::system;

/// Longest message that a report carries whole when the sender asked for that (`RET=FULL`).
const FULL_OCTETS_MAX: u64 = 256 * 1024;
/// Octets of the message in which its header is looked for.
const HEADER_OCTETS_MAX: usize = 64 * 1024;

/// Where a report goes.
pub struct Mailboxes<'a> {
    /// The mailboxes.
    pub store: &'a Arc<Store>,
    /// Who gets the report when the sender's account is gone.
    pub postmaster: Option<String>,
    /// Whether a domain's recipients are here.
    pub is_local: &'a (dyn Fn(&Address) -> bool + Sync),
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
        state.recipients.iter().filter_map(|queued| reported(queued, mailboxes.is_local)).collect();
    let Some(to) = state.envelope.reverse_path.address().filter(|_| !recipients.is_empty()) else {
        return Ok(None);
    };
    let worst = recipients.iter().map(|reported| reported.action).find(|action| is_failure(*action));
    let action = worst.or_else(|| recipients.first().map(|reported| reported.action));
    let full = state.envelope.ret == Some(Ret::Full) && original.octets() <= FULL_OCTETS_MAX;
    let octets_max = if full { usize::MAX } else { HEADER_OCTETS_MAX };
    let octets = tokio::task::spawn_blocking(move || original.read(0, octets_max))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let original = if full { Original::Full(&octets) } else { Original::Header(&octets) };
    let item = report_id(state.item);
    let message = Report {
        item,
        domain: to.domain(),
        to,
        now: system::now(),
        arrived: state.submitted,
        envid: state.envelope.envid.as_deref(),
        recipients: &recipients,
        original,
        boundary: &format!("{:032x}", u128::from_le_bytes(system::random())),
    };
    let message = LocalMessage {
        item,
        reverse_path: mail::ReversePath::Null,
        octets: Octets::Memory(message.to_message().into()),
    };
    commit(&message, &state.account, mailboxes).await.map(|()| action)
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

/// The id of the report on an item: its time, and octets that follow from its id.
fn report_id(item: ItemId) -> ItemId {
    let digest = Sha256::new().chain_update(b"postern report").chain_update(item.as_bytes()).finalize();
    let mut octets = *item.as_bytes();
    for (octet, hashed) in octets.iter_mut().skip(6).zip(digest) {
        *octet = hashed;
    }
    ItemId::from_bytes(octets)
}

/// What is told of a recipient, if anything (RFC 3461 section 4.1: without NOTIFY, failures are).
fn reported(
    queued: &QueuedRecipient,
    is_local: &(dyn Fn(&Address) -> bool + Sync),
) -> Option<ReportedRecipient> {
    let notify = queued.recipient.notify.unwrap_or(Notify { failure: true, ..Notify::NEVER });
    let action = match queued.state {
        RecipientState::Pending => return None,
        RecipientState::Failed => Action::Failed,
        RecipientState::Expired => Action::Expired,
        RecipientState::Delivered if is_local(&queued.recipient.address) => Action::Delivered,
        RecipientState::Delivered => Action::Relayed,
    };
    let wanted = if is_failure(action) { notify.failure } else { notify.success };
    let why = queued.last.as_ref().map(Outcome::why)?.clone();
    wanted.then(|| ReportedRecipient { recipient: queued.recipient.clone(), action, why })
}

const fn is_failure(action: Action) -> bool {
    matches!(action, Action::Failed | Action::Expired)
}

#[cfg(test)]
mod tests {
    use mail::EnhancedCode;

    use super::*;

    #[test]
    fn the_id_of_a_report_follows_from_the_originals() {
        let item = ItemId::new(mail::UnixTime::from_secs(1_000), [7; 10]);
        assert_eq!(report_id(item), report_id(item));
        assert_ne!(report_id(item), item);
        assert_ne!(report_id(report_id(item)), item);
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
        }
    }
}
