//! Reports to senders: when there is one, and that it is there once.

use super::*;

#[tokio::test]
async fn the_original_stays_until_the_report_is_committed() {
    let mut bench = Bench::new();
    bench.store.remove_account(ALICE).unwrap();
    let item = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    bench.outcomes("one", attempt.attempt, vec![failed()]);
    bench.settled().await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(bench.queue.read(item).unwrap().recipients[0].state, RecipientState::Failed);
    bench.store.create_account(ALICE, system::now()).unwrap();
    bench.gone(item).await;
    assert_eq!(bench.inbox().len(), 1);
}

#[tokio::test]
async fn who_wants_no_report_or_has_no_address_gets_none() {
    let mut bench = Bench::new();
    let mut never = Recipient::from(Address::parse("b@example.net").unwrap());
    never.notify = Some(Notify::NEVER);
    for (recipient, from) in [(never.clone(), "alice@example.org"), (Recipient { notify: None, ..never }, "")]
    {
        let item = bench.send_as(vec![recipient], from).await;
        let (_, attempt) = bench.started().await;
        bench.outcomes("one", attempt.attempt, vec![failed()]);
        bench.settled().await;
        bench.gone(item).await;
    }
    assert!(bench.inbox().is_empty());
}

#[tokio::test]
async fn what_takes_too_long_goes_back_to_its_sender() {
    let bench = Bench::new();
    let mut bench = bench.restart(expiring(Duration::from_millis(10)), &["one"]).await;
    let item = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    bench.outcomes("one", attempt.attempt, vec![deferred()]);
    bench.settled().await;
    bench.gone(item).await;
    let inbox = bench.inbox();
    assert!(inbox[0].contains("Status: 4.4.7") && inbox[0].contains("450 4.0.0 words"), "{}", inbox[0]);
}

#[tokio::test]
async fn a_report_asked_for_tells_of_success() {
    let mut bench = Bench::new();
    let mut bob = Recipient::from(Address::parse("bob@example.net").unwrap());
    bob.notify = Some(Notify { success: true, ..Notify::NEVER });
    let item = bench.send_as(vec![bob], "alice@example.org").await;
    let (_, attempt) = bench.started().await;
    bench.outcomes("one", attempt.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
    assert!(bench.inbox()[0].contains("Action: relayed"));
}

#[tokio::test]
async fn a_report_that_a_crash_repeats_is_in_the_mailbox_once() {
    let mut bench = Bench::new();
    bench.up.lock().unwrap().clear();
    let item = bench.send(&["bob@example.net"]).await;
    bench.quiet().await;
    let mut state = bench.queue.read(item).unwrap();
    state.apply(0, failed());
    for _ in 0..2 {
        let mailboxes = crate::reports::bounce::Mailboxes {
            now: system::now(),
            keeper: &Keeper::new(Arc::clone(&bench.store), None),
            postmaster: None,
            is_anothers: false,
            is_local: Box::new(|_| false),
        };
        let body = bench.queue.content(item).unwrap();
        crate::reports::bounce::report(state.submitted().unwrap(), body, &mailboxes).await.unwrap();
    }
    assert_eq!(bench.inbox().len(), 1);
}
