//! The client session and the server session talk to each other: what goes in comes out, octet for octet.

use std::sync::Arc;

use bytes::BytesMut;
use mail::Outcome;
use proptest::prelude::*;
use smtp::client::{Chunking, Session, Settings, Step, TransactionResult};
use smtp::server::Mode;

use crate::hop::{envelope, transaction};
use crate::role::{Role, settings};

/// The settings of a conversation between the two.
#[derive(Debug, Clone, Copy)]
struct Way {
    pipelining: bool,
    chunking: bool,
    /// Octets that reach the other side at a time.
    at_once: usize,
}

fn ways() -> impl Strategy<Value = Way> {
    (any::<bool>(), any::<bool>(), 1_usize..200).prop_map(|(pipelining, chunking, at_once)| Way {
        pipelining,
        chunking,
        at_once,
    })
}

/// Sends `messages` to `recipients` over one connection.
fn carry(way: Way, recipients: &[&str], messages: &[Vec<u8>]) -> (Role, Vec<TransactionResult>) {
    let mut role = Role::new(settings(Mode::Mx), Some("TLSv1.3"));
    role.session.greet();
    role.feed(b"");
    let mut client_settings = Settings::new("edge.example.com");
    client_settings.chunking = if way.chunking { Chunking::WhenOffered } else { Chunking::Never };
    let mut client = Session::new(Arc::new(client_settings));
    let mut left = messages.iter();
    let mut current = left.next().unwrap();
    let mut input = BytesMut::new();
    let mut results = Vec::new();
    loop {
        match client.advance(&mut input) {
            Step::NeedInput | Step::Flush => {
                let sent = client.output().split();
                sent.chunks(way.at_once).for_each(|part| role.feed(part));
                let said = replies(&mut role, way);
                assert!(!(sent.is_empty() && said.is_empty()), "both wait: {client:?}");
                input.extend_from_slice(&said);
            }
            Step::Ready => client.start(transaction(envelope("a@example.net", recipients), current)),
            Step::SendBody => {
                current.chunks(way.at_once).for_each(|piece| client.body(piece));
                client.body_end();
            }
            Step::Finished(result) => {
                assert!(result.reusable && !result.in_doubt);
                results.push(result);
                match left.next() {
                    Some(next) => {
                        current = next;
                        client.start(transaction(envelope("a@example.net", recipients), current));
                    }
                    None => client.quit(),
                }
            }
            Step::Closed(reason) => {
                assert_eq!(reason, smtp::client::Closed::Done);
                return (role, results);
            }
            Step::StartTls => panic!("not offered"),
        }
    }
}

/// What the server has said since last time. Without pipelining the offer is struck from it.
fn replies(role: &mut Role, way: Way) -> Vec<u8> {
    let mut said = Vec::new();
    for line in role.replies().into_iter().filter(|line| way.pipelining || *line != "250-PIPELINING") {
        said.extend_from_slice(line.as_bytes());
        said.extend_from_slice(b"\r\n");
    }
    role.log.clear();
    said
}

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let octet =
        prop_oneof![3 => Just(b'.'), 5 => any::<u8>().prop_filter("no line end", |b| !b"\r\n".contains(b))];
    let line = prop::collection::vec(octet, 0..20);
    let message = (prop::collection::vec(line, 0..30), any::<bool>()).prop_map(|(lines, ended)| {
        let mut message = lines.join(&b"\r\n"[..]);
        if ended && !lines.is_empty() {
            message.extend_from_slice(b"\r\n");
        }
        message
    });
    prop::collection::vec(message, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_arrives_as_it_was(way in ways(), messages in messages()) {
        let (role, results) = carry(way, &["b@example.org", "nobody@example.org"], &messages);
        prop_assert_eq!(role.messages.len(), messages.len());
        for (sent, came) in messages.iter().zip(&role.messages) {
            let mut expected = sent.clone();
            if !way.chunking && !sent.is_empty() && !sent.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(came, &expected);
        }
        for result in results {
            prop_assert!(matches!(result.outcomes[..], [Outcome::Delivered(_), Outcome::Failed(_)]));
        }
    }

    #[test]
    fn every_recipient_has_its_own_outcome(way in ways(), who in prop::collection::vec(0..3_usize, 1..250)) {
        let names = ["b@example.org", "nobody@example.org", "later@example.org"];
        let recipients: Vec<&str> = who.iter().map(|place| names[*place]).collect();
        let (role, results) = carry(way, &recipients, &[b"hi\r\n".to_vec(), b"again\r\n".to_vec()]);
        prop_assert_eq!(role.messages.len(), if who.contains(&0) { 2 } else { 0 });
        for result in results {
            prop_assert_eq!(result.outcomes.len(), who.len());
            for (place, outcome) in who.iter().zip(result.outcomes) {
                let fits = match place {
                    0 => matches!(outcome, Outcome::Delivered(_)),
                    1 => matches!(outcome, Outcome::Failed(_)),
                    _ => matches!(outcome, Outcome::Deferred(_)),
                };
                prop_assert!(fits, "{outcome:?}");
            }
        }
    }
}

#[test]
fn a_transaction_that_starts_too_late_is_deferred_before_the_session_closes() {
    let mut client = Session::new(Arc::new(Settings::new("edge.example.com")));
    let mut input = BytesMut::from("220 x\r\n");
    assert!(matches!(client.advance(&mut input), Step::NeedInput));
    client.output().clear();
    input.extend_from_slice(b"250 x\r\n");
    assert!(matches!(client.advance(&mut input), Step::Ready));
    client.closed_by_peer();
    client.start(transaction(envelope("", &["b@example.org"]), b"hi\r\n"));
    let Step::Finished(result) = client.advance(&mut input) else { panic!("no result") };
    assert!(
        matches!(&result.outcomes[..], [Outcome::Deferred(why)] if why.cause == "the connection was lost")
    );
    assert!(!result.reusable && !result.in_doubt);
    assert!(matches!(client.advance(&mut input), Step::Closed(smtp::client::Closed::Dropped)));
    client.start(transaction(envelope("", &["b@example.org"]), b"hi\r\n"));
    assert!(matches!(client.advance(&mut input), Step::Finished(_)));
    assert!(matches!(client.advance(&mut input), Step::Closed(_)));
}

#[test]
fn a_transaction_for_nobody_is_over_at_once() {
    let (role, results) = carry(
        Way { pipelining: true, chunking: true, at_once: 9 },
        &[],
        &[b"hi\r\n".to_vec(), b"hi\r\n".to_vec()],
    );
    assert!(role.messages.is_empty());
    assert!(results.iter().all(|result| result.outcomes.is_empty()));
}

#[test]
fn a_thousand_recipients_and_a_large_message_pass() {
    let message = b"0123456789012345678901234567890123456789\r\n".repeat(20_000);
    let recipients = vec!["b@example.org"; 1000];
    for chunking in [false, true] {
        let way = Way { pipelining: true, chunking, at_once: 60_000 };
        let (role, results) = carry(way, &recipients, std::slice::from_ref(&message));
        assert!(role.messages == [message.clone()]);
        assert!(results[0].outcomes.iter().all(|outcome| matches!(outcome, Outcome::Delivered(_))));
    }
}
