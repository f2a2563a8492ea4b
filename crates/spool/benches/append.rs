//! Items of 4 KiB made durable in a spool in the temporary directory: it measures the disk that is there,
//! one `fdatasync` for each batch. Where that directory is in memory the figures say nothing of a disk.
//! Unit: items a second; a producer appends its next item when it has the receipt of the one before.

#![allow(clippy::unwrap_used, reason = "a disk that fails is not what is measured")]

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use mail::{ItemId, UnixTime};
use spool::{Options, RealDisk, Receipt, Spool, SpoolError};

const ITEM_OCTETS: usize = 4 * 1024;
/// Items that each producer appends in one go.
const ROUNDS: usize = 8;

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 64], sample_count = 40, sample_size = 1)]
fn producers(bencher: Bencher<'_, '_>, count: usize) {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), Options::default(), Arc::new(RealDisk)).unwrap();
    let body = Bytes::from(vec![b'x'; ITEM_OCTETS]);
    let (receipts, receipt) = channel();
    let mut appended = 0;
    bencher.counter(ItemsCount::new(count * ROUNDS)).bench_local(|| {
        for _ in 0..count {
            append(&spool, &mut appended, &body, &receipts);
        }
        for _ in 0..count * (ROUNDS - 1) {
            receipt.recv().unwrap().unwrap();
            append(&spool, &mut appended, &body, &receipts);
        }
        for _ in 0..count {
            receipt.recv().unwrap().unwrap();
        }
    });
    drop(spool);
    let spool = Spool::open(dir.path(), Options::default(), Arc::new(RealDisk)).unwrap();
    assert_eq!(spool.count() as u64, appended);
}

fn append(spool: &Spool, appended: &mut u64, body: &Bytes, receipts: &Sender<Result<Receipt, SpoolError>>) {
    *appended += 1;
    let id = ItemId::new(UnixTime::from_secs(1_795_500_000).plus_secs(*appended), [7; 10]);
    let receipts = receipts.clone();
    let done = move |receipt| receipts.send(receipt).unwrap();
    spool.append(id, vec![b'm'; 64], vec![body.clone()], Box::new(done));
}
