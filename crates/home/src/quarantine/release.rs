//! Release: a message in quarantine goes to the INBOX of those it was for, once.
//!
//! Each delivery has an id that follows from the message's own. A release that broke off half way, and is done
//! again, finds what was delivered and does not deliver it twice; only after all of it does the message leave
//! the quarantine.

use std::io::{self, Read};
use std::path::Path;

use content::Content;
use daemon::control::Refusal;
use directory::AccountId;
use link::TraceStep;
use mail::{Address, BodyType, Envelope, ItemId, Recipient, ReversePath, Verdict};
use outbound::queue::derived_id;
use serde_json::{Value, json};
use store::tables::QuarantineEntry as Entry;
use store::{Delivery, FlagList, Head};

use super::kept::{Found, Parts, Quarantine, failed};
use crate::forward::Forwarding;
use crate::keeper::Tray;

/// Octets in which the fields are looked for that the first delivery put before the message.
const START_OCTETS: usize = 16 * 1024;

/// Delivers a message to its recipients, or to another one, and takes it out of the quarantine.
pub(super) async fn release(
    quarantine: &Quarantine,
    parts: &Parts<'_>,
    item: ItemId,
    to: Option<&str>,
) -> Result<Value, Refusal> {
    let (store, drafts) = (parts.keeper.store(), parts.drafts.to_owned());
    let read = quarantine.beside(store, move |kept, store| {
        let entry = kept.entry(item)?;
        let found = kept.located(store, &entry)?;
        let content = content_of(&entry, &found, &drafts).map_err(|error| failed(&error))?;
        Ok((entry, found.mailbox, content))
    });
    let (entry, mailbox, content) = read.await?;
    let Recipients { accounts, onward, unknown } = recipients(parts, &entry, to)?;
    let (mut delivered, mut refused) = (Vec::new(), None);
    for (account, recipient) in &accounts {
        let delivery = Delivery {
            item: Some(released_id(item)),
            mailbox: Tray::Inbox.name().to_owned(),
            head: Head::new(reverse_path(&entry), recipient.clone(), Vec::new()),
            body: content.clone(),
            flags: FlagList::default(),
            internal_date: parts.now,
        };
        if let Err(error) = parts.keeper.deliver(account.as_str(), Tray::Inbox, delivery).await {
            // The others get it all the same, and once, however often it is released.
            refused = Some(error);
            continue;
        }
        let detail = format!("to <{recipient}>: INBOX of {account}");
        parts.trace.event(Some(item), TraceStep::Released, detail);
        delivered.push(recipient.to_string());
    }
    if let Some(error) = refused {
        return Err(failed(&error));
    }
    for (alias, targets) in onward {
        forward(parts, &entry, &content, (&alias, targets)).await?;
        delivered.push(alias.to_string());
    }
    quarantine.beside(store, move |kept, store| kept.take_out(store, &entry, mailbox)).await?;
    Ok(json!({ "delivered": delivered, "unknown": unknown }))
}

/// The recipients of a message that is released.
#[derive(Default)]
struct Recipients {
    accounts: Vec<(AccountId, Address)>,
    /// Aliases that lead elsewhere, and where.
    onward: Vec<(Address, Vec<Address>)>,
    /// Addresses that nobody here has.
    unknown: Vec<String>,
}

fn recipients(parts: &Parts<'_>, entry: &Entry, to: Option<&str>) -> Result<Recipients, Refusal> {
    let wanted = to.map_or_else(|| entry.recipients.clone(), |to| vec![to.to_owned()]);
    let mut found = Recipients::default();
    for text in wanted {
        let address = Address::parse(&text).ok();
        let reached = |address: &Address| match to {
            // Whom the operator names now gets it, whoever had the name when it came.
            Some(_) => parts.directory.resolve(address),
            None => parts.directory.resolve_taken(address, entry.at),
        };
        let resolved = address.and_then(|address| Some((reached(&address)?, address)));
        let Some((reached, address)) = resolved else {
            found.unknown.push(text);
            continue;
        };
        for id in reached.accounts {
            if found.accounts.iter().all(|(known, _)| *known != id) {
                found.accounts.push((id, address.clone()));
            }
        }
        if !reached.outside.is_empty() {
            found.onward.push((address, reached.outside));
        }
    }
    if found.accounts.is_empty() && found.onward.is_empty() {
        let what =
            format!("nobody here has the address {}, or had it when this came", found.unknown.join(", "));
        return Err((what, "name somebody who shall get it with --to ADDRESS".to_owned()));
    }
    Ok(found)
}

/// Queues the message for where an alias leads. What was found of its sender when it came is
/// not kept: what comes back goes to the operator.
async fn forward(
    parts: &Parts<'_>,
    entry: &Entry,
    content: &Content,
    (alias, targets): (&Address, Vec<Address>),
) -> Result<(), Refusal> {
    let recipient = Recipient::from(alias.clone());
    let forwarding = Forwarding {
        item: released_id(entry.item),
        envelope: Envelope {
            reverse_path: reverse_path(entry),
            recipients: vec![recipient.clone()],
            body: BodyType::EightBitMime,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        },
        recipient,
        targets,
        verdict: Verdict::default(),
        received: String::new(),
        content: content.clone(),
    };
    parts.forwarder.forward(forwarding).await.map_err(|cause| failed(&cause))
}

/// It was written down from a reverse-path.
fn reverse_path(entry: &Entry) -> ReversePath {
    ReversePath::try_from(entry.reverse_path.clone()).unwrap_or(ReversePath::Null)
}

/// The id under which an account gets a released message: another than that of its first arrival, because the
/// postmaster's account has that one.
fn released_id(item: ItemId) -> ItemId {
    derived_id("released from quarantine\0", item)
}

/// A message without the fields that say to whom it was delivered before. Blocks.
fn content_of(entry: &Entry, found: &Found, drafts: &Path) -> io::Result<Content> {
    let mut start = vec![0; START_OCTETS];
    let octets = FromMailbox { entry, found, at: 0 }.read(&mut start)?;
    let at = Head::written_octets(start.get(..octets).unwrap_or_default());
    content::gather(found.octets - at.min(found.octets), FromMailbox { entry, found, at }, drafts)
}

/// A message as it is read from its mailbox.
struct FromMailbox<'a> {
    entry: &'a Entry,
    found: &'a Found,
    at: u64,
}

impl Read for FromMailbox<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (found, mut piece) = (self.found, Vec::with_capacity(into.len()));
        match found.reader.read_body(found.mailbox, self.entry.uid, self.at, into.len(), &mut piece) {
            Ok(true) => {}
            Ok(false) => return Err(io::Error::other("it has just been removed")),
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
        self.at += piece.len() as u64;
        piece.as_slice().read(into)
    }
}
