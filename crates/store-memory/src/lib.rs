//! Mailboxes and small tables in memory, for tests of those who need some: what [`store`] promises, but for being there after
//! the process has ended.
//!
//! Bodies are shared by copies. Nothing is bounded but by the limits of the words themselves.

mod account;
mod contents;
mod lock;
mod tables;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use mail::UnixTime;
use mailbox::{
    Changes, Copied, Expunge, FlagUpdate, FlagsChanged, Mailbox, MailboxId, Message, Subscription, Totals,
    Uids,
};
use store::{
    Append, Delivery, Done, Mailboxes, Reader, Receipt, SetAside, StoreError, Watch, Watches, date_after,
    name,
};

use crate::account::OneAccount;
use crate::lock::lock;

pub use tables::{MemoryPeople, MemoryQuarantine, MemoryRemembered, MemoryReports};

/// All accounts, for as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryMailboxes {
    accounts: Mutex<BTreeMap<String, SharedAccount>>,
    aside: Mutex<BTreeMap<SetAside, SharedAccount>>,
    watches: Watches,
}

/// An account, and who reads it.
type SharedAccount = Arc<Mutex<OneAccount>>;

impl MemoryMailboxes {
    fn account(&self, account: &str) -> Result<SharedAccount, StoreError> {
        let name = name::account(account)?;
        lock(&self.accounts).get(name).cloned().ok_or_else(|| StoreError::NoAccount(account.to_owned()))
    }

    /// Does something to an account, and tells who watches it.
    fn change<T>(
        &self,
        account: &str,
        action: impl FnOnce(&mut OneAccount) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let shared = self.account(account)?;
        let mut account_now = lock(&shared);
        let done = action(&mut account_now);
        let changed = account_now.take_changed();
        drop(account_now);
        if done.is_ok() && changed.something {
            self.watches.notify(account, &changed.mailboxes);
        }
        done
    }
}

impl Mailboxes for MemoryMailboxes {
    fn create_account(&self, account: &str, now: UnixTime) -> Result<(), StoreError> {
        let name = name::account(account)?;
        let mut accounts = lock(&self.accounts);
        if accounts.contains_key(name) {
            return Err(StoreError::AccountExists(name.to_owned()));
        }
        accounts.insert(name.to_owned(), Arc::new(Mutex::new(OneAccount::new(now))));
        Ok(())
    }

    fn has_account(&self, account: &str) -> bool {
        lock(&self.accounts).contains_key(account)
    }

    fn list_accounts(&self) -> Result<Vec<String>, StoreError> {
        Ok(lock(&self.accounts).keys().cloned().collect())
    }

    fn remove_account(&self, account: &str) -> Result<(), StoreError> {
        self.account(account)?;
        self.watches.end(account);
        lock(&self.accounts).remove(account);
        Ok(())
    }

    fn set_aside(&self, account: &str, now: UnixTime) -> Result<SetAside, StoreError> {
        let shared = self.account(account)?;
        self.watches.end(account);
        lock(&self.accounts).remove(account);
        let mut all = lock(&self.aside);
        let date = date_after(all.keys().filter(|aside| aside.account == account), now);
        let aside = SetAside { account: account.to_owned(), date };
        all.insert(aside.clone(), shared);
        Ok(aside)
    }

    fn list_set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        Ok(lock(&self.aside).keys().cloned().collect())
    }

    fn place_of(&self, aside: &SetAside) -> String {
        format!("memory: {} of {}", aside.account, aside.date)
    }

    fn bring_back(&self, aside: &SetAside) -> Result<(), StoreError> {
        name::account(&aside.account)?;
        let mut accounts = lock(&self.accounts);
        if accounts.contains_key(&aside.account) {
            return Err(StoreError::AccountExists(aside.account.clone()));
        }
        let gone =
            || StoreError::NoAccount(format!("{} that was set aside on {}", aside.account, aside.date));
        let shared = lock(&self.aside).remove(aside).ok_or_else(gone)?;
        accounts.insert(aside.account.clone(), shared);
        Ok(())
    }

    fn deliver(&self, account: &str, delivery: Delivery, done: Done) {
        done(self.deliver_and_wait(account, delivery));
    }

    fn deliver_and_wait(&self, account: &str, delivery: Delivery) -> Result<Receipt, StoreError> {
        self.change(account, |account| account.deliver(&delivery))
    }

    fn append(&self, account: &str, append: Append) -> Result<Receipt, StoreError> {
        self.change(account, |account| account.append(&append))
    }

    fn update_flags(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        update: FlagUpdate,
    ) -> Result<FlagsChanged, StoreError> {
        self.change(account, |account| account.update_flags(mailbox, uids, &update))
    }

    fn copy(&self, account: &str, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError> {
        self.change(account, |account| account.copy(from, to, uids))
    }

    fn relocate(&self, account: &str, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError> {
        self.change(account, |account| account.relocate(from, to, uids))
    }

    fn expunge(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        which: Expunge,
    ) -> Result<Vec<u32>, StoreError> {
        self.change(account, |account| account.expunge(mailbox, uids, which))
    }

    fn create_mailbox(
        &self,
        account: &str,
        mailbox: &str,
        special_use: Option<&str>,
    ) -> Result<MailboxId, StoreError> {
        self.change(account, |account| account.create_mailbox(mailbox, special_use))
    }

    fn delete_mailbox(&self, account: &str, mailbox: &str) -> Result<(), StoreError> {
        self.change(account, |account| account.delete_mailbox(mailbox))
    }

    fn rename_mailbox(&self, account: &str, from: &str, to: &str) -> Result<(), StoreError> {
        self.change(account, |account| account.rename_mailbox(from, to))
    }

    fn subscribe(&self, account: &str, mailbox: &str, wanted: Subscription) -> Result<(), StoreError> {
        self.change(account, |account| account.subscribe(mailbox, wanted))
    }

    fn forget_arrived(&self, account: &str, before: UnixTime) -> Result<u64, StoreError> {
        self.change(account, |account| Ok(account.forget_arrived(before)))
    }

    fn tidy(&self, account: &str) -> Result<u64, StoreError> {
        self.change(account, |account| Ok(account.tidy()))
    }

    fn check_account(&self, account: &str) -> Result<(), StoreError> {
        self.account(account).map(drop)
    }

    fn watch(&self, account: &str) -> Result<Watch, StoreError> {
        Ok(self.watches.watch(name::account(account)?))
    }

    fn reader(&self, account: &str) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(MemoryReader(self.account(account)?)))
    }
}

/// Goes on reading an account that is set aside or removed meanwhile.
struct MemoryReader(SharedAccount);

impl Reader for MemoryReader {
    fn mailboxes(&self) -> Result<Vec<Mailbox>, StoreError> {
        Ok(lock(&self.0).listed())
    }

    fn mailbox(&self, name: &str) -> Result<Option<Mailbox>, StoreError> {
        let Ok(name) = name::mailbox(name) else { return Ok(None) };
        Ok(lock(&self.0).listed().into_iter().find(|mailbox| mailbox.name == name))
    }

    fn subscriptions(&self) -> Result<Vec<String>, StoreError> {
        Ok(lock(&self.0).subscriptions())
    }

    fn keywords(&self) -> Result<Vec<String>, StoreError> {
        Ok(lock(&self.0).keywords())
    }

    fn totals(&self, mailbox: MailboxId) -> Result<Totals, StoreError> {
        Ok(lock(&self.0).contents(mailbox).map(|contents| contents.totals()).unwrap_or_default())
    }

    fn each_message(
        &self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), StoreError> {
        let messages = lock(&self.0).contents(mailbox).map(|contents| contents.messages(&[uids]));
        messages.unwrap_or_default().into_iter().for_each(each);
        Ok(())
    }

    fn changes(&self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, StoreError> {
        let account = lock(&self.0);
        Ok(account.contents(mailbox).ok_or(StoreError::NoMailbox)?.changes(since, uidnext))
    }

    fn read_body(
        &self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, StoreError> {
        let body = lock(&self.0).contents(mailbox).and_then(|contents| contents.body(uid));
        let Some(body) = body else { return Ok(false) };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
        let end = start.saturating_add(length).min(body.len());
        out.extend_from_slice(body.get(start..end).unwrap_or_default());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use store_conformance::Home;
    use store_conformance::tables::Tables;

    use super::{MemoryPeople, MemoryQuarantine, MemoryRemembered, MemoryReports};

    fn home() -> Home {
        Home::new(Arc::new(super::MemoryMailboxes::default()), ())
    }

    fn tables() -> Tables {
        Tables {
            people: Arc::new(MemoryPeople::default()),
            quarantine: Arc::new(MemoryQuarantine::default()),
            remembered: Arc::new(MemoryRemembered::default()),
            reports: Arc::new(MemoryReports::default()),
            kept: Box::new(()),
        }
    }

    store_conformance::mailboxes!(home);
    store_conformance::tables!(tables);
}
