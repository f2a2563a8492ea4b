//! Messages whose sender may not have heard the 250, and who may therefore send them again (RFC 1047).
//!
//! For each message that every recipient got a keyed digest is kept: of the whole envelope, of every octet of the
//! content, of the network it came from, and of where it went. Once an edge says that nothing shows that the 250 was
//! read, the digest is known for a day; the same message again is answered with the first one's 250 and goes nowhere.
//! All of it is in memory: what is forgotten, or was never certain, is delivered, as if nothing were known of it.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use mail::{Client, Envelope, ItemId, UnixTime};
use tokio::sync::Notify;

/// How long a sender may take to come again. MTAs try for days, but first within minutes.
const UNHEARD_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long an edge may take to say so: it waits for a client's next command, at the most.
const RECENT_FOR: Duration = Duration::from_secs(15 * 60);
/// How long a message waits that is the same as one whose hearing is open: a sender with several mail hosts to try comes again
/// within milliseconds, beside the word of the edge that nobody heard.
const WORD_PATIENCE: Duration = Duration::from_millis(250);
/// Messages of which it is not known yet whether their 250 is read.
const RECENT_MAX: usize = 16 * 1024;
/// Messages whose 250 nobody may have read, and ids of such that are not here yet.
const UNHEARD_MAX: usize = 8 * 1024;

/// What is the same only of the same message. Nobody outside can make two that are alike: the key is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 16]);

/// The octets of a message as they pass.
pub(crate) struct Passing(hmac::Context);

impl Passing {
    /// The next octets of the content.
    pub(crate) fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    /// The message is whole: it came in this envelope and is to go there, in words that are the same for the same place.
    pub(crate) fn digest(&self, envelope: &Envelope, placement: &[String]) -> Digest {
        let mut context = self.0.clone();
        let client = envelope.client.as_ref();
        let bare = Envelope { client: None, ..envelope.clone() };
        // The content has an end that nothing of it can look like: its tag is of another context.
        let rest = (bare, client.map(network), client.and_then(|client| client.login.clone()), placement);
        context.update(&[0]);
        context.update(&serde_json::to_vec(&rest).unwrap_or_default());
        let mut digest = [0; 16];
        let tag = context.sign();
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Digest(digest)
    }
}

/// A sender that comes again may come from the host beside.
fn network(client: &Client) -> IpAddr {
    match client.ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::from((ip.to_bits() & (u32::MAX << 8)).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((ip.to_bits() & (u128::MAX << 64)).to_be_bytes()),
    }
}

/// What is known, of all edges together.
pub(crate) struct Repeats {
    key: hmac::Key,
    table: Mutex<Table>,
    /// Wakes those who wait for an edge to tell of an item.
    told: Notify,
}

struct Table {
    /// Items that were kept and answered 250.
    recent: Aging<ItemId, Digest>,
    /// How many of the recent messages have the same digest.
    alike: Aging<Digest, u32>,
    /// Sealed items of which an edge said, before they were here, that nobody may have read the 250.
    announced: Aging<ItemId, ()>,
    /// The item that brought the message the first time, by digest.
    unheard: Aging<Digest, ItemId>,
}

impl Repeats {
    /// With a key that nobody else has, and that goes with the process.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        let table = Table {
            recent: Aging::new(RECENT_MAX, RECENT_FOR),
            alike: Aging::new(RECENT_MAX, RECENT_FOR),
            announced: Aging::new(UNHEARD_MAX, UNHEARD_FOR),
            unheard: Aging::new(UNHEARD_MAX, UNHEARD_FOR),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { key, table: Mutex::new(table), told: Notify::new() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of a message that begins.
    pub(crate) fn passing(&self) -> Passing {
        Passing(hmac::Context::with_key(&self.key))
    }

    /// Every recipient of the message has it for certain, and its sender is answered 250.
    pub(crate) fn kept(&self, item: ItemId, digest: Digest, now: UnixTime) {
        let mut table = self.table();
        if table.announced.take(&item, now).is_some() {
            table.unheard.insert(digest, item, now);
        } else {
            table.recent.insert(item, digest, now);
            let before = table.alike.get(&digest, now).unwrap_or_default();
            table.alike.insert(digest, before.saturating_add(1), now);
        }
    }

    /// Nothing shows that the sender has read the 250 to this item.
    pub(crate) fn unheard(&self, item: ItemId, now: UnixTime) {
        let mut table = self.table();
        match table.recent.take(&item, now) {
            Some(digest) => table.unheard.insert(digest, item, now),
            None => table.announced.insert(item, (), now),
        }
        drop(table);
        self.told.notify_waiters();
    }

    /// Whether there is one message that is the same, and it is open whether its sender heard the 250. Where there are more,
    /// somebody means to send the same many times.
    pub(crate) fn is_open(&self, digest: Digest, now: UnixTime) -> bool {
        let table = self.table();
        table.alike.get(&digest, now) == Some(1) && table.unheard.get(&digest, now).is_none()
    }

    /// Waits for an edge's word on it, for a moment.
    pub(crate) async fn word_on(&self, digest: Digest, now: impl Fn() -> UnixTime) {
        let word = async {
            loop {
                let told = self.told.notified();
                if !self.is_open(digest, now()) {
                    return;
                }
                told.await;
            }
        };
        let _ = tokio::time::timeout(WORD_PATIENCE, word).await;
    }

    /// The first one, when this is the same message again.
    pub(crate) fn first_of(&self, digest: Digest, now: UnixTime) -> Option<ItemId> {
        self.table().unheard.get(&digest, now)
    }
}

/// A map that forgets: what is older than its age, and the oldest when it is full.
struct Aging<K, V> {
    entries: HashMap<K, (V, UnixTime)>,
    order: VecDeque<(K, UnixTime)>,
    most: usize,
    age: Duration,
}

impl<K: Copy + Eq + Hash, V: Copy> Aging<K, V> {
    fn new(most: usize, age: Duration) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), most, age }
    }

    fn is_over(&self, since: UnixTime, now: UnixTime) -> bool {
        // A clock that was set back makes nothing older.
        now.0.saturating_sub(since.0) >= u64::try_from(self.age.as_micros()).unwrap_or(u64::MAX)
    }

    fn insert(&mut self, key: K, value: V, now: UnixTime) {
        while let Some((oldest, since)) = self.order.front().copied() {
            if self.order.len() < self.most && !self.is_over(since, now) {
                break;
            }
            self.order.pop_front();
            if self.entries.get(&oldest).is_some_and(|(_, of)| *of == since) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(key, (value, now));
        self.order.push_back((key, now));
    }

    fn get(&self, key: &K, now: UnixTime) -> Option<V> {
        self.entries.get(key).filter(|(_, since)| !self.is_over(*since, now)).map(|(value, _)| *value)
    }

    fn take(&mut self, key: &K, now: UnixTime) -> Option<V> {
        let value = self.get(key, now);
        self.entries.remove(key);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(from: &str, ip: &str) -> Envelope {
        let text = format!(
            r#"{{"reverse_path":"{from}","recipients":[{{"address":"b@c.org"}}],
                "client":{{"ip":"{ip}","helo":"a.example","esmtp":true}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn digest_of(repeats: &Repeats, pieces: &[&[u8]], envelope: &Envelope, place: &str) -> Digest {
        let mut passing = repeats.passing();
        pieces.iter().for_each(|piece| passing.update(piece));
        passing.digest(envelope, &[place.to_owned()])
    }

    const DAY: u64 = 24 * 3600;

    fn item(n: u8) -> ItemId {
        ItemId::from_bytes([n; 16])
    }

    #[test]
    fn the_same_message_is_known_and_one_that_differs_in_anything_is_not() {
        let repeats = Repeats::new([1; 32]);
        let from = envelope("a@b.org", "192.0.2.1");
        let first = digest_of(&repeats, &[b"Subject: x\r\n", b"\r\nbody\r\n"], &from, "bob INBOX");
        let again = |pieces: &[&[u8]], envelope: &Envelope, place: &str| {
            digest_of(&repeats, pieces, envelope, place) == first
        };
        let whole: &[&[u8]] = &[b"Subject: x\r\n\r\nbody\r\n"];
        assert!(again(whole, &from, "bob INBOX"), "in other pieces");
        assert!(again(whole, &envelope("a@b.org", "192.0.2.200"), "bob INBOX"), "from the host beside");
        assert!(!again(&[b"Subject: x\r\n\r\nbody \r\n"], &from, "bob INBOX"), "another octet");
        assert!(!again(whole, &envelope("a2@b.org", "192.0.2.1"), "bob INBOX"), "another sender");
        assert!(!again(whole, &envelope("a@b.org", "192.0.3.1"), "bob INBOX"), "another network");
        assert!(!again(whole, &from, "bob Junk"), "another place");
        let other = Repeats::new([2; 32]);
        assert!(digest_of(&other, whole, &from, "bob INBOX") != first, "the key is part of it");
        let (near, far) = (envelope("a@b.org", "2001:db8::1"), envelope("a@b.org", "2001:db8:0:1::1"));
        let of = |envelope: &Envelope| digest_of(&repeats, whole, envelope, "x");
        assert!(of(&near) == of(&envelope("a@b.org", "2001:db8::ffff:1")) && of(&near) != of(&far));
    }

    #[test]
    fn only_what_is_kept_and_was_not_heard_is_answered_with_the_first_ones_250() {
        let repeats = Repeats::new([1; 32]);
        let digest = digest_of(&repeats, &[b"x"], &envelope("a@b.org", "192.0.2.1"), "x");
        let now = UnixTime(DAY * 1_000_000);
        assert_eq!(repeats.first_of(digest, now), None);
        repeats.kept(item(1), digest, now);
        assert_eq!(repeats.first_of(digest, now), None, "its 250 may well have been read");
        repeats.unheard(item(1), now);
        assert_eq!(repeats.first_of(digest, now), Some(item(1)));
    }

    #[test]
    fn what_is_announced_before_it_comes_counts_when_it_is_kept() {
        let repeats = Repeats::new([1; 32]);
        let digest = digest_of(&repeats, &[b"x"], &envelope("a@b.org", "192.0.2.1"), "x");
        let now = UnixTime(DAY * 1_000_000);
        repeats.unheard(item(1), now);
        assert_eq!(repeats.first_of(digest, now), None, "it is not certain that the first one is kept");
        repeats.kept(item(1), digest, now);
        assert_eq!(repeats.first_of(digest, now), Some(item(1)));
    }

    #[test]
    fn it_is_known_for_a_day_and_not_a_second_longer() {
        let repeats = Repeats::new([1; 32]);
        let digest = digest_of(&repeats, &[b"x"], &envelope("a@b.org", "192.0.2.1"), "x");
        let now = UnixTime(DAY * 1_000_000);
        repeats.kept(item(1), digest, now);
        repeats.unheard(item(1), now);
        assert_eq!(repeats.first_of(digest, now.plus_secs(DAY - 1)), Some(item(1)));
        assert_eq!(repeats.first_of(digest, now.plus_secs(DAY)), None);
        // An edge that takes longer than it may is not believed to speak of this one.
        repeats.kept(item(2), digest, now);
        repeats.unheard(item(2), now.plus_secs(RECENT_FOR.as_secs()));
        assert_eq!(repeats.first_of(digest, now.plus_secs(DAY)), None);
    }

    /// Symptom: Exim, cut off at the reply, gave the message to the next mail host two milliseconds later, and it was there
    /// twice. Cause: it was faster than the edge's word.
    #[tokio::test(start_paused = true)]
    async fn the_same_message_waits_a_moment_for_the_word_on_the_first_one() {
        let repeats = Repeats::new([1; 32]);
        let digest = digest_of(&repeats, &[b"x"], &envelope("a@b.org", "192.0.2.1"), "x");
        let now = UnixTime(DAY * 1_000_000);
        let waited = async |repeats: &Repeats| {
            let begun = tokio::time::Instant::now();
            repeats.word_on(digest, || now).await;
            begun.elapsed()
        };
        assert_eq!(waited(&repeats).await, Duration::ZERO, "it is the first one");
        repeats.kept(item(1), digest, now);
        assert_eq!(waited(&repeats).await, WORD_PATIENCE, "no word comes");
        let telling = async {
            tokio::time::sleep(Duration::from_millis(3)).await;
            repeats.unheard(item(1), now);
        };
        let (waited_for_word, ()) = tokio::join!(waited(&repeats), telling);
        assert!(waited_for_word < WORD_PATIENCE, "{waited_for_word:?}");
        assert_eq!(repeats.first_of(digest, now), Some(item(1)));
        // Who sends the same all the time is held up by nobody.
        let other = digest_of(&repeats, &[b"y"], &envelope("a@b.org", "192.0.2.1"), "x");
        repeats.kept(item(2), other, now);
        repeats.kept(item(3), other, now);
        assert!(!repeats.is_open(other, now));
    }

    #[test]
    fn it_forgets_the_oldest_when_it_is_full_and_is_never_larger() {
        let mut aging = Aging::new(3, Duration::from_secs(100));
        for n in 0..3_u64 {
            aging.insert(n, n, UnixTime(n));
        }
        assert_eq!(aging.get(&0, UnixTime(3)), Some(0), "at the limit all are there");
        aging.insert(3, 3, UnixTime(3));
        assert_eq!((aging.get(&0, UnixTime(3)), aging.get(&1, UnixTime(3))), (None, Some(1)));
        // One that is put in again and again takes one place at a time.
        for n in 4..100 {
            aging.insert(7, n, UnixTime(n));
        }
        assert!(aging.order.len() <= 3 && aging.entries.len() <= 3);
        assert_eq!(aging.get(&7, UnixTime(100)), Some(99));
    }
}
