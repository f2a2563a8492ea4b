//! What becomes of messages that are forwarded.

use super::*;

/// A message that is forwarded for `sales`.
async fn forward(bench: &Bench, proven: bool) -> ItemId {
    let item = system::new_item_id();
    let mut state =
        new_state(item, vec![Address::parse("al@elsewhere.example").unwrap().into()], "x@example.org");
    state.account = String::new();
    let address = |text: &str| Address::parse(text).unwrap();
    state.forwarded = Some(outbound::queue::Forwarded {
        alias: address("sales@example.org"),
        sender: ReversePath::Address(address("a@example.net")),
        proven,
    });
    let content = b"body\r\n".to_vec().into();
    bench.queue.append(state, b"Subject: hi\r\n\r\n".to_vec(), content).await.unwrap();
    item
}

#[tokio::test]
async fn a_forwarded_message_that_fails_is_reported_to_its_proven_sender_under_the_alias() {
    let mut bench = Bench::new();
    forward(&bench, true).await;
    let (edge, attempt) = bench.started().await;
    assert_eq!(attempt.envelope.reverse_path.to_string(), "x@example.org", "it is rewritten, not signed");
    let full = Outcome::failed(EnhancedCode(5, 2, 2), "al's mailbox is full");
    bench.outcomes(&edge, attempt.attempt, vec![full]);
    bench.settled().await;
    let report = loop {
        if let [item] = bench.queue.ids(None, 10)[..]
            && bench.queue.read(item).unwrap().forwarded.is_none()
        {
            break item;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let state = bench.queue.read(report).unwrap();
    assert_eq!(state.envelope.reverse_path, ReversePath::Null);
    assert_eq!(state.recipients[0].recipient.address.to_string(), "a@example.net");
    let text = bench.queue.content(report).unwrap().read_at(0, usize::MAX).unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("sales@example.org") && text.contains("5.2.2"), "{text}");
    assert!(!text.contains("elsewhere") && !text.contains("al's"), "where it leads is told: {text}");
    assert!(bench.inbox().is_empty());
}

#[tokio::test]
async fn a_forwarded_message_of_nobody_known_is_reported_to_the_operator() {
    let mut bench = Bench::new();
    let item = forward(&bench, false).await;
    let (edge, attempt) = bench.started().await;
    bench.outcomes(&edge, attempt.attempt, vec![Outcome::failed(EnhancedCode(5, 1, 1), "no such user")]);
    bench.settled().await;
    bench.gone(item).await;
    let inbox = bench.inbox();
    assert_eq!(inbox.len(), 1);
    assert!(inbox[0].contains("al@elsewhere.example"), "{}", inbox[0]);
}
