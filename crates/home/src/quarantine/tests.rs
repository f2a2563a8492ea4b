//! The quarantine against a real store: released once, deleted, forgotten with its message.

use std::sync::Arc;

use content::Content;
use daemon::system;
use daemon::trace::Trace;
use directory::Directory;
use mail::Address;
use outbound::queue::Queue;
use store::{Delivery, FlagList};

use super::*;
use crate::config::HomeConfig;
use crate::forward::Forwarder;
use crate::forward::tests::forwarder;
use crate::keeper::{Keeper, QUARANTINE};

struct Home {
    dir: tempfile::TempDir,
    store: Arc<dyn Mailboxes>,
    directory: Directory,
    trace: Trace,
    quarantine: Quarantine,
    forwarder: Arc<Forwarder>,
    outbound: Queue,
}

/// A home with alice, who is postmaster, and bob.
fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let config: HomeConfig =
        toml::from_str(&format!("domains = [\"example.org\"]\ndata = {data:?}\noutbound = \"on\"\n"))
            .unwrap();
    let directory = crate::databases::open_directory(&config).unwrap();
    for name in ["alice", "bob"] {
        let address = Address::parse(&format!("{name}@example.org")).unwrap();
        directory.add_account(&address, "correct horse").unwrap();
    }
    let store = crate::accounts::open_store(&config, &directory, system::now()).unwrap();
    let (forwarder, outbound) = forwarder(dir.path(), &directory, &store, &[]);
    Home {
        store,
        forwarder,
        outbound,
        trace: Trace::open(&dir.path().join("trace"), link::Role::Home).unwrap(),
        quarantine: Quarantine::open(dir.path()).unwrap(),
        directory,
        dir,
    }
}

impl Home {
    fn keep(&self, item: ItemId, recipients: &[&str], body: &[u8]) {
        let from = mail::ReversePath::Address(Address::parse("a@sender.test").unwrap());
        let to = Address::parse("x@example.org").unwrap();
        let head = store::Head::new(from, to, b"Received: here\r\n".to_vec());
        let delivery = Delivery {
            item: Some(item),
            mailbox: QUARANTINE.to_owned(),
            head,
            body: Content::from(body.to_vec()),
            flags: FlagList::default(),
            internal_date: system::now(),
        };
        let receipt = self.store.deliver_and_wait("alice--example.org", delivery).unwrap();
        let entry = Entry {
            item,
            at: system::now(),
            account: "alice--example.org".to_owned(),
            uidvalidity: receipt.uidvalidity,
            uid: receipt.uid,
            reverse_path: "a@sender.test".to_owned(),
            recipients: recipients.iter().map(|to| format!("{to}@example.org")).collect(),
            reason: "rspamd: reject".to_owned(),
            score: Some(15.0),
        };
        self.quarantine.table.insert(&entry).unwrap();
    }

    async fn carry_out(&self, request: QuarantineRequest) -> Result<Value, Refusal> {
        let parts = Parts {
            now: system::now(),
            keeper: &Keeper::new(Arc::clone(&self.store), None),
            directory: &self.directory,
            trace: &self.trace,
            forwarder: &self.forwarder,
            drafts: self.dir.path(),
        };
        self.quarantine.carry_out(&parts, &request).await
    }

    async fn release(&self, item: ItemId, to: Option<&str>) -> Result<Value, Refusal> {
        self.carry_out(QuarantineRequest::Release { item, to: to.map(str::to_owned) }).await
    }

    async fn listed(&self) -> usize {
        self.carry_out(QuarantineRequest::List).await.unwrap().as_array().unwrap().len()
    }

    fn messages(&self, account: &str, mailbox: &str) -> Vec<Vec<u8>> {
        let reader = self.store.reader(&format!("{account}--example.org")).unwrap();
        let Some(mailbox) = reader.mailbox(mailbox).unwrap() else { return Vec::new() };
        let mut uids = Vec::new();
        reader.each_message(mailbox.id, 1..=u32::MAX, &mut |message| uids.push(message.uid)).unwrap();
        let read = |uid| {
            let mut message = Vec::new();
            assert!(reader.read_body(mailbox.id, uid, 0, usize::MAX, &mut message).unwrap());
            message
        };
        uids.into_iter().map(read).collect()
    }
}

const BODY: &[u8] = b"Subject: x\x1b[2J\r\n\r\nbody\r\n";

#[tokio::test]
async fn a_released_message_is_in_its_recipients_inboxes_once_and_in_quarantine_no_more() {
    for octets in [0, 300_000] {
        let (home, item) = (home(), system::new_item_id());
        let body = [BODY, &vec![b'x'; octets]].concat();
        home.keep(item, &["alice", "bob", "bob+x", "eve"], &body);
        let shown = home.carry_out(QuarantineRequest::Show(item)).await.unwrap();
        assert_eq!(shown["to"][1], "bob@example.org");
        assert!(shown["header"].as_str().unwrap().contains("Subject: x[2J"), "{shown}");
        // A release that broke off after the first delivery.
        let entry = home.quarantine.entry(item).unwrap();
        let done = home.release(item, None).await.unwrap();
        assert_eq!(done["unknown"][0], "eve@example.org");
        home.quarantine.table.insert(&entry).unwrap();
        assert!(home.release(item, None).await.is_err());
        for account in ["alice", "bob"] {
            let head = format!(
                "Return-Path: <a@sender.test>\r\nDelivered-To: {account}@example.org\r\nReceived: here\r\n"
            );
            assert!(home.messages(account, "INBOX") == [[head.as_bytes(), &body].concat()], "{account}");
        }
        assert_eq!((home.messages("alice", QUARANTINE).len(), home.listed().await), (0, 0));
    }
}

#[tokio::test]
async fn a_release_that_is_done_again_after_half_of_it_delivers_nothing_twice() {
    let (home, item) = (home(), system::new_item_id());
    home.keep(item, &["bob"], BODY);
    let entry = home.quarantine.entry(item).unwrap();
    home.release(item, None).await.unwrap();
    // As if the process had ended before the message left the quarantine.
    let again = Delivery {
        item: None,
        mailbox: QUARANTINE.to_owned(),
        head: store::Head::default(),
        body: Content::from(BODY.to_vec()),
        flags: FlagList::default(),
        internal_date: system::now(),
    };
    let receipt = home.store.deliver_and_wait("alice--example.org", again).unwrap();
    home.quarantine.table.insert(&Entry { uid: receipt.uid, ..entry }).unwrap();
    home.release(item, None).await.unwrap();
    assert_eq!((home.messages("bob", "INBOX").len(), home.listed().await), (1, 0));
}

#[tokio::test]
async fn a_message_for_nobody_is_released_to_somebody_who_is_named() {
    let (home, item) = (home(), system::new_item_id());
    home.keep(item, &["eve"], BODY);
    let (what, advice) = home.release(item, None).await.unwrap_err();
    assert!(what.contains("eve@example.org") && advice.contains("--to"), "{what} {advice}");
    assert!(home.release(item, Some("mallory@example.org")).await.is_err());
    assert_eq!(home.listed().await, 1);
    home.release(item, Some("bob@example.org")).await.unwrap();
    assert_eq!((home.messages("bob", "INBOX").len(), home.listed().await), (1, 0));
}

#[tokio::test]
async fn what_the_operator_deletes_here_or_in_the_mailbox_is_gone() {
    let home = home();
    let (one, two) = (system::new_item_id(), system::new_item_id());
    home.keep(one, &["bob"], BODY);
    home.keep(two, &["bob"], BODY);
    assert_eq!(home.listed().await, 2);
    home.carry_out(QuarantineRequest::Delete(one)).await.unwrap();
    assert_eq!((home.listed().await, home.messages("alice", QUARANTINE).len()), (1, 1));
    home.store.delete_mailbox("alice--example.org", QUARANTINE).unwrap();
    home.quarantine.tidy(&*home.store);
    assert!(home.quarantine.table.entries().unwrap().is_empty(), "it is forgotten");
    assert!(home.carry_out(QuarantineRequest::Show(two)).await.is_err());
    assert_eq!(home.listed().await, 0);
    assert!(home.messages("bob", "INBOX").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_an_alias_that_leads_elsewhere_is_forwarded_when_it_is_released() {
    let home = home();
    let outside = Address::parse("al@elsewhere.example").unwrap();
    home.directory.add_alias("sales@example.org", &[outside]).unwrap();
    let item = system::new_item_id();
    home.keep(item, &["sales"], b"Subject: x\r\n\r\nbody\r\n");
    let released = home.release(item, None).await.unwrap();
    assert_eq!(released["delivered"], serde_json::json!(["sales@example.org"]));
    assert_eq!(home.listed().await, 0);
    let queued = home.outbound.ids(None, 10);
    assert_eq!(queued.len(), 1);
    let body = home.outbound.content(queued[0]).unwrap().read_at(0, usize::MAX).unwrap();
    assert_eq!(body, "Delivered-To: sales@example.org\r\nReceived: here\r\nSubject: x\r\n\r\nbody\r\n");
    let state = home.outbound.read(queued[0]).unwrap();
    assert!(!state.forwarded.unwrap().proven, "who sent it is not known any more");
}

/// Symptom: what was kept for an account that was removed was released to the next who got its name.
#[tokio::test]
async fn what_was_kept_for_a_removed_account_is_released_to_the_next_of_its_name_only_when_the_operator_says_so()
 {
    let (home, item) = (home(), system::new_item_id());
    home.keep(item, &["bob"], BODY);
    let bob = Address::parse("bob@example.org").unwrap();
    home.directory.remove_account(&bob, system::now()).unwrap();
    home.directory.add_account(&bob, "correct horse").unwrap();
    let (what, advice) = home.release(item, None).await.unwrap_err();
    assert!(what.contains("had it when this came") && advice.contains("--to"), "{what}");
    assert!(home.messages("bob", "INBOX").is_empty());
    home.release(item, Some("bob@example.org")).await.unwrap();
    assert_eq!(home.messages("bob", "INBOX").len(), 1);
}

/// The quarantine is a mailbox of the postmaster's account, and goes and comes with it.
#[tokio::test]
async fn what_is_in_quarantine_is_there_again_when_the_postmasters_mailbox_is() {
    let (home, item) = (home(), system::new_item_id());
    home.keep(item, &["bob"], BODY);
    let aside = home.store.set_aside("alice--example.org", system::now()).unwrap();
    assert_eq!(home.listed().await, 0);
    home.store.create_account("alice--example.org", system::now()).unwrap();
    assert_eq!(home.listed().await, 0);
    home.store.set_aside("alice--example.org", system::now()).unwrap();
    home.store.bring_back(&aside).unwrap();
    home.release(item, None).await.unwrap();
    assert_eq!(home.messages("bob", "INBOX").len(), 1);
}
