//! Messages of 4 KiB delivered to one INBOX in the temporary directory: it measures SQLite and the disk that
//! is there, one sync of the log for each batch, and the moving of the log into the file now and then.
//! Unit: messages a second; a sender delivers its next message when it has the receipt of the one before.

#![allow(clippy::unwrap_used, reason = "a disk that fails is not what is measured")]

use std::sync::mpsc::{Sender, channel};

use content::Content;
use divan::Bencher;
use divan::counter::ItemsCount;
use mail::{ItemId, UnixTime};
use mailbox::FlagList;
use store::{Delivery, Mailboxes as _, Receipt, StoreError};
use store_sqlite::{Options, SqliteMailboxes};

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
const MESSAGE_OCTETS: usize = 4 * 1024;
/// Messages that each sender delivers in one go.
const ROUNDS: usize = 8;

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 64], sample_count = 40, sample_size = 1)]
fn senders(bencher: Bencher<'_, '_>, count: usize) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteMailboxes::open(dir.path(), Options::default()).unwrap();
    store.create_account("bob", NOW).unwrap();
    let (receipts, receipt) = channel();
    let mut delivered = 0;
    bencher.counter(ItemsCount::new(count * ROUNDS)).bench_local(|| {
        for _ in 0..count {
            deliver(&store, &mut delivered, &receipts);
        }
        for _ in 0..count * (ROUNDS - 1) {
            receipt.recv().unwrap().unwrap();
            deliver(&store, &mut delivered, &receipts);
        }
        for _ in 0..count {
            receipt.recv().unwrap().unwrap();
        }
    });
    let reader = store.reader("bob").unwrap();
    let mut messages = 0;
    let inbox = reader.mailbox("INBOX").unwrap().unwrap();
    reader.each_message(inbox.id, 1..=u32::MAX, &mut |_| messages += 1).unwrap();
    assert_eq!(messages, delivered);
}

fn deliver(store: &SqliteMailboxes, delivered: &mut u64, receipts: &Sender<Result<Receipt, StoreError>>) {
    *delivered += 1;
    let delivery = Delivery {
        item: Some(ItemId::new(NOW.plus_secs(*delivered), [7; 10])),
        mailbox: "INBOX".into(),
        head: vec![b'h'; 300].into(),
        body: Content::from(vec![b'x'; MESSAGE_OCTETS]),
        flags: FlagList::default(),
        internal_date: NOW,
    };
    let receipts = receipts.clone();
    store.deliver("bob", delivery, Box::new(move |receipt| receipts.send(receipt).unwrap()));
}
