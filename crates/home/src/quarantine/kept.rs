//! The messages in quarantine: the table of why they are here, and where they are.

use std::path::Path;
use std::sync::Arc;

use daemon::control::Refusal;
use daemon::problem::Problem;
use daemon::trace::Trace;
use mail::ItemId;
use mail::UnixTime;
use store::tables::QuarantineEntries;
pub(crate) use store::tables::QuarantineEntry as Entry;
use store::{Expunge, MailboxId, Mailboxes, Reader};
use tokio::runtime::Handle;

use crate::databases;
use crate::forward::Forwarder;
use crate::keeper::{Keeper, QUARANTINE};
use directory::Directory;

/// The messages that are kept for the operator. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Quarantine {
    pub(super) table: Arc<dyn QuarantineEntries>,
    runtime: Handle,
}

/// What the commands on the quarantine need.
pub(crate) struct Parts<'a> {
    /// The mailboxes.
    pub keeper: &'a Keeper,
    /// The accounts and aliases.
    pub directory: &'a Directory,
    /// The trace.
    pub trace: &'a Trace,
    /// The forwarder, for aliases that lead elsewhere.
    pub forwarder: &'a Arc<Forwarder>,
    /// The directory where a large message waits that is released.
    pub drafts: &'a Path,
    /// The clock.
    pub now: UnixTime,
}

impl Quarantine {
    /// Opens or makes `quarantine.db`. Has to be called on the runtime.
    pub(crate) fn open(data: &Path) -> Result<Self, Problem> {
        Ok(Self { table: databases::open_quarantine(data)?, runtime: Handle::current() })
    }

    /// How many messages were put here. Some of them the postmaster may have moved since.
    pub(crate) async fn count(&self) -> Option<u64> {
        let table = Arc::clone(&self.table);
        self.runtime.spawn_blocking(move || table.count().ok()).await.ok().flatten()
    }

    /// Remembers a message that is in its mailbox. One that is known already stays as it is.
    ///
    /// # Errors
    /// The disk's error, in words.
    pub(crate) async fn record(&self, entry: Entry) -> Result<(), String> {
        let table = Arc::clone(&self.table);
        let recorded =
            self.runtime.spawn_blocking(move || table.insert(&entry).map_err(|error| error.to_string()));
        recorded.await.map_err(|error| error.to_string())?
    }

    /// Work that reads or writes a disk, on a thread that may wait for it.
    pub(super) async fn beside<T: Send + 'static>(
        &self,
        store: &Arc<dyn Mailboxes>,
        work: impl FnOnce(&Self, &dyn Mailboxes) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (kept, store) = (self.clone(), Arc::clone(store));
        let done = self.runtime.spawn_blocking(move || work(&kept, &*store)).await;
        done.map_err(|error| failed(&error))?
    }

    pub(super) fn entry(&self, item: ItemId) -> Result<Entry, Refusal> {
        self.table.entry(item).map_err(|error| failed(&error))?.ok_or_else(|| gone(item))
    }

    /// Those whose message is still there. The others are forgotten: the postmaster has dealt with them. Blocks.
    pub(crate) fn still_there(&self, store: &dyn Mailboxes) -> Result<Vec<Entry>, Refusal> {
        let mut there = Vec::new();
        for entry in self.table.entries().map_err(|error| failed(&error))? {
            match self.locate(store, &entry) {
                Ok(_) => there.push(entry),
                Err(Missing::Gone) => {}
                Err(Missing::Unknown(error)) => return Err(failed(&error)),
            }
        }
        Ok(there)
    }

    /// Forgets those whose message is not there any more. Blocks.
    pub(crate) fn tidy(&self, store: &dyn Mailboxes) {
        if let Err((error, _)) = self.still_there(store) {
            tracing::warn!(error, "what is gone from the quarantine is not forgotten today");
        }
    }

    /// Removes a message that has been dealt with: first itself, then what is known of it.
    pub(super) fn take_out(
        &self,
        store: &dyn Mailboxes,
        entry: &Entry,
        mailbox: MailboxId,
    ) -> Result<(), Refusal> {
        let uids = [entry.uid..=entry.uid];
        store.expunge(&entry.account, mailbox, &uids, Expunge::All).map_err(|error| failed(&error))?;
        self.table.remove(entry.item).map_err(|error| failed(&error))
    }

    pub(super) fn located(&self, store: &dyn Mailboxes, entry: &Entry) -> Result<Found, Refusal> {
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

/// The place of a message in the quarantine mailbox.
pub(super) struct Found {
    pub(super) reader: Box<dyn Reader>,
    pub(super) mailbox: MailboxId,
    pub(super) octets: u64,
}

enum Missing {
    /// It is not in the mailbox any more.
    Gone,
    /// The store does not answer now, for this reason.
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

pub(super) fn gone(item: ItemId) -> Refusal {
    (format!("{item} is not in the quarantine"), "see 'postern quarantine list'".to_owned())
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> Refusal {
    (format!("the quarantine: {error}"), "see the log; nothing was changed that is not said".to_owned())
}
