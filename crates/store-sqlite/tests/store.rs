//! What is SQLite's part of the promise: files, rows, batches, what is left by a crash and by older and newer versions.

#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::io::Write;
use std::sync::{Arc, mpsc};

use content::Content;
use mail::{ItemId, UnixTime};
use mailbox::{Expunge, FlagList, Mailbox};
use store::{Delivery, Mailboxes as _, Receipt, StoreError};
use store_sqlite::{Options, SqliteMailboxes};

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

struct Home {
    directory: tempfile::TempDir,
    store: Arc<SqliteMailboxes>,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteMailboxes::open(directory.path(), Options::default()).unwrap());
    store.create_account("bob", NOW).unwrap();
    Home { directory, store }
}

fn item(number: u8) -> ItemId {
    ItemId::new(NOW, [number; 10])
}

fn delivery(item: Option<ItemId>, body: &[u8]) -> Delivery {
    Delivery {
        item,
        mailbox: "INBOX".into(),
        head: store::Head::default(),
        body: Content::from(body.to_vec()),
        flags: FlagList::default(),
        internal_date: NOW,
    }
}

impl Home {
    fn deliver(&self, body: &[u8]) -> Receipt {
        self.store.deliver_and_wait("bob", delivery(None, body)).unwrap()
    }

    fn mailbox(&self, name: &str) -> Mailbox {
        self.store.reader("bob").unwrap().mailbox(name).unwrap().unwrap()
    }

    fn body(&self, name: &str, uid: u32) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let id = self.mailbox(name).id;
        let found = self.store.reader("bob").unwrap().read_body(id, uid, 0, usize::MAX, &mut out).unwrap();
        found.then_some(out)
    }

    /// Delivers a message whose body comes in an unnamed file with `more` octets behind it.
    fn deliver_file(&self, number: u8, body: &[u8], more: usize) -> Result<Receipt, StoreError> {
        self.store.deliver_and_wait("bob", self.file_delivery(number, body, more))
    }

    fn file_delivery(&self, number: u8, body: &[u8], more: usize) -> Delivery {
        let mut file = tempfile::tempfile_in(self.directory.path()).unwrap();
        file.write_all(body).unwrap();
        file.write_all(&vec![b'!'; more]).unwrap();
        let mut delivery = delivery(Some(item(number)), b"");
        delivery.head = b"Head: x\r\n".to_vec().into();
        delivery.body = Content::file(file, 0, body.len() as u64);
        delivery
    }

    /// The names of bob's large bodies, and their octets.
    fn large_files(&self) -> Vec<(String, u64)> {
        let Ok(names) = std::fs::read_dir(self.directory.path().join("bob.large")) else { return Vec::new() };
        let mut files: Vec<_> = names
            .map(Result::unwrap)
            .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()))
            .collect();
        files.sort();
        files
    }

    fn stored_rows(&self, table: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.directory.path().join("bob.db")).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn what_was_acknowledged_is_there_when_the_store_is_opened_again_without_a_close() {
    let home = home();
    for number in 0..10 {
        home.store.deliver_and_wait("bob", delivery(Some(item(number)), &[b'x'; 9000])).unwrap();
    }
    // The log is copied as a crash would leave it: the first store is still open.
    let copy = tempfile::tempdir().unwrap();
    for name in ["bob.db", "bob.db-wal"] {
        std::fs::copy(home.directory.path().join(name), copy.path().join(name)).unwrap();
    }
    let again = SqliteMailboxes::open(copy.path(), Options::default()).unwrap();
    again.check_account("bob").unwrap();
    for number in 0..10 {
        let receipt = again.deliver_and_wait("bob", delivery(Some(item(number)), b"again")).unwrap();
        assert!(receipt.duplicate);
    }
}

/// The smallest body that keeps its file.
const LARGE: usize = 1024 * 1024;

#[test]
fn a_large_body_keeps_its_file_until_the_last_message_that_has_it_is_gone() {
    let home = home();
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    home.deliver_file(2, &vec![b's'; LARGE - 1], 0).unwrap();
    assert_eq!(home.large_files().iter().map(|(_, octets)| *octets).collect::<Vec<_>>(), [LARGE as u64]);
    let inbox = home.mailbox("INBOX").id;
    home.store.copy("bob", inbox, "Archive", &[1..=1]).unwrap();
    home.store.expunge("bob", inbox, &[1..=2], Expunge::All).unwrap();
    assert_eq!(home.large_files().len(), 1);
    home.store.delete_mailbox("bob", "Archive").unwrap();
    assert_eq!((home.large_files(), home.stored_rows("large"), home.stored_rows("body")), (vec![], 0, 0));
}

#[test]
fn copies_share_the_rows_of_a_body_until_the_last_is_gone() {
    let home = home();
    home.deliver(&[b'x'; 300_000]);
    let inbox = home.mailbox("INBOX").id;
    for _ in 0..2 {
        home.store.copy("bob", inbox, "Archive", &[1..=1]).unwrap();
    }
    assert_eq!(home.stored_rows("body"), 2);
    home.store.expunge("bob", inbox, &[1..=1], Expunge::All).unwrap();
    home.store.expunge("bob", home.mailbox("Archive").id, &[1..=1], Expunge::All).unwrap();
    assert_eq!(home.stored_rows("body"), 2);
    home.store.delete_mailbox("bob", "Archive").unwrap();
    assert_eq!((home.stored_rows("body"), home.stored_rows("shared")), (0, 0));
}

/// The same file, whatever it really has.
fn said_to_have(body: &Content, octets: u64) -> Content {
    let (file, from) = body.in_file().unwrap();
    Content::file(Arc::clone(file), from, octets)
}

#[test]
fn one_bad_delivery_leaves_no_rows_in_its_batch() {
    let home = home();
    let (sender, receiver) = mpsc::channel();
    for number in 0..3 {
        let mut delivery = delivery(Some(item(number)), b"good");
        if number == 1 {
            delivery = home.file_delivery(number, b"only this", 0);
            delivery.body = said_to_have(&delivery.body, 600_000);
        }
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send((number, outcome)).unwrap());
        home.store.deliver("bob", delivery, done);
    }
    for (number, outcome) in receiver.iter().take(3) {
        assert_eq!(outcome.is_ok(), number != 1, "{number}: {outcome:?}");
    }
    assert_eq!((home.stored_rows("body"), home.stored_rows("arrived")), (2, 2));
}

#[test]
fn a_large_file_that_is_not_whole_or_not_only_the_body_is_seen() {
    let home = home();
    let body = vec![b'l'; LARGE];
    home.deliver_file(1, &body, 7).unwrap();
    assert_eq!(home.body("INBOX", 1).unwrap().len(), LARGE + 9);
    let mut short = home.file_delivery(2, &body, 0);
    short.body = said_to_have(&short.body, short.body.octets() + 1);
    assert!(matches!(home.store.deliver_and_wait("bob", short), Err(StoreError::Source(_))));
    assert_eq!(home.large_files().len(), 1);
}

#[test]
fn an_undone_transaction_costs_no_large_body() {
    let home = home();
    let (sender, receiver) = mpsc::channel();
    // The bad one fails after it wrote, which undoes all of its batch; each is then tried again alone.
    let mut short = tempfile::tempfile().unwrap();
    short.write_all(b"only this").unwrap();
    let mut bad = delivery(Some(item(9)), b"");
    bad.body = Content::file(short, 0, 600_000);
    let body = vec![b'l'; LARGE];
    let deliveries =
        [delivery(None, b"first"), home.file_delivery(1, &body, 0), bad, home.file_delivery(2, &body, 0)];
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send((number, outcome)).unwrap());
        home.store.deliver("bob", delivery, done);
    }
    for (number, outcome) in receiver.iter().take(4) {
        assert_eq!(outcome.is_ok(), number != 2, "{number}: {outcome:?}");
    }
    assert_eq!(home.large_files().len(), 2);
    assert_eq!(home.body("INBOX", 3).unwrap().len(), LARGE + 9);
    home.store.check_account("bob").unwrap();
}

#[test]
fn large_files_that_no_message_has_are_removed_at_the_next_start() {
    let home = home();
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    let kept = home.large_files();
    let Home { directory, store } = home;
    drop(store);
    std::fs::write(directory.path().join("bob.large/999"), "left by a crash").unwrap();
    let home = Home {
        store: Arc::new(SqliteMailboxes::open(directory.path(), Options::default()).unwrap()),
        directory,
    };
    home.deliver(b"x");
    assert_eq!(home.large_files(), kept);
    assert_eq!(home.body("INBOX", 1).unwrap().len(), LARGE + 9);
}

#[test]
fn a_large_file_that_is_gone_is_an_error_and_not_an_empty_message() {
    let home = home();
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    let name = home.large_files().remove(0).0;
    std::fs::remove_file(home.directory.path().join("bob.large").join(name)).unwrap();
    let reader = home.store.reader("bob").unwrap();
    let mut out = Vec::new();
    let read = reader.read_body(home.mailbox("INBOX").id, 1, 0, 100, &mut out);
    assert!(matches!(read, Err(StoreError::Files { .. })), "{read:?}");
    assert!(matches!(home.store.check_account("bob"), Err(StoreError::Files { .. })));
}

#[test]
fn large_files_go_with_their_account() {
    let home = home();
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    home.store.remove_account("bob").unwrap();
    assert!(!home.directory.path().join("bob.large").exists());
    home.store.create_account("bob", NOW.plus_secs(9)).unwrap();
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    assert_eq!(home.large_files().len(), 1);
}

#[test]
fn large_files_of_an_account_that_was_half_removed_go_and_those_of_a_new_one_stay() {
    let home = home();
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    let Home { directory, store } = home;
    drop(store);
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("bob.db.removed"), "an older one").unwrap();
    drop(SqliteMailboxes::open(directory.path(), Options::default()).unwrap());
    assert!(at("bob.large").exists() && !at("bob.db.removed").exists());
    std::fs::rename(at("bob.db"), at("bob.db.removed")).unwrap();
    drop(SqliteMailboxes::open(directory.path(), Options::default()).unwrap());
    assert!(!at("bob.large").exists() && !at("bob.db.removed").exists());
}

#[test]
fn a_file_of_version_1_is_brought_up() {
    let home = home();
    let old = vec![b'o'; LARGE];
    home.deliver(&old);
    let Home { directory, store } = home;
    drop(store);
    let connection = rusqlite::Connection::open(directory.path().join("bob.db")).unwrap();
    let older = "DROP TABLE large; ALTER TABLE mailbox DROP COLUMN messages; ALTER TABLE mailbox DROP COLUMN unseen;
                 ALTER TABLE mailbox DROP COLUMN deleted; ALTER TABLE mailbox DROP COLUMN octets; PRAGMA user_version = 1;";
    connection.execute_batch(older).unwrap();
    drop(connection);
    let home = Home {
        store: Arc::new(SqliteMailboxes::open(directory.path(), Options::default()).unwrap()),
        directory,
    };
    assert_eq!(home.body("INBOX", 1).unwrap(), old);
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    assert_eq!(home.body("INBOX", 2).unwrap().len(), LARGE + 9);
    let inbox = home.mailbox("INBOX").id;
    let totals = home.store.reader("bob").unwrap().totals(inbox).unwrap();
    assert_eq!((totals.messages, totals.unseen), (2, 2), "what was there is counted as well");
    home.store.check_account("bob").unwrap();
}

#[test]
fn numbers_that_are_not_those_of_the_messages_are_told_by_the_check() {
    let home = home();
    home.deliver(b"x");
    let connection = rusqlite::Connection::open(home.directory.path().join("bob.db")).unwrap();
    connection.execute_batch("UPDATE mailbox SET unseen = 5").unwrap();
    drop(connection);
    assert!(matches!(home.store.check_account("bob"), Err(StoreError::Damaged(_))));
}

#[test]
fn a_full_queue_says_busy_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { writers: 1, queue_octets_max: 1000, ..Options::default() };
    let store = SqliteMailboxes::open(directory.path(), options).unwrap();
    store.create_account("bob", NOW).unwrap();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..50 {
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        store.deliver("bob", delivery(None, &[b'x'; 900]), done);
    }
    let outcomes: Vec<_> = receiver.iter().take(50).collect();
    assert!(outcomes.iter().any(Result::is_ok));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(StoreError::Busy))));
}

#[test]
fn a_file_of_a_newer_version_or_a_damaged_one_is_left_alone() {
    let home = home();
    drop(home.store);
    let file = home.directory.path().join("bob.db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let store = SqliteMailboxes::open(home.directory.path(), Options::default()).unwrap();
    let outcome = store.deliver_and_wait("bob", delivery(None, b"x"));
    let told = outcome.unwrap_err();
    assert!(matches!(told, StoreError::Newer(_)), "{told:?}");
    assert!(told.to_string().contains("install that version again, or restore an older backup"), "{told}");
    assert_eq!(store.reader("bob").err(), Some(told), "who reads it could misread it");
    std::fs::write(home.directory.path().join("bad.db"), [7; 8192]).unwrap();
    let outcome = store.deliver_and_wait("bad", delivery(None, b"x"));
    assert!(matches!(outcome, Err(StoreError::Damaged(_))), "{outcome:?}");
}

#[test]
fn what_is_left_of_accounts_that_went_is_no_file() {
    let home = home();
    home.deliver(b"x");
    home.store.remove_account("bob").unwrap();
    home.store.create_account("bob", NOW.plus_secs(9)).unwrap();
    assert!(std::fs::read_dir(home.directory.path()).unwrap().all(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        !name.contains("new") && !name.contains("removed")
    }));
}
