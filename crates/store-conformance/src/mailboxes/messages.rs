//! Messages that are copied, moved and removed, and what is told of it.

use mailbox::{Expunge, FlagMode, Flags, MailboxId, Totals};
use store::StoreError;

use crate::Home;

pub fn copies_share_a_body_until_the_last_is_gone(home: &Home) {
    home.deliver(&[b'x'; 300_000]);
    let inbox = home.mailbox("INBOX").id;
    let copied = home.store.copy("bob", inbox, "Archive", &[1..=1]).unwrap();
    home.store.copy("bob", inbox, "Archive", &[1..=u32::MAX]).unwrap();
    assert_eq!(copied.uids, [(1, 1)]);
    assert_eq!(copied.uidvalidity, home.mailbox("Archive").uidvalidity);
    home.store.expunge("bob", inbox, &[1..=1], Expunge::All).unwrap();
    home.store.expunge("bob", home.mailbox("Archive").id, &[1..=1], Expunge::All).unwrap();
    assert_eq!(home.body("Archive", 2).unwrap().len(), 300_000);
    home.store.delete_mailbox("bob", "Archive").unwrap();
}

pub fn moved_messages_vanish_here_and_appear_there(home: &Home) {
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

pub fn changes_tell_new_messages_and_new_flags_since_a_modseq(home: &Home) {
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

pub fn expunge_takes_deleted_messages_only_and_uids_are_never_used_again(home: &Home) {
    for _ in 0..3 {
        home.deliver(b"x");
    }
    home.flag(FlagMode::Add, 3, Flags::DELETED);
    let inbox = home.mailbox("INBOX").id;
    assert_eq!(home.store.expunge("bob", inbox, &[1..=u32::MAX], Expunge::Deleted).unwrap(), [3]);
    assert_eq!(home.deliver(b"x").uid, 4);
    assert_eq!(home.body("INBOX", 3), None);
}

pub fn totals_count_what_is_there_and_nothing_in_what_is_not(home: &Home) {
    for _ in 0..3 {
        home.deliver(b"xx");
    }
    home.flag(FlagMode::Add, 1, Flags::SEEN);
    home.flag(FlagMode::Add, 2, Flags::SEEN.with(Flags::DELETED));
    let inbox = home.mailbox("INBOX").id;
    let reader = home.store.reader("bob").unwrap();
    let totals = reader.totals(inbox).unwrap();
    assert_eq!((totals.messages, totals.unseen, totals.deleted, totals.octets), (3, 1, 1, 6));
    assert_eq!(reader.totals(MailboxId(9999)).unwrap(), Totals::default());
    assert_eq!(reader.changes(MailboxId(9999), 1, 1), Err(StoreError::NoMailbox));
    assert!(reader.message(MailboxId(9999), 1).unwrap().is_none());
}
