//! How much memory the store takes. Alone in its program: the peak is that of the whole process.

#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::io::Write as _;

use content::Content;
use mail::UnixTime;
use mailbox::FlagList;
use store::{Delivery, Mailboxes as _};
use store_sqlite::{Options, SqliteMailboxes};

#[test]
fn a_large_file_is_stored_and_read_in_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteMailboxes::open(directory.path(), Options::default()).unwrap();
    store.create_account("bob", UnixTime(0)).unwrap();
    let octets = 50 * 1024 * 1024_u64;
    let mut file = tempfile::tempfile().unwrap();
    let block: Vec<u8> = (0..=255_u8).cycle().take(65_536 + 1).collect();
    let mut written = 0;
    while written < octets {
        let part = &block[..block.len().min(usize::try_from(octets - written).unwrap())];
        file.write_all(part).unwrap();
        written += part.len() as u64;
    }
    let before = resident_peak();
    let message = Delivery {
        item: None,
        mailbox: "INBOX".into(),
        head: b"Head: x\r\n".to_vec().into(),
        body: Content::file(file, 0, octets),
        flags: FlagList::default(),
        internal_date: UnixTime(0),
    };
    store.deliver_and_wait("bob", message).unwrap();
    let reader = store.reader("bob").unwrap();
    let id = reader.mailbox("INBOX").unwrap().unwrap().id;
    let at = |offset: u64| block[usize::try_from(offset % 65_537).unwrap()];
    for offset in [0, 262_143, 262_144, 10_000_000, octets - 10] {
        let mut out = Vec::new();
        assert!(reader.read_body(id, 1, offset + 9, 10, &mut out).unwrap());
        assert_eq!(out, (0..10).map(|place| at(offset + place)).collect::<Vec<_>>());
    }
    let mut past = Vec::new();
    reader.read_body(id, 1, octets, 100, &mut past).unwrap();
    assert_eq!(past.len(), 9);
    reader.read_body(id, 1, octets + 9, 100, &mut past).unwrap();
    reader.read_body(id, 1, u64::MAX, 100, &mut past).unwrap();
    assert_eq!(past.len(), 9);
    let grown = resident_peak() - before;
    assert!(grown < 12 * 1024, "memory grew by {grown} KiB");
}

/// The most memory this process has ever used, in KiB.
fn resident_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
