//! What waits, what goes first, and what the operator and time change about it.

use super::*;

fn unreachable() -> Outcome {
    Outcome::deferred(EnhancedCode(4, 4, 1), "mx.dead.test: connection refused")
}

/// A bench with these times; retries wait a long time.
fn with(settings: impl FnOnce(&mut Settings)) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryMailboxes::default());
    store.create_account(ALICE, system::now()).unwrap();
    let mut chosen = expiring(Duration::from_secs(1000));
    chosen.retry = vec![Duration::from_secs(500)];
    settings(&mut chosen);
    Bench::start(dir, store, chosen, &["one", "two"])
}

#[tokio::test]
async fn what_is_held_is_not_tried_until_it_is_released() {
    let mut bench = with(|_| {});
    let item = bench.send(&["bob@example.net", "alice@example.org"]).await;
    let (_, attempt) = bench.started().await;
    bench.queue.hold(item, true).await.unwrap();
    bench.outcomes("one", attempt.attempt, vec![deferred()]);
    bench.settled().await;
    while !bench.queue.read(item).unwrap().running.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.queue.read(item).unwrap().held);
    bench.quiet().await;
    assert_eq!(bench.queue.retry(Some(item)).await.unwrap(), 0);
    bench.quiet().await;
    let mut bench = bench.restart(expiring(Duration::ZERO), &["one"]).await;
    bench.quiet().await;
    assert!(bench.queue.list().await[0].held, "it does not expire either");
    bench.queue.hold(item, false).await.unwrap();
    bench.started().await;
    let gone = system::new_item_id();
    assert!(matches!(
        bench.queue.hold(gone, true).await,
        Err(QueueError::Items(outbound::items::ItemsError::NoItem(_)))
    ));
}

#[tokio::test]
async fn the_sender_of_a_late_message_is_told_once() {
    let mut bench = with(|settings| {
        settings.retry = vec![Duration::from_millis(30)];
        settings.warn_after = Duration::from_millis(1);
    });
    let item = bench.send(&["bob@example.net"]).await;
    for _ in 0..3 {
        let (_, attempt) = bench.started().await;
        bench.outcomes("one", attempt.attempt, vec![deferred()]);
        bench.settled().await;
    }
    let (_, attempt) = bench.started().await;
    let inbox = bench.inbox();
    assert_eq!(inbox.len(), 1);
    for said in
        ["Your message is delayed", "Action: delayed", "Will-Retry-Until:", "mx.example.net said: 450"]
    {
        assert!(inbox[0].contains(said), "{said}: {}", inbox[0]);
    }
    bench.outcomes("one", attempt.attempt, vec![failed()]);
    bench.settled().await;
    bench.gone(item).await;
    let inbox = bench.inbox();
    assert!(inbox.len() == 2 && inbox[1].contains("Action: failed"), "{inbox:?}");
}

#[tokio::test]
async fn the_sender_is_told_although_no_edge_ever_came() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryMailboxes::default());
    store.create_account(ALICE, system::now()).unwrap();
    let mut settings = expiring(Duration::from_secs(1000));
    settings.warn_after = Duration::from_millis(100);
    let bench = Bench::start(dir, store, settings, &[]);
    let item = bench.send(&["bob@example.net"]).await;
    while !bench.queue.read(item).unwrap().delay_told {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bench.inbox()[0].contains("there was no way to the world yet"), "{:?}", bench.inbox());
}

#[tokio::test]
async fn a_dead_domain_takes_up_little_and_keeps_nobody_waiting() {
    let mut bench = with(|settings| settings.attempts = 10);
    for _ in 0..20 {
        bench.send(&["bob@dead.test"]).await;
    }
    let dead = [bench.started().await.1, bench.started().await.1];
    bench.quiet().await;
    let living = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    assert_eq!(attempt.item, living);
    bench.outcomes("one", attempt.attempt, vec![delivered()]);
    bench.settled().await;
    for attempt in dead {
        bench.outcomes("one", attempt.attempt, vec![unreachable()]);
        bench.settled().await;
    }
    bench.quiet().await;
    // The operator repaired something: one finds out, then the others follow.
    bench.queue.retry(None).await.unwrap();
    let mut delivered_count = 0;
    let (_, first) = bench.started().await;
    bench.quiet().await;
    bench.outcomes("one", first.attempt, vec![delivered()]);
    while delivered_count < 20 {
        match bench.next().await {
            Told::Started { attempt, .. } => bench.outcomes("one", attempt.attempt, vec![delivered()]),
            Told::Settled { .. } => delivered_count += 1,
            Told::Asked { .. } => panic!("nothing is in doubt"),
        }
    }
}

#[tokio::test]
async fn a_domain_that_rests_is_found_back_by_one_message() {
    let mut bench = with(|settings| settings.retry = vec![Duration::from_millis(200)]);
    for _ in 0..5 {
        bench.send(&["bob@dead.test"]).await;
    }
    for attempt in [bench.started().await.1, bench.started().await.1] {
        bench.outcomes("one", attempt.attempt, vec![unreachable()]);
        bench.settled().await;
    }
    let (_, probe) = bench.started().await;
    bench.quiet().await;
    bench.outcomes("one", probe.attempt, vec![delivered()]);
    bench.settled_and_started().await;
}

#[tokio::test]
async fn room_for_one_domain_is_no_early_try_at_another() {
    let mut bench = with(|settings| settings.per_domain = 1);
    let first = bench.send(&["bob@full.test"]).await;
    let (_, blocks) = bench.started().await;
    assert_eq!(blocks.item, first);
    let both = bench.send(&["bob@full.test", "bob@other.test"]).await;
    let (_, other) = bench.started().await;
    assert_eq!((other.item, other.domain.as_str()), (both, "other.test"));
    bench.outcomes("one", other.attempt, vec![deferred()]);
    bench.settled().await;
    bench.quiet().await;
    bench.outcomes("one", blocks.attempt, vec![delivered()]);
    let next = bench.settled_and_started().await;
    assert_eq!((next.item, next.domain.as_str()), (both, "full.test"));
    bench.outcomes("one", next.attempt, vec![delivered()]);
    bench.settled().await;
    bench.quiet().await;
}

#[tokio::test]
async fn an_edge_that_is_gone_is_waited_for_as_long_as_configured_or_until_released() {
    let mut bench = with(|settings| settings.edge_gone = Duration::from_millis(300));
    bench.send(&["bob@example.net"]).await;
    let (edge, first) = bench.started().await;
    assert_eq!(edge, "one");
    bench.link_down("one");
    bench.quiet().await;
    let (edge, second) = bench.started().await;
    assert_eq!((edge.as_str(), second.item), ("two", first.item));

    let mut bench = with(|_| {});
    let item = bench.send(&["bob@example.net"]).await;
    bench.started().await;
    bench.link_down("one");
    bench.quiet().await;
    bench.queue.hold(item, false).await.unwrap();
    let (edge, again) = bench.started().await;
    assert_eq!((edge.as_str(), again.item), ("two", item));
    // The first edge comes back with an outcome that nobody waits for any more.
    bench.link_up("one");
    bench.outcomes("two", again.attempt, vec![delivered()]);
    bench.settled().await;
    bench.gone(item).await;
}

#[tokio::test]
async fn a_new_edge_sends_no_more_than_its_share_of_the_day() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("warm_up.json");
    let mut bench = with(|settings| {
        settings.warm_up.first_day = 3;
        settings.warm_up.file = file.clone();
    });
    for number in 0..5 {
        bench.send(&[&format!("bob@d{number}.test")]).await;
    }
    for attempt in [bench.started().await.1, bench.started().await.1, bench.started().await.1] {
        bench.outcomes("one", attempt.attempt, vec![delivered()]);
        bench.settled().await;
    }
    bench.quiet().await;
    let waiting = bench.queue.list().await;
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().all(|entry| entry.next_due > system::now()), "{waiting:?}");
    assert!(file.exists());
}

#[tokio::test]
async fn no_more_attempts_are_under_way_than_there_are_slots() {
    let mut bench = Bench::new();
    for n in 0..5 {
        bench.send(&[&format!("bob@d{n}.example.net")]).await;
    }
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(bench.started().await.1.attempt);
    }
    bench.quiet().await;
    bench.outcomes("one", running[0], vec![delivered()]);
    bench.settled_and_started().await;
    bench.quiet().await;
}

#[tokio::test]
async fn one_message_to_more_domains_than_slots_reaches_them_all() {
    let mut bench = Bench::new();
    let recipients: Vec<String> = (0..10).map(|n| format!("bob@d{n}.example.net")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let item = bench.send(&recipients).await;
    for _ in 0..20 {
        if let Told::Started { attempt, recorded, .. } = bench.next().await {
            assert!(recorded);
            bench.outcomes("one", attempt.attempt, vec![delivered()]);
        }
    }
    bench.gone(item).await;
    assert!(bench.inbox().is_empty());
}

#[tokio::test]
async fn the_operator_can_try_now_and_can_remove() {
    let bench = Bench::new();
    let patient = Settings { retry: vec![Duration::from_secs(1000)], ..expiring(Duration::from_secs(9999)) };
    let mut bench = bench.restart(patient, &["one"]).await;
    let item = bench.send(&["bob@example.net"]).await;
    let (_, attempt) = bench.started().await;
    assert_eq!(bench.queue.retry(Some(item)).await.unwrap(), 0, "it is under way");
    bench.outcomes("one", attempt.attempt, vec![deferred()]);
    bench.settled().await;
    bench.quiet().await;
    let listed = bench.queue.list().await;
    assert_eq!((listed.len(), listed[0].last.as_str()), (1, "450 4.0.0 words"));
    assert_eq!(bench.queue.retry(None).await.unwrap(), 1);
    let (_, attempt) = bench.started().await;
    bench.queue.remove(item).await.unwrap();
    assert!(bench.queue.remove(item).await.is_err());
    bench.outcomes("one", attempt.attempt, vec![failed()]);
    assert_eq!(bench.settled().await.1, attempt.attempt);
    assert!(bench.inbox().is_empty());
}
