//! Mailboxes that are set aside and brought back, also when the process ends in the middle.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use content::Content;
use mail::UnixTime;
use mailbox::FlagList;
use store::{Delivery, Mailboxes as _};
use store_sqlite::{Options, SqliteMailboxes};

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
const DATE: &str = "2026-11-24T06:00:00Z";
const LARGE: usize = 1024 * 1024;

fn open(directory: &Path) -> SqliteMailboxes {
    SqliteMailboxes::open(directory, Options::default()).unwrap()
}

fn deliver(store: &SqliteMailboxes, directory: &Path, body: &[u8]) {
    let mut file = tempfile::tempfile_in(directory).unwrap();
    file.write_all(body).unwrap();
    let delivery = Delivery {
        item: None,
        mailbox: "INBOX".into(),
        head: b"Received: here\r\n".to_vec().into(),
        body: Content::file(file, 0, body.len() as u64),
        flags: FlagList::default(),
        internal_date: NOW,
    };
    store.deliver_and_wait("bob", delivery).unwrap();
}

/// The sizes of bob's messages, each of which was read.
fn messages(store: &SqliteMailboxes) -> Vec<usize> {
    store.check_account("bob").unwrap();
    let reader = store.reader("bob").unwrap();
    let inbox = reader.mailbox("INBOX").unwrap().unwrap().id;
    let mut uids = Vec::new();
    reader.each_message(inbox, 1..=u32::MAX, &mut |message| uids.push(message.uid)).unwrap();
    let size = |uid| {
        let mut octets = Vec::new();
        assert!(reader.read_body(inbox, uid, 0, usize::MAX, &mut octets).unwrap());
        octets.len()
    };
    uids.into_iter().map(size).collect()
}

const HELD: [usize; 2] = [16 + 5, 16 + LARGE];

/// A store in which bob has a small and a large message, as it is on the disk while it is open: with a log.
fn image() -> tempfile::TempDir {
    let live = tempfile::tempdir().unwrap();
    let store = open(live.path());
    store.create_account("bob", NOW).unwrap();
    deliver(&store, live.path(), b"small");
    deliver(&store, live.path(), &[b'x'; LARGE]);
    let image = tempfile::tempdir().unwrap();
    for name in ["bob.db", "bob.db-wal"] {
        fs::copy(live.path().join(name), image.path().join(name)).unwrap();
    }
    assert!(fs::metadata(image.path().join("bob.db-wal")).unwrap().len() > 0);
    fs::create_dir(image.path().join("bob.large")).unwrap();
    for file in fs::read_dir(live.path().join("bob.large")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), image.path().join("bob.large").join(file.file_name())).unwrap();
    }
    image
}

/// The moves in their order: from, to.
fn moves(store: &Path, place: &Path) -> [(PathBuf, PathBuf); 3] {
    ["large", "db-wal", "db"]
        .map(|end| (store.join(format!("bob.{end}")), place.join(format!("mailbox.{end}"))))
}

#[test]
fn a_move_that_breaks_off_at_any_step_is_gone_on_with() {
    for done in 0..=3 {
        let directory = image();
        let place = directory.path().join(format!("set-aside/bob.{DATE}.going"));
        fs::create_dir_all(&place).unwrap();
        for (from, to) in &moves(directory.path(), &place)[..done] {
            fs::rename(from, to).unwrap();
        }
        let store = open(directory.path());
        assert!(!store.has_account("bob"), "after {done} moves");
        let aside = store.list_set_aside().unwrap().remove(0);
        let from = PathBuf::from(store.place_of(&aside));
        drop(store);
        let (from, place) = (from, place.with_extension("coming"));
        fs::rename(from, &place).unwrap();
        for (to, from) in &moves(directory.path(), &place)[..done] {
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        let store = open(directory.path());
        assert_eq!(messages(&store), HELD, "after {done} moves back");
        assert!(store.list_set_aside().unwrap().is_empty());
    }
}

/// The disk may fail in the middle, and the next who asks for the account be of another mind.
#[test]
fn a_new_account_never_gets_what_was_left_in_the_middle_of_a_move() {
    for done in 0..=3 {
        let directory = image();
        let store = open(directory.path());
        let place = directory.path().join(format!("set-aside/bob.{DATE}.going"));
        fs::create_dir_all(&place).unwrap();
        for (from, to) in &moves(directory.path(), &place)[..done] {
            fs::rename(from, to).unwrap();
        }
        store.create_account("bob", NOW).unwrap();
        assert!(messages(&store).is_empty());
        let aside = store.list_set_aside().unwrap().remove(0);
        store.set_aside("bob", NOW.plus_secs(9)).unwrap();
        store.bring_back(&aside).unwrap();
        assert_eq!(messages(&store), HELD);
    }
}
