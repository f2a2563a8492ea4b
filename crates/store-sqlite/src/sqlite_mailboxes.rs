//! The store: a directory of accounts, its writers and its readers.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use content::Content;
use mail::UnixTime;
use mailbox::{Copied, Expunge, FlagUpdate, FlagsChanged, MailboxId, Subscription, Uids};
use store::{Append, Delivery, Done, Mailboxes, Reader, Receipt, SetAside, StoreError, Watch, Watches, name};

use crate::change::Change;
use crate::fault::Fault;
use crate::files::{account_file, beside, file_names, remove_if_there, sync_parent};
use crate::large::LargeBodies;
use crate::options::Options;
use crate::queue::Queue;
use crate::reader::Pool;
use crate::writer::{Task, Work, Writer};
use crate::{schema, set_aside};

/// Items forgotten per transaction, so that deliveries need not wait for long.
const FORGET_STEP: usize = 1000;

/// All accounts of a Home, each in a file of a directory. Dropping it finishes what was asked.
pub struct SqliteMailboxes {
    directory: PathBuf,
    writers: Vec<WriterHandle>,
    readers: Arc<Pool>,
    watches: Arc<Watches>,
}

struct WriterHandle {
    queue: Arc<Queue<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteMailboxes {
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

    fn change<T: Send + 'static>(
        &self,
        account: &str,
        action: impl FnMut(&mut Change<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.change_holding(account, 0, action)
    }

    /// Runs `action` in a transaction and waits for the commit.
    fn change_holding<T: Send + 'static>(
        &self,
        account: &str,
        octets: usize,
        action: impl FnMut(&mut Change<'_>) -> Result<T, Fault> + Send + 'static,
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

/// What a body costs while it waits, in octets of memory.
fn held(body: &Content) -> usize {
    usize::try_from(body.memory_octets()).unwrap_or(usize::MAX)
}

impl Mailboxes for SqliteMailboxes {
    fn create_account(&self, account: &str, now: UnixTime) -> Result<(), StoreError> {
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
            schema::create(&draft, uidvalidity).map_err(|fault| fault.in_file(&draft))?;
            fs::rename(&draft, &file).map_err(|error| StoreError::from_io(&file, &error))?;
            sync_parent(&file)
        })
    }

    fn has_account(&self, account: &str) -> bool {
        name::account(account).is_ok_and(|account| account_file(&self.directory, account).exists())
    }

    fn list_accounts(&self) -> Result<Vec<String>, StoreError> {
        let mut accounts = Vec::new();
        for name in file_names(&self.directory)? {
            if let Some(account) = name.strip_suffix(".db").filter(|account| name::account(account).is_ok()) {
                accounts.push(account.to_owned());
            }
        }
        accounts.sort_unstable();
        Ok(accounts)
    }

    fn remove_account(&self, account: &str) -> Result<(), StoreError> {
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

    fn set_aside(&self, account: &str, now: UnixTime) -> Result<SetAside, StoreError> {
        let file = account_file(&self.directory, name::account(account)?);
        let (directory, name) = (self.directory.clone(), account.to_owned());
        let readers = Arc::clone(&self.readers);
        self.watches.end(account);
        self.while_closed(account, move || {
            readers.forget(&file);
            set_aside::put(&directory, &name, now)
        })
    }

    fn list_set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        set_aside::list(&self.directory)
    }

    fn place_of(&self, aside: &SetAside) -> String {
        set_aside::path(aside, &self.directory).display().to_string()
    }

    fn bring_back(&self, aside: &SetAside) -> Result<(), StoreError> {
        name::account(&aside.account)?;
        let (directory, aside) = (self.directory.clone(), aside.clone());
        let account = aside.account.clone();
        self.while_closed(&account, move || set_aside::bring_back(&directory, &aside))
    }

    fn deliver(&self, account: &str, delivery: Delivery, done: Done) {
        if let Err(error) = name::account(account) {
            return done(Err(error));
        }
        let octets = delivery.head.octets() + held(&delivery.body);
        let action = move |change: &mut Change<'_>| change.deliver(&delivery);
        let work = Work::Change(account.to_owned(), Box::new(Task { action, result: None, done }));
        if let Err((Work::Change(_, job), error)) = self.writer(account).offer(work, octets) {
            job.finish(Err(error));
        }
    }

    fn deliver_and_wait(&self, account: &str, delivery: Delivery) -> Result<Receipt, StoreError> {
        let octets = delivery.head.octets() + held(&delivery.body);
        self.change_holding(account, octets, move |change| change.deliver(&delivery))
    }

    fn append(&self, account: &str, append: Append) -> Result<Receipt, StoreError> {
        let octets = held(&append.body);
        self.change_holding(account, octets, move |change| change.append(&append))
    }

    fn update_flags(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        update: FlagUpdate,
    ) -> Result<FlagsChanged, StoreError> {
        let uids = uids.to_vec();
        self.change(account, move |change| change.update_flags(mailbox, &uids, &update))
    }

    fn copy(&self, account: &str, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError> {
        let (to, uids) = (to.to_owned(), uids.to_vec());
        self.change(account, move |change| change.copy(from, &to, &uids))
    }

    fn relocate(&self, account: &str, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError> {
        let (to, uids) = (to.to_owned(), uids.to_vec());
        self.change(account, move |change| change.relocate_to(from, &to, &uids))
    }

    fn expunge(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        which: Expunge,
    ) -> Result<Vec<u32>, StoreError> {
        let uids = uids.to_vec();
        self.change(account, move |change| change.expunge(mailbox, &uids, which))
    }

    fn create_mailbox(
        &self,
        account: &str,
        mailbox: &str,
        special_use: Option<&str>,
    ) -> Result<MailboxId, StoreError> {
        let (mailbox, special_use) = (mailbox.to_owned(), special_use.map(str::to_owned));
        self.change(account, move |change| change.create_mailbox(&mailbox, special_use.as_deref()))
    }

    fn delete_mailbox(&self, account: &str, mailbox: &str) -> Result<(), StoreError> {
        let mailbox = mailbox.to_owned();
        self.change(account, move |change| change.delete_mailbox(&mailbox))
    }

    fn rename_mailbox(&self, account: &str, from: &str, to: &str) -> Result<(), StoreError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change(account, move |change| change.rename_mailbox(&from, &to))
    }

    fn subscribe(&self, account: &str, mailbox: &str, wanted: Subscription) -> Result<(), StoreError> {
        let mailbox = mailbox.to_owned();
        self.change(account, move |change| change.subscribe(&mailbox, wanted))
    }

    fn forget_arrived(&self, account: &str, before: UnixTime) -> Result<u64, StoreError> {
        let (mut forgotten, mut after) = (0, Vec::new());
        loop {
            // Looked for beside the writer, which then only removes what was found.
            let old =
                self.readers.reader(&self.directory, account)?.arrived_before(before, &after, FORGET_STEP)?;
            let Some(last) = old.last() else { return Ok(forgotten) };
            after.clone_from(last);
            forgotten += self.change(account, move |change| change.forget_arrived(&old))?;
        }
    }

    fn tidy(&self, account: &str) -> Result<u64, StoreError> {
        // Most accounts need nothing, and their writer is not disturbed.
        if !self.readers.reader(&self.directory, account)?.has_much_gone()? {
            return Ok(0);
        }
        self.change(account, |change| change.tidy())
    }

    fn check_account(&self, account: &str) -> Result<(), StoreError> {
        self.readers.reader(&self.directory, account)?.check()
    }

    fn watch(&self, account: &str) -> Result<Watch, StoreError> {
        Ok(self.watches.watch(name::account(account)?))
    }

    fn reader(&self, account: &str) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(self.readers.reader(&self.directory, account)?))
    }
}

impl std::fmt::Debug for SqliteMailboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteMailboxes").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Drop for SqliteMailboxes {
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
    /// Forgets that these items arrived.
    fn forget_arrived(&self, items: &[Vec<u8>]) -> Result<u64, Fault> {
        let mut delete = self.connection.prepare_cached("DELETE FROM arrived WHERE item = ?1")?;
        let mut forgotten = 0;
        for item in items {
            forgotten += delete.execute([item])? as u64;
        }
        Ok(forgotten)
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
