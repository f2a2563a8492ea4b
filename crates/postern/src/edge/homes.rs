//! The homes that Edge serves: who they are, what they pushed, and whether they are connected.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use link::Snapshot;
use mail::{Domain, UnixTime};
use serde::{Deserialize, Serialize};
use spool::{RealDisk, Spool};
use tokio::sync::Notify;

use crate::files;
use crate::live::Live;
use crate::problem::Problem;
use crate::sealed::SealTo;
use crate::trace::Unsent;

/// A home's pin, as it rests on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pin {
    /// SHA-256 of the home's raw public key, hexadecimal.
    key: String,
    paired: UnixTime,
}

/// A snapshot with its sealing key parsed: if it is here, mail can be sealed.
pub struct Kept {
    /// As Home pushed it.
    pub snapshot: Snapshot,
    /// Its sealing key.
    pub seal_to: SealTo,
}

/// One paired home.
pub struct Home {
    /// First 16 hexadecimal digits of its key's fingerprint: its name in logs.
    pub name: String,
    dir: PathBuf,
    paired: UnixTime,
    kept: RwLock<Option<Arc<Kept>>>,
    live: Mutex<Option<Arc<Live>>>,
    /// Sealed mail that waits for it.
    pub sealed: Spool,
    /// Outcomes that it has not settled yet, sealed.
    pub outcomes: Spool,
    /// Trace events that it has not confirmed yet.
    pub unsent: Unsent,
    /// Told when a message was sealed or a trace event was added.
    pub stirred: Notify,
}

impl Home {
    fn open(dir: PathBuf, name: String, paired: UnixTime, sealed_octets_max: u64) -> Result<Self, Problem> {
        let kept = match files::read_json::<Snapshot>(&dir.join("snapshot.json"))? {
            Some(snapshot) => Some(Arc::new(keep(snapshot).map_err(|error| {
                Problem::setup(
                    format!("{}/snapshot.json: {error}", dir.display()),
                    "restart Home: it pushes a new one",
                )
            })?)),
            None => None,
        };
        let options = spool::Options { octets_max: sealed_octets_max, ..spool::Options::default() };
        let sealed = open_spool(&dir.join("sealed"), options)?;
        let outcomes = open_spool(&dir.join("outcomes"), spool::Options::default())?;
        Ok(Self {
            name,
            dir,
            paired,
            kept: RwLock::new(kept),
            live: Mutex::new(None),
            sealed,
            outcomes,
            unsent: Unsent::default(),
            stirred: Notify::new(),
        })
    }

    /// The last snapshot, if Home ever pushed one.
    pub fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a snapshot durable, then puts it in force.
    pub fn keep(&self, snapshot: Snapshot) -> Result<(), String> {
        let kept = keep(snapshot)?;
        let path = self.dir.join("snapshot.json");
        files::replace_json(&path, &kept.snapshot).map_err(|error| format!("{}: {error}", path.display()))?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(kept));
        Ok(())
    }

    /// The link, while it is up.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a link in place. An older one, which the home must have lost, is closed. Gives whether there
    /// was one.
    pub fn connect(&self, live: Arc<Live>) -> bool {
        let old = self.live.lock().unwrap_or_else(PoisonError::into_inner).replace(live);
        old.map(|old| old.close()).is_some()
    }

    /// Takes a link out of place, unless a newer one is there already. Gives whether it was the current one.
    pub fn disconnect(&self, live: &Arc<Live>) -> bool {
        let mut current = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let was_current = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, live));
        if was_current {
            *current = None;
        }
        drop(current);
        live.close();
        was_current
    }

    /// Adds a trace event for Home.
    pub fn tell(&self, event: link::Event) {
        self.unsent.push(event);
        self.stirred.notify_waiters();
    }
}

fn keep(snapshot: Snapshot) -> Result<Kept, String> {
    let seal_to =
        SealTo::parse(&snapshot.sealing_key).map_err(|error| format!("its sealing key: {error}"))?;
    Ok(Kept { snapshot, seal_to })
}

fn open_spool(dir: &Path, options: spool::Options) -> Result<Spool, Problem> {
    Spool::open(dir, options, Arc::new(RealDisk)).map_err(|error| {
        Problem::setup(format!("the spool {}: {error}", dir.display()), "see the line above")
    })
}

/// All paired homes.
pub struct Homes {
    dir: PathBuf,
    sealed_octets_max: u64,
    /// Domains that the configuration gives to homes that are other programs.
    foreign: HashSet<Domain>,
    by_key: RwLock<HashMap<[u8; 32], Arc<Home>>>,
}

impl Homes {
    /// Reads what is known of each home and opens its spools.
    pub fn open(dir: &Path, sealed_octets_max: u64) -> Result<Self, Problem> {
        files::make_private_dir(dir)?;
        let foreign = HashSet::new();
        let homes = Self { dir: dir.to_owned(), sealed_octets_max, foreign, by_key: RwLock::default() };
        let unreadable =
            |error| Problem::setup(format!("can't read {}: {error}", dir.display()), "run as its owner");
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if let Some(pin) = files::read_json::<Pin>(&path.join("pin.json"))? {
                homes.add(&path, &pin)?;
            }
        }
        Ok(homes)
    }

    /// The same, where these domains are not theirs, whatever they claim: what the operator of Edge wrote down counts.
    #[must_use]
    pub fn without(mut self, foreign: HashSet<Domain>) -> Self {
        self.foreign = foreign;
        for home in self.list() {
            self.warn_of_foreign(&home);
        }
        self
    }

    /// Says which of a home's domains it does not get, if any.
    pub fn warn_of_foreign(&self, home: &Home) {
        let Some(kept) = home.kept() else { return };
        let names = kept.snapshot.domains.iter().map(|policy| &policy.name);
        for domain in names.filter(|name| self.foreign.contains(name)) {
            tracing::warn!(
                home = %home.name,
                %domain,
                "a paired home claims a domain of a [[foreign_home]], which keeps it: take it out of one of the two configurations"
            );
        }
    }

    /// Whether mail for the domain belongs here, with whatever kind of home.
    pub fn has(&self, domain: &Domain) -> bool {
        self.foreign.contains(domain) || self.route(domain).is_some()
    }

    fn add(&self, dir: &Path, pin: &Pin) -> Result<Arc<Home>, Problem> {
        let damaged =
            || Problem::setup(format!("{}/pin.json is damaged", dir.display()), "pair this home anew");
        let key = from_hex(&pin.key).ok_or_else(damaged)?;
        let name = pin.key.get(..16).unwrap_or_default().to_owned();
        let home = Arc::new(Home::open(dir.to_owned(), name, pin.paired, self.sealed_octets_max)?);
        self.by_key.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&home));
        Ok(home)
    }

    /// Pins a new home's key, durably.
    pub fn pair(&self, key: [u8; 32], now: UnixTime) -> Result<Arc<Home>, Problem> {
        if let Some(home) = self.by_key(&key) {
            return Ok(home);
        }
        let pin = Pin { key: to_hex(&key), paired: now };
        let dir = self.dir.join(&pin.key);
        files::make_private_dir(&dir)?;
        let path = dir.join("pin.json");
        files::replace_json(&path, &pin).map_err(|error| files::write_problem(&path, &error))?;
        self.add(&dir, &pin)
    }

    /// The home that has this key.
    pub fn by_key(&self, key: &[u8; 32]) -> Option<Arc<Home>> {
        self.by_key.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The home that takes mail for a domain. Where two claim it, the one that was paired first has it.
    pub fn route(&self, domain: &Domain) -> Option<(Arc<Home>, Arc<Kept>)> {
        if self.foreign.contains(domain) {
            return None;
        }
        let homes = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        let claims = homes.values().filter_map(|home| {
            let kept = home.kept()?;
            let has = kept.snapshot.domains.iter().any(|policy| &policy.name == domain);
            has.then(|| (Arc::clone(home), kept))
        });
        claims.min_by_key(|(home, _)| (home.paired, home.name.clone()))
    }

    /// All of them, for `status`.
    pub fn list(&self) -> Vec<Arc<Home>> {
        let homes = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = homes.values().cloned().collect();
        list.sort_by_key(|home| (home.paired, home.name.clone()));
        list
    }
}

/// Octets as hexadecimal digits.
pub fn to_hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let pin = crate::config::EdgePin { name: String::new(), address: String::new(), key: text.to_owned() };
    pin.fingerprint()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_of_a_foreign_home_is_nobody_elses_and_belongs_here() {
        let dir = tempfile::tempdir().unwrap();
        let domain = |name: &str| Domain::parse(name).unwrap();
        let foreign = HashSet::from([domain("example.org")]);
        let homes = Homes::open(dir.path(), 1 << 20).unwrap().without(foreign);
        let home = homes.pair([7; 32], UnixTime(1)).unwrap();
        let policy = |name| link::DomainPolicy { name: domain(name), catch_all: true };
        home.keep(Snapshot {
            generation: 1,
            domains: vec![policy("example.org"), policy("example.net")],
            subaddress_separators: String::new(),
            recipient_key: link::RecipientKey::new([1; 32]),
            recipients: HashSet::new(),
            sealing_key: crate::sealed::generate_key().1,
            away: link::Away::Seal,
            message_octets_max: 1 << 20,
            outbound: false,
            return_paths: None,
            srs: None,
        })
        .unwrap();
        let found = |name| (homes.route(&domain(name)).is_some(), homes.has(&domain(name)));
        assert_eq!(found("example.org"), (false, true));
        assert_eq!(found("example.net"), (true, true));
        assert_eq!(found("example.com"), (false, false));
    }
}
