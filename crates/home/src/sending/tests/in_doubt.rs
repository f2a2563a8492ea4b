//! Attempts of which it is not known what came: after a lost link, and after a restart.

use super::*;

#[tokio::test]
async fn an_attempt_in_doubt_is_asked_about_on_its_edge_and_tried_nowhere_else() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    bench.link_down("one");
    bench.quiet().await;
    bench.link_down("two");
    bench.link_up("two");
    bench.quiet().await;
    bench.link_up("one");
    assert_eq!(bench.asked().await, ("one".to_owned(), attempt.attempt));
    bench.known("two", attempt.attempt, link::AttemptState::Unknown);
    bench.known("one", attempt.attempt, link::AttemptState::Running);
    bench.quiet().await;
    bench.outcomes("one", attempt.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
}

#[tokio::test]
async fn an_attempt_that_its_edge_does_not_know_counts_as_not_tried_and_is_due_at_once() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net"]).await;
    let (_, lost) = bench.started().await;
    bench.link_down("one");
    bench.link_up("one");
    assert_eq!(bench.asked().await.1, lost.attempt);
    bench.known("one", lost.attempt, link::AttemptState::Unknown);
    let (edge, attempt) = bench.started().await;
    assert_ne!(attempt.attempt, lost.attempt);
    assert_eq!(bench.queue.read(item).unwrap().recipients[0].attempts, 0);
    bench.outcomes(&edge, attempt.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
}

#[tokio::test]
async fn outcomes_that_come_twice_or_for_nobody_are_settled_and_change_nothing() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    bench.outcomes("two", attempt.attempt, vec![failed()]);
    bench.quiet().await;
    for _ in 0..3 {
        bench.outcomes("one", attempt.attempt, vec![deferred()]);
    }
    let mut settled = 0;
    let again = loop {
        match bench.next().await {
            Told::Settled { recorded, .. } => {
                assert!(recorded);
                settled += 1;
            }
            Told::Started { attempt, .. } => break *attempt,
            Told::Asked { .. } => panic!("nothing is in doubt"),
        }
    };
    assert!(settled >= 1);
    assert_eq!(bench.queue.read(item).unwrap().recipients[0].attempts, 1);
    bench.outcomes("one", again.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
    bench.outcomes("one", again.attempt, vec![failed()]);
    assert_eq!(bench.settled().await.1, again.attempt);
    assert!(bench.inbox().is_empty());
}

#[tokio::test]
async fn after_a_restart_a_recorded_attempt_is_asked_about_before_anything_is_tried() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    let mut bench = bench.restart(expiring(Duration::from_secs(100)), &["two"]).await;
    bench.quiet().await;
    bench.link_up("one");
    assert_eq!(bench.asked().await, ("one".to_owned(), attempt.attempt));
    bench.outcomes("one", attempt.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
}

#[tokio::test]
async fn outcomes_that_are_there_before_the_answer_of_a_restart_are_recorded() {
    let mut bench = Bench::new();
    let item = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    let mut bench = bench.restart(expiring(Duration::from_secs(100)), &["one"]).await;
    bench.outcomes("one", attempt.attempt, vec![delivered()]);
    loop {
        match bench.next().await {
            Told::Settled { recorded, .. } => break assert!(recorded),
            Told::Asked { .. } => {}
            Told::Started { .. } => panic!("tried again although it was delivered"),
        }
    }
    bench.gone(item).await;
}

#[tokio::test]
async fn a_message_in_doubt_does_not_hold_up_its_other_domains() {
    let mut bench = Bench::new();
    bench.send(&["b@example.com", "c@example.net"]).await;
    let (_, com) = bench.started().await;
    let (_, net) = bench.started().await;
    bench.outcomes("one", com.attempt, vec![deferred()]);
    bench.settled().await;
    bench.link_down("one");
    let (edge, again) = bench.started().await;
    assert_eq!((edge.as_str(), &again.domain), ("two", &com.domain));
    assert_ne!(again.attempt, net.attempt);
}
