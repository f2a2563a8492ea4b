//! What the store promises, through its public interface.

#![allow(clippy::unwrap_used, reason = "a test that gets no answer has failed")]

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use mail::{ItemId, UnixTime};
use store_sqlite::{
    Append, Body, Delivery, Expunge, FlagList, FlagMode, FlagUpdate, Flags, Mailbox, Options, Receipt, Store,
    StoreError, Subscription,
};

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

struct Home {
    directory: tempfile::TempDir,
    store: Arc<Store>,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(directory.path(), Options::default()).unwrap());
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
        head: Vec::new(),
        body: Body::from(body.to_vec()),
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

    fn uids(&self, name: &str) -> Vec<u32> {
        let mut uids = Vec::new();
        let id = self.mailbox(name).id;
        self.store
            .reader("bob")
            .unwrap()
            .each_message(id, 1..=u32::MAX, |message| uids.push(message.uid))
            .unwrap();
        uids
    }

    fn body(&self, name: &str, uid: u32) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let id = self.mailbox(name).id;
        let found = self.store.reader("bob").unwrap().read_body(id, uid, 0, usize::MAX, &mut out).unwrap();
        found.then_some(out)
    }

    fn flag(&self, mode: FlagMode, uid: u32, flags: impl Into<FlagList>) -> Vec<(u32, Flags)> {
        let update = FlagUpdate { mode, flags: flags.into(), unchanged_since: None };
        self.store.update_flags("bob", self.mailbox("INBOX").id, &[uid..=uid], update).unwrap().changed
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
        delivery.head = b"Head: x\r\n".to_vec();
        delivery.body = Body::File(file, body.len() as u64);
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
fn a_delivery_is_read_back_with_its_head_before_it() {
    let home = home();
    let mut message = delivery(Some(item(1)), b"Subject: hi\r\n\r\nbody\r\n");
    message.head = b"Received: here\r\n".to_vec();
    let receipt = home.store.deliver_and_wait("bob", message).unwrap();
    assert_eq!((receipt.uid, receipt.duplicate), (1, false));
    assert_eq!(home.body("INBOX", 1).unwrap(), b"Received: here\r\nSubject: hi\r\n\r\nbody\r\n");
    let mailbox = home.mailbox("INBOX");
    assert_eq!((mailbox.uidvalidity, mailbox.uidnext), (receipt.uidvalidity, 2));
    let totals = home.store.reader("bob").unwrap().totals(mailbox.id).unwrap();
    assert_eq!((totals.messages, totals.unseen, totals.deleted, totals.octets), (1, 1, 0, 37));
}

#[test]
fn an_item_is_stored_once_also_within_one_batch_and_after_it_was_expunged() {
    let home = home();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..20 {
        let sender = sender.clone();
        home.store
            .deliver("bob", delivery(Some(item(1)), b"x"), move |receipt| sender.send(receipt).unwrap());
    }
    let receipts: Vec<Receipt> = receiver.iter().take(20).map(Result::unwrap).collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.uid == 1 && receipt.uidvalidity > 0));
    home.store.expunge("bob", home.mailbox("INBOX").id, &[1..=1], Expunge::All).unwrap();
    assert!(home.store.deliver_and_wait("bob", delivery(Some(item(1)), b"x")).unwrap().duplicate);
    assert!(home.uids("INBOX").is_empty());
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
    let again = Store::open(copy.path(), Options::default()).unwrap();
    again.check_account("bob").unwrap();
    for number in 0..10 {
        let receipt = again.deliver_and_wait("bob", delivery(Some(item(number)), b"again")).unwrap();
        assert!(receipt.duplicate);
    }
}

#[test]
fn one_bad_delivery_does_not_harm_its_batch() {
    let home = home();
    let (sender, receiver) = mpsc::channel();
    let mut short = tempfile::tempfile().unwrap();
    short.write_all(b"only this").unwrap();
    let mut bodies: Vec<Option<Body>> = (0..9).map(|_| Some(Body::from(b"good".to_vec()))).collect();
    bodies[4] = Some(Body::File(short, 600_000));
    for (number, body) in bodies.into_iter().enumerate() {
        let sender = sender.clone();
        let mut delivery = delivery(Some(item(u8::try_from(number).unwrap())), b"");
        delivery.body = body.unwrap();
        if number == 7 {
            delivery.mailbox = "bad//name".into();
        }
        home.store.deliver("bob", delivery, move |outcome| sender.send((number, outcome)).unwrap());
    }
    for (number, outcome) in receiver.iter().take(9) {
        match number {
            4 => assert!(matches!(outcome, Err(StoreError::Source(_)))),
            7 => assert_eq!(outcome, Err(StoreError::MailboxName)),
            _ => assert!(!outcome.unwrap().duplicate),
        }
    }
    assert_eq!(home.uids("INBOX").len(), 7);
    assert_eq!(home.stored_rows("body"), 7);
    assert_eq!(home.stored_rows("arrived"), 7);
}

/// The smallest body that keeps its file.
const LARGE: usize = 1024 * 1024;

#[test]
fn a_large_body_keeps_its_file_until_the_last_message_that_has_it_is_gone() {
    let home = home();
    let (large, small) = (vec![b'l'; LARGE], vec![b's'; LARGE - 1]);
    home.deliver_file(1, &large, 0).unwrap();
    home.deliver_file(2, &small, 0).unwrap();
    assert_eq!(home.large_files().iter().map(|(_, octets)| *octets).collect::<Vec<_>>(), [LARGE as u64]);
    let inbox = home.mailbox("INBOX").id;
    let whole = [b"Head: x\r\n", &large[..]].concat();
    assert_eq!(home.body("INBOX", 1).unwrap(), whole);
    assert_eq!(home.body("INBOX", 2).unwrap().len(), small.len() + 9);
    let reader = home.store.reader("bob").unwrap();
    for (offset, length) in [(0, 9), (4, 10), (8, 1), (9, 3), (whole.len() - 2, 9), (whole.len(), 1)] {
        let mut out = b"before".to_vec();
        assert!(reader.read_body(inbox, 1, offset as u64, length, &mut out).unwrap());
        let end = (offset + length).min(whole.len());
        assert_eq!(out, [b"before", &whole[offset..end]].concat(), "{offset} {length}");
    }
    home.store.check_account("bob").unwrap();
    home.store.copy("bob", inbox, "Archive", &[1..=1]).unwrap();
    home.store.expunge("bob", inbox, &[1..=2], Expunge::All).unwrap();
    assert_eq!(home.body("Archive", 1).unwrap(), whole);
    home.store.delete_mailbox("bob", "Archive").unwrap();
    assert_eq!((home.large_files(), home.stored_rows("large"), home.stored_rows("body")), (vec![], 0, 0));
}

#[test]
fn a_large_file_that_is_not_whole_or_not_only_the_body_is_seen() {
    let home = home();
    let body = vec![b'l'; LARGE];
    home.deliver_file(1, &body, 7).unwrap();
    assert_eq!(home.body("INBOX", 1).unwrap().len(), LARGE + 9);
    let mut short = home.file_delivery(2, &body, 0);
    short.body = match short.body {
        Body::File(file, octets) => Body::File(file, octets + 1),
        body @ Body::Memory(_) => body,
    };
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
    bad.body = Body::File(short, 600_000);
    let body = vec![b'l'; LARGE];
    let deliveries =
        [delivery(None, b"first"), home.file_delivery(1, &body, 0), bad, home.file_delivery(2, &body, 0)];
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let sender = sender.clone();
        home.store.deliver("bob", delivery, move |outcome| sender.send((number, outcome)).unwrap());
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
    let home =
        Home { store: Arc::new(Store::open(directory.path(), Options::default()).unwrap()), directory };
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
    drop(Store::open(directory.path(), Options::default()).unwrap());
    assert!(at("bob.large").exists() && !at("bob.db.removed").exists());
    std::fs::rename(at("bob.db"), at("bob.db.removed")).unwrap();
    drop(Store::open(directory.path(), Options::default()).unwrap());
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
    connection.execute_batch("DROP TABLE large; PRAGMA user_version = 1;").unwrap();
    drop(connection);
    let home =
        Home { store: Arc::new(Store::open(directory.path(), Options::default()).unwrap()), directory };
    assert_eq!(home.body("INBOX", 1).unwrap(), old);
    home.deliver_file(1, &vec![b'l'; LARGE], 0).unwrap();
    assert_eq!(home.body("INBOX", 2).unwrap().len(), LARGE + 9);
}

#[test]
fn copies_share_a_body_until_the_last_is_gone() {
    let home = home();
    home.deliver(&[b'x'; 300_000]);
    let inbox = home.mailbox("INBOX").id;
    let copied = home.store.copy("bob", inbox, "Archive", &[1..=1]).unwrap();
    home.store.copy("bob", inbox, "Archive", &[1..=u32::MAX]).unwrap();
    assert_eq!(copied.uids, [(1, 1)]);
    assert_eq!(copied.uidvalidity, home.mailbox("Archive").uidvalidity);
    assert_eq!(home.stored_rows("body"), 2);
    home.store.expunge("bob", inbox, &[1..=1], Expunge::All).unwrap();
    home.store.expunge("bob", home.mailbox("Archive").id, &[1..=1], Expunge::All).unwrap();
    assert_eq!(home.body("Archive", 2).unwrap().len(), 300_000);
    home.store.delete_mailbox("bob", "Archive").unwrap();
    assert_eq!(home.stored_rows("body"), 0);
    assert_eq!(home.stored_rows("shared"), 0);
}

#[test]
fn moved_messages_vanish_here_and_appear_there() {
    let home = home();
    for _ in 0..5 {
        home.deliver(b"x");
    }
    home.flag(FlagMode::Add, 3, Flags::FLAGGED);
    let inbox = home.mailbox("INBOX");
    let moved = home.store.relocate("bob", inbox.id, "Trash", &[2..=3, 5..=9]).unwrap();
    assert_eq!(moved.uids, [(2, 1), (3, 2), (5, 3)]);
    assert_eq!(home.uids("INBOX"), [1, 4]);
    let reader = home.store.reader("bob").unwrap();
    let changes = reader.changes(inbox.id, inbox.modseq, inbox.uidnext).unwrap();
    assert_eq!(changes.vanished, [(2, 3), (5, 5)]);
    assert!(changes.messages.is_empty());
    let trash = home.mailbox("Trash").id;
    assert_eq!(reader.message(trash, 2).unwrap().unwrap().flags, Flags::FLAGGED);
    assert_eq!(home.store.relocate("bob", inbox.id, "Nowhere", &[1..=1]), Err(StoreError::NoMailbox));
    assert_eq!(home.uids("INBOX"), [1, 4]);
}

#[test]
fn changes_tell_new_messages_and_new_flags_since_a_modseq() {
    let home = home();
    home.deliver(b"one");
    home.deliver(b"two");
    let then = home.mailbox("INBOX");
    home.flag(FlagMode::Add, 1, Flags::SEEN);
    assert!(home.flag(FlagMode::Add, 1, Flags::SEEN).is_empty(), "nothing to change");
    home.deliver(b"three");
    let reader = home.store.reader("bob").unwrap();
    let changes = reader.changes(then.id, then.modseq, then.uidnext).unwrap();
    let seen: Vec<(u32, Flags)> =
        changes.messages.iter().map(|message| (message.uid, message.flags)).collect();
    assert_eq!(seen, [(1, Flags::SEEN), (3, Flags::NONE)]);
    let none = reader.changes(then.id, changes.modseq, changes.uidnext).unwrap();
    assert!(none.messages.is_empty() && none.vanished.is_empty());
}

#[test]
fn flags_are_added_removed_and_replaced_and_keywords_ignore_case() {
    let home = home();
    home.deliver(b"x");
    let list = |keywords: &[&str]| FlagList {
        system: Flags::SEEN,
        keywords: keywords.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(home.flag(FlagMode::Add, 1, list(&["$Junk", "todo"])), [(1, Flags(1 | 256 | 512))]);
    assert_eq!(home.flag(FlagMode::Remove, 1, list(&["$JUNK"])), [(1, Flags(512))]);
    assert_eq!(home.flag(FlagMode::Replace, 1, Flags::DRAFT), [(1, Flags::DRAFT)]);
    assert_eq!(home.store.reader("bob").unwrap().keywords().unwrap(), ["$Junk", "todo"]);
}

#[test]
fn keywords_are_bounded_in_number_and_length() {
    let home = home();
    home.deliver(b"x");
    let inbox = home.mailbox("INBOX").id;
    let set = |keyword: String| {
        let flags = FlagList { system: Flags::NONE, keywords: vec![keyword] };
        let update = FlagUpdate { mode: FlagMode::Add, flags, unchanged_since: None };
        home.store.update_flags("bob", inbox, &[1..=1], update)
    };
    assert!(set("k".repeat(store_sqlite::KEYWORD_LENGTH_MAX)).is_ok());
    assert!(matches!(set("k".repeat(store_sqlite::KEYWORD_LENGTH_MAX + 1)), Err(StoreError::Limit(_))));
    for number in 1..store_sqlite::KEYWORDS_MAX {
        set(format!("k{number}")).unwrap();
    }
    assert!(matches!(set("one-more".into()), Err(StoreError::Limit(_))));
    assert_eq!(home.store.reader("bob").unwrap().message(inbox, 1).unwrap().unwrap().flags.0, u64::MAX << 8);
}

#[test]
fn a_flag_change_leaves_alone_what_changed_meanwhile() {
    let home = home();
    home.deliver(b"x");
    home.deliver(b"y");
    let inbox = home.mailbox("INBOX");
    home.flag(FlagMode::Add, 2, Flags::FLAGGED);
    let update =
        FlagUpdate { mode: FlagMode::Add, flags: Flags::SEEN.into(), unchanged_since: Some(inbox.modseq) };
    let outcome = home.store.update_flags("bob", inbox.id, &[1..=2], update).unwrap();
    assert_eq!(outcome.changed, [(1, Flags::SEEN)]);
    assert_eq!(outcome.conflicts, [2]);
}

#[test]
fn expunge_takes_deleted_messages_only_and_uids_are_never_used_again() {
    let home = home();
    for _ in 0..3 {
        home.deliver(b"x");
    }
    home.flag(FlagMode::Add, 3, Flags::DELETED);
    let inbox = home.mailbox("INBOX").id;
    assert_eq!(home.store.expunge("bob", inbox, &[1..=u32::MAX], Expunge::Deleted).unwrap(), [3]);
    assert_eq!(home.deliver(b"x").uid, 4);
    assert_eq!(home.body("INBOX", 3), None);
}

#[test]
fn mailboxes_are_made_renamed_with_those_below_and_deleted() {
    let home = home();
    let names = || -> Vec<String> {
        home.store
            .reader("bob")
            .unwrap()
            .mailboxes()
            .unwrap()
            .into_iter()
            .map(|mailbox| mailbox.name)
            .collect()
    };
    assert_eq!(names(), ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    let id = home.store.create_mailbox("bob", "a/b", None).unwrap();
    home.store.create_mailbox("bob", "a", None).unwrap();
    assert_eq!(home.store.create_mailbox("bob", "a", None), Err(StoreError::MailboxExists));
    assert_eq!(home.store.rename_mailbox("bob", "a", "a/c"), Err(StoreError::MailboxName));
    home.store.rename_mailbox("bob", "a", "z").unwrap();
    assert_eq!(home.mailbox("z/b").id, id);
    assert_eq!(home.store.rename_mailbox("bob", "z", "Sent"), Err(StoreError::MailboxExists));
    home.store.delete_mailbox("bob", "z").unwrap();
    assert_eq!(home.store.delete_mailbox("bob", "z"), Err(StoreError::NoMailbox));
    assert_eq!(home.store.delete_mailbox("bob", "inbox"), Err(StoreError::Inbox));
    assert!(names().contains(&"z/b".to_owned()));
}

#[test]
fn a_mailbox_made_again_has_another_uidvalidity() {
    let home = home();
    home.store.create_mailbox("bob", "a", None).unwrap();
    let first = home.mailbox("a");
    home.store.delete_mailbox("bob", "a").unwrap();
    home.store.create_mailbox("bob", "a", None).unwrap();
    let second = home.mailbox("a");
    assert_ne!(first.uidvalidity, second.uidvalidity);
    assert_ne!(first.id, second.id);
}

#[test]
fn renaming_inbox_empties_it_into_the_new_name() {
    let home = home();
    home.deliver(b"x");
    home.store.create_mailbox("bob", "INBOX/below", None).unwrap();
    home.store.rename_mailbox("bob", "INBOX", "old").unwrap();
    assert!(home.uids("INBOX").is_empty());
    assert_eq!(home.uids("old"), [1]);
    assert_eq!(home.mailbox("INBOX/below").name, "INBOX/below");
    assert_eq!(home.deliver(b"y").uid, 2);
}

#[test]
fn subscriptions_outlive_their_mailbox() {
    let home = home();
    home.store.subscribe("bob", "lists/rust", Subscription::On).unwrap();
    home.store.subscribe("bob", "Junk", Subscription::Off).unwrap();
    let subscribed = home.store.reader("bob").unwrap().subscriptions().unwrap();
    assert_eq!(subscribed, ["Archive", "Drafts", "INBOX", "Sent", "Trash", "lists/rust"]);
}

#[test]
fn a_delivery_makes_its_mailbox_and_an_append_does_not() {
    let home = home();
    let mut message = delivery(None, b"x");
    message.mailbox = "new/one".into();
    home.store.deliver_and_wait("bob", message).unwrap();
    assert_eq!(home.uids("new/one"), [1]);
    let append = |mailbox: &str| Append {
        mailbox: mailbox.into(),
        body: Body::from(b"y".to_vec()),
        flags: Flags::DRAFT.into(),
        internal_date: NOW,
    };
    assert_eq!(home.store.append("bob", append("nowhere")), Err(StoreError::NoMailbox));
    assert_eq!(home.store.append("bob", append("new/one")).unwrap().uid, 2);
}

#[test]
fn an_empty_message_is_a_message() {
    let home = home();
    home.deliver(b"");
    home.deliver(b"x");
    assert_eq!(home.body("INBOX", 1).unwrap(), b"");
    home.store.expunge("bob", home.mailbox("INBOX").id, &[1..=1], Expunge::All).unwrap();
    assert_eq!(home.body("INBOX", 2).unwrap(), b"x");
}

#[test]
fn accounts_are_made_listed_and_removed() {
    let home = home();
    home.store.create_account("alice", NOW).unwrap();
    assert_eq!(home.store.list_accounts().unwrap(), ["alice", "bob"]);
    assert_eq!(home.store.create_account("bob", NOW), Err(StoreError::AccountExists("bob".into())));
    assert_eq!(home.store.create_account("../x", NOW), Err(StoreError::AccountName));
    home.deliver(b"x");
    home.store.remove_account("bob").unwrap();
    assert!(!home.store.has_account("bob"));
    assert_eq!(
        home.store.deliver_and_wait("bob", delivery(None, b"x")),
        Err(StoreError::NoAccount("bob".into()))
    );
    home.store.create_account("bob", NOW.plus_secs(9)).unwrap();
    assert!(home.uids("INBOX").is_empty());
    assert!(std::fs::read_dir(home.directory.path()).unwrap().all(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        !name.contains("new") && !name.contains("removed")
    }));
}

#[test]
fn a_watch_hears_of_commits_to_its_account_and_mailbox_only() {
    let home = home();
    home.store.create_account("alice", NOW).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let watch = home.store.watch("bob").unwrap();
    let counter = Arc::clone(&heard);
    let inbox = home.store.reader("bob").unwrap().mailbox("INBOX").unwrap().unwrap().id;
    let registration = watch.on_change_of(inbox, move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    home.store.deliver_and_wait("alice", delivery(None, b"x")).unwrap();
    assert_eq!((heard.load(Ordering::SeqCst), watch.generation()), (0, 0));
    home.deliver(b"x");
    assert_eq!((heard.load(Ordering::SeqCst), watch.generation()), (1, 1));
    let mut elsewhere = delivery(None, b"x");
    elsewhere.mailbox = "Junk".into();
    home.store.deliver_and_wait("bob", elsewhere).unwrap();
    home.store.create_mailbox("bob", "Other", None).unwrap();
    home.store.delete_mailbox("bob", "Other").unwrap();
    assert_eq!((heard.load(Ordering::SeqCst), watch.generation()), (1, 4));
    home.store.relocate("bob", inbox, "Junk", &[1..=1]).unwrap();
    assert_eq!((heard.load(Ordering::SeqCst), watch.generation()), (2, 5));
    drop(registration);
    home.deliver(b"x");
    assert_eq!((heard.load(Ordering::SeqCst), watch.generation()), (2, 6));
}

#[test]
fn who_waits_for_a_mailbox_hears_that_it_is_deleted() {
    let home = home();
    let id = home.store.create_mailbox("bob", "Project", None).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    let watch = home.store.watch("bob").unwrap();
    let _registration = watch.on_change_of(id, move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    home.store.rename_mailbox("bob", "INBOX", "Old").unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    home.store.delete_mailbox("bob", "Project").unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 1);
}

#[test]
fn old_arrivals_are_forgotten_and_recent_ones_are_not() {
    let home = home();
    for number in 0..3 {
        home.store.deliver_and_wait("bob", delivery(Some(item(number)), b"x")).unwrap();
    }
    let mut late = delivery(Some(item(9)), b"x");
    late.internal_date = NOW.plus_secs(100);
    home.store.deliver_and_wait("bob", late).unwrap();
    assert_eq!(home.store.forget_arrived("bob", NOW).unwrap(), 0);
    assert_eq!(home.store.forget_arrived("bob", NOW.plus_secs(50)).unwrap(), 3);
    assert!(home.store.deliver_and_wait("bob", delivery(Some(item(9)), b"x")).unwrap().duplicate);
    assert!(!home.store.deliver_and_wait("bob", delivery(Some(item(1)), b"x")).unwrap().duplicate);
}

#[test]
fn a_full_queue_says_busy_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { writers: 1, queue_octets_max: 1000, ..Options::default() };
    let store = Store::open(directory.path(), options).unwrap();
    store.create_account("bob", NOW).unwrap();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..50 {
        let sender = sender.clone();
        store.deliver("bob", delivery(None, &[b'x'; 900]), move |outcome| sender.send(outcome).unwrap());
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
    let store = Store::open(home.directory.path(), Options::default()).unwrap();
    let outcome = store.deliver_and_wait("bob", delivery(None, b"x"));
    assert!(matches!(outcome, Err(StoreError::Newer(_))), "{outcome:?}");
    std::fs::write(home.directory.path().join("bad.db"), [7; 8192]).unwrap();
    let outcome = store.deliver_and_wait("bad", delivery(None, b"x"));
    assert!(matches!(outcome, Err(StoreError::Damaged(_))), "{outcome:?}");
}
