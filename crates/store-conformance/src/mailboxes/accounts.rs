//! Accounts that are made, removed, set aside and brought back.

use mail::UnixTime;
use store::StoreError;

use crate::{Home, NOW, delivery};

const DATE: &str = "2026-11-24T06:00:00Z";

pub fn accounts_are_made_listed_and_removed(home: &Home) {
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
}

/// What is set aside is nobody's until it is brought back whole.
pub fn a_mailbox_that_is_set_aside_is_nobodys_until_it_is_brought_back(home: &Home) {
    home.deliver(b"small");
    home.deliver_file(1, &vec![b'x'; crate::LARGE], 0).unwrap();
    let aside = home.store.set_aside("bob", NOW).unwrap();
    assert_eq!((aside.account.as_str(), aside.date.as_str()), ("bob", DATE));
    assert!(!home.store.has_account("bob") && home.store.list_accounts().unwrap().is_empty());
    assert_eq!(home.store.set_aside("bob", NOW), Err(StoreError::NoAccount("bob".into())));
    home.store.create_account("bob", NOW).unwrap();
    assert!(home.uids("INBOX").is_empty());
    assert_eq!(home.store.bring_back(&aside), Err(StoreError::AccountExists("bob".into())));
    home.deliver(b"of the new one");
    let second = home.store.set_aside("bob", NOW).unwrap();
    assert_ne!(second, aside, "one second holds two");
    assert_eq!(home.store.list_set_aside().unwrap(), [aside.clone(), second.clone()]);
    assert_ne!(home.store.place_of(&aside), home.store.place_of(&second));
    home.store.bring_back(&aside).unwrap();
    assert_eq!(home.body("INBOX", 1).unwrap(), b"small");
    assert_eq!(home.body("INBOX", 2).unwrap().len(), crate::LARGE + 9);
    assert!(home.store.deliver_and_wait("bob", delivery(Some(crate::item(1)), b"")).unwrap().duplicate);
    assert_eq!(home.store.list_set_aside().unwrap(), [second]);
    assert!(matches!(home.store.bring_back(&aside), Err(StoreError::AccountExists(_))));
    home.store.set_aside("bob", NOW).unwrap();
    assert!(matches!(home.store.bring_back(&aside), Err(StoreError::NoAccount(_))));
}

/// Symptom: `--restore newest` brought back an older mailbox, when several were set aside within seconds. Cause: the
/// second of one that had been brought back was free again, and was given to the next.
pub fn the_newest_is_the_one_that_was_set_aside_last_also_within_a_second_and_when_the_clock_goes_back(
    home: &Home,
) {
    let first = home.store.set_aside("bob", NOW).unwrap();
    home.store.create_account("bob", NOW).unwrap();
    let second = home.store.set_aside("bob", NOW).unwrap();
    home.store.bring_back(&first).unwrap();
    let third = home.store.set_aside("bob", NOW).unwrap();
    assert_eq!(home.store.list_set_aside().unwrap(), [second, third.clone()]);
    home.store.create_account("bob", NOW).unwrap();
    let fourth = home.store.set_aside("bob", UnixTime::from_secs(0)).unwrap();
    assert!(fourth > third, "{fourth:?}");
    assert_eq!(home.store.list_set_aside().unwrap().last(), Some(&fourth));
}

/// A reader that is in use must not lead who reads the account of the same name next to the mail of the one before.
pub fn who_reads_while_a_mailbox_is_set_aside_leaves_nothing_to_the_next_of_its_name(home: &Home) {
    let watch = home.store.watch("bob").unwrap();
    let reader = home.store.reader("bob").unwrap();
    home.deliver(b"of the first");
    home.store.set_aside("bob", NOW).unwrap();
    assert!(watch.has_ended());
    home.store.create_account("bob", NOW).unwrap();
    assert!(reader.mailbox("INBOX").unwrap().is_some(), "it goes on reading what it had open");
    drop(reader);
    assert!(home.uids("INBOX").is_empty());
    assert!(!home.store.watch("bob").unwrap().has_ended());
    home.deliver(b"of the second");
    assert_eq!(home.body("INBOX", 1).unwrap(), b"of the second");
}

pub fn names_that_no_account_can_have_are_refused_and_found_nowhere(home: &Home) {
    for name in ["", "../bob", "Bob", "a/b"] {
        assert!(!home.store.has_account(name));
        assert_eq!(home.store.create_account(name, NOW), Err(StoreError::AccountName));
        assert_eq!(home.store.remove_account(name), Err(StoreError::AccountName));
        assert_eq!(home.store.set_aside(name, NOW), Err(StoreError::AccountName));
        assert_eq!(home.store.reader(name).err(), Some(StoreError::AccountName));
        assert_eq!(home.store.watch(name).err(), Some(StoreError::AccountName));
    }
}
