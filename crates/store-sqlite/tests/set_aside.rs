//! Mailboxes that are set aside and brought back, also when the process ends in the middle.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mail::UnixTime;
use store_sqlite::{Body, Delivery, FlagList, Options, Store, StoreError};

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
const DATE: &str = "2026-11-24T06:00:00Z";
const LARGE: usize = 1024 * 1024;

fn open(directory: &Path) -> Store {
    Store::open(directory, Options::default()).unwrap()
}

fn deliver(store: &Store, directory: &Path, body: &[u8]) {
    let mut file = tempfile::tempfile_in(directory).unwrap();
    file.write_all(body).unwrap();
    let delivery = Delivery {
        item: None,
        mailbox: "INBOX".into(),
        head: b"Received: here\r\n".to_vec(),
        body: Body::File(file, body.len() as u64),
        flags: FlagList::default(),
        internal_date: NOW,
    };
    store.deliver_and_wait("bob", delivery).unwrap();
}

/// The sizes of bob's messages, each of which was read.
fn messages(store: &Store) -> Vec<usize> {
    store.check_account("bob").unwrap();
    let reader = store.reader("bob").unwrap();
    let inbox = reader.mailbox("INBOX").unwrap().unwrap().id;
    let mut uids = Vec::new();
    reader.each_message(inbox, 1..=u32::MAX, |message| uids.push(message.uid)).unwrap();
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

#[test]
fn what_is_set_aside_is_nobodys_until_it_is_brought_back_whole() {
    let directory = image();
    let store = open(directory.path());
    assert_eq!(messages(&store), HELD);
    let aside = store.set_aside("bob", NOW).unwrap();
    assert_eq!((aside.account.as_str(), aside.date.as_str()), ("bob", DATE));
    assert!(!store.has_account("bob") && store.list_accounts().unwrap().is_empty());
    assert_eq!(store.set_aside("bob", NOW), Err(StoreError::NoAccount("bob".into())));
    store.create_account("bob", NOW).unwrap();
    assert!(messages(&store).is_empty());
    assert_eq!(store.bring_back(&aside), Err(StoreError::AccountExists("bob".into())));
    deliver(&store, directory.path(), b"of the new one");
    let second = store.set_aside("bob", NOW).unwrap();
    assert_ne!(second, aside, "one second holds two");
    assert_eq!(store.list_set_aside().unwrap(), [aside.clone(), second.clone()]);
    store.bring_back(&aside).unwrap();
    assert_eq!(messages(&store), HELD);
    deliver(&store, directory.path(), &[b'y'; LARGE]);
    assert_eq!(messages(&store), [HELD[0], HELD[1], 16 + LARGE]);
    assert_eq!(store.list_set_aside().unwrap(), [second]);
    assert!(matches!(store.bring_back(&aside), Err(StoreError::AccountExists(_))));
}

/// Symptom: `--restore newest` brought back an older mailbox, when several were set aside within seconds. Cause: the
/// second of one that had been brought back was free again, and was given to the next.
#[test]
fn the_newest_is_the_one_that_was_set_aside_last_also_within_a_second_and_when_the_clock_goes_back() {
    let directory = image();
    let store = open(directory.path());
    let first = store.set_aside("bob", NOW).unwrap();
    store.create_account("bob", NOW).unwrap();
    let second = store.set_aside("bob", NOW).unwrap();
    store.bring_back(&first).unwrap();
    let third = store.set_aside("bob", NOW).unwrap();
    assert_eq!(store.list_set_aside().unwrap(), [second, third.clone()]);
    store.create_account("bob", NOW).unwrap();
    let fourth = store.set_aside("bob", UnixTime::from_secs(0)).unwrap();
    assert!(fourth > third, "{fourth:?}");
    assert_eq!(store.list_set_aside().unwrap().last(), Some(&fourth));
}

/// A reader that is in use keeps its connection; it must not be given to who reads the account of the same name next.
#[test]
fn who_reads_while_a_mailbox_is_set_aside_leaves_nothing_to_the_next_of_its_name() {
    let directory = image();
    let store = open(directory.path());
    let watch = store.watch("bob").unwrap();
    let reader = store.reader("bob").unwrap();
    store.set_aside("bob", NOW).unwrap();
    assert!(watch.has_ended());
    store.create_account("bob", NOW).unwrap();
    assert!(reader.mailbox("INBOX").unwrap().is_some(), "it goes on reading what it had open");
    drop(reader);
    assert!(messages(&store).is_empty());
    assert!(!store.watch("bob").unwrap().has_ended());
    deliver(&store, directory.path(), b"small");
    assert_eq!(messages(&store), [HELD[0]]);
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
        drop(store);
        let (from, place) = (aside.path(directory.path()), place.with_extension("coming"));
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
