//! Messages that are copied, moved and removed, and what is told of it.

use std::sync::mpsc;

use mailbox::{Expunge, FlagMode, FlagUpdate, Flags, Mailbox, MailboxId, Totals};
use store::{GONE_ENTRIES_MAX, StoreError};

use crate::{Home, delivery};

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

/// What counting gives.
fn counted(home: &Home, id: MailboxId) -> Totals {
    let mut totals = Totals::default();
    let reader = home.store.reader("bob").unwrap();
    reader
        .each_message(id, 1..=u32::MAX, &mut |message| {
            totals.messages += 1;
            totals.octets += message.octets;
            totals.unseen += u64::from(!message.flags.contains(Flags::SEEN));
            totals.deleted += u64::from(message.flags.contains(Flags::DELETED));
        })
        .unwrap();
    totals
}

/// Symptom: each question for a mailbox's numbers read an entry of each of its messages; in one of a million the question
/// cost as much as 300 deliveries. Cause: nothing kept the numbers. Analysis: the bench, delivery at a million against ten.
pub fn totals_are_what_counting_gives_whatever_was_done_before(home: &Home) {
    home.store.create_mailbox("bob", "Other", None).unwrap();
    let (inbox, other) = (home.mailbox("INBOX").id, home.mailbox("Other").id);
    let mut random = 7_u32;
    let mut number = move |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % below
    };
    for step in 0..400 {
        let (from, to) = if number(2) == 0 { (inbox, "Other") } else { (other, "INBOX") };
        let first = 1 + number(80);
        let uids = [first..=first + number(4), first + 2..=first + 3];
        let flags = Flags(u64::from(number(32)));
        let mode = [FlagMode::Add, FlagMode::Remove, FlagMode::Replace][number(3) as usize];
        let since = (number(3) == 0).then(|| u64::from(number(100)));
        match number(8) {
            0..=2 => drop(home.deliver(&vec![b'x'; number(50) as usize])),
            3 | 4 => {
                let update = FlagUpdate { mode, flags: flags.into(), unchanged_since: since };
                drop(home.store.update_flags("bob", from, &uids, update).unwrap());
            }
            5 => drop(home.store.copy("bob", from, to, &uids).unwrap()),
            6 => drop(home.store.relocate("bob", from, to, &uids).unwrap()),
            _ => {
                let which = if number(4) == 0 { Expunge::All } else { Expunge::Deleted };
                drop(home.store.expunge("bob", from, &uids, which).unwrap());
            }
        }
        for id in [inbox, other] {
            let totals = home.store.reader("bob").unwrap().totals(id).unwrap();
            assert_eq!(totals, counted(home, id), "after step {step}");
        }
    }
    home.store.rename_mailbox("bob", "INBOX", "Old").unwrap();
    for name in ["INBOX", "Old", "Other"] {
        let id = home.mailbox(name).id;
        assert_eq!(home.store.reader("bob").unwrap().totals(id).unwrap(), counted(home, id), "{name}");
    }
    assert!(counted(home, home.mailbox("Old").id).messages > 10, "enough was done");
    home.store.check_account("bob").unwrap();
}

/// Messages come and go, those with odd uids first: each leaves an entry of its own.
fn come_and_go(home: &Home, count: u64) {
    let (sender, receiver) = mpsc::channel();
    let first = home.mailbox("INBOX").uidnext;
    for _ in 0..count {
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        home.store.deliver("bob", delivery(None, b""), done);
    }
    drop(sender);
    assert!(receiver.iter().all(|outcome| outcome.is_ok()));
    let inbox = home.mailbox("INBOX");
    for odd in [1, 0] {
        let uids: Vec<_> = (first..inbox.uidnext).filter(|uid| uid % 2 == odd).map(|uid| uid..=uid).collect();
        home.store.expunge("bob", inbox.id, &uids, Expunge::All).unwrap();
    }
}

/// What is told to be gone to whoever knew the mailbox as it was.
fn gone_since(home: &Home, then: &Mailbox) -> Vec<(u32, u32)> {
    let reader = home.store.reader("bob").unwrap();
    reader.changes(then.id, then.modseq, then.uidnext).unwrap().vanished
}

/// Symptom: what a mailbox remembers of messages that are gone grew with every expunge for ever. Cause: sessions need it to
/// tell their clients, and nothing ever put it together.
pub fn what_is_remembered_of_messages_that_are_gone_is_bounded(home: &Home) {
    let then = home.mailbox("INBOX");
    come_and_go(home, GONE_ENTRIES_MAX);
    assert_eq!(home.store.tidy("bob").unwrap(), 0, "as many as may be");
    assert_eq!(gone_since(home, &then).len() as u64, GONE_ENTRIES_MAX);
    come_and_go(home, 1);
    assert_eq!(home.store.tidy("bob").unwrap(), GONE_ENTRIES_MAX);
    assert_eq!(gone_since(home, &then), [(1, home.mailbox("INBOX").uidnext - 1)]);
    assert_eq!(home.store.tidy("nobody"), Err(StoreError::NoAccount("nobody".into())));
}

pub fn who_was_told_before_hears_of_all_that_is_gone_and_of_nothing_that_is_there(home: &Home) {
    let then = home.mailbox("INBOX");
    let kept = home.deliver(b"kept").uid;
    // A message that is there allows two entries more.
    come_and_go(home, GONE_ENTRIES_MAX + 2);
    assert_eq!(home.store.tidy("bob").unwrap(), 0);
    let between = home.mailbox("INBOX");
    come_and_go(home, 1);
    assert_eq!(home.store.tidy("bob").unwrap(), GONE_ENTRIES_MAX + 2);
    let now = home.mailbox("INBOX");
    for known in [&then, &between] {
        assert_eq!(gone_since(home, known), [(kept + 1, now.uidnext - 1)]);
    }
    assert!(gone_since(home, &now).is_empty(), "who knows all hears nothing");
    assert_eq!(home.uids("INBOX"), [kept]);
    come_and_go(home, 1);
    assert_eq!(gone_since(home, &now), [(now.uidnext, now.uidnext)]);
    home.store.check_account("bob").unwrap();
}
