//! Who wants to know that an account or a mailbox has changed: cheap for the writer, usable from async code.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mailbox::MailboxId;

type Callback = Arc<dyn Fn() + Send + Sync>;

/// The accounts that somebody watches: for whoever implements [`crate::Mailboxes`].
#[derive(Default)]
pub struct Watches {
    accounts: Mutex<HashMap<String, Weak<Account>>>,
}

#[derive(Default)]
struct Account {
    generation: AtomicU64,
    ended: AtomicBool,
    callbacks: Mutex<Callbacks>,
}

#[derive(Default)]
struct Callbacks {
    next: u64,
    listed: Vec<Listed>,
}

struct Listed {
    id: u64,
    mailbox: MailboxId,
    callback: Callback,
}

impl Watches {
    /// A view on the changes of an account whose name was checked.
    #[must_use]
    pub fn watch(&self, account: &str) -> Watch {
        let mut accounts = lock(&self.accounts);
        accounts.retain(|_, state| state.strong_count() > 0);
        let state = accounts.get(account).and_then(Weak::upgrade).unwrap_or_else(|| {
            let state = Arc::new(Account::default());
            accounts.insert(account.to_owned(), Arc::downgrade(&state));
            state
        });
        Watch { account: state }
    }

    /// The account is removed: one of the same name is another.
    pub fn end(&self, account: &str) {
        if let Some(state) = lock(&self.accounts).remove(account).and_then(|state| state.upgrade()) {
            state.ended.store(true, Ordering::Release);
        }
    }

    /// A commit changed the account: tells those who wait for one of the mailboxes that it changed.
    pub fn notify(&self, account: &str, changed: &[MailboxId]) {
        let Some(state) = lock(&self.accounts).get(account).and_then(Weak::upgrade) else { return };
        state.generation.fetch_add(1, Ordering::Release);
        let waiting = |listed: &&Listed| changed.contains(&listed.mailbox);
        let callbacks: Vec<Callback> = {
            let listed = &lock(&state.callbacks).listed;
            listed.iter().filter(waiting).map(|listed| Arc::clone(&listed.callback)).collect()
        };
        for callback in callbacks {
            callback();
        }
    }
}

/// A view on one account's changes.
#[derive(Clone)]
pub struct Watch {
    account: Arc<Account>,
}

impl Watch {
    /// A number that is another one after every commit that changed the account, while this or another
    /// [`Watch`] of the account lives.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.account.generation.load(Ordering::Acquire)
    }

    /// Whether the account was removed or set aside since. One that has its name now is another's.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.account.ended.load(Ordering::Acquire)
    }

    /// Calls `callback` after every commit that changes or deletes the mailbox, until the registration is dropped. It
    /// runs on a thread that writes: it must be short and must not wait, as a channel's or a `Notify`'s wake is.
    #[must_use]
    pub fn on_change_of(
        &self,
        mailbox: MailboxId,
        callback: impl Fn() + Send + Sync + 'static,
    ) -> Registration {
        let mut callbacks = lock(&self.account.callbacks);
        let id = callbacks.next;
        callbacks.next += 1;
        callbacks.listed.push(Listed { id, mailbox, callback: Arc::new(callback) });
        Registration { account: Arc::clone(&self.account), id }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").finish_non_exhaustive()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("generation", &self.generation()).finish()
    }
}

/// Keeps a callback listed until it is dropped.
pub struct Registration {
    account: Arc<Account>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.account.callbacks).listed.retain(|listed| listed.id != self.id);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("id", &self.id).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
