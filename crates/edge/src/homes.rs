//! The homes that Edge serves: who they are, which domains are theirs, and whether they are connected.

mod away;
mod command;
mod domains;
mod home;
mod unheard;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use daemon::files;
use daemon::json_file;
use daemon::problem::Problem;
use link::fingerprint::{from_hex, to_hex};
use link::{SERVED_DOMAINS_MAX, Served, ServedDomain, ServedDomains, Snapshot};
use mail::{Domain, UnixTime};
use tokio::sync::watch;

use self::domains::Domains;
use self::home::Pin;

pub(crate) use self::away::{Away, Watch};
pub(crate) use self::domains::Grant;
pub(crate) use self::home::{Home, KnownHome};

/// What a home is told of a domain that the configuration gives to another program.
const FOREIGN_HOME: &str = "a [[foreign_home]]";

/// All homes, and who serves what.
pub struct Homes {
    dir: PathBuf,
    sealed_octets_max: u64,
    /// Domains that the configuration gives to homes that are other programs.
    foreign: HashSet<Domain>,
    by_key: RwLock<HashMap<[u8; 32], Arc<Home>>>,
    domains: RwLock<Domains>,
    /// Held by whoever changes who there is or who serves what.
    deciding: Mutex<()>,
    decided: watch::Sender<()>,
}

impl Homes {
    /// Reads what is known of each home and opens its spools. `now` is for what is said of the homes.
    ///
    /// # Errors
    /// When the directory, what is known of a home, or a spool can't be read or made.
    pub fn open(dir: &Path, sealed_octets_max: u64, now: UnixTime) -> Result<Self, Problem> {
        files::make_private_dir(dir)?;
        let homes = Self {
            dir: dir.to_owned(),
            sealed_octets_max,
            foreign: HashSet::new(),
            by_key: RwLock::default(),
            domains: RwLock::new(read_domains(dir)?.unwrap_or_default()),
            deciding: Mutex::new(()),
            decided: watch::Sender::new(()),
        };
        let unreadable =
            |error| Problem::setup(format!("can't read {}: {error}", dir.display()), "run as its owner");
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if let Some(pin) = json_file::read::<Pin>(&path.join("pin.json"))? {
                homes.add(&path, pin)?;
            }
        }
        homes.settle(now)?;
        Ok(homes)
    }

    /// What the snapshots name and nobody has goes to the home that was paired first. That is all of it when a version
    /// before this one kept them, and otherwise what a crash left undone.
    fn settle(&self, now: UnixTime) -> Result<(), Problem> {
        for home in self.list().into_iter().filter(|home| home.kept().is_some()) {
            let pin = home.pin();
            self.decide(|domains| domains.claim(&pin.key, &pin.grant, &home.claims(), &self.foreign))?;
        }
        self.list().iter().for_each(|home| self.warn_of_withheld(home, now));
        Ok(())
    }

    /// The same, where these domains are not theirs, whatever they claim: what the operator of Edge wrote down counts.
    #[must_use]
    pub fn without(mut self, foreign: HashSet<Domain>) -> Self {
        self.foreign = foreign;
        self.list().iter().for_each(|home| self.warn_of_foreign(home));
        self
    }

    /// Says which of a home's domains it does not get, if any, and what to do.
    pub fn warn_of_withheld(&self, home: &Home, now: UnixTime) {
        self.warn_of_foreign(home);
        for domain in self.served(home, &home.claims(), now).withheld() {
            match &domain.served {
                Served::Elsewhere { home: holder, .. } if holder != FOREIGN_HOME => tracing::warn!(
                    home = %home.name,
                    domain = %domain.domain,
                    %holder,
                    what_to_do = %format!(
                        "if it takes the other's place: postern edge homes replace {holder} {}; see 'postern edge homes list'",
                        home.name
                    ),
                    "a home claims a domain of another home, which keeps it"
                ),
                Served::NotGranted => tracing::warn!(
                    home = %home.name,
                    domain = %domain.domain,
                    what_to_do = %format!("make a code for it: postern edge pair --domain {}", domain.domain),
                    "a home claims a domain that its pairing code was not for: nobody serves it"
                ),
                Served::Elsewhere { .. } | Served::Here => {}
            }
        }
    }

    fn warn_of_foreign(&self, home: &Home) {
        for domain in home.claims().iter().filter(|name| self.foreign.contains(name)) {
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

    fn add(&self, dir: &Path, pin: Pin) -> Result<Arc<Home>, Problem> {
        let damaged =
            || Problem::setup(format!("{}/pin.json is damaged", dir.display()), "pair this home anew");
        let key = from_hex(&pin.key).ok_or_else(damaged)?;
        let home = Arc::new(Home::open(dir.to_owned(), pin, self.sealed_octets_max)?);
        self.by_key.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&home));
        Ok(home)
    }

    /// Pins a home's key, durably, and gives it what it names, is free, and is granted. One that was paired before, or
    /// removed, gets the grant as well, and what is sealed for it.
    ///
    /// # Errors
    /// When it can't be written; the home is not paired then.
    pub fn pair(
        &self,
        key: [u8; 32],
        grant: &Grant,
        claimed: &[Domain],
        now: UnixTime,
    ) -> Result<Arc<Home>, Problem> {
        let _one_at_a_time = self.deciding();
        let home = self.pin(key, grant, now)?;
        let pin = home.pin();
        self.decide(|domains| domains.take_free(&pin.key, &pin.grant, claimed, &self.foreign))?;
        Ok(home)
    }

    fn pin(&self, key: [u8; 32], grant: &Grant, now: UnixTime) -> Result<Arc<Home>, Problem> {
        let hex = to_hex(&key);
        if let Some(home) = self.all().get(&key).cloned() {
            let pin = home.pin();
            let before = if pin.removed.is_some() { grant.clone() } else { pin.grant.clone() };
            home.change_pin(Pin { grant: before.and(grant), removed: None, ..pin })?;
            return Ok(home);
        }
        let pin = Pin { key: hex, paired: now, grant: grant.clone(), removed: None };
        let dir = self.dir.join(&pin.key);
        files::make_private_dir(&dir)?;
        let path = dir.join("pin.json");
        json_file::replace(&path, &pin).map_err(|error| files::write_problem(&path, &error))?;
        self.add(&dir, pin)
    }

    /// A home pushes a snapshot: it is made durable, and the home gets what it names, is free, and is granted.
    ///
    /// # Errors
    /// What is wrong with the snapshot, or that it can't be written; the one before stays in force.
    pub fn keep(&self, home: &Home, snapshot: Snapshot) -> Result<(), String> {
        let _one_at_a_time = self.deciding();
        let sent_before = home.kept().is_some_and(|kept| kept.snapshot.outbound);
        if snapshot.outbound && !sent_before {
            tracing::info!(home = %home.name, "a home sends from now on; if this host has the rules of 'postern firewall edge' \
                that were made before, they let no mail out: load them again");
        }
        home.keep(snapshot)?;
        let pin = home.pin();
        self.decide(|domains| domains.claim(&pin.key, &pin.grant, &home.claims(), &self.foreign))
            .map_err(|problem| problem.to_string())?;
        // Also when nobody serves anything else than before: this home may name others, and is to hear of them.
        self.decided.send_replace(());
        Ok(())
    }

    fn deciding(&self) -> MutexGuard<'_, ()> {
        self.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change of who serves what durable, then puts it in force and tells the homes.
    fn decide(&self, change: impl FnOnce(&mut Domains)) -> Result<(), Problem> {
        let mut changed = self.domains().clone();
        change(&mut changed);
        if changed == *self.domains() {
            return Ok(());
        }
        let path = domains_path(&self.dir);
        json_file::replace_plain(&path, &changed).map_err(|error| files::write_problem(&path, &error))?;
        *self.domains.write().unwrap_or_else(PoisonError::into_inner) = changed;
        self.decided.send_replace(());
        Ok(())
    }

    fn domains(&self) -> RwLockReadGuard<'_, Domains> {
        self.domains.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> RwLockReadGuard<'_, HashMap<[u8; 32], Arc<Home>>> {
        self.by_key.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told when somebody else serves something.
    pub fn decisions(&self) -> watch::Receiver<()> {
        self.decided.subscribe()
    }

    /// The home that has this key, unless it was removed.
    pub fn by_key(&self, key: &[u8; 32]) -> Option<Arc<Home>> {
        self.all().get(key).filter(|home| !home.is_removed()).cloned()
    }

    /// The home that takes mail for a domain.
    pub fn route(&self, domain: &Domain) -> Option<(Arc<Home>, Arc<KnownHome>)> {
        if self.foreign.contains(domain) {
            return None;
        }
        let key = from_hex(self.domains().holder(domain)?)?;
        let home = self.by_key(&key)?;
        let kept = home.kept()?;
        let names_it = kept.snapshot.domains.iter().any(|policy| &policy.name == domain);
        names_it.then_some((home, kept))
    }

    /// The home for mail to this host itself: the first that serves anything.
    pub fn first_serving(&self) -> Option<(Arc<Home>, Arc<KnownHome>)> {
        self.list().into_iter().find_map(|home| {
            let serves = !self.served_by(&home).is_empty();
            home.kept().filter(|_| serves).map(|kept| (home, kept))
        })
    }

    /// The domains that a home serves.
    pub fn served_by(&self, home: &Home) -> Vec<Domain> {
        let key = home.pin().key;
        let domains = self.domains();
        domains.of(&key).filter(|domain| !self.foreign.contains(*domain)).cloned().collect()
    }

    /// Whose the domains are that a home claims.
    pub fn served(&self, home: &Home, claimed: &[Domain], now: UnixTime) -> ServedDomains {
        let told = claimed
            .iter()
            .take(SERVED_DOMAINS_MAX)
            .map(|domain| ServedDomain { domain: domain.clone(), served: self.whose(home, domain, now) });
        ServedDomains { home: home.name.clone(), domains: told.collect() }
    }

    fn whose(&self, home: &Home, domain: &Domain, now: UnixTime) -> Served {
        if self.foreign.contains(domain) {
            return Served::Elsewhere { home: FOREIGN_HOME.to_owned(), last_here: None };
        }
        let holder = self.domains().holder(domain).cloned();
        match holder {
            None => Served::NotGranted,
            Some(key) if key == home.pin().key => Served::Here,
            Some(key) => {
                let holder = from_hex(&key).and_then(|key| self.all().get(&key).cloned());
                let last_here = holder.and_then(|holder| holder.last_here(now));
                Served::Elsewhere { home: key.get(..16).unwrap_or_default().to_owned(), last_here }
            }
        }
    }

    /// Those that are paired, the oldest pairing first.
    pub fn list(&self) -> Vec<Arc<Home>> {
        self.list_with_removed().into_iter().filter(|home| !home.is_removed()).collect()
    }

    fn list_with_removed(&self) -> Vec<Arc<Home>> {
        let mut list: Vec<_> = self.all().values().cloned().collect();
        list.sort_by_key(|home| (home.pin().paired, home.name.clone()));
        list
    }
}

/// Beside the homes' directories, among which a version before this one takes everything for a home.
fn domains_path(dir: &Path) -> PathBuf {
    dir.with_file_name("domains.json")
}

fn read_domains(dir: &Path) -> Result<Option<Domains>, Problem> {
    json_file::read(&domains_path(dir))
}

/// The name of the home that serves a domain, as the files of an Edge that may not be running say. `dir` as for
/// [`Homes::open`].
pub(crate) fn holder_on_disk(dir: &Path, domain: &Domain) -> Option<String> {
    let domains = read_domains(dir).ok()??;
    domains.holder(domain).and_then(|key| key.get(..16)).map(str::to_owned)
}

/// How many homes are paired, as the files of an Edge that may not be running say. `dir` is where it keeps its homes.
///
/// # Errors
/// When they can't be read: then nobody knows.
pub fn paired_on_disk(dir: &Path) -> Result<usize, Problem> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(0) };
    let mut paired = 0;
    for entry in entries.flatten() {
        let pin = json_file::read::<Pin>(&entry.path().join("pin.json"))?;
        paired += usize::from(pin.is_some_and(|pin| pin.removed.is_none()));
    }
    Ok(paired)
}

/// Whether a paired home sends, as the files of an Edge that may not be running say. `dir` is where it keeps its homes.
///
/// # Errors
/// When they can't be read: then nobody knows.
pub fn anybody_sends(dir: &Path) -> Result<bool, Problem> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(files::read_problem(dir, &error, "run this as root, or as the owner of Edge's data"));
        }
    };
    for entry in entries {
        let path = entry.map_err(|error| files::read_problem(dir, &error, "run this as root"))?.path();
        let pin = json_file::read::<Pin>(&path.join("pin.json"))?;
        if pin.is_some_and(|pin| pin.removed.is_none()) {
            let snapshot = json_file::read::<Snapshot>(&path.join("snapshot.json"))?;
            if snapshot.is_some_and(|snapshot| snapshot.outbound) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
