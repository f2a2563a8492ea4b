//! A forwarder for tests of those that use one, and what it makes of a message.

use std::path::Path;
use std::sync::Arc;

use daemon::clock::SystemClock;
use daemon::system;
use mail::{Address, BodyType, Domain, Envelope, Finding, ItemId, ReversePath, Verdict};
use spool::{RealDisk, Spool};
use store::Mailboxes;

use super::*;
use crate::keeper::Keeper;

/// A forwarder, and the queue that it fills, which nobody empties.
pub(crate) fn forwarder(
    dir: &Path,
    directory: &Directory,
    store: &Arc<dyn Mailboxes>,
    domains: &[Domain],
) -> (Arc<Forwarder>, Queue) {
    let spool = Spool::open(&dir.join("outbound"), spool::Options::default(), Arc::new(RealDisk)).unwrap();
    let queue = Queue::new(spool).0;
    let parts = Parts {
        queue: queue.clone(),
        directory: directory.clone(),
        keys: DomainKeys::open(dir, domains, system::now()).unwrap(),
        srs: Srs::open(dir).unwrap(),
        notices: Notices::new(directory.clone(), Keeper::new(Arc::clone(store), None), SystemClock::shared()),
        clock: SystemClock::shared(),
        trace: Trace::open(&dir.join("forward-trace"), link::Role::Home).unwrap(),
    };
    (Forwarder::open(dir, parts).unwrap(), queue)
}

struct Fixture {
    dir: tempfile::TempDir,
    directory: Directory,
    store: Arc<dyn Mailboxes>,
    forwarder: Arc<Forwarder>,
    queue: Queue,
}

fn fixture(more: &str) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let config = format!("domains = [\"example.org\"]\ndata = {data:?}\n{more}");
    let config: crate::config::HomeConfig = toml::from_str(&config).unwrap();
    let directory = crate::databases::open_directory(&config).unwrap();
    let store = crate::accounts::open_store(&config, &directory, system::now()).unwrap();
    let (forwarder, queue) = forwarder(dir.path(), &directory, &store, &[]);
    Fixture { dir, directory, store, forwarder, queue }
}

fn at(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn forwarding(item: u8, text: &str) -> Forwarding {
    let recipient = Recipient::from(at("sales@example.org"));
    Forwarding {
        item: ItemId::from_bytes([item; 16]),
        targets: vec![at("al@elsewhere.example"), at("bo@elsewhere.example")],
        envelope: Envelope {
            reverse_path: ReversePath::Address(at("a@example.net")),
            recipients: vec![recipient.clone()],
            body: BodyType::EightBitMime,
            smtputf8: false,
            require_tls: true,
            ret: None,
            envid: Some("e1".to_owned()),
            client: None,
        },
        recipient,
        verdict: Verdict {
            findings: vec![Finding::new("spf", "pass").with("smtp.mailfrom", "example.net")],
            ..Verdict::default()
        },
        received: "Received: from x by y; d\r\n".to_owned(),
        content: text.as_bytes().to_vec().into(),
    }
}

const ON: &str = "outbound = \"on\"\n";
const MESSAGE: &str = "From: a@example.net\r\nSubject: x\r\n\r\nGr\u{fc}\u{df}e\r\n";

impl Fixture {
    async fn forward(&self, forwarding: Forwarding) -> Result<(), String> {
        self.forwarder.forward(forwarding).await
    }

    fn only(&self) -> QueueState {
        let ids = self.queue.ids(None, 10);
        assert_eq!(ids.len(), 1);
        self.queue.read(ids[0]).unwrap()
    }
}

#[tokio::test]
async fn a_message_goes_out_as_it_came_under_a_reverse_path_of_ours() {
    let home = fixture(ON);
    home.forward(forwarding(1, MESSAGE)).await.unwrap();
    let state = home.only();
    let body = home.queue.content(state.item).unwrap().read_at(0, usize::MAX).unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let above = "Require-TLS-ESMTP: yes\r\nDelivered-To: sales@example.org\r\nReceived: from x by y; d\r\n";
    assert_eq!(text, format!("{above}{MESSAGE}"), "the sender asks for REQUIRETLS");
    let path = state.envelope.reverse_path.address().unwrap();
    assert_eq!(path.domain().as_str(), "example.org");
    assert_eq!(home.forwarder.original_of(path), Some(at("a@example.net")));
    assert!(
        state.envelope.require_tls && state.eight_bit && !state.utf8_header && state.submitted().is_none()
    );
    assert_eq!(state.envelope.envid.as_deref(), Some("e1"));
    let to: Vec<String> =
        state.recipients.iter().map(|queued| queued.recipient.address.to_string()).collect();
    assert_eq!(to, ["al@elsewhere.example", "bo@elsewhere.example"]);
    let orcpt = state.recipients[0].recipient.orcpt.as_ref().unwrap();
    assert_eq!((orcpt.kind.as_str(), orcpt.address.as_str()), ("rfc822", "sales@example.org"));
}

/// Symptom: a smarthost bounced what was forwarded to it. Cause: the field with which Postfix 3.11 tells itself that a
/// sender asked for REQUIRETLS was in a message of which nobody asked that here.
#[tokio::test]
async fn what_another_hop_was_asked_for_is_not_asked_of_the_next() {
    let home = fixture(ON);
    let text = format!("Require-TLS-ESMTP: yes\r\n{MESSAGE}");
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let cut = text.as_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
    let octets = text.len() as u64;
    let contents = [Content::memory(cut), Content::file(file, 0, octets)];
    for (item, content) in (1..).zip(contents) {
        for require_tls in [false, true] {
            let mut forwarding = Forwarding { content: content.clone(), ..forwarding(item, MESSAGE) };
            forwarding.envelope.require_tls = require_tls;
            home.forward(forwarding).await.unwrap();
            let state = home.only();
            let body = home.queue.content(state.item).unwrap().read_at(0, usize::MAX).unwrap();
            let above = "Delivered-To: sales@example.org\r\nReceived: from x by y; d\r\n";
            let asked = if require_tls { "Require-TLS-ESMTP: yes\r\n" } else { "" };
            assert_eq!(String::from_utf8(body.to_vec()).unwrap(), format!("{asked}{above}{MESSAGE}"));
            assert_eq!(state.octets, body.len() as u64);
            home.queue.erase(state.item).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_handed_in_again_goes_out_once_before_and_after_it_has_left() {
    let home = fixture(ON);
    home.forward(forwarding(1, MESSAGE)).await.unwrap();
    home.forward(forwarding(1, MESSAGE)).await.unwrap();
    let state = home.only();
    home.forwarder.remembered.insert(state.item, system::now()).unwrap();
    home.queue.erase(state.item).await.unwrap();
    home.forward(forwarding(1, MESSAGE)).await.unwrap();
    assert_eq!(home.queue.count(), 0);
    home.forward(forwarding(2, MESSAGE)).await.unwrap();
    assert_eq!(home.queue.count(), 1);
}

#[tokio::test]
async fn two_that_come_at_one_time_are_one() {
    let home = fixture(ON);
    let (first, second) =
        tokio::join!(home.forward(forwarding(1, MESSAGE)), home.forward(forwarding(1, MESSAGE)));
    assert!(first.is_ok() || second.is_ok());
    assert_eq!(home.queue.count(), 1);
}

#[tokio::test]
async fn a_sender_that_is_not_proven_hears_nothing() {
    let home = fixture(ON);
    home.forward(Forwarding { verdict: Verdict::default(), ..forwarding(1, MESSAGE) }).await.unwrap();
    let state = home.only();
    assert!(!state.forwarded.as_ref().unwrap().proven);
    let path = state.envelope.reverse_path.address().unwrap();
    assert_eq!(home.forwarder.original_of(path), Some(at("postmaster@example.org")));
}

#[tokio::test]
async fn nothing_is_forwarded_where_nothing_is_sent() {
    let home = fixture("");
    let cause = home.forward(forwarding(1, MESSAGE)).await.unwrap_err();
    assert!(cause.contains("outbound = \"on\""), "{cause}");
    assert_eq!(home.queue.count(), 0);
}

#[tokio::test]
async fn an_alias_forwards_as_much_in_an_hour_as_a_user_may_send() {
    let home = fixture("outbound = \"on\"\n[sending]\nrecipients_per_hour = 4\n");
    home.directory.add_account(&at("alice@example.org"), "correct horse").unwrap();
    home.store.create_account("alice--example.org", system::now()).unwrap();
    for item in 1..=2 {
        home.forward(forwarding(item, MESSAGE)).await.unwrap();
    }
    let cause = home.forward(forwarding(3, MESSAGE)).await.unwrap_err();
    assert!(cause.contains("4 addresses in an hour"), "{cause}");
    assert!(home.forward(forwarding(3, MESSAGE)).await.is_err());
    let reader = home.store.reader("alice--example.org").unwrap();
    let inbox = reader.mailbox("INBOX").unwrap().unwrap();
    let mut notices = 0;
    reader.each_message(inbox.id, 1..=u32::MAX, &mut |_| notices += 1).unwrap();
    assert_eq!(notices, 1, "the operator is told once");
    assert!(home.dir.path().join("forwarded.db").exists());
}
