//! What is promised by the traits of `store`, as tests that any backend runs: SQLite's and the one in memory do.
//!
//! A test of behaviour belongs here, and grows with each feature of the store. What is about files, crashes, batches or
//! statements belongs to the backend. `mailboxes!` and `tables!` make a `#[test]` of each promise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a library of tests: their names say what they show"
)]

pub mod mailboxes;
pub mod tables;

use std::any::Any;
use std::fs::File;
use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use content::Content;
use mail::{ItemId, UnixTime};
use mailbox::{FlagList, FlagMode, FlagUpdate, Flags, Mailbox};
use store::{Delivery, Mailboxes, Receipt, StoreError};

/// The time at which everything happens in these tests.
pub const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
/// Octets of a body that SQLite's store keeps in the file that it came in.
pub const LARGE: usize = 1024 * 1024;

/// Mailboxes with an account `bob`.
pub struct Home {
    pub store: Arc<dyn Mailboxes>,
    /// What has to live as long as the store.
    _kept: Box<dyn Any>,
}

impl Home {
    /// With empty mailboxes, and what has to live as long as they do, such as their directory.
    pub fn new(store: Arc<dyn Mailboxes>, kept: impl Any) -> Self {
        store.create_account("bob", NOW).unwrap();
        Self { store, _kept: Box::new(kept) }
    }

    pub fn deliver(&self, body: &[u8]) -> Receipt {
        self.store.deliver_and_wait("bob", delivery(None, body)).unwrap()
    }

    /// Delivers a message whose body comes in an unnamed file with `more` octets behind it.
    ///
    /// # Errors
    /// The store's.
    pub fn deliver_file(&self, number: u8, body: &[u8], more: usize) -> Result<Receipt, StoreError> {
        self.store.deliver_and_wait("bob", self.file_delivery(number, body, more))
    }

    pub fn file_delivery(&self, number: u8, body: &[u8], more: usize) -> Delivery {
        let mut delivery = delivery(Some(item(number)), b"");
        delivery.head = b"Head: x\r\n".to_vec().into();
        delivery.body = Content::file(file(&[body, &vec![b'!'; more]].concat()), 0, body.len() as u64);
        delivery
    }

    pub fn mailbox(&self, name: &str) -> Mailbox {
        self.store.reader("bob").unwrap().mailbox(name).unwrap().unwrap()
    }

    pub fn uids(&self, name: &str) -> Vec<u32> {
        let mut uids = Vec::new();
        let id = self.mailbox(name).id;
        let reader = self.store.reader("bob").unwrap();
        reader.each_message(id, 1..=u32::MAX, &mut |message| uids.push(message.uid)).unwrap();
        uids
    }

    pub fn body(&self, name: &str, uid: u32) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let id = self.mailbox(name).id;
        let found = self.store.reader("bob").unwrap().read_body(id, uid, 0, usize::MAX, &mut out).unwrap();
        found.then_some(out)
    }

    pub fn flag(&self, mode: FlagMode, uid: u32, flags: impl Into<FlagList>) -> Vec<(u32, Flags)> {
        let update = FlagUpdate { mode, flags: flags.into(), unchanged_since: None };
        self.store.update_flags("bob", self.mailbox("INBOX").id, &[uid..=uid], update).unwrap().changed
    }
}

pub fn item(number: u8) -> ItemId {
    ItemId::new(NOW, [number; 10])
}

pub fn delivery(item: Option<ItemId>, body: &[u8]) -> Delivery {
    Delivery {
        item,
        mailbox: "INBOX".into(),
        head: store::Head::default(),
        body: Content::from(body.to_vec()),
        flags: FlagList::default(),
        internal_date: NOW,
    }
}

fn file(octets: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(octets).unwrap();
    file
}

/// Waits for a future on this thread.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// The tests of a list: see `mailboxes!`.
#[doc(hidden)]
#[macro_export]
macro_rules! each {
    ($make:ident, $group:ident, $($module:ident: [$($name:ident),* $(,)?];)*) => {
        $(mod $module {
            $(#[test]
            fn $name() {
                $crate::$group::$module::$name(&super::$make());
            })*
        })*
    };
}

#[cfg(test)]
mod tests {
    /// That each function of these files is in the list: else nobody would run it.
    pub(crate) fn all_listed(list: &str, files: &[&str]) {
        for file in files {
            for line in file.lines().filter_map(|line| line.strip_prefix("pub fn ")) {
                let name = line.split('(').next().unwrap();
                assert!(list.contains(&format!(" {name},\n")), "{name} is not in the list");
            }
        }
    }
}
