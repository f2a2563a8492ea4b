//! Recipients past what a host takes in one transaction.

use super::*;

/// Symptom: a message for 2,000 people of a domain was there after hours, 100 of them each time. Cause: who was left over
/// waited as if he had been put off. Analysis: the host takes him at once, in another transaction.
#[tokio::test]
async fn recipients_that_are_left_over_are_the_next_attempt_of_the_same_round() {
    let mut bench = Bench::new();
    let to = ["a@far.example", "b@far.example", "c@far.example", "d@far.example"];
    let item = bench.send(&to).await;
    let mut rest = to.to_vec();
    while !rest.is_empty() {
        let (edge, attempt) = bench.started().await;
        let recipients = attempt.envelope.recipients.iter().map(|recipient| recipient.address.to_string());
        assert_eq!(recipients.collect::<Vec<_>>(), rest);
        // One of them is said by the server, the others follow from what it said before.
        let full = Outcome::from_reply(None, &Reply::new(452, (4, 5, 3), "too many"));
        let mut outcomes = vec![if rest.len() == 2 { failed() } else { delivered() }, full];
        outcomes.resize(rest.len().max(2), Outcome::left_over(None));
        outcomes.truncate(rest.len());
        bench.outcomes(&edge, attempt.attempt, outcomes);
        bench.settled().await;
        rest.remove(0);
    }
    bench.gone(item).await;
}

#[tokio::test]
async fn who_was_put_off_waits_while_those_left_over_are_tried() {
    let mut bench = Bench::new();
    let item = bench.send(&["a@far.example", "b@far.example", "c@far.example"]).await;
    let (edge, attempt) = bench.started().await;
    bench.outcomes(&edge, attempt.attempt, vec![delivered(), deferred(), Outcome::left_over(None)]);
    bench.settled().await;
    let (edge, attempt) = bench.started().await;
    assert_eq!(attempt.envelope.recipients.len(), 1);
    assert_eq!(attempt.envelope.recipients[0].address.to_string(), "c@far.example");
    let attempts: Vec<u32> =
        bench.queue.read(item).unwrap().recipients.iter().map(|queued| queued.attempts).collect();
    assert_eq!(attempts, [1, 1, 0], "who was left over had none");
    bench.outcomes(&edge, attempt.attempt, vec![delivered()]);
    bench.settled().await;
    let (_, attempt) = bench.started().await;
    assert_eq!(attempt.envelope.recipients[0].address.to_string(), "b@far.example", "in the next round");
}

/// Else a host that takes nobody would be asked without end.
#[tokio::test]
async fn an_attempt_that_settles_nobody_leaves_nobody_over() {
    let mut bench = Bench::new();
    let item = bench.send(&["a@far.example", "b@far.example"]).await;
    let (edge, attempt) = bench.started().await;
    bench.outcomes(&edge, attempt.attempt, vec![deferred(), Outcome::left_over(None)]);
    bench.settled().await;
    let (_, attempt) = bench.started().await;
    assert_eq!(attempt.envelope.recipients.len(), 2, "after the usual pause");
    let attempts: Vec<u32> =
        bench.queue.read(item).unwrap().recipients.iter().map(|queued| queued.attempts).collect();
    assert_eq!(attempts, [1, 1]);
}
