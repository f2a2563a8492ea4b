//! Arrivals that filters judge: the same verdict live and sealed, as far as what was accepted can have it.

use super::*;
use crate::filters::tests::{config, filters, http};
use daemon::request::QuarantineRequest;

use crate::quarantine::Parts;

const ALICE: &str = "alice--example.org";
const BOB: &str = "bob--example.org";

/// A home whose one filter answers this.
async fn judging(answer: &str) -> Fixture {
    let (address, _) = http(200, answer).await;
    fixture_with(1 << 20, Some(filters(&[config("rspamd", &address, "")])))
}

async fn broken(on_failure: &str) -> Fixture {
    let (address, _) = http(500, "").await;
    let more = format!("on_failure = {on_failure:?}");
    fixture_with(1 << 20, Some(filters(&[config("rspamd", &address, &more)])))
}

impl Fixture {
    /// What bob's INBOX and Junk and the quarantine hold.
    fn places(&self) -> (u64, u64, u64) {
        (self.count(BOB, "INBOX"), self.count(BOB, "Junk"), self.count(ALICE, QUARANTINE))
    }

    fn first(&self, account: &str, mailbox: &str) -> String {
        let reader = self.shared.keeper.store().reader(account).unwrap();
        let mailbox = reader.mailbox(mailbox).unwrap().unwrap();
        let mut stored = Vec::new();
        assert!(reader.read_body(mailbox.id, 1, 0, usize::MAX, &mut stored).unwrap());
        String::from_utf8(stored).unwrap()
    }
}

#[tokio::test]
async fn every_verdict_has_its_reply_and_its_mailbox_live_and_sealed() {
    for (action, live, live_places, sealed_places) in [
        ("no action", 250, (1, 0, 0), (1, 0, 0)),
        ("add header", 250, (0, 1, 0), (0, 1, 0)),
        ("rewrite subject", 250, (0, 1, 0), (0, 1, 0)),
        ("quarantine", 250, (0, 0, 1), (0, 0, 1)),
        ("greylist", 250, (1, 0, 0), (1, 0, 0)),
        ("soft reject", 451, (0, 0, 0), (0, 1, 0)),
        ("reject", 550, (0, 0, 0), (0, 0, 1)),
    ] {
        let answer = format!(r#"{{"action":"{action}"}}"#);
        let mut home = judging(&answer).await;
        home.live(1, &["bob"], MESSAGE).await;
        assert_eq!((home.answer().await, home.places()), (vec![live], live_places), "{action}, live");
        let mut home = judging(&answer).await;
        home.sealed(1, &["bob"], MESSAGE).await;
        assert_eq!((home.answer().await, home.places()), (vec![250], sealed_places), "{action}, sealed");
    }
}

#[tokio::test]
async fn a_filter_that_fails_stops_no_sealed_mail() {
    for (on_failure, live, live_places, sealed_places) in
        [("accept", 250, (1, 0, 0), (1, 0, 0)), ("defer", 451, (0, 0, 0), (0, 1, 0))]
    {
        let mut home = broken(on_failure).await;
        home.live(1, &["bob"], MESSAGE).await;
        assert_eq!((home.answer().await, home.places()), (vec![live], live_places), "{on_failure}, live");
        let mut home = broken(on_failure).await;
        home.sealed(1, &["bob"], MESSAGE).await;
        assert_eq!((home.answer().await, home.places()), (vec![250], sealed_places), "{on_failure}, sealed");
    }
}

#[tokio::test]
async fn one_verdict_answers_all_recipients_and_postmaster_is_always_reachable() {
    let mut home = judging(r#"{"action":"reject"}"#).await;
    home.live(1, &["alice", "bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [550, 550]);
    for name in ["postmaster", "Abuse"] {
        for (recipients, answer, junk) in [(&[name, "bob"][..], &[550, 550][..], 0), (&[name], &[250], 1)] {
            let mut home = judging(r#"{"action":"reject"}"#).await;
            home.shared.directory.add_alias("abuse@example.org", &[at("alice")]).unwrap();
            home.live(1, recipients, MESSAGE).await;
            assert_eq!(home.answer().await, answer, "{recipients:?}");
            assert_eq!((home.count(ALICE, "Junk"), home.count(BOB, "Junk")), (junk, 0), "{recipients:?}");
        }
    }
}

#[tokio::test]
async fn a_message_for_nobody_is_refused_before_any_filter_is_asked() {
    let (address, seen) = http(200, r#"{"action":"no action"}"#).await;
    let mut home = fixture_with(1 << 20, Some(filters(&[config("rspamd", &address, "")])));
    home.live(1, &["eve"], MESSAGE).await;
    assert_eq!(home.answer().await, [550]);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn headers_of_filters_stand_before_the_message_and_what_they_remove_is_gone() {
    let answer = r#"{"action":"add header","milter":{"add_headers":{"X-Spam":"Yes\r\n\r\nEvil"},
        "remove_headers":{"X-Forged":0}}}"#;
    let long: Vec<u8> =
        [&b"X-Forged: a\r\nSubject: x\r\n\r\n"[..], &b"0123456789abcde\r\n".repeat(20_000)].concat();
    for message in [&b"X-Forged: a\r\nSubject: x\r\n\r\nbody\r\n"[..], &long] {
        let mut home = judging(answer).await;
        home.live(1, &["bob"], message).await;
        assert_eq!(home.answer().await, [250]);
        let stored = home.first(BOB, "Junk");
        let start =
            "Return-Path: <>\r\nDelivered-To: bob@example.org\r\nX-Spam: Yes\r\n\tEvil\r\nReceived: from";
        assert!(stored.starts_with(start), "{}", &stored[..200]);
        let rest = String::from_utf8_lossy(&message["X-Forged: a\r\n".len()..]);
        assert!(stored.ends_with(&*rest) && !stored.contains("X-Forged"));
    }
}

#[tokio::test]
async fn spam_goes_to_the_mailbox_that_the_user_has_for_it() {
    let mut home = judging(r#"{"action":"add header"}"#).await;
    home.shared.keeper.store().rename_mailbox(BOB, "Junk", "Spam").unwrap();
    home.live(1, &["bob"], MESSAGE).await;
    assert_eq!((home.answer().await, home.count(BOB, "Spam")), (vec![250], 1));
    assert!(home.shared.keeper.store().reader(BOB).unwrap().mailbox("Junk").unwrap().is_none());
}

#[tokio::test]
async fn the_quarantine_knows_for_whom_a_message_was_and_why_it_is_there() {
    let mut home = judging(r#"{"action":"quarantine","score":9.5,"required_score":15}"#).await;
    home.live(1, &["bob", "alice", "eve"], MESSAGE).await;
    assert_eq!(home.answer().await, [250, 250, 250]);
    assert_eq!((home.places(), home.count(ALICE, "INBOX")), ((0, 0, 1), 0));
    let shared = &home.shared;
    let parts = Parts {
        now: system::now(),
        keeper: &shared.keeper,
        directory: &shared.directory,
        trace: &shared.trace,
        forwarder: &shared.forwarder,
        drafts: &shared.drafts,
    };
    let listed = shared.quarantine.carry_out(&parts, &QuarantineRequest::List).await.unwrap();
    let entry = &listed[0];
    assert_eq!(entry["score"], 9.5);
    assert!(entry["reason"].as_str().unwrap().contains("quarantine, score 9.50 of 15.00"), "{entry}");
    let mut to: Vec<&str> = entry["to"].as_array().unwrap().iter().filter_map(|to| to.as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["alice@example.org", "bob@example.org", "eve@example.org"]);
    let item = entry["id"].as_str().unwrap().parse().unwrap();
    shared.quarantine.carry_out(&parts, &QuarantineRequest::Release { item, to: None }).await.unwrap();
    assert_eq!((home.places(), home.count(ALICE, "INBOX")), ((1, 0, 0), 1));
}

#[tokio::test]
async fn a_refusal_that_was_not_heard_is_a_message_in_quarantine_once() {
    let mut home = judging(r#"{"action":"reject"}"#).await;
    home.live(1, &["bob"], MESSAGE).await;
    home.sealed(1, &["bob"], MESSAGE).await;
    home.sealed(1, &["bob"], MESSAGE).await;
    let mut answers = home.answers(3).await;
    answers.sort_unstable();
    assert_eq!(answers, [[250], [250], [550]]);
    assert_eq!(home.places(), (0, 0, 1));
}
