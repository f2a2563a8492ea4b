//! Messages that come again because their sender did not hear the 250 (RFC 1047).

use super::*;

const BOB: &str = "bob--example.org";

/// The steps that the trace has of an item, once it has any: lines are gathered before they are written.
async fn steps(home: &Fixture, item: u8) -> Vec<String> {
    let item = Some(ItemId::from_bytes([item; 16]));
    for _ in 0..1000 {
        let events = daemon::trace::read(&home._dir.path().join("trace")).unwrap_or_default();
        let steps: Vec<String> =
            events.into_iter().filter(|event| event.item == item).map(|event| event.step).collect();
        if !steps.is_empty() {
            return steps;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Vec::new()
}

/// The first message, whose 250 nothing shows to have been read.
async fn unheard(home: &mut Fixture, message: &[u8]) {
    home.live(1, &["bob"], message).await;
    assert_eq!(home.answer().await, [250]);
    home.arrivals.unheard(ItemId::from_bytes([1; 16]));
    home.relink();
}

/// Symptom: a message was there twice. Cause: the reply to the first one was lost with its connection, and the sender sent
/// it again, as it must. Analysis: no MTA knows the second one again; its id is new.
#[tokio::test]
async fn the_same_message_again_over_any_edge_is_answered_250_and_goes_nowhere() {
    let mut home = fixture(1 << 20);
    unheard(&mut home, MESSAGE).await;
    home.live(2, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count(BOB, "INBOX"), 1);
    assert_eq!(steps(&home, 2).await, ["repeated"]);
    home.relink();
    home.sealed(3, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250], "Edge may forget it");
    assert_eq!(home.count(BOB, "INBOX"), 1);
}

#[tokio::test]
async fn a_message_is_known_again_for_a_day_and_not_after_it() {
    use std::time::Duration;

    let (mut home, day) = (fixture(1 << 20), Duration::from_secs(86_400));
    unheard(&mut home, MESSAGE).await;
    home.clock.pass(day - Duration::from_secs(1));
    home.live(2, &["bob"], MESSAGE).await;
    assert_eq!((home.answer().await, home.count(BOB, "INBOX")), (vec![250], 1));
    home.relink();
    home.clock.pass(Duration::from_secs(1));
    home.live(3, &["bob"], MESSAGE).await;
    assert_eq!((home.answer().await, home.count(BOB, "INBOX")), (vec![250], 2));
}

#[tokio::test]
async fn a_message_whose_250_was_read_and_one_that_differs_are_delivered() {
    let mut home = fixture(1 << 20);
    home.live(1, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    home.relink();
    home.live(2, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count(BOB, "INBOX"), 2, "the sender wants it twice");
    home.arrivals.unheard(ItemId::from_bytes([2; 16]));
    home.relink();
    home.live(3, &["bob", "alice"], MESSAGE).await;
    assert_eq!(home.answer().await, [250, 250]);
    assert_eq!(home.count(BOB, "INBOX"), 3, "another envelope");
}

#[tokio::test]
async fn large_and_sealed_messages_are_known_by_all_of_their_octets() {
    // Memory for none of them: they are in files.
    let mut home = fixture(1000);
    let mut message = [MESSAGE, &b"0123456789abcde\r\n".repeat(20_000)].concat();
    unheard(&mut home, &message).await;
    home.sealed(2, &["bob"], &message).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count(BOB, "INBOX"), 1);
    let last = message.len() - 3;
    message[last] = b'X';
    home.relink();
    home.sealed(3, &["bob"], &message).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count(BOB, "INBOX"), 2);
}

/// Symptom: what a sender sent again to who had the name of a removed account by then went nowhere, with a 250.
#[tokio::test]
async fn what_an_account_that_was_removed_got_is_no_reason_to_drop_what_the_next_of_its_name_gets() {
    let mut home = fixture(1 << 20);
    home.live(1, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    home.arrivals.unheard(ItemId::from_bytes([1; 16]));
    let (directory, store) = (home.shared.directory.clone(), Arc::clone(home.shared.keeper.store()));
    directory.remove_account(&at("bob"), system::now()).unwrap();
    store.set_aside(BOB, system::now()).unwrap();
    store.create_account(BOB, system::now()).unwrap();
    directory.add_account(&at("bob"), "correct horse").unwrap();
    home.relink();
    home.live(2, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count(BOB, "INBOX"), 1);
}

/// Never when it is not certain that the first one is kept.
#[tokio::test]
async fn what_was_refused_or_partly_refused_is_not_taken_for_delivered() {
    let mut home = fixture(1 << 20);
    home.live(1, &["eve"], MESSAGE).await;
    assert_eq!(home.answer().await, [550]);
    home.arrivals.unheard(ItemId::from_bytes([1; 16]));
    home.shared.directory.add_account(&at("eve"), "correct horse").unwrap();
    home.shared.keeper.store().create_account("eve--example.org", UnixTime(1)).unwrap();
    home.relink();
    home.live(2, &["eve"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count("eve--example.org", "INBOX"), 1);
}

/// The link was lost before the answer: Edge sealed the item under its own id, and nobody heard its 250 either.
#[tokio::test]
async fn the_same_item_sealed_is_left_to_the_store_and_is_there_once() {
    let mut home = fixture(1 << 20);
    unheard(&mut home, MESSAGE).await;
    home.sealed(1, &["bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.count(BOB, "INBOX"), 1);
    let said = steps(&home, 1).await;
    assert!(!said.contains(&"repeated".to_owned()), "{said:?}");
}
