//! What the session at port 25 is answered, with a home that has told its recipients.

use daemon::clock::SystemClock;
use daemon::system;
use mail::EnhancedCode;

use super::*;

fn receive(dir: &std::path::Path) -> Receive {
    let homes = Arc::new(Homes::open(&dir.join("homes"), 1 << 20, system::now()).unwrap());
    let home = homes.pair([7; 32], &crate::homes::Grant::Free, &[], UnixTime(1)).unwrap();
    let name = mail::Domain::parse("example.org").unwrap();
    let snapshot = link::Snapshot {
        generation: 1,
        domains: vec![link::DomainPolicy { name, catch_all: true }],
        subaddress_separators: String::new(),
        recipient_key: link::RecipientKey::new([1; 32]),
        recipients: std::collections::HashSet::new(),
        sealing_key: seal::generate_key().1,
        away: link::Away::Seal,
        message_octets_max: 1 << 20,
        outbound: false,
        return_paths: None,
        srs: None,
        long_reverse_paths: true,
    };
    homes.keep(&home, snapshot).unwrap();
    let trace = Trace::open(&dir.join("trace"), link::Role::Edge).unwrap();
    let hand_offs = HandOffs::new(4 << 20, Duration::from_secs(60), trace.clone());
    let dns = net::dns::Dns::new(&[([127, 0, 0, 1], 9).into()]).unwrap();
    let visitors = visitor::Visitors {
        questions: dns.questions(),
        lists: super::super::lists::Lists::new(&[]),
        table: Arc::new(score::Table::new(&crate::config::ScoreConfig::default())),
        hostname: "mx.example.org".to_owned(),
        clock: SystemClock::shared(),
    };
    let reception = Arc::new(Reception {
        homes,
        foreign: Arc::default(),
        hand_offs: Arc::new(hand_offs),
        door: Door::new(crate::config::DoorConfig::default(), 10),
        judges: Judges { visitors: Arc::new(visitors), policy: crate::config::PolicyConfig::default() },
        greylist: Arc::new(Greylist::open(dir).unwrap()),
        trace,
        greet_pause: Duration::ZERO,
        clock: SystemClock::shared(),
    });
    let admission = reception.admit([192, 0, 2, 1].into()).unwrap();
    Receive::new(reception, admission)
}

const LONG_AGO: UnixTime = UnixTime(0);
const NULL: ReversePath = ReversePath::Null;

/// A session at a home that has bob and no catch-all, signs since long ago, and never `list`.
fn signing(dir: &std::path::Path) -> (Receive, link::ReturnPathKey) {
    let receive = receive(dir);
    let home = receive.shared.homes.list().remove(0);
    let mut snapshot = home.kept().unwrap().snapshot.clone();
    snapshot.domains[0].catch_all = false;
    let hash = |name: &str| snapshot.recipient_key.hash(&format!("{name}@example.org"));
    snapshot.recipients = ["bob", "list", "abuse"].map(hash).into();
    let key = link::ReturnPathKey::new(0, [9; 32]);
    snapshot.return_paths = Some(link::ReturnPaths {
        key: key.clone(),
        signing_since: Some(LONG_AGO),
        unsigned: [hash("list")].into(),
    });
    home.keep(snapshot).unwrap();
    (receive, key)
}

/// The reply to the recipient, and how it is known.
fn rcpt(receive: &mut Receive, from: ReversePath, to: &str) -> (u16, EnhancedCode, Known) {
    *receive.transaction = Transaction { reverse_path: Some(from), ..Transaction::default() };
    let reply = receive.take_recipient(&Address::parse(to).unwrap().into());
    (reply.code, reply.status(), receive.transaction.known)
}

#[test]
fn a_good_tag_is_the_address_without_it_whoever_sends() {
    let dir = tempfile::tempdir().unwrap();
    let (mut receive, key) = signing(dir.path());
    let signed = key.sign(&Address::parse("bob@example.org").unwrap(), system::now()).unwrap().to_string();
    let eve = key.sign(&Address::parse("eve@example.org").unwrap(), system::now()).unwrap().to_string();
    let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
    for from in [NULL, sender] {
        assert_eq!(
            rcpt(&mut receive, from.clone(), &signed),
            (250, EnhancedCode(2, 1, 5), Known::BySignature)
        );
        assert_eq!(rcpt(&mut receive, from, &eve), (550, NO_SUCH_RECIPIENT, Known::Always));
    }
}

#[test]
fn a_bad_tag_is_refused_to_a_notification_and_is_nobodys_name_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (mut receive, key) = signing(dir.path());
    let old = key.sign(&Address::parse("bob@example.org").unwrap(), LONG_AGO).unwrap().to_string();
    let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
    for bad in [old.as_str(), "prvs=0123abcdef=bob@example.org"] {
        assert_eq!(rcpt(&mut receive, NULL, bad), (550, EnhancedCode(5, 7, 1), Known::Always), "{bad}");
        assert_eq!(rcpt(&mut receive, sender.clone(), bad), (550, NO_SUCH_RECIPIENT, Known::Always), "{bad}");
    }
}

#[test]
fn notifications_without_a_tag_are_marked_for_those_that_always_sign() {
    let dir = tempfile::tempdir().unwrap();
    let (mut receive, _) = signing(dir.path());
    let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
    let ok = EnhancedCode(2, 1, 5);
    assert_eq!(rcpt(&mut receive, NULL, "bob@example.org"), (250, ok, Known::UnlessFailureNotice));
    assert_eq!(rcpt(&mut receive, sender, "bob@example.org"), (250, ok, Known::Always));
    for spared in ["list@example.org", "postmaster@example.org", "Abuse@example.org"] {
        assert_eq!(rcpt(&mut receive, NULL, spared), (250, ok, Known::Always), "{spared}");
    }
}

#[test]
fn a_rewritten_reverse_path_takes_notifications_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut receive, _) = signing(dir.path());
    let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
    let ours = mail::Domain::parse("example.org").unwrap();
    let srs = link::SrsSecrets::try_from(vec!["x".repeat(32)]).unwrap();
    let rewrite = |now| srs.rewrite(sender.address().unwrap(), &ours, now).unwrap().to_string();
    let (good, old) = (rewrite(system::now()), rewrite(LONG_AGO.plus_secs(86_400 * 7)));
    assert_eq!(
        rcpt(&mut receive, NULL, &good),
        (550, NO_SUCH_RECIPIENT, Known::Always),
        "nothing is forwarded"
    );
    let home = receive.shared.homes.list().remove(0);
    home.keep(link::Snapshot { srs: Some(srs), ..home.kept().unwrap().snapshot.clone() }).unwrap();
    assert_eq!(rcpt(&mut receive, NULL, &good), (250, EnhancedCode(2, 1, 5), Known::BySignature));
    assert_eq!(rcpt(&mut receive, sender.clone(), &good), (550, NO_SUCH_RECIPIENT, Known::Always));
    for bad in [old, good.replace("=a@", "=b@")] {
        assert_eq!(rcpt(&mut receive, NULL, &bad), (550, EnhancedCode(5, 7, 1), Known::Always), "{bad}");
    }
}

/// A home that was built before they were taken would end the link over one that it can't read, again and again.
#[test]
fn a_long_reverse_path_is_refused_for_a_home_that_does_not_know_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut receive, _) = signing(dir.path());
    let path = |octets: usize| ReversePath::parse(&format!("{}@example.net", "v".repeat(octets))).unwrap();
    let ok = (250, EnhancedCode(2, 1, 5), Known::Always);
    assert_eq!(rcpt(&mut receive, path(65), "bob@example.org"), ok);
    let home = receive.shared.homes.list().remove(0);
    let kept = home.kept().unwrap().snapshot.clone();
    home.keep(link::Snapshot { long_reverse_paths: false, ..kept }).unwrap();
    assert_eq!(rcpt(&mut receive, path(64), "bob@example.org"), ok);
    assert_eq!(rcpt(&mut receive, path(65), "bob@example.org"), (553, EnhancedCode(5, 1, 7), Known::Always));
}

#[tokio::test(start_paused = true)]
async fn who_guesses_names_waits_as_long_as_there_is_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut guesser = receive(dir.path());
    let mut waited = Vec::new();
    for spare in [true, true, true, true, true, false] {
        let others = (2..6).map(|host| guesser.shared.admit([192, 0, 2, host].into()).unwrap());
        let _taken: Vec<Admission> = if spare { Vec::new() } else { others.collect() };
        let before = tokio::time::Instant::now();
        guesser.unknown().await;
        waited.push(before.elapsed());
    }
    assert_eq!(waited, [Duration::ZERO, Duration::ZERO, Duration::ZERO, DELAY, DELAY, Duration::ZERO]);
}

#[test]
fn recipients_are_taken_as_long_as_their_envelope_fits_a_frame() {
    let dir = tempfile::tempdir().unwrap();
    let mut receive = receive(dir.path());
    let recipient = Recipient {
        orcpt: Some(mail::Orcpt { kind: "rfc822".to_owned(), address: "\"".repeat(490) }),
        ..Address::parse("bob@example.org").unwrap().into()
    };
    let most = link::RECIPIENTS_OCTETS_MAX / link::recipient_octets(&recipient);
    assert!(most < 1000);
    for _ in 0..most {
        assert_eq!(receive.take_recipient(&recipient).code, 250);
    }
    assert_eq!(receive.take_recipient(&recipient).code, 452);
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        recipients: vec![recipient; most],
        body: mail::BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: None,
    };
    let open = Open { item: system::new_item_id(), accepted: system::now(), envelope };
    link::Frame::Open(Box::new(open)).encode(&mut bytes::BytesMut::new()).unwrap();
}
