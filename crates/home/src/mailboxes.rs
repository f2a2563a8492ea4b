//! The store's accounts as an IMAP session sees them.
//!
//! One value per session. Everything here blocks: it runs on threads for blocking work.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use content::{Budget, Gathering};
use daemon::clock::Clock;
use mailbox::{
    Account, AccountError, Appended, Changes, Copied, Expunge, FlagList, FlagMode, FlagUpdate, FlagsChanged,
    Mailbox, MailboxId, Message, NewMessage, Subscription, Totals, Uids, Wake,
};
use store::{Append, Mailboxes, Reader, Registration, StoreError, Watch};

use super::filters::Trainer;

/// What the sessions of a Home share.
#[derive(Clone)]
pub(crate) struct Accounts {
    /// The mailboxes.
    pub(crate) store: Arc<dyn Mailboxes>,
    /// Where messages wait that are being appended; on the same disk as the store, as a rule.
    pub(crate) drafts: Arc<Path>,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whom users teach what is spam, if anybody learns.
    pub(crate) trainer: Option<Trainer>,
}

/// The mailboxes of one session's account.
pub(crate) struct SessionMailboxes {
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

/// A message that is being appended.
struct Draft {
    message: NewMessage,
    gathering: Gathering,
}

impl SessionMailboxes {
    /// For a session that has not logged in.
    #[must_use]
    pub(crate) fn new(accounts: Accounts) -> Self {
        Self { accounts, wake: None, login: None, draft: None }
    }

    /// Whose name is somebody else's by now has no account.
    fn account(&self) -> Result<&str, AccountError> {
        let login = self.login.as_ref().filter(|login| !login.watch.has_ended());
        login.map(|login| login.account.as_str()).ok_or(AccountError::Denied)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, AccountError> {
        let reader = self.accounts.store.reader(self.account()?).map_err(|error| refusal(&error))?;
        // Asked again: as long as it has not ended, what was opened is the account that has logged in.
        self.account().map(|_| reader)
    }

    /// Does something with the store and the account's name.
    fn change<T>(
        &self,
        work: impl FnOnce(&dyn Mailboxes, &str) -> Result<T, StoreError>,
    ) -> Result<T, AccountError> {
        work(&*self.accounts.store, self.account()?).map_err(|error| refusal(&error))
    }

    fn read_with<T>(
        &self,
        work: impl FnOnce(&dyn Reader) -> Result<T, StoreError>,
    ) -> Result<T, AccountError> {
        work(&*self.reader()?).map_err(|error| refusal(&error))
    }

    /// Has what was moved or copied learned, if the mailboxes say that it is spam or not. What can't be taught is
    /// no concern of the user's.
    fn teach(&self, from: MailboxId, to: &str, done: &Copied) {
        if let (Some(trainer), Ok(account), Ok(reader)) =
            (&self.accounts.trainer, self.account(), self.reader())
        {
            trainer.moved(&*reader, account, from, to, done);
        }
    }

    fn mailbox(&self, reader: &dyn Reader, name: &str) -> Result<Mailbox, AccountError> {
        reader.mailbox(name).map_err(|error| refusal(&error))?.ok_or(AccountError::NoMailbox)
    }
}

impl Account for SessionMailboxes {
    fn on_change(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    fn open(&mut self, account: &str) -> Result<(), AccountError> {
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
            login.watch.on_change_of(mailbox, move || wake())
        });
    }

    fn mailboxes(&mut self) -> Result<Vec<Mailbox>, AccountError> {
        self.read_with(|reader| reader.mailboxes())
    }

    fn subscriptions(&mut self) -> Result<Vec<String>, AccountError> {
        self.read_with(|reader| reader.subscriptions())
    }

    fn create(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.change(|store, account| store.create_mailbox(account, mailbox, None)).map(|_| ())
    }

    fn delete(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.change(|store, account| store.delete_mailbox(account, mailbox))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), AccountError> {
        self.change(|store, account| store.rename_mailbox(account, from, to))
    }

    fn subscribe(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.change(|store, account| store.subscribe(account, mailbox, Subscription::On))
    }

    fn unsubscribe(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.change(|store, account| store.subscribe(account, mailbox, Subscription::Off))
    }

    fn status(&mut self, mailbox: &str) -> Result<(Mailbox, Totals), AccountError> {
        let reader = self.reader()?;
        let mailbox = self.mailbox(&*reader, mailbox)?;
        let totals = reader.totals(mailbox.id).map_err(|error| refusal(&error))?;
        Ok((mailbox, totals))
    }

    fn select(&mut self, mailbox: &str, each: &mut dyn FnMut(Message)) -> Result<Mailbox, AccountError> {
        let reader = self.reader()?;
        let mailbox = self.mailbox(&*reader, mailbox)?;
        let messages = reader.each_message(mailbox.id, 1..=u32::MAX, each);
        messages.map_err(|error| refusal(&error))?;
        Ok(mailbox)
    }

    fn changes(&mut self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, AccountError> {
        let login = self.login.as_ref().ok_or(AccountError::Denied)?;
        let generation = login.watch.generation();
        if login.quiet == Some((generation, mailbox, since)) {
            return Ok(Changes { modseq: since, uidnext, ..Changes::default() });
        }
        let changes = self.read_with(|reader| reader.changes(mailbox, since, uidnext))?;
        if let Some(login) = &mut self.login {
            login.quiet = Some((generation, mailbox, changes.modseq));
        }
        Ok(changes)
    }

    fn keywords(&mut self) -> Result<Vec<String>, AccountError> {
        self.read_with(|reader| reader.keywords())
    }

    fn messages(
        &mut self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), AccountError> {
        self.read_with(|reader| reader.each_message(mailbox, uids, each))
    }

    fn read(
        &mut self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, AccountError> {
        self.read_with(|reader| reader.read_body(mailbox, uid, offset, length, out))
    }

    fn store(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        mode: FlagMode,
        flags: &FlagList,
    ) -> Result<FlagsChanged, AccountError> {
        let update = FlagUpdate { mode, flags: flags.clone(), unchanged_since: None };
        self.change(|store, account| store.update_flags(account, mailbox, uids, update))
    }

    fn copy(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, AccountError> {
        let done = self.change(|store, account| store.copy(account, from, to, uids))?;
        self.teach(from, to, &done);
        Ok(done)
    }

    fn relocate(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, AccountError> {
        let done = self.change(|store, account| store.relocate(account, from, to, uids))?;
        self.teach(from, to, &done);
        Ok(done)
    }

    fn expunge(&mut self, mailbox: MailboxId, uids: &Uids) -> Result<(), AccountError> {
        self.change(|store, account| store.expunge(account, mailbox, uids, Expunge::Deleted)).map(|_| ())
    }

    fn append_begin(&mut self, message: &NewMessage) -> Result<(), AccountError> {
        self.mailbox(&*self.reader()?, &message.mailbox)?;
        // 256 KiB a session at most, and sessions have their number.
        let gathering = Gathering::new(Arc::clone(&self.accounts.drafts), Budget::unbounded().room());
        self.draft = Some(Draft { message: message.clone(), gathering });
        Ok(())
    }

    fn append_piece(&mut self, octets: &[u8]) -> Result<(), AccountError> {
        let draft = self.draft.as_mut().ok_or(AccountError::Unavailable)?;
        match draft.gathering.hold(Bytes::copy_from_slice(octets)) {
            Ok(_) => Ok(()),
            Err(octets) => draft.gathering.write(&octets).map_err(|error| draft_failed(&error)),
        }
    }

    fn append_finish(&mut self) -> Result<Appended, AccountError> {
        let Draft { message, gathering } = self.draft.take().ok_or(AccountError::Unavailable)?;
        let (body, _memory) = gathering.whole();
        let append = Append {
            mailbox: message.mailbox,
            body,
            flags: message.flags,
            internal_date: message.internal_date.unwrap_or_else(|| self.accounts.clock.now()),
        };
        let receipt = self.change(|store, account| store.append(account, append))?;
        Ok(Appended { uidvalidity: receipt.uidvalidity, uid: receipt.uid })
    }

    fn append_abort(&mut self) {
        self.draft = None;
    }
}

/// What a client is told of an error, and the log of one that is not the client's.
fn refusal(error: &StoreError) -> AccountError {
    match error {
        StoreError::NoMailbox => AccountError::NoMailbox,
        StoreError::MailboxExists => AccountError::MailboxExists,
        StoreError::MailboxName | StoreError::Inbox => AccountError::Refused(error.to_string()),
        StoreError::Limit(_) => AccountError::Limit(error.to_string()),
        _ => {
            tracing::error!(%error, "mailboxes");
            AccountError::Unavailable
        }
    }
}

fn draft_failed(error: &io::Error) -> AccountError {
    tracing::error!(%error, "a message that is appended can't be kept: check the disk and the drafts directory");
    AccountError::Unavailable
}

#[cfg(test)]
mod tests;
