//! Mail for aliases that lead elsewhere.

use outbound::queue::QueueState;

use super::*;

const LOOPING: &[u8] = b"Delivered-To: sales@example.org\r\nSubject: x\r\n\r\nbody\r\n";
const BOB: &str = "bob--example.org";
const ALICE: &str = "alice--example.org";

/// `sales` leads elsewhere, `both` there and to bob.
fn home() -> Fixture {
    let home = fixture(1 << 20);
    let outside = Address::parse("al@elsewhere.example").unwrap();
    home.shared.directory.add_alias("sales@example.org", std::slice::from_ref(&outside)).unwrap();
    home.shared.directory.add_alias("both@example.org", &[outside, at("bob")]).unwrap();
    home
}

impl Fixture {
    fn queued(&self) -> Vec<QueueState> {
        self.outbound.ids(None, 10).into_iter().map(|id| self.outbound.read(id).unwrap()).collect()
    }
}

#[tokio::test]
async fn one_reply_stands_for_the_mailbox_and_the_way_out() {
    let mut home = home();
    home.live(1, &["both", "sales", "bob"], MESSAGE).await;
    assert_eq!(home.answer().await, [250, 250, 250]);
    assert_eq!(home.count(BOB, "INBOX"), 1);
    let queued = home.queued();
    assert_eq!(queued.len(), 1, "who is reached twice gets one copy");
    assert_eq!(queued[0].recipients[0].recipient.address.to_string(), "al@elsewhere.example");
}

#[tokio::test]
async fn sealed_mail_is_forwarded_when_home_is_back() {
    let mut home = home();
    home.sealed(1, &["sales"], MESSAGE).await;
    assert_eq!(home.answer().await, [250]);
    assert_eq!(home.queued().len(), 1);
}

#[tokio::test]
async fn a_large_message_is_forwarded_from_its_file() {
    let mut home = home();
    let large = [&b"Subject: x\r\n\r\n"[..], &b"0123456789abcde\n".repeat(100_000)].concat();
    home.live(1, &["both"], &large).await;
    assert_eq!(home.answer().await, [250]);
    let queued = home.queued();
    let body = home.outbound.content(queued[0].item).unwrap();
    let read = body.read_at(body.octets() - large.len() as u64, usize::MAX).unwrap();
    assert!(read == large[..], "the octets are the message's own");
    assert_eq!(home.count(BOB, "INBOX"), 1);
}

#[tokio::test]
async fn what_comes_back_to_its_alias_is_refused_or_kept_for_the_operator() {
    let mut live = home();
    live.live(1, &["sales"], LOOPING).await;
    assert_eq!(live.answer().await, [554]);
    let mut sealed = home();
    sealed.sealed(1, &["sales"], LOOPING).await;
    assert_eq!(sealed.answer().await, [250]);
    assert_eq!(sealed.count(ALICE, QUARANTINE), 1);
    let mut shared = home();
    shared.live(1, &["both"], LOOPING).await;
    assert_eq!(shared.answer().await, [250], "another alias has not seen it");
    for home in [live, sealed] {
        assert!(home.queued().is_empty());
    }
}

#[tokio::test]
async fn a_notification_goes_back_to_whom_the_rewritten_path_stands_for() {
    let mut home = home();
    let srs = crate::forward::Srs::open(home._dir.path()).unwrap();
    let ours = mail::Domain::parse("example.org").unwrap();
    let rewrite = |sender: &str, proven| {
        let sender = ReversePath::Address(Address::parse(sender).unwrap());
        srs.rewrite(&sender, proven, &ours, system::now()).address().unwrap().local().to_owned()
    };
    let (back, operator) = (rewrite("a@example.net", true), rewrite("a@example.net", false));
    home.live(1, &[&back], MESSAGE).await;
    home.live(2, &[&operator], MESSAGE).await;
    home.live(3, &[&back.replace("=a", "=b")], MESSAGE).await;
    let mut answers = home.answers(3).await;
    answers.sort();
    assert_eq!(answers, [[250], [250], [550]]);
    let queued = home.queued();
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].recipients[0].recipient.address.to_string(), "a@example.net");
    assert_eq!(queued[0].envelope.reverse_path, ReversePath::Null);
    assert_eq!(home.count(ALICE, "INBOX"), 1, "the operator has the other one");
}

#[tokio::test]
async fn spam_is_kept_and_not_forwarded() {
    let mut home = home();
    let open = open(1, &["both"]);
    let id = open.item;
    home.arrivals.open(Box::new(open)).unwrap();
    home.body(id, MESSAGE).await;
    home.arrivals.end(id, &Verdict { place: mail::Place::Junk, ..Verdict::default() });
    assert_eq!(home.answer().await, [250]);
    assert!(home.queued().is_empty());
    assert_eq!((home.count(BOB, "Junk"), home.count(ALICE, QUARANTINE)), (1, 1));
}
