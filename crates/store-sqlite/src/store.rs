//! The store: a directory of accounts, its writers and its readers.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use mail::{ItemId, UnixTime};
use mailbox::{Copied, Expunge, FlagUpdate, FlagsChanged, MailboxId, Subscription, Uids};

use crate::change::{Append, Change, Delivery, Receipt};
use crate::files::{account_file, beside, file_names, remove_if_there, sync_parent};
use crate::large::LargeBodies;
use crate::options::Options;
use crate::queue::Queue;
use crate::reader::{Pool, Reader};
use crate::set_aside::{self, SetAside};
use crate::watch::{Watch, Watches};
use crate::writer::{Task, Work, Writer};
use crate::{StoreError, name, schema};

/// Items forgotten per transaction, so that deliveries need not wait for long.
const FORGET_STEP: usize = 1000;

/// All accounts of a Home. Methods that change something wait for the commit, unless they take a callback;
/// they must not be called from a callback. Dropping the store finishes what was asked.
pub struct Store {
    directory: PathBuf,
    writers: Vec<WriterHandle>,
    readers: Arc<Pool>,
    watches: Arc<Watches>,
}

struct WriterHandle {
    queue: Arc<Queue<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store in a directory, which is made when missing. Only one process may do so at a time.
    ///
    /// # Errors
    /// Those of the disk; [`StoreError::Closed`] when no thread can be started.
    pub fn open(directory: &Path, options: Options) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(|error| StoreError::from_io(directory, &error))?;
        set_aside::finish(directory, None)?;
        remove_leftovers(directory)?;
        let (watches, readers) = (Arc::new(Watches::default()), Arc::<Pool>::default());
        let mut writers = Vec::new();
        for _ in 0..options.writers.clamp(1, 64) {
            let queue = Arc::new(Queue::new(options.queue_jobs_max, options.queue_octets_max));
            let writer = Writer {
                directory: directory.to_owned(),
                queue: Arc::clone(&queue),
                watches: Arc::clone(&watches),
                readers: Arc::clone(&readers),
                options,
            };
            let thread = thread::Builder::new().name("store-writer".into()).spawn(move || writer.run());
            let thread = thread.map_err(|error| StoreError::from_io(directory, &error))?;
            writers.push(WriterHandle { queue, thread: Some(thread) });
        }
        Ok(Self { directory: directory.to_owned(), writers, readers, watches })
    }

    /// Makes an account with INBOX, Archive, Drafts, Junk, Sent and Trash, all subscribed to.
    ///
    /// # Errors
    /// [`StoreError::AccountName`], [`StoreError::AccountExists`], those of the disk.
    pub fn create_account(&self, account: &str, now: UnixTime) -> Result<(), StoreError> {
        let file = account_file(&self.directory, name::account(account)?);
        let draft = file.with_extension("db.new");
        let directory = self.directory.clone();
        let uidvalidity = u32::try_from(now.as_secs()).unwrap_or(u32::MAX / 2).max(1);
        let name = account.to_owned();
        // On the writer's thread, so that no two threads make the same account.
        self.while_closed(account, move || {
            set_aside::finish(&directory, Some(&name))?;
            if file.exists() {
                return Err(StoreError::AccountExists(name));
            }
            // What is left of an account removed earlier, or of one half made, is not the new one's: a log would
            // be replayed into its file.
            LargeBodies::of(&file).remove_all()?;
            remove_if_there(&draft)?;
            for file in [&draft, &file] {
                remove_if_there(&beside(file, "-wal"))?;
                remove_if_there(&beside(file, "-shm"))?;
            }
            schema::create(&draft, uidvalidity)?;
            fs::rename(&draft, &file).map_err(|error| StoreError::from_io(&file, &error))?;
            sync_parent(&file)
        })
    }

    /// Whether there is such an account.
    #[must_use]
    pub fn has_account(&self, account: &str) -> bool {
        name::account(account).is_ok_and(|account| account_file(&self.directory, account).exists())
    }

    /// The names of all accounts, in order.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list_accounts(&self) -> Result<Vec<String>, StoreError> {
        let mut accounts = Vec::new();
        for name in file_names(&self.directory)? {
            if let Some(account) = name.strip_suffix(".db").filter(|account| name::account(account).is_ok()) {
                accounts.push(account.to_owned());
            }
        }
        accounts.sort_unstable();
        Ok(accounts)
    }

    /// Removes an account and all its mail, for good.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`], those of the disk.
    pub fn remove_account(&self, account: &str) -> Result<(), StoreError> {
        let file = account_file(&self.directory, name::account(account)?);
        let name = account.to_owned();
        let readers = Arc::clone(&self.readers);
        self.watches.end(account);
        self.while_closed(account, move || {
            if !file.exists() {
                return Err(StoreError::NoAccount(name));
            }
            let removed = file.with_extension("db.removed");
            fs::rename(&file, &removed).map_err(|error| StoreError::from_io(&file, &error))?;
            readers.forget(&file);
            LargeBodies::of(&file).remove_all()?;
            for path in [removed, beside(&file, "-wal"), beside(&file, "-shm")] {
                remove_if_there(&path)?;
            }
            sync_parent(&file)
        })
    }

    /// Sets an account's mailbox aside, whole and durably: the account is there no more, and one of the same name
    /// begins empty. Who watches it or reads it finds that it has ended.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`], those of the disk: then it is set aside by whoever asks for the account next.
    pub fn set_aside(&self, account: &str, now: UnixTime) -> Result<SetAside, StoreError> {
        let file = account_file(&self.directory, name::account(account)?);
        let (directory, name) = (self.directory.clone(), account.to_owned());
        let readers = Arc::clone(&self.readers);
        self.watches.end(account);
        self.while_closed(account, move || {
            readers.forget(&file);
            set_aside::put(&directory, &name, now)
        })
    }

    /// The mailboxes that were set aside, by account and date.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list_set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        set_aside::list(&self.directory)
    }

    /// Where its files are.
    #[must_use]
    pub fn path_of(&self, aside: &SetAside) -> PathBuf {
        aside.path(&self.directory)
    }

    /// Brings back a mailbox that was set aside, as the account's of its name.
    ///
    /// # Errors
    /// [`StoreError::AccountExists`]; [`StoreError::NoAccount`] when it is not there; those of the disk.
    pub fn bring_back(&self, aside: &SetAside) -> Result<(), StoreError> {
        name::account(&aside.account)?;
        let (directory, aside) = (self.directory.clone(), aside.clone());
        let account = aside.account.clone();
        self.while_closed(&account, move || set_aside::bring_back(&directory, &aside))
    }

    /// Stores a message and calls `done` with its receipt after the commit, on the writer's thread: it must
    /// be short and must not wait. An item that has arrived before is not stored again. This never blocks:
    /// when too much waits already, `done` gets [`StoreError::Busy`] at once, on this thread.
    pub fn deliver(
        &self,
        account: &str,
        delivery: Delivery,
        done: impl FnOnce(Result<Receipt, StoreError>) + Send + 'static,
    ) {
        if let Err(error) = name::account(account) {
            return done(Err(error));
        }
        let octets = delivery.head.len() + delivery.body.held();
        let action = move |change: &mut Change<'_>| change.deliver(&delivery);
        let work = Work::Change(account.to_owned(), Box::new(Task { action, result: None, done }));
        if let Err((Work::Change(_, job), error)) = self.writer(account).offer(work, octets) {
            job.finish(Err(error));
        }
    }

    /// Stores a message and waits for the commit.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`], [`StoreError::MailboxName`], [`StoreError::Limit`],
    /// [`StoreError::Source`], those of the disk.
    pub fn deliver_and_wait(&self, account: &str, delivery: Delivery) -> Result<Receipt, StoreError> {
        let octets = delivery.head.len() + delivery.body.held();
        self.change_holding(account, octets, move |change| change.deliver(&delivery))
    }

    /// Appends a client's message to a mailbox that exists.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], [`StoreError::Limit`], [`StoreError::Source`], those of the disk.
    pub fn append(&self, account: &str, append: Append) -> Result<Receipt, StoreError> {
        let octets = append.body.held();
        self.change_holding(account, octets, move |change| change.append(&append))
    }

    /// Changes flags of messages.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], [`StoreError::Limit`], those of the disk.
    pub fn update_flags(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        update: FlagUpdate,
    ) -> Result<FlagsChanged, StoreError> {
        let uids = uids.to_vec();
        self.change(account, move |change| change.update_flags(mailbox, &uids, &update))
    }

    /// Copies messages to the mailbox of a name, all or none.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], those of the disk.
    pub fn copy(&self, account: &str, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError> {
        let (to, uids) = (to.to_owned(), uids.to_vec());
        self.change(account, move |change| change.copy(from, &to, &uids))
    }

    /// Moves messages to the mailbox of a name, all or none.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], those of the disk.
    pub fn relocate(
        &self,
        account: &str,
        from: MailboxId,
        to: &str,
        uids: &Uids,
    ) -> Result<Copied, StoreError> {
        let (to, uids) = (to.to_owned(), uids.to_vec());
        self.change(account, move |change| change.relocate_to(from, &to, &uids))
    }

    /// Removes messages for good and tells their uids, in order.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], those of the disk.
    pub fn expunge(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        which: Expunge,
    ) -> Result<Vec<u32>, StoreError> {
        let uids = uids.to_vec();
        self.change(account, move |change| change.expunge(mailbox, &uids, which))
    }

    /// Makes a mailbox; its parents need not exist.
    ///
    /// # Errors
    /// [`StoreError::MailboxExists`], [`StoreError::MailboxName`], [`StoreError::Limit`], those of the disk.
    pub fn create_mailbox(
        &self,
        account: &str,
        mailbox: &str,
        special_use: Option<&str>,
    ) -> Result<MailboxId, StoreError> {
        let (mailbox, special_use) = (mailbox.to_owned(), special_use.map(str::to_owned));
        self.change(account, move |change| change.create_mailbox(&mailbox, special_use.as_deref()))
    }

    /// Deletes a mailbox with its messages; those below it stay.
    ///
    /// # Errors
    /// [`StoreError::Inbox`], [`StoreError::NoMailbox`], those of the disk.
    pub fn delete_mailbox(&self, account: &str, mailbox: &str) -> Result<(), StoreError> {
        let mailbox = mailbox.to_owned();
        self.change(account, move |change| change.delete_mailbox(&mailbox))
    }

    /// Renames a mailbox and those below it; INBOX is emptied into the new name instead.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], [`StoreError::MailboxExists`], [`StoreError::MailboxName`], those of the disk.
    pub fn rename_mailbox(&self, account: &str, from: &str, to: &str) -> Result<(), StoreError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change(account, move |change| change.rename_mailbox(&from, &to))
    }

    /// Subscribes to a name or ends it.
    ///
    /// # Errors
    /// [`StoreError::MailboxName`], [`StoreError::Limit`], those of the disk.
    pub fn subscribe(&self, account: &str, mailbox: &str, wanted: Subscription) -> Result<(), StoreError> {
        let mailbox = mailbox.to_owned();
        self.change(account, move |change| change.subscribe(&mailbox, wanted))
    }

    /// Forgets items of an account that arrived before `before`: a second delivery of one of them would be
    /// stored again. Works in small steps; tells how many were forgotten.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`], those of the disk.
    pub fn forget_arrived(&self, account: &str, before: UnixTime) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let step = self.change(account, move |change| change.forget_arrived(before, FORGET_STEP))?;
            forgotten += step as u64;
            if step < FORGET_STEP {
                return Ok(forgotten);
            }
        }
    }

    /// Reads the whole file of an account and fails when it is damaged.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::NoAccount`], those of the disk.
    pub fn check_account(&self, account: &str) -> Result<(), StoreError> {
        self.reader(account)?.check()
    }

    /// A view on an account's changes; cheap.
    ///
    /// # Errors
    /// [`StoreError::AccountName`].
    pub fn watch(&self, account: &str) -> Result<Watch, StoreError> {
        Ok(self.watches.watch(name::account(account)?))
    }

    /// A connection that reads an account.
    ///
    /// # Errors
    /// [`StoreError::AccountName`], [`StoreError::NoAccount`], those of the disk.
    pub fn reader(&self, account: &str) -> Result<Reader, StoreError> {
        self.readers.reader(&self.directory, account)
    }

    fn change<T: Send + 'static>(
        &self,
        account: &str,
        action: impl FnMut(&mut Change<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.change_holding(account, 0, action)
    }

    /// Runs `action` in a transaction and waits for the commit.
    fn change_holding<T: Send + 'static>(
        &self,
        account: &str,
        octets: usize,
        action: impl FnMut(&mut Change<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        name::account(account)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let done = move |outcome| {
            // Nobody waits any more when the caller's thread is gone.
            let _ = sender.send(outcome);
        };
        let job = Box::new(Task { action, result: None, done });
        self.writer(account).push(Work::Change(account.to_owned(), job), octets)?;
        receiver.recv().map_err(|_| StoreError::Closed)?
    }

    /// Runs `action` on the account's writer while the account's file is not open for writing.
    fn while_closed<T: Send + 'static>(
        &self,
        account: &str,
        action: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let action = move || {
            let _ = sender.send(action());
        };
        self.writer(account).push(Work::Closed(account.to_owned(), Box::new(action)), 0)?;
        receiver.recv().map_err(|_| StoreError::Closed)?
    }

    fn writer(&self, account: &str) -> &Queue<Work> {
        let mut hasher = DefaultHasher::new();
        account.hash(&mut hasher);
        let count = self.writers.len();
        let index = usize::try_from(hasher.finish() % count as u64).unwrap_or(0);
        &self.writers[index].queue
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for writer in &self.writers {
            writer.queue.close();
        }
        for writer in &mut self.writers {
            // A callback may hold the last handle: then this is the thread that would be waited for.
            if let Some(thread) =
                writer.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
            {
                let _ = thread.join();
            }
        }
    }
}

impl Change<'_> {
    /// Forgets up to `most` items that arrived before `before`. An item is made before it arrives and its id
    /// sorts by that time, so only ids up to `before` are looked at.
    fn forget_arrived(&mut self, before: UnixTime, most: usize) -> Result<usize, StoreError> {
        let last = ItemId::new(before, [0xff; 10]);
        let sql = "DELETE FROM arrived WHERE item IN
                   (SELECT item FROM arrived WHERE item <= ?1 AND at < ?2 LIMIT ?3)";
        let mut delete = self.connection.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let before = crate::column::column(before.0);
        Ok(delete.execute(rusqlite::params![last.as_bytes(), before, most])?)
    }
}

/// Files of accounts that were half made or half removed when the process ended.
fn remove_leftovers(directory: &Path) -> Result<(), StoreError> {
    for name in file_names(directory)? {
        let unfinished = [".db.new", ".db.new-wal", ".db.new-shm", ".db.removed"];
        if let Some(account) = name.strip_suffix(".db.removed") {
            // Its large bodies go as well, unless there is a new account of that name.
            let file = account_file(directory, account);
            if !file.exists() {
                LargeBodies::of(&file).remove_all()?;
            }
        }
        if unfinished.iter().any(|end| name.ends_with(end)) {
            remove_if_there(&directory.join(name))?;
        }
    }
    Ok(())
}
