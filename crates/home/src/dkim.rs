//! The keys that sign what users send (RFC 6376): each domain's own, made and kept at Home, never at Edge.
//!
//! A domain's keys and where they stand in their rotation are one file, `dkim/DOMAIN.json` in the data
//! directory, replaced as a whole. What changes them is `postern dkim rotate`; they sign what users submit.

mod command;
mod rotation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::files;
use daemon::problem::Problem;
use mail::{Domain, UnixTime};
use mailauth::dkim::sign::{self, KeyKind, SignError, SigningKey};
use serde::{Deserialize, Serialize};

pub use command::{carry_out, command, status};
use rotation::{Key, Rotation, RotationError};
pub use rotation::{Published, Stage};

/// The directory in the data directory.
const DIR: &str = "dkim";
/// How long a record stays after the last signature with its key, in seconds: a message may wait as long in the
/// queue, and its receiver may look at it some time later.
const KEEP_SECS_MIN: u64 = 7 * 86_400;
const KEEP_AFTER_EXPIRY_SECS: u64 = 2 * 86_400;

/// How long old keys' records have to stay where undelivered mail goes back after `expire_secs` seconds.
pub const fn keep_secs(expire_secs: u64) -> u64 {
    let needed = expire_secs.saturating_add(KEEP_AFTER_EXPIRY_SECS);
    if needed > KEEP_SECS_MIN { needed } else { KEEP_SECS_MIN }
}

/// A domain and its keys, as they are to be in DNS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DomainRecords {
    /// The domain.
    pub domain: String,
    /// Its keys.
    pub keys: Vec<Published>,
}

/// The step that a rotation of keys has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// New keys are there, to be published.
    Publish,
    /// The new keys sign.
    Switched,
}

/// The DKIM keys of all domains. Cloning shares them.
#[derive(Clone)]
pub struct DomainKeys(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    domains: RwLock<BTreeMap<String, Arc<Held>>>,
    /// Held while a file is read, changed and written.
    changing: Mutex<()>,
}

/// A domain's keys, parsed and ready to sign.
struct Held {
    rotation: Rotation,
    signing: Arc<[SigningKey]>,
}

impl Held {
    fn new(domain: &str, rotation: Rotation) -> Result<Self, SignError> {
        let ready = |key: &Key| {
            let private = STANDARD.decode(&key.private).map_err(|_| SignError::BadKey("base64"))?;
            SigningKey::new(domain, &key.selector, key.kind, &private)
        };
        let signing: Result<Vec<SigningKey>, SignError> = rotation.signing().iter().map(ready).collect();
        Ok(Self { signing: signing?.into(), rotation })
    }
}

impl DomainKeys {
    /// Reads the keys of these domains, and makes those that are not there: a fraction of a second for each. A
    /// domain that can't be in the world's DNS, such as `localhost`, has none.
    ///
    /// # Errors
    /// As [`DomainKeys::adopt`], and when the directory can't be made.
    pub fn open(data: &Path, domains: &[Domain], now: UnixTime) -> Result<Self, Problem> {
        let dir = data.join(DIR);
        files::make_private_dir(&dir)?;
        let keys = Self(Arc::new(Inner { dir, domains: RwLock::default(), changing: Mutex::new(()) }));
        keys.adopt(domains, now)?;
        Ok(keys)
    }

    /// The domains are these from now on. Keys of others stay on the disk. On an error nothing has changed.
    ///
    /// # Errors
    /// When a key can't be read, made, or written.
    pub fn adopt(&self, domains: &[Domain], now: UnixTime) -> Result<(), Problem> {
        let _changing = self.changing();
        let mut held = BTreeMap::new();
        for domain in domains.iter().map(Domain::as_str).filter(|domain| sign::can_sign_for(domain)) {
            let name = domain.to_ascii_lowercase();
            let path = self.path(&name);
            let rotation = match files::read_json(&path)? {
                Some(rotation) => rotation,
                None => self.keep(&name, Rotation::begin(new_keys(&name, &rotation::day(now))?))?,
            };
            let ready = Held::new(&name, rotation).map_err(|error| damaged(&path, &error))?;
            held.insert(name, Arc::new(ready));
        }
        *self.0.domains.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// What signs for a domain; `None` when it has no keys here.
    pub fn signing(&self, domain: &Domain) -> Option<Arc<[SigningKey]>> {
        self.held(&domain.as_str().to_ascii_lowercase()).map(|held| Arc::clone(&held.signing))
    }

    /// The header section of a message that Home itself writes, with the domain's signatures above it; `None` when it
    /// has no keys.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn signed(
        &self,
        domain: &Domain,
        header: &[u8],
        body: &[u8],
        now: UnixTime,
    ) -> Result<Option<Vec<u8>>, SignError> {
        let Some(keys) = self.signing(domain) else { return Ok(None) };
        let mut hashes = sign::body_hashes();
        hashes.update(body);
        let mut signed = sign::sign(header, &hashes.finish(), keys.iter(), now)?;
        signed.extend_from_slice(header);
        Ok(Some(signed))
    }

    /// All domains' keys and what is to be done with them.
    pub fn records(&self, now: UnixTime) -> Vec<DomainRecords> {
        let domains = self.0.domains.read().unwrap_or_else(PoisonError::into_inner);
        let of = |(domain, held): (&String, &Arc<Held>)| DomainRecords {
            domain: domain.clone(),
            keys: held.rotation.published(now),
        };
        domains.iter().map(of).collect()
    }

    /// The next step for a domain: new keys to publish, or, when there are some, they sign.
    ///
    /// # Errors
    /// When the domain has no keys here, or they can't be made or written; nothing has changed then.
    pub fn rotate(&self, domain: &str, now: UnixTime, keep_secs: u64) -> Result<Step, Problem> {
        let _changing = self.changing();
        let domain = domain.to_ascii_lowercase();
        let held = self.held(&domain).ok_or_else(|| {
            Problem::setup(
                format!("{domain} has no keys here"),
                "name a domain of home.toml; see 'postern dkim status'",
            )
        })?;
        let rotation = &held.rotation;
        let (step, next) = if rotation.next().is_some() {
            (Step::Switched, rotation.switch(now, keep_secs))
        } else {
            let keys = new_keys(&domain, &rotation.new_selector(now))?;
            (Step::Publish, rotation.publish(keys, now))
        };
        let next = next.map_err(refused)?;
        let path = self.path(&domain);
        let ready = Held::new(&domain, next).map_err(|error| damaged(&path, &error))?;
        self.keep(&domain, ready.rotation.clone())?;
        self.0.domains.write().unwrap_or_else(PoisonError::into_inner).insert(domain, Arc::new(ready));
        Ok(step)
    }

    fn held(&self, domain: &str) -> Option<Arc<Held>> {
        self.0.domains.read().unwrap_or_else(PoisonError::into_inner).get(domain).cloned()
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, domain: &str) -> PathBuf {
        self.0.dir.join(format!("{domain}.json"))
    }

    /// Makes the keys of a domain durable.
    fn keep(&self, domain: &str, rotation: Rotation) -> Result<Rotation, Problem> {
        let path = self.path(domain);
        files::replace_json(&path, &rotation).map_err(|error| files::write_problem(&path, &error))?;
        Ok(rotation)
    }
}

/// A key of each kind.
fn new_keys(domain: &str, stem: &str) -> Result<Vec<Key>, Problem> {
    let new = |(letter, kind): (&str, KeyKind)| {
        let selector = format!("{stem}{letter}");
        let private = kind.generate()?;
        let record = SigningKey::new(domain, &selector, kind, &private)?.record()?;
        Ok(Key { selector, kind, private: STANDARD.encode(private), record })
    };
    let made: Result<Vec<Key>, SignError> =
        [("r", KeyKind::Rsa), ("e", KeyKind::Ed25519)].into_iter().map(new).collect();
    made.map_err(|error| {
        Problem::failed(format!("no DKIM keys could be made for {domain}: {error}"), "try again")
    })
}

fn refused(error: RotationError) -> Problem {
    Problem::setup(error, "wait until some may be removed: see 'postern dkim status'")
}

fn damaged(path: &Path, error: &SignError) -> Problem {
    let advice =
        "restore the file from a backup, or move it away: new keys are made, and have to be published";
    Problem::setup(format!("{} is damaged: {error}", path.display()), advice)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn open(data: &Path, domains: &[&str]) -> DomainKeys {
        let domains: Vec<Domain> = domains.iter().map(|name| domain(name)).collect();
        DomainKeys::open(data, &domains, NOW).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn selectors(keys: &DomainKeys, stage: Stage) -> Vec<String> {
        let records = keys.records(NOW).remove(0);
        records.keys.into_iter().filter(|key| key.stage == stage).map(|key| key.selector).collect()
    }

    #[test]
    fn each_domain_gets_keys_that_only_the_owner_reads_and_that_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path(), &["example.org", "Example.net", "localhost"]);
        assert_eq!(keys.records(NOW).len(), 2);
        assert_eq!(keys.signing(&domain("EXAMPLE.net")).unwrap().len(), 2);
        assert!(keys.signing(&domain("localhost")).is_none());
        let file = dir.path().join("dkim/example.org.json");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&file).unwrap();
        let again = open(dir.path(), &["example.org"]);
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert_eq!(
            again.records(NOW)[0].keys,
            keys.records(NOW).iter().find(|of| of.domain == "example.org").unwrap().keys
        );
    }

    #[test]
    fn a_rotation_goes_on_after_a_restart_where_it_stood() {
        let dir = tempfile::tempdir().unwrap();
        let keys = open(dir.path(), &["example.org"]);
        assert_eq!(selectors(&keys, Stage::Signing), ["20261124r", "20261124e"]);
        assert_eq!(
            keys.rotate("example.org", NOW, KEEP_SECS_MIN).unwrap_or_else(|problem| panic!("{problem}")),
            Step::Publish
        );
        let keys = open(dir.path(), &["example.org"]);
        assert_eq!(selectors(&keys, Stage::Next), ["20261124-2r", "20261124-2e"]);
        assert_eq!(
            keys.rotate("Example.org", NOW, KEEP_SECS_MIN).unwrap_or_else(|problem| panic!("{problem}")),
            Step::Switched
        );
        let keys = open(dir.path(), &["example.org"]);
        assert_eq!(selectors(&keys, Stage::Signing), ["20261124-2r", "20261124-2e"]);
        assert_eq!(selectors(&keys, Stage::Kept), ["20261124r", "20261124e"]);
        assert!(keys.rotate("example.net", NOW, KEEP_SECS_MIN).is_err());
    }

    #[test]
    fn a_damaged_file_is_said_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["example.org"]);
        let file = dir.path().join("dkim/example.org.json");
        let good = std::fs::read_to_string(&file).unwrap();
        let start = good.find("MII").unwrap();
        for bad in [String::new(), "{}".to_owned(), good.replacen(&good[start..start + 9], "MIIAAAAAA", 1)] {
            std::fs::write(&file, &bad).unwrap();
            assert!(DomainKeys::open(dir.path(), &[domain("example.org")], NOW).is_err());
            assert_eq!(std::fs::read_to_string(&file).unwrap(), bad);
        }
    }

    #[test]
    fn records_stay_for_longer_than_mail_waits() {
        let day = 86_400;
        assert_eq!(keep_secs(day), 7 * day);
        assert_eq!(keep_secs(5 * day), 7 * day);
        assert_eq!(keep_secs(10 * day), 12 * day);
    }
}
