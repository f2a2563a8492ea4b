//! Senders whose account is another's by now.

use super::*;

/// Symptom: the report on a message of an account that was removed lay in the INBOX of the next who got its name.
#[tokio::test]
async fn a_report_on_what_a_removed_account_sent_is_the_operators_and_not_the_next_ones() {
    let mut bench = Bench::new();
    bench.up.lock().unwrap().clear();
    let item = bench.send(&["bob@example.net"]).await;
    bench.quiet().await;
    let mut state = bench.queue.read(item).unwrap();
    state.apply(0, failed());
    bench.store.create_account("post--example.org", system::now()).unwrap();
    let mailboxes = crate::reports::bounce::Mailboxes {
        now: system::now(),
        keeper: &Keeper::new(Arc::clone(&bench.store), None),
        postmaster: Some("post--example.org".to_owned()),
        is_anothers: true,
        is_local: Box::new(|_| false),
    };
    let body = bench.queue.content(item).unwrap();
    crate::reports::bounce::report(state.submitted().unwrap(), body, &mailboxes).await.unwrap();
    assert!(bench.inbox().is_empty());
    let reader = bench.store.reader("post--example.org").unwrap();
    let inbox = reader.mailbox("INBOX").unwrap().unwrap().id;
    assert_eq!(reader.totals(inbox).unwrap().messages, 1);
}
