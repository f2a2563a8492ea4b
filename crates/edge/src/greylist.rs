//! Greylisting, for the suspicious only: a client that scores between two bounds is asked to come again.
//!
//! What is remembered is the client's network and the sender's domain. Whoever a local user wrote to is
//! known and passes. The addresses of those are kept as keyed hashes, in memory and in one file without a
//! word that can be read; the file is written now and then, so that a crash costs some patience and no mail.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use daemon::json_file;
use daemon::problem::Problem;
use mail::{Address, ReversePath};
use net::port_places::{Standing, network};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// So long a client has to wait, in seconds.
pub(crate) const WAIT_SECONDS: u64 = 300;
/// So long it may take to come again.
const RETURN_SECONDS: u64 = 2 * 86_400;
/// So long one that came again is remembered.
const PASSED_SECONDS: u64 = 36 * 86_400;
/// So long a correspondent is remembered after the last message to it.
const KNOWN_SECONDS: u64 = 400 * 86_400;
/// So long a network that delivered mail is remembered after its last message.
const DELIVERED_SECONDS: u64 = 36 * 86_400;
/// No more often is that written down.
const DELIVERED_EVERY_SECONDS: u64 = 3600;
/// Most entries of each kind.
const ENTRIES_MAX: usize = 100_000;

type Mark = [u8; 16];

/// Who waits, who has passed, who is known.
pub(crate) struct Greylist {
    path: PathBuf,
    kept: Mutex<Greylisted>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Greylisted {
    /// Makes the hashes worthless elsewhere.
    key: Mark,
    /// Those who wait, and when they came first.
    waiting: Entries,
    /// Those who have passed, and when they did so last.
    passed: Entries,
    /// Those to whom users wrote, and when they did so last.
    known: Entries,
    /// Networks, and when they last delivered.
    #[serde(default)]
    delivered: Entries,
    #[serde(skip)]
    changed: bool,
}

/// In the file: one text of 32 hexadecimal digits for each mark.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "HashMap<String, u64>", into = "HashMap<String, u64>")]
struct Entries(HashMap<Mark, u64>);

impl Clone for Entries {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl From<HashMap<String, u64>> for Entries {
    fn from(texts: HashMap<String, u64>) -> Self {
        let mark = |text: &str| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes);
        Self(texts.into_iter().filter_map(|(text, at)| Some((mark(&text)?, at))).collect())
    }
}

impl From<Entries> for HashMap<String, u64> {
    fn from(entries: Entries) -> Self {
        entries.0.into_iter().map(|(mark, at)| (format!("{:032x}", u128::from_be_bytes(mark)), at)).collect()
    }
}

impl Entries {
    fn insert(&mut self, mark: Mark, now: u64, lifetime: u64) {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&mark) {
            self.0.retain(|_, at| now.saturating_sub(*at) < lifetime);
            if self.0.len() >= ENTRIES_MAX {
                // The oldest tenth makes room, so that this is not done for each new one.
                let mut times: Vec<u64> = self.0.values().copied().collect();
                times.sort_unstable();
                let bound = times.get(ENTRIES_MAX / 10).copied().unwrap_or(now);
                self.0.retain(|_, at| *at > bound);
            }
        }
        self.0.insert(mark, now);
    }

    fn age(&self, mark: &Mark, now: u64) -> Option<u64> {
        self.0.get(mark).map(|at| now.saturating_sub(*at))
    }
}

/// What becomes of a suspicious client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greyed {
    /// It may go on, for this reason.
    Passes(&'static str),
    /// It is to come again after so many seconds.
    Waits(u64),
}

impl Greylist {
    /// Reads what was kept in the directory.
    pub(crate) fn open(dir: &Path) -> Result<Self, Problem> {
        let path = dir.join("greylist.json");
        let mut kept: Greylisted = json_file::read(&path)?.unwrap_or_default();
        if kept.key == Mark::default() {
            let random =
                [daemon::system::random_u64().to_be_bytes(), daemon::system::random_u64().to_be_bytes()];
            kept.key.copy_from_slice(&random.concat());
        }
        Ok(Self { path, kept: Mutex::new(kept) })
    }

    /// Whether a suspicious client may send for `sender` now.
    pub(crate) fn ask(&self, ip: IpAddr, sender: &ReversePath, helo: &str, now: u64) -> Greyed {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = sender.address() {
            let known = kept.mark(b"known", address.canonical().as_bytes());
            if kept.known.age(&known, now).is_some_and(|age| age < KNOWN_SECONDS) {
                return Greyed::Passes("a local user has written to the sender");
            }
        }
        let domain = sender.address().map_or(helo, |address| address.domain().as_str());
        let mark = kept.mark(b"grey", format!("{} {domain}", network(ip)).as_bytes());
        kept.changed = true;
        if kept.passed.age(&mark, now).is_some_and(|age| age < PASSED_SECONDS) {
            kept.passed.insert(mark, now, PASSED_SECONDS);
            return Greyed::Passes("it has come again before");
        }
        match kept.waiting.age(&mark, now).filter(|age| *age < RETURN_SECONDS) {
            Some(age) if age >= WAIT_SECONDS => {
                kept.waiting.0.remove(&mark);
                kept.passed.insert(mark, now, PASSED_SECONDS);
                Greyed::Passes("it has come again")
            }
            Some(age) => Greyed::Waits(WAIT_SECONDS - age),
            None => {
                kept.waiting.insert(mark, now, RETURN_SECONDS);
                Greyed::Waits(WAIT_SECONDS)
            }
        }
    }

    /// A local user writes to this address.
    pub(crate) fn wrote_to(&self, address: &Address, now: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = kept.mark(b"known", address.canonical().as_bytes());
        kept.known.insert(mark, now, KNOWN_SECONDS);
        kept.changed = true;
    }

    /// This client has delivered mail that was not unwanted.
    pub(crate) fn has_delivered(&self, ip: IpAddr, now: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = kept.mark(b"delivered", network(ip).to_string().as_bytes());
        if kept.delivered.age(&mark, now).is_none_or(|age| age >= DELIVERED_EVERY_SECONDS) {
            kept.delivered.insert(mark, now, DELIVERED_SECONDS);
            kept.changed = true;
        }
    }

    /// Whether its network has done so before: for it a share of the places is kept.
    pub(crate) fn standing(&self, ip: IpAddr, now: u64) -> Standing {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = kept.mark(b"delivered", network(ip).to_string().as_bytes());
        match kept.delivered.age(&mark, now).is_some_and(|age| age < DELIVERED_SECONDS) {
            true => Standing::Known,
            false => Standing::Stranger,
        }
    }

    /// Writes the file, if anything has changed.
    pub(crate) fn save(&self) {
        let written = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut kept.changed) {
                return;
            }
            serde_json::to_value(&*kept)
        };
        let saved =
            written.map_err(std::io::Error::other).and_then(|value| json_file::replace(&self.path, &value));
        if let Err(error) = saved {
            tracing::warn!(file = %self.path.display(), %error, "greylisting can't be kept: after a restart strangers wait again");
        }
    }
}

impl Greylisted {
    fn mark(&self, kind: &[u8], what: &[u8]) -> Mark {
        let digest = Sha256::new()
            .chain_update(self.key)
            .chain_update(kind)
            .chain_update([0])
            .chain_update(what)
            .finalize();
        let mut mark = Mark::default();
        mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn open() -> (tempfile::TempDir, Greylist) {
        let dir = tempfile::tempdir().unwrap();
        let greylist = Greylist::open(dir.path()).unwrap();
        (dir, greylist)
    }

    fn sender(text: &str) -> ReversePath {
        ReversePath::Address(Address::parse(text).unwrap())
    }

    #[test]
    fn a_stranger_waits_comes_again_and_is_remembered_by_network_and_domain() {
        let (_dir, greylist) = open();
        let from = sender("a@example.com");
        assert_eq!(greylist.ask(IP, &from, "h", 1000), Greyed::Waits(300));
        assert_eq!(greylist.ask(IP, &from, "h", 1299), Greyed::Waits(1));
        let neighbour = "192.0.2.77".parse().unwrap();
        assert_eq!(
            greylist.ask(neighbour, &sender("b@example.com"), "h", 1300),
            Greyed::Passes("it has come again")
        );
        assert_eq!(greylist.ask(IP, &from, "h", 1301), Greyed::Passes("it has come again before"));
        assert_eq!(greylist.ask(IP, &sender("a@example.org"), "h", 1301), Greyed::Waits(300));
        assert_eq!(greylist.ask("192.0.3.1".parse().unwrap(), &from, "h", 1301), Greyed::Waits(300));
        assert_eq!(greylist.ask(IP, &ReversePath::Null, "h", 1301), Greyed::Waits(300));
    }

    #[test]
    fn who_comes_too_late_waits_again() {
        let (_dir, greylist) = open();
        let from = sender("a@example.com");
        greylist.ask(IP, &from, "h", 0);
        assert_eq!(greylist.ask(IP, &from, "h", RETURN_SECONDS), Greyed::Waits(300));
    }

    #[test]
    fn known_correspondents_pass_also_after_a_restart_and_no_address_is_in_the_file() {
        let (dir, greylist) = open();
        greylist.wrote_to(&Address::parse("friend@example.com").unwrap(), 5);
        greylist.ask(IP, &sender("other@stranger.example"), "h", 5);
        greylist.save();
        let file = std::fs::read_to_string(dir.path().join("greylist.json")).unwrap();
        assert!(!file.contains("friend") && !file.contains("example"));
        let again = Greylist::open(dir.path()).unwrap();
        assert!(matches!(again.ask(IP, &sender("Friend@example.com"), "h", 6), Greyed::Passes(_)));
        assert_eq!(again.ask(IP, &sender("other@stranger.example"), "h", 205), Greyed::Waits(100));
        assert_eq!(again.ask(IP, &sender("x@example.com"), "h", 6), Greyed::Waits(300));
    }

    #[test]
    fn who_has_delivered_is_known_by_its_network_also_after_a_restart_and_for_36_days() {
        let (dir, greylist) = open();
        assert_eq!(greylist.standing(IP, 5), Standing::Stranger);
        greylist.has_delivered(IP, 5);
        greylist.save();
        let again = Greylist::open(dir.path()).unwrap();
        let neighbour = "192.0.2.77".parse().unwrap();
        assert_eq!(again.standing(neighbour, 5 + DELIVERED_SECONDS - 1), Standing::Known);
        assert_eq!(again.standing(neighbour, 5 + DELIVERED_SECONDS), Standing::Stranger);
        assert_eq!(again.standing("192.0.3.1".parse().unwrap(), 5), Standing::Stranger);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut entries = Entries::default();
        for number in 0..=ENTRIES_MAX as u64 {
            entries.insert(u128::from(number).to_be_bytes(), number, u64::MAX);
        }
        assert!(entries.0.len() <= ENTRIES_MAX && entries.0.len() > ENTRIES_MAX / 2);
        assert!(entries.age(&(ENTRIES_MAX as u128).to_be_bytes(), ENTRIES_MAX as u64).is_some());
    }
}
