//! The quarantine: messages that wait for the operator's decision, and what is known of them.
//!
//! The messages are in the mailbox [`QUARANTINE`] of the postmaster's account, where any mail program shows
//! them. Beside it a small table remembers for whom each was and why it is here, so that it can still be
//! delivered. A message that the postmaster moved or deleted is in the quarantine no more.

mod release;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use daemon::control::Refusal;
use daemon::problem::Problem;
use daemon::trace::Trace;
use link::TraceStep;
use mail::ItemId;
use serde_json::{Value, json};
use store::tables::QuarantineEntries;
pub(crate) use store::tables::QuarantineEntry as Entry;
use store::{Expunge, MailboxId, Mailboxes, Reader};
use tokio::runtime::Handle;

use super::databases;
use super::directory::Directory;
use super::forward::Forwarder;
use super::keeper::Keeper;

/// The mailbox of the postmaster's account that messages wait in.
pub(crate) const QUARANTINE: &str = "Quarantine";
/// Octets of a header that `show` prints.
const SHOWN_OCTETS_MAX: usize = 16 * 1024;

/// Cloning shares it.
#[derive(Clone)]
pub(crate) struct Quarantine {
    table: Arc<dyn QuarantineEntries>,
    runtime: Handle,
}

/// What the commands on the quarantine need.
pub(crate) struct Parts<'a> {
    /// The mailboxes.
    pub keeper: &'a Keeper,
    /// Who there is.
    pub directory: &'a Directory,
    /// What happened.
    pub trace: &'a Trace,
    /// What is for elsewhere.
    pub forwarder: &'a Arc<Forwarder>,
    /// Where a large message waits that is released.
    pub drafts: &'a Path,
}

impl Quarantine {
    /// Opens or makes `quarantine.db`. Has to be called on the runtime.
    pub(crate) fn open(data: &Path) -> Result<Self, Problem> {
        Ok(Self { table: databases::open_quarantine(data)?, runtime: Handle::current() })
    }

    /// Remembers a message that is in its mailbox, on a thread that may block, then calls `done`. One that is
    /// known already stays as it is.
    pub(crate) fn record(&self, entry: Entry, done: impl FnOnce(Result<(), String>) + Send + 'static) {
        let quarantine = self.clone();
        self.runtime
            .spawn_blocking(move || done(quarantine.table.insert(&entry).map_err(|error| error.to_string())));
    }

    fn entry(&self, item: ItemId) -> Result<Entry, Refusal> {
        self.table.entry(item).map_err(|error| failed(&error))?.ok_or_else(|| gone(item))
    }

    /// Carries out a command of `postern quarantine`. Blocks.
    pub(crate) fn command(
        &self,
        parts: &Parts<'_>,
        command: &str,
        arguments: &[&str],
    ) -> Result<Value, Refusal> {
        match (command, arguments) {
            ("quarantine list", []) => self.list(&**parts.keeper.store()),
            ("quarantine show", [id]) => self.show(&**parts.keeper.store(), item(id)?),
            ("quarantine release", [id]) => release::release(self, parts, item(id)?, None),
            ("quarantine release", [id, to]) => release::release(self, parts, item(id)?, Some(to)),
            ("quarantine delete", [id]) => self.delete(parts, item(id)?),
            _ => Err((format!("'{command}' can't be done with these arguments"), "see --help".to_owned())),
        }
    }

    /// Those whose message is still there. The others are forgotten: the postmaster has dealt with them.
    fn list(&self, store: &dyn Mailboxes) -> Result<Value, Refusal> {
        let mut rows = Vec::new();
        for entry in self.table.entries().map_err(|error| failed(&error))? {
            match self.locate(store, &entry) {
                Ok(_) => rows.push(described(&entry)),
                Err(Missing::Gone) => {}
                Err(Missing::Unknown(error)) => return Err(failed(&error)),
            }
        }
        Ok(rows.into())
    }

    /// Forgets those whose message is not there any more. Blocks.
    pub(crate) fn tidy(&self, store: &dyn Mailboxes) {
        if let Err((error, _)) = self.list(store) {
            tracing::warn!(error, "what is gone from the quarantine is not forgotten today");
        }
    }

    fn show(&self, store: &dyn Mailboxes, item: ItemId) -> Result<Value, Refusal> {
        let entry = self.entry(item)?;
        let found = self.located(store, &entry)?;
        let mut start = Vec::new();
        let read = found.reader.read_body(found.mailbox, entry.uid, 0, SHOWN_OCTETS_MAX, &mut start);
        read.map_err(|error| failed(&error))?;
        let end = mail::header::body_offset(&start);
        let header = String::from_utf8_lossy(start.get(..end).unwrap_or_default());
        // Printed on a terminal: what a stranger wrote must not steer it.
        let lines = header
            .lines()
            .map(|line| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>());
        let lines: Vec<String> = lines.filter(|line: &String| !line.is_empty()).collect();
        let mut shown = described(&entry);
        shown["octets"] = found.octets.into();
        shown["header"] = lines.join("\n").into();
        Ok(shown)
    }

    fn delete(&self, parts: &Parts<'_>, item: ItemId) -> Result<Value, Refusal> {
        let entry = self.entry(item)?;
        let found = self.located(&**parts.keeper.store(), &entry)?;
        self.take_out(&**parts.keeper.store(), &entry, found.mailbox)?;
        parts.trace.event(Some(item), TraceStep::Removed, "from the quarantine, by the operator");
        Ok(json!({}))
    }

    /// Removes a message that has been dealt with: first itself, then what is known of it.
    fn take_out(&self, store: &dyn Mailboxes, entry: &Entry, mailbox: MailboxId) -> Result<(), Refusal> {
        let uids = [entry.uid..=entry.uid];
        store.expunge(&entry.account, mailbox, &uids, Expunge::All).map_err(|error| failed(&error))?;
        self.table.remove(entry.item).map_err(|error| failed(&error))
    }

    fn located(&self, store: &dyn Mailboxes, entry: &Entry) -> Result<Found, Refusal> {
        self.locate(store, entry).map_err(|missing| match missing {
            Missing::Gone => gone(entry.item),
            Missing::Unknown(error) => failed(&error),
        })
    }

    /// Where the message is. What is known of one that is gone for good is forgotten; with a mailbox that was set aside
    /// it may come back.
    fn locate(&self, store: &dyn Mailboxes, entry: &Entry) -> Result<Found, Missing> {
        let found = find(store, entry);
        if matches!(found, Err(Missing::Gone))
            && !may_come_back(store, entry)
            && let Err(error) = self.table.remove(entry.item)
        {
            tracing::warn!(%error, item = %entry.item, "the quarantine could not forget a message that is gone");
        }
        found
    }
}

/// Where a message is.
struct Found {
    reader: Box<dyn Reader>,
    mailbox: MailboxId,
    octets: u64,
}

enum Missing {
    /// It is not in the mailbox any more.
    Gone,
    /// That can't be told now.
    Unknown(String),
}

fn find(store: &dyn Mailboxes, entry: &Entry) -> Result<Found, Missing> {
    let unknown = |error: store::StoreError| match error {
        store::StoreError::NoAccount(_) => Missing::Gone,
        error => Missing::Unknown(error.to_string()),
    };
    let reader = store.reader(&entry.account).map_err(unknown)?;
    let mailbox = reader.mailbox(QUARANTINE).map_err(unknown)?;
    let mailbox = mailbox.filter(|mailbox| mailbox.uidvalidity == entry.uidvalidity).ok_or(Missing::Gone)?;
    let message = reader.message(mailbox.id, entry.uid).map_err(unknown)?.ok_or(Missing::Gone)?;
    Ok(Found { reader, mailbox: mailbox.id, octets: message.octets })
}

fn may_come_back(store: &dyn Mailboxes, entry: &Entry) -> bool {
    let aside = store.list_set_aside();
    aside.is_ok_and(|all| all.iter().any(|aside| aside.account == entry.account))
}

fn described(entry: &Entry) -> Value {
    json!({
        "id": entry.item.to_string(),
        "at": entry.at.to_string(),
        "from": format!("<{}>", entry.reverse_path),
        "to": entry.recipients,
        "reason": entry.reason,
        "score": entry.score,
    })
}

fn item(text: &str) -> Result<ItemId, Refusal> {
    text.parse().map_err(|error| (format!("{text}: {error}"), "see 'postern quarantine list'".to_owned()))
}

fn gone(item: ItemId) -> Refusal {
    (format!("{item} is not in the quarantine"), "see 'postern quarantine list'".to_owned())
}

fn failed(error: &dyn std::fmt::Display) -> Refusal {
    (format!("the quarantine: {error}"), "see the log; nothing was changed that is not said".to_owned())
}
