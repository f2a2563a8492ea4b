//! Release: a message in quarantine goes to the INBOX of those it was for, once.
//!
//! Each delivery has an id that follows from the message's own. A release that broke off half way, and is done
//! again, finds what was delivered and does not deliver it twice; only after all of it does the message leave
//! the quarantine.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use daemon::control::Refusal;
use daemon::system;
use directory::AccountId;
use link::TraceStep;
use mail::{Address, BodyType, Envelope, ItemId, Recipient, ReversePath, Verdict};
use outbound::queue::derived_id;
use serde_json::{Value, json};
use store::tables::QuarantineEntry as Entry;
use store::{Body, Delivery, FlagList, Head};

use super::kept::{Found, Parts, Quarantine, failed};
use crate::filters::Contents;
use crate::forward::Forwarding;
use crate::keeper::Tray;

/// Octets of a message up to which it is kept in memory.
const MEMORY_OCTETS_MAX: u64 = 256 * 1024;
const PIECE_OCTETS: usize = 256 * 1024;
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
        let message = Message::read(&entry, &found, &drafts).map_err(|error| failed(&error))?;
        Ok((entry, found.mailbox, message))
    });
    let (entry, mailbox, message) = read.await?;
    let Recipients { accounts, onward, unknown } = recipients(parts, &entry, to)?;
    let (mut delivered, mut refused) = (Vec::new(), None);
    for (account, recipient) in &accounts {
        let body = message.body().map_err(|error| failed(&error))?;
        let delivery = Delivery {
            item: Some(released_id(item)),
            mailbox: Tray::Inbox.name().to_owned(),
            head: Head::new(reverse_path(&entry), recipient.clone(), Vec::new()),
            body,
            flags: FlagList::default(),
            internal_date: system::now(),
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
        forward(parts, &entry, &message, (&alias, targets)).await?;
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
    message: &Message,
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
        contents: message.contents().map_err(|error| failed(&error))?,
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

/// A message without the fields that say to whom it was delivered before.
enum Message {
    Memory(Vec<u8>),
    File(File, u64),
}

impl Message {
    fn read(entry: &Entry, found: &Found, drafts: &Path) -> io::Result<Self> {
        let read = |at: u64, octets: usize| {
            let mut piece = Vec::new();
            let there = found.reader.read_body(found.mailbox, entry.uid, at, octets, &mut piece);
            match there {
                Ok(true) => Ok(piece),
                Ok(false) => Err(io::Error::other("it has just been removed")),
                Err(error) => Err(io::Error::other(error.to_string())),
            }
        };
        let mut at = Head::written_octets(&read(0, START_OCTETS)?);
        let octets = found.octets - at.min(found.octets);
        let mut memory = Vec::new();
        let mut file = (octets > MEMORY_OCTETS_MAX).then(|| tempfile::tempfile_in(drafts)).transpose()?;
        while at < found.octets {
            let piece = read(at, PIECE_OCTETS)?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += piece.len() as u64;
            match &mut file {
                Some(file) => file.write_all(&piece)?,
                None => memory.extend_from_slice(&piece),
            }
        }
        Ok(file.map_or(Self::Memory(memory), |file| Self::File(file, octets)))
    }

    fn contents(&self) -> io::Result<Contents> {
        Ok(match self {
            Self::Memory(octets) => Contents::Memory(vec![octets.clone().into()]),
            Self::File(file, octets) => Contents::File(Arc::new(file.try_clone()?), *octets),
        })
    }

    fn body(&self) -> io::Result<Body> {
        Ok(match self {
            Self::Memory(octets) => Body::from(octets.clone()),
            Self::File(file, octets) => Body::File(file.try_clone()?, *octets),
        })
    }
}
