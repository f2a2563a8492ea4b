//! What the dispatcher hears of attempts that a smarthost is given.

use std::time::Duration;

use mail::{Domain, EnhancedCode, Envelope, Outcome};
use spool::{RealDisk, Spool};

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    smarthost: Smarthost,
    told: mpsc::Receiver<CarrierEvent>,
}

/// A smarthost at an address where nobody listens.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "x").unwrap();
    let text = format!(
        "address = \"127.0.0.1:1\"\nfingerprint = \"{}\"\nuser = \"home\"\npassword_file = {:?}",
        "ab".repeat(32),
        password.display().to_string()
    );
    let config: SmarthostConfig = toml::from_str(&text).unwrap();
    let (events, told) = mpsc::channel(outbound::CARRIER_EVENTS_MAX);
    Fixture {
        dir,
        smarthost: Smarthost::open(
            &config,
            "mail.example.org".to_owned(),
            events,
            daemon::clock::SystemClock::shared(),
        )
        .unwrap(),
        told,
    }
}

impl Fixture {
    async fn told(&mut self) -> CarrierEvent {
        tokio::time::timeout(Duration::from_secs(60), self.told.recv()).await.unwrap().unwrap()
    }
}

fn attempt() -> Attempt {
    let envelope: Envelope =
        serde_json::from_str(r#"{"reverse_path":"","recipients":[{"address":"b@c.example"}]}"#).unwrap();
    Attempt {
        attempt: ItemId::from_bytes([1; 16]),
        item: ItemId::from_bytes([2; 16]),
        domain: Domain::parse("c.example").unwrap(),
        envelope,
        octets: 1,
        eight_bit: false,
        utf8_header: false,
        tls_optional: false,
    }
}

async fn body(dir: &std::path::Path) -> spool::Body {
    let spool = Spool::open(&dir.join("queue"), spool::Options::default(), Arc::new(RealDisk)).unwrap();
    let (done, durable) = tokio::sync::oneshot::channel();
    let id = ItemId::from_bytes([2; 16]);
    spool.append(id, Vec::new(), vec![b"x"[..].into()], Box::new(move |result| drop(done.send(result))));
    durable.await.unwrap().unwrap();
    spool.body(id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_reaches_nobody_is_deferred_for_each_recipient() {
    let mut fixture = fixture();
    let body = body(fixture.dir.path()).await;
    fixture.smarthost.begin(attempt(), body.into());
    let CarrierEvent::Outcomes { carrier: edge, outcomes } = fixture.told().await else {
        panic!("no outcomes")
    };
    assert_eq!((edge.as_str(), outcomes.attempt), ("127.0.0.1:1", ItemId::from_bytes([1; 16])));
    let [Outcome::Deferred(why)] = &outcomes.outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(why.status, EnhancedCode(4, 4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_attempt_from_before_a_restart_nothing_is_known() {
    let mut fixture = fixture();
    let id = ItemId::from_bytes([3; 16]);
    fixture.smarthost.ask(id);
    let known = fixture.told().await;
    assert!(
        matches!(known, CarrierEvent::Known { attempt, state: AttemptState::Unknown, .. } if attempt == id)
    );
    fixture.smarthost.running().insert(id);
    fixture.smarthost.ask(id);
    let known = fixture.told().await;
    assert!(matches!(known, CarrierEvent::Known { state: AttemptState::Running, .. }));
}

#[tokio::test]
async fn as_many_answers_wait_for_the_dispatcher_as_may_and_one_more_is_told_once_there_is_room() {
    let mut fixture = fixture();
    for n in 0..=outbound::CARRIER_EVENTS_MAX {
        fixture.smarthost.ask(ItemId::new(mail::UnixTime::from_secs(n as u64), [1; 10]));
    }
    assert_eq!(fixture.told.len(), outbound::CARRIER_EVENTS_MAX);
    let mut heard = HashSet::new();
    for _ in 0..=outbound::CARRIER_EVENTS_MAX {
        let Some(CarrierEvent::Known { attempt, .. }) = fixture.told.recv().await else {
            panic!("an answer")
        };
        heard.insert(attempt);
    }
    assert_eq!(heard.len(), outbound::CARRIER_EVENTS_MAX + 1);
}
