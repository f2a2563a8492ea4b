//! The store's accounts as an IMAP session sees them.
//!
//! One value per session. Everything here blocks: it runs on threads for blocking work.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use imap::{
    Appended, Backend, BackendError, Changes, Copied, FlagList, FlagMode, Flags, FlagsChanged, Listed,
    MailboxId, Message, NewMessage, Selected, Status, Uids, Wake,
};
use mail::UnixTime;
use store::{
    Append, Body, Expunge, FlagUpdate, Reader, Registration, Store, StoreError, Subscription, Watch,
};

use super::filters::Trainer;

/// Octets of an appended message that are kept in memory; a larger one waits in a file until it is whole.
const APPEND_MEMORY_OCTETS: usize = 256 * 1024;

/// What the sessions of a Home share.
#[derive(Clone)]
pub(crate) struct Accounts {
    /// The mailboxes.
    pub(crate) store: Arc<Store>,
    /// Where messages wait that are being appended; on the same disk as the store, as a rule.
    pub(crate) drafts: PathBuf,
    /// Tells the time.
    pub(crate) now: fn() -> UnixTime,
    /// Whom users teach what is spam, if anybody learns.
    pub(crate) trainer: Option<Trainer>,
}

/// The mailboxes of one session's account.
pub(crate) struct Mailboxes {
    accounts: Accounts,
    wake: Option<Wake>,
    login: Option<Login>,
    draft: Option<Draft>,
}

struct Login {
    account: String,
    watch: Watch,
    /// Of the mailbox that the session listens to.
    registration: Option<Registration>,
    /// A generation of the account at which the mailbox had this mod-sequence, so that nothing need be asked.
    quiet: Option<(u64, MailboxId, u64)>,
}

/// A message that is coming in.
struct Draft {
    message: NewMessage,
    memory: Vec<u8>,
    file: Option<File>,
}

impl Mailboxes {
    /// For a session that has not logged in.
    #[must_use]
    pub(crate) fn new(accounts: Accounts) -> Self {
        Self { accounts, wake: None, login: None, draft: None }
    }

    /// Whose name is somebody else's by now has no account.
    fn account(&self) -> Result<&str, BackendError> {
        let login = self.login.as_ref().filter(|login| !login.watch.has_ended());
        login.map(|login| login.account.as_str()).ok_or(BackendError::Denied)
    }

    fn reader(&self) -> Result<Reader, BackendError> {
        let reader = self.accounts.store.reader(self.account()?).map_err(|error| refusal(&error))?;
        // Asked again: as long as it has not ended, what was opened is the account that has logged in.
        self.account().map(|_| reader)
    }

    /// Does something with the store and the account's name.
    fn change<T>(&self, work: impl FnOnce(&Store, &str) -> Result<T, StoreError>) -> Result<T, BackendError> {
        work(&self.accounts.store, self.account()?).map_err(|error| refusal(&error))
    }

    fn read_with<T>(&self, work: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, BackendError> {
        work(&self.reader()?).map_err(|error| refusal(&error))
    }

    /// Has what was moved or copied learned, if the mailboxes say that it is spam or not. What can't be taught is
    /// no concern of the user's.
    fn teach(&self, from: store::MailboxId, to: &str, done: &store::Copied) {
        if let (Some(trainer), Ok(account), Ok(reader)) =
            (&self.accounts.trainer, self.account(), self.reader())
        {
            trainer.moved(&reader, account, from, to, done);
        }
    }

    fn mailbox(&self, reader: &Reader, name: &str) -> Result<store::Mailbox, BackendError> {
        reader.mailbox(name).map_err(|error| refusal(&error))?.ok_or(BackendError::NoMailbox)
    }
}

impl Backend for Mailboxes {
    fn on_change(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    fn open(&mut self, account: &str) -> Result<(), BackendError> {
        let watch = self.accounts.store.watch(account).map_err(|error| refusal(&error))?;
        // An account that can't be opened is better told now than by each command.
        drop(self.accounts.store.reader(account).map_err(|error| refusal(&error))?);
        self.login = Some(Login { account: account.to_owned(), watch, registration: None, quiet: None });
        Ok(())
    }

    fn listen(&mut self, mailbox: Option<MailboxId>) {
        let (Some(login), Some(wake)) = (&mut self.login, &self.wake) else { return };
        login.registration = mailbox.map(|mailbox| {
            let wake = Arc::clone(wake);
            login.watch.on_change_of(store::MailboxId(mailbox.0), move || wake())
        });
    }

    fn mailboxes(&mut self) -> Result<Vec<Listed>, BackendError> {
        let mailboxes = self.read_with(Reader::mailboxes)?;
        let listed =
            |mailbox: store::Mailbox| Listed { name: mailbox.name, special_use: mailbox.special_use };
        Ok(mailboxes.into_iter().map(listed).collect())
    }

    fn subscriptions(&mut self) -> Result<Vec<String>, BackendError> {
        self.read_with(Reader::subscriptions)
    }

    fn create(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.create_mailbox(account, mailbox, None)).map(|_| ())
    }

    fn delete(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.delete_mailbox(account, mailbox))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.rename_mailbox(account, from, to))
    }

    fn subscribe(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.subscribe(account, mailbox, Subscription::On))
    }

    fn unsubscribe(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.subscribe(account, mailbox, Subscription::Off))
    }

    fn status(&mut self, mailbox: &str) -> Result<Status, BackendError> {
        let reader = self.reader()?;
        let mailbox = self.mailbox(&reader, mailbox)?;
        let totals = reader.totals(mailbox.id).map_err(|error| refusal(&error))?;
        Ok(Status {
            messages: totals.messages,
            unseen: totals.unseen,
            deleted: totals.deleted,
            octets: totals.octets,
            uidnext: mailbox.uidnext,
            uidvalidity: mailbox.uidvalidity,
            modseq: mailbox.modseq,
        })
    }

    fn select(&mut self, mailbox: &str, each: &mut dyn FnMut(Message)) -> Result<Selected, BackendError> {
        let reader = self.reader()?;
        let mailbox = self.mailbox(&reader, mailbox)?;
        let messages = reader.each_message(mailbox.id, 1..=u32::MAX, |message| each(entry(message)));
        messages.map_err(|error| refusal(&error))?;
        Ok(Selected {
            id: MailboxId(mailbox.id.0),
            uidvalidity: mailbox.uidvalidity,
            uidnext: mailbox.uidnext,
            modseq: mailbox.modseq,
        })
    }

    fn changes(&mut self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, BackendError> {
        let login = self.login.as_ref().ok_or(BackendError::Denied)?;
        let generation = login.watch.generation();
        if login.quiet == Some((generation, mailbox, since)) {
            return Ok(Changes { modseq: since, uidnext, ..Changes::default() });
        }
        let changes = self.read_with(|reader| reader.changes(store::MailboxId(mailbox.0), since, uidnext))?;
        if let Some(login) = &mut self.login {
            login.quiet = Some((generation, mailbox, changes.modseq));
        }
        Ok(Changes {
            modseq: changes.modseq,
            uidnext: changes.uidnext,
            messages: changes.messages.into_iter().map(entry).collect(),
            vanished: changes.vanished,
        })
    }

    fn keywords(&mut self) -> Result<Vec<String>, BackendError> {
        self.read_with(Reader::keywords)
    }

    fn messages(
        &mut self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), BackendError> {
        let mailbox = store::MailboxId(mailbox.0);
        self.read_with(|reader| reader.each_message(mailbox, uids, |message| each(entry(message))))
    }

    fn read(
        &mut self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, BackendError> {
        self.read_with(|reader| reader.read_body(store::MailboxId(mailbox.0), uid, offset, length, out))
    }

    fn store(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        mode: FlagMode,
        flags: &FlagList,
    ) -> Result<FlagsChanged, BackendError> {
        let mode = match mode {
            FlagMode::Add => store::FlagMode::Add,
            FlagMode::Remove => store::FlagMode::Remove,
            FlagMode::Replace => store::FlagMode::Replace,
        };
        let update = FlagUpdate { mode, flags: named(flags), unchanged_since: None };
        let changed = self.change(|store, account| {
            store.update_flags(account, store::MailboxId(mailbox.0), uids, update)
        })?;
        let uids = changed.changed.into_iter().map(|(uid, _)| uid).collect();
        Ok(FlagsChanged { uids, modseq: changed.modseq })
    }

    fn copy(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, BackendError> {
        let from = store::MailboxId(from.0);
        let done = self.change(|store, account| store.copy(account, from, to, uids))?;
        self.teach(from, to, &done);
        Ok(copied(done))
    }

    fn relocate(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, BackendError> {
        let from = store::MailboxId(from.0);
        let done = self.change(|store, account| store.relocate(account, from, to, uids))?;
        self.teach(from, to, &done);
        Ok(copied(done))
    }

    fn expunge(&mut self, mailbox: MailboxId, uids: &Uids) -> Result<(), BackendError> {
        let mailbox = store::MailboxId(mailbox.0);
        self.change(|store, account| store.expunge(account, mailbox, uids, Expunge::Deleted)).map(|_| ())
    }

    fn append_begin(&mut self, message: &NewMessage) -> Result<(), BackendError> {
        self.mailbox(&self.reader()?, &message.mailbox)?;
        let file = if message.octets > APPEND_MEMORY_OCTETS as u64 {
            Some(tempfile::tempfile_in(&self.accounts.drafts).map_err(|error| draft_failed(&error))?)
        } else {
            None
        };
        self.draft = Some(Draft { message: message.clone(), memory: Vec::new(), file });
        Ok(())
    }

    fn append_piece(&mut self, octets: &[u8]) -> Result<(), BackendError> {
        let draft = self.draft.as_mut().ok_or(BackendError::Unavailable)?;
        match &mut draft.file {
            Some(file) => file.write_all(octets).map_err(|error| draft_failed(&error)),
            None => {
                draft.memory.extend_from_slice(octets);
                Ok(())
            }
        }
    }

    fn append_finish(&mut self) -> Result<Appended, BackendError> {
        let Draft { message, memory, file } = self.draft.take().ok_or(BackendError::Unavailable)?;
        let body = match file {
            Some(file) => Body::File(file, message.octets),
            None => Body::from(memory),
        };
        let append = Append {
            mailbox: message.mailbox,
            body,
            flags: named(&message.flags),
            internal_date: message.internal_date.unwrap_or_else(self.accounts.now),
        };
        let receipt = self.change(|store, account| store.append(account, append))?;
        Ok(Appended { uidvalidity: receipt.uidvalidity, uid: receipt.uid })
    }

    fn append_abort(&mut self) {
        self.draft = None;
    }
}

/// What a client is told of an error, and the log of one that is not the client's.
fn refusal(error: &StoreError) -> BackendError {
    match error {
        StoreError::NoMailbox => BackendError::NoMailbox,
        StoreError::MailboxExists => BackendError::MailboxExists,
        StoreError::MailboxName | StoreError::Inbox => BackendError::Refused(error.to_string()),
        StoreError::Limit(_) => BackendError::Limit(error.to_string()),
        _ => {
            tracing::error!(%error, "mailboxes");
            BackendError::Unavailable
        }
    }
}

fn draft_failed(error: &io::Error) -> BackendError {
    tracing::error!(%error, "a message that is appended can't be kept: check the disk and the drafts directory");
    BackendError::Unavailable
}

fn named(flags: &FlagList) -> store::FlagList {
    store::FlagList { system: store::Flags(flags.system.0), keywords: flags.keywords.clone() }
}

fn entry(message: store::Message) -> Message {
    Message {
        uid: message.uid,
        flags: Flags(message.flags.0),
        modseq: message.modseq,
        octets: message.octets,
        internal_date: message.internal_date,
    }
}

fn copied(copied: store::Copied) -> Copied {
    Copied { uidvalidity: copied.uidvalidity, uids: copied.uids }
}

#[cfg(test)]
mod tests;
