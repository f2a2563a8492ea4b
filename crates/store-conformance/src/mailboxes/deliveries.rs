//! Messages that come in.

use std::io::Write as _;
use std::sync::{Arc, mpsc};

use content::Content;
use mail::{Address, ItemId, ReversePath};
use mailbox::{Expunge, Flags};
use store::{Append, Head, MESSAGE_OCTETS_MAX, Receipt, StoreError};

use crate::{Home, LARGE, NOW, delivery, item, wait_for};

pub fn a_delivery_is_read_back_with_its_head_before_it(home: &Home) {
    let mut message = delivery(Some(item(1)), b"Subject: hi\r\n\r\nbody\r\n");
    let to = Address::parse("bob@example.org").unwrap();
    message.head = Head::new(ReversePath::Null, to, b"Received: here\r\n".to_vec());
    let receipt = home.store.deliver_and_wait("bob", message).unwrap();
    assert_eq!((receipt.uid, receipt.duplicate), (1, false));
    let fields = "Return-Path: <>\r\nDelivered-To: bob@example.org\r\nReceived: here\r\n";
    let stored = format!("{fields}Subject: hi\r\n\r\nbody\r\n");
    assert_eq!(home.body("INBOX", 1).unwrap(), stored.as_bytes());
    let mailbox = home.mailbox("INBOX");
    assert_eq!((mailbox.uidvalidity, mailbox.uidnext), (receipt.uidvalidity, 2));
    let totals = home.store.reader("bob").unwrap().totals(mailbox.id).unwrap();
    assert_eq!(
        (totals.messages, totals.unseen, totals.deleted, totals.octets),
        (1, 1, 0, stored.len() as u64)
    );
}

pub fn an_item_is_stored_once_also_within_one_batch_and_after_it_was_expunged(home: &Home) {
    let (sender, receiver) = mpsc::channel();
    for _ in 0..20 {
        let sender = sender.clone();
        let done = Box::new(move |receipt| sender.send(receipt).unwrap());
        home.store.deliver("bob", delivery(Some(item(1)), b"x"), done);
    }
    let receipts: Vec<Receipt> = receiver.iter().take(20).map(Result::unwrap).collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.uid == 1 && receipt.uidvalidity > 0));
    home.store.expunge("bob", home.mailbox("INBOX").id, &[1..=1], Expunge::All).unwrap();
    assert!(home.store.deliver_and_wait("bob", delivery(Some(item(1)), b"x")).unwrap().duplicate);
    assert!(home.uids("INBOX").is_empty());
}

pub fn one_bad_delivery_does_not_harm_its_batch(home: &Home) {
    let (sender, receiver) = mpsc::channel();
    let mut short = tempfile::tempfile().unwrap();
    short.write_all(b"only this").unwrap();
    let mut bodies: Vec<Option<Content>> = (0..9).map(|_| Some(Content::from(b"good".to_vec()))).collect();
    bodies[4] = Some(Content::file(short, 0, 600_000));
    for (number, body) in bodies.into_iter().enumerate() {
        let sender = sender.clone();
        let mut delivery = delivery(Some(item(u8::try_from(number).unwrap())), b"");
        delivery.body = body.unwrap();
        if number == 7 {
            delivery.mailbox = "bad//name".into();
        }
        let done = Box::new(move |outcome| sender.send((number, outcome)).unwrap());
        home.store.deliver("bob", delivery, done);
    }
    for (number, outcome) in receiver.iter().take(9) {
        match number {
            4 => assert!(matches!(outcome, Err(StoreError::Source(_)))),
            7 => assert_eq!(outcome, Err(StoreError::MailboxName)),
            _ => assert!(!outcome.unwrap().duplicate),
        }
    }
    assert_eq!(home.uids("INBOX").len(), 7);
}

pub fn a_delivery_makes_its_mailbox_and_an_append_does_not(home: &Home) {
    let mut message = delivery(None, b"x");
    message.mailbox = "new/one".into();
    home.store.deliver_and_wait("bob", message).unwrap();
    assert_eq!(home.uids("new/one"), [1]);
    let append = |mailbox: &str| Append {
        mailbox: mailbox.into(),
        body: Content::from(b"y".to_vec()),
        flags: Flags::DRAFT.into(),
        internal_date: NOW,
    };
    assert_eq!(home.store.append("bob", append("nowhere")), Err(StoreError::NoMailbox));
    assert_eq!(home.store.append("bob", append("new/one")).unwrap().uid, 2);
}

pub fn an_empty_message_is_a_message(home: &Home) {
    home.deliver(b"");
    home.deliver(b"x");
    assert_eq!(home.body("INBOX", 1).unwrap(), b"");
    home.store.expunge("bob", home.mailbox("INBOX").id, &[1..=1], Expunge::All).unwrap();
    assert_eq!(home.body("INBOX", 2).unwrap(), b"x");
}

pub fn old_arrivals_are_forgotten_and_recent_ones_are_not(home: &Home) {
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

/// Of the derived ids that a foreign edge's messages get, none says when it arrived.
pub fn arrivals_are_forgotten_by_their_time_whatever_their_ids_say(home: &Home) {
    let ids = [[0x00; 16], [0x7f; 16], [0xff; 16]].map(ItemId::from_bytes);
    for (place, id) in ids.into_iter().enumerate() {
        let mut message = delivery(Some(id), b"x");
        message.internal_date = NOW.plus_secs(place as u64 * 100);
        home.store.deliver_and_wait("bob", message).unwrap();
    }
    assert_eq!(home.store.forget_arrived("bob", NOW.plus_secs(200)).unwrap(), 2);
    let again = ids.map(|id| home.store.deliver_and_wait("bob", delivery(Some(id), b"x")).unwrap().duplicate);
    assert_eq!(again, [false, false, true]);
    assert_eq!(home.store.forget_arrived("nobody", NOW), Err(StoreError::NoAccount("nobody".into())));
}

pub fn more_arrivals_than_one_step_takes_are_forgotten(home: &Home) {
    let (sender, receiver) = mpsc::channel();
    for number in 0..2001_u16 {
        let mut random = [0; 10];
        random[..2].copy_from_slice(&number.to_be_bytes());
        let sender = sender.clone();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        home.store.deliver("bob", delivery(Some(ItemId::new(NOW, random)), b"x"), done);
    }
    assert!(receiver.iter().take(2001).all(|outcome| outcome.is_ok()));
    assert_eq!(home.store.forget_arrived("bob", NOW.plus_secs(1)).unwrap(), 2001);
    assert_eq!(home.store.forget_arrived("bob", NOW.plus_secs(1)).unwrap(), 0);
}

pub fn a_delivery_can_be_awaited(home: &Home) {
    let receipt = wait_for(home.store.delivered("bob", delivery(None, b"x"))).unwrap();
    assert_eq!((receipt.uid, home.uids("INBOX")), (1, vec![1]));
    let unknown = wait_for(home.store.delivered("nobody", delivery(None, b"x")));
    assert_eq!(unknown, Err(StoreError::NoAccount("nobody".into())));
    let wrong = wait_for(home.store.delivered("../x", delivery(None, b"x")));
    assert_eq!(wrong, Err(StoreError::AccountName));
}

/// The same file, whatever it really has.
fn said_to_have(body: &Content, octets: u64) -> Content {
    let (file, from) = body.in_file().unwrap();
    Content::file(Arc::clone(file), from, octets)
}

/// A file that is said to have as many octets as a message may is looked at, and found to be too short.
pub fn a_message_has_up_to_its_limit_of_octets_head_included(home: &Home) {
    let outcome = |octets: u64| {
        let mut message = home.file_delivery(1, b"short", 0);
        let head = message.head.octets() as u64;
        message.body = said_to_have(&message.body, octets - head);
        home.store.deliver_and_wait("bob", message)
    };
    assert!(matches!(outcome(MESSAGE_OCTETS_MAX), Err(StoreError::Source(_))));
    assert!(matches!(outcome(MESSAGE_OCTETS_MAX + 1), Err(StoreError::Limit(_))));
    assert!(home.uids("INBOX").is_empty());
}

/// The smallest body that may keep its file, and one that may not.
pub fn a_body_in_a_file_is_read_in_any_pieces_until_the_last_message_that_has_it_is_gone(home: &Home) {
    let (large, small) = (vec![b'l'; LARGE], vec![b's'; LARGE - 1]);
    home.deliver_file(1, &large, 0).unwrap();
    home.deliver_file(2, &small, 7).unwrap();
    let inbox = home.mailbox("INBOX").id;
    let whole = [b"Head: x\r\n", &large[..]].concat();
    assert_eq!(home.body("INBOX", 1).unwrap(), whole);
    assert_eq!(
        home.body("INBOX", 2).unwrap().len(),
        small.len() + 9,
        "what is behind it in the file is not it"
    );
    let reader = home.store.reader("bob").unwrap();
    for (offset, length) in [(0, 9), (4, 10), (8, 1), (9, 3), (whole.len() - 2, 9), (whole.len(), 1)] {
        let mut out = b"before".to_vec();
        assert!(reader.read_body(inbox, 1, offset as u64, length, &mut out).unwrap());
        let end = (offset + length).min(whole.len());
        assert_eq!(out, [b"before", &whole[offset..end]].concat(), "{offset} {length}");
    }
    let mut out = Vec::new();
    assert!(!reader.read_body(inbox, 3, 0, 1, &mut out).unwrap(), "there is no such message");
    home.store.check_account("bob").unwrap();
    home.store.copy("bob", inbox, "Archive", &[1..=1]).unwrap();
    home.store.expunge("bob", inbox, &[1..=2], Expunge::All).unwrap();
    assert_eq!(home.body("Archive", 1).unwrap(), whole);
}

pub fn a_file_that_is_shorter_than_it_should_be_is_not_stored(home: &Home) {
    for octets in [5, LARGE] {
        let mut short = home.file_delivery(2, &vec![b'x'; octets], 0);
        short.body = said_to_have(&short.body, short.body.octets() + 1);
        assert!(matches!(home.store.deliver_and_wait("bob", short), Err(StoreError::Source(_))));
    }
    assert!(home.uids("INBOX").is_empty());
    assert!(!home.deliver_file(2, b"whole", 0).unwrap().duplicate, "it has not arrived");
}
