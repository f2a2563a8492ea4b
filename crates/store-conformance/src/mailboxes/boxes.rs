//! Mailboxes that are made, renamed, deleted, subscribed to.

use std::sync::mpsc;

use mailbox::Subscription;
use store::{MAILBOXES_MAX, SPECIAL_MAILBOXES, StoreError};

use crate::{Home, delivery};

pub fn mailboxes_are_made_renamed_with_those_below_and_deleted(home: &Home) {
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

pub fn a_mailbox_made_again_has_another_uidvalidity(home: &Home) {
    home.store.create_mailbox("bob", "a", None).unwrap();
    let first = home.mailbox("a");
    home.store.delete_mailbox("bob", "a").unwrap();
    home.store.create_mailbox("bob", "a", None).unwrap();
    let second = home.mailbox("a");
    assert_ne!(first.uidvalidity, second.uidvalidity);
    assert_ne!(first.id, second.id);
}

pub fn renaming_inbox_empties_it_into_the_new_name(home: &Home) {
    home.deliver(b"x");
    home.store.create_mailbox("bob", "INBOX/below", None).unwrap();
    home.store.rename_mailbox("bob", "INBOX", "old").unwrap();
    assert!(home.uids("INBOX").is_empty());
    assert_eq!(home.uids("old"), [1]);
    assert_eq!(home.mailbox("INBOX/below").name, "INBOX/below");
    assert_eq!(home.deliver(b"y").uid, 2);
}

pub fn subscriptions_outlive_their_mailbox(home: &Home) {
    home.store.subscribe("bob", "lists/rust", Subscription::On).unwrap();
    home.store.subscribe("bob", "Junk", Subscription::Off).unwrap();
    let subscribed = home.store.reader("bob").unwrap().subscriptions().unwrap();
    assert_eq!(subscribed, ["Archive", "Drafts", "INBOX", "Sent", "Trash", "lists/rust"]);
}

pub fn a_rename_that_fails_below_changes_nothing(home: &Home) {
    for name in ["a", "a/b", "a/c", "z/c"] {
        home.store.create_mailbox("bob", name, None).unwrap();
    }
    assert_eq!(home.store.rename_mailbox("bob", "a", "z"), Err(StoreError::MailboxExists));
    for name in ["a", "a/b", "a/c"] {
        assert_eq!(home.mailbox(name).name, name);
    }
}

pub fn an_account_has_up_to_its_limit_of_mailboxes(home: &Home) {
    let (sender, receiver) = mpsc::channel();
    for number in SPECIAL_MAILBOXES.len() as u64..MAILBOXES_MAX {
        let mut message = delivery(None, b"");
        message.mailbox = format!("m{number}");
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        home.store.deliver("bob", message, done);
    }
    drop(sender);
    assert!(receiver.iter().all(|outcome| outcome.is_ok()));
    let mut message = delivery(None, b"");
    message.mailbox = "one-more".into();
    assert!(matches!(home.store.deliver_and_wait("bob", message), Err(StoreError::Limit(_))));
    assert!(matches!(home.store.create_mailbox("bob", "one-more", None), Err(StoreError::Limit(_))));
    home.store.delete_mailbox("bob", "m100").unwrap();
    home.store.create_mailbox("bob", "one-more", None).unwrap();
}

pub fn a_name_that_no_mailbox_can_have_is_found_nowhere_and_made_by_nobody(home: &Home) {
    let reader = home.store.reader("bob").unwrap();
    for name in ["", "a//b", "a\nb"] {
        assert_eq!(reader.mailbox(name).unwrap(), None);
        assert_eq!(home.store.create_mailbox("bob", name, None), Err(StoreError::MailboxName));
        assert_eq!(home.store.subscribe("bob", name, Subscription::On), Err(StoreError::MailboxName));
    }
    assert_eq!(reader.mailbox("inbox").unwrap().unwrap().name, "INBOX");
}
