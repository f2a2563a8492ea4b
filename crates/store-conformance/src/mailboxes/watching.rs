//! Who waits for changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Home, NOW, delivery};

pub fn a_watch_hears_of_commits_to_its_account_and_mailbox_only(home: &Home) {
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

pub fn who_waits_for_a_mailbox_hears_that_it_is_deleted(home: &Home) {
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
