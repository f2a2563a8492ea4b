//! `kill -9` at any moment: what was answered 250 is there, once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use testkit::random::Random;
use testkit::smtp::SmtpClient;
use testkit::{Pair, message};

use crate::alone;

const ROUNDS: u32 = 50;
const SENDERS: u32 = 4;
/// How long a round's daemons are under load before something dies, at most.
const LOAD_MILLIS_MAX: u64 = 1500;

#[derive(Default)]
pub(crate) struct Sent {
    /// Answered 250.
    pub(crate) taken: Vec<String>,
    /// Sent, but the answer did not come.
    pub(crate) in_doubt: Vec<String>,
}

#[test]
fn what_was_answered_250_survives_fifty_kills_and_comes_once() {
    let _alone = alone();
    let seed = Random::seed();
    println!("POSTERN_TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let mut pair = Pair::start();
    let sent = under_load(pair.smtp, || (0..ROUNDS).for_each(|_| round(&mut pair, &mut random)));
    pair.wait_until_drained(Duration::from_secs(120));
    check(&pair, &sent);
}

/// What four senders could hand in for bob while this goes on.
pub(crate) fn under_load(server: SocketAddr, mut happens: impl FnMut()) -> Sent {
    let stop = AtomicBool::new(false);
    let numbers = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let senders: Vec<_> =
            (0..SENDERS).map(|_| scope.spawn(|| send_until(&stop, server, &numbers))).collect();
        // What fails must end the senders as well, or the test would wait for them for ever.
        let ending = SetOnDrop(&stop);
        happens();
        drop(ending);
        let mut all = Sent::default();
        for sender in senders {
            let sent = sender.join().unwrap();
            all.taken.extend(sent.taken);
            all.in_doubt.extend(sent.in_doubt);
        }
        all
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn round(pair: &mut Pair, random: &mut Random) {
    std::thread::sleep(Duration::from_millis(random.below(LOAD_MILLIS_MAX)));
    let which = random.below(3);
    if which != 1 {
        pair.edge.kill();
    }
    if which != 0 {
        pair.home.kill();
    }
    std::thread::sleep(Duration::from_millis(random.below(300)));
    if which != 1 {
        pair.edge.start();
    }
    if which != 0 {
        pair.home.start();
    }
}

fn send_until(stop: &AtomicBool, server: SocketAddr, numbers: &AtomicU32) -> Sent {
    let mut sent = Sent::default();
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = SmtpClient::ready(server) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let subject = format!("crash-{}", numbers.fetch_add(1, Ordering::Relaxed));
            let mut octets = message::simple("a@sender.test", "bob@example.org", &subject);
            octets.extend_from_slice(&b"some more text of no importance\r\n".repeat(subject.len() * 7));
            match client.message("a@sender.test", &["bob@example.org"], &octets) {
                Ok(reply) if reply.starts_with("250") => sent.taken.push(subject),
                Ok(reply) if reply.starts_with('4') => break,
                Ok(reply) => panic!("{subject}: {reply}"),
                Err(_) => {
                    sent.in_doubt.push(subject);
                    break;
                }
            }
        }
    }
    sent
}

fn check(pair: &Pair, sent: &Sent) {
    let mut there: BTreeMap<String, u32> = BTreeMap::new();
    for subject in pair.account("bob").subjects("INBOX") {
        *there.entry(subject).or_default() += 1;
    }
    let lost: Vec<_> = sent.taken.iter().filter(|subject| !there.contains_key(*subject)).collect();
    let twice: Vec<_> = there.iter().filter(|(_, times)| **times > 1).collect();
    let doubtful = sent.in_doubt.iter().filter(|subject| there.contains_key(*subject)).count();
    println!(
        "{} answered 250, {} lost, {} more than once; {} in doubt, {doubtful} of them there",
        sent.taken.len(),
        lost.len(),
        twice.len(),
        sent.in_doubt.len(),
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(twice.is_empty(), "more than once: {twice:?}");
    assert!(sent.taken.len() > 200, "only {} taken: no load", sent.taken.len());
    assert_eq!(there.len(), sent.taken.len() + doubtful, "messages that nobody sent");
}
