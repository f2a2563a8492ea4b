//! The reverse-path under which users' mail leaves: signed, unless the operator wants it plain.
//!
//! Only the attempt that goes to Edge has the signed form. Queue, reports and local mail know the plain address,
//! so that nothing in this house depends on a tag. The key and the time since when all mail is signed rest in a
//! file beside the other secrets; it is made at the first start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemon::files;
use daemon::problem::Problem;
use daemon::system;
use directory::Directory;
use directory::Policy;
use link::{RecipientKey, ReturnPathKey, ReturnPaths};
use mail::{Address, ReversePath, UnixTime};
use serde::{Deserialize, Serialize};

/// The file in the data directory.
const FILE: &str = "return-path.json";

/// The record in [`FILE`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    key: ReturnPathKey,
    /// Since when all of `scope` is signed; `None` while nothing is.
    signing_since: Option<UnixTime>,
    /// What the configuration said then. With another one the time begins anew: there is mail on its way that
    /// left unsigned.
    scope: Vec<String>,
}

/// The signer of reverse-paths. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Signer(Arc<Inner>);

struct Inner {
    path: PathBuf,
    directory: Directory,
    record: Mutex<Record>,
}

impl Signer {
    /// Reads the key, or draws one, and notes what is signed from now on.
    pub(crate) fn open(data: &Path, directory: Directory, now: UnixTime) -> Result<Self, Problem> {
        let path = data.join(FILE);
        let kept: Option<Record> = files::read_json(&path)?;
        let record = match &kept {
            Some(record) => record.clone(),
            None => {
                let key = ReturnPathKey::new(0, system::random());
                Record { key, signing_since: None, scope: Vec::new() }
            }
        };
        let record = record.under(&directory.policy(), now);
        if kept.as_ref() != Some(&record) {
            files::replace_json(&path, &record).map_err(|error| files::write_problem(&path, &error))?;
        }
        Ok(Self(Arc::new(Inner { path, directory, record: Mutex::new(record) })))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration is about to change: notes since when what it says is in force. To be called before
    /// the edges are told of it.
    pub(crate) fn adopt(&self, policy: &Policy, now: UnixTime) {
        let mut record = self.record();
        let next = record.clone().under(policy, now);
        if *record != next {
            // Unwritten, the time begins anew at the next start: untagged reports are taken for longer.
            if let Err(error) = files::replace_json(&self.0.path, &next) {
                tracing::error!(path = %self.0.path.display(), %error, "what is signed was not recorded");
            }
            *record = next;
        }
    }

    /// The reverse-path for the world: signed if this sender's are, else as it is.
    pub(crate) fn sign(&self, path: ReversePath, now: UnixTime) -> ReversePath {
        let policy = self.0.directory.policy();
        let signed = path
            .address()
            .filter(|address| signs(&policy) && !is_unsigned(&policy, address))
            .and_then(|address| self.record().key.sign(address, now));
        signed.map_or(path, ReversePath::Address)
    }

    /// What an edge is told, with addresses hashed under its key.
    pub(crate) fn for_edge(&self, recipient_key: &RecipientKey) -> ReturnPaths {
        let record = self.record().clone();
        let policy = self.0.directory.policy();
        let unsigned = policy.return_path.unsigned.iter();
        ReturnPaths {
            key: record.key,
            signing_since: record.signing_since,
            unsigned: unsigned.map(|address| recipient_key.hash(&address.canonical())).collect(),
        }
    }
}

impl Record {
    fn under(self, policy: &Policy, now: UnixTime) -> Self {
        let scope = scope(policy);
        if scope.is_empty() {
            return Self { signing_since: None, scope, ..self };
        }
        match self.signing_since {
            Some(_) if self.scope == scope => self,
            _ => Self { signing_since: Some(now), scope, ..self },
        }
    }
}

/// A home that does not send signs nothing: its users' mail leaves through somebody else, and unsigned.
fn signs(policy: &Policy) -> bool {
    policy.sends && policy.return_path.sign
}

fn is_unsigned(policy: &Policy, address: &Address) -> bool {
    let names = link::names_of(address, &policy.subaddress_separators);
    let plain = |name: &String| policy.return_path.unsigned.iter().any(|other| other.canonical() == *name);
    names.iter().flatten().any(plain)
}

/// What decides which addresses are signed, in an order of its own; empty when none is.
fn scope(policy: &Policy) -> Vec<String> {
    if !signs(policy) {
        return Vec::new();
    }
    let mut domains: Vec<String> = policy.domains.iter().map(ToString::to_string).collect();
    let mut unsigned: Vec<String> = policy.return_path.unsigned.iter().map(Address::canonical).collect();
    domains.sort();
    unsigned.sort();
    [domains, unsigned, vec![policy.subaddress_separators.clone()]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HomeConfig;
    use crate::databases::open_directory;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
    const LATER: UnixTime = UnixTime::from_secs(1_795_600_000);

    fn config(data: &Path, more: &str) -> HomeConfig {
        let data = data.display().to_string();
        toml::from_str(&format!("domains = [\"example.org\"]\ndata = {data:?}\n{more}")).unwrap()
    }

    fn signer(data: &Path, more: &str, now: UnixTime) -> Signer {
        Signer::open(data, open_directory(&config(data, more)).unwrap(), now).unwrap()
    }

    fn path(text: &str) -> ReversePath {
        ReversePath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn what_users_send_is_signed_unless_their_address_is_excepted() {
        let dir = tempfile::tempdir().unwrap();
        let more = "outbound = \"on\"\n[return_path]\nunsigned = [\"List@example.org\"]\n";
        let signer = signer(dir.path(), more, NOW);
        let signed = signer.sign(path("bob@example.org"), NOW).to_string();
        assert!(signed.starts_with("prvs=0") && signed.ends_with("=bob@example.org"), "{signed}");
        for plain in ["", "list@example.org", "list+x@example.org"] {
            assert_eq!(signer.sign(path(plain), NOW), path(plain), "{plain}");
        }
        let long = format!("{}@example.org", "a".repeat(60));
        assert_eq!(signer.sign(path(&long), NOW), path(&long));
    }

    #[test]
    fn nothing_is_signed_where_nothing_is_sent_or_the_operator_says_so() {
        for more in ["", "outbound = \"on\"\n[return_path]\nsign = \"off\"\n"] {
            let dir = tempfile::tempdir().unwrap();
            let signer = signer(dir.path(), more, NOW);
            assert_eq!(signer.sign(path("bob@example.org"), NOW), path("bob@example.org"));
            assert_eq!(signer.for_edge(&RecipientKey::new([1; 32])).signing_since, None);
        }
    }

    #[test]
    fn edge_checks_what_home_signed_with_the_key_that_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let signed = signer(dir.path(), "outbound = \"on\"\n", NOW).sign(path("bob@example.org"), NOW);
        let again = signer(dir.path(), "outbound = \"on\"\n", LATER);
        let pushed = again.for_edge(&RecipientKey::new([1; 32]));
        let bob = path("bob@example.org");
        assert_eq!(pushed.open(signed.address().unwrap(), NOW).unwrap().ok().as_ref(), bob.address());
        assert_eq!(pushed.signing_since, Some(NOW), "the time of the first start counts");
    }

    #[test]
    fn the_grace_begins_anew_when_more_is_signed_than_before() {
        let dir = tempfile::tempdir().unwrap();
        let on = "outbound = \"on\"\n";
        let signer = signer(dir.path(), on, NOW);
        let since = || signer.for_edge(&RecipientKey::new([1; 32])).signing_since;
        signer.adopt(&config(dir.path(), on).policy(), LATER);
        assert_eq!(since(), Some(NOW));
        signer
            .adopt(&config(dir.path(), "outbound = \"on\"\nsubaddress_separators = \"-\"\n").policy(), LATER);
        assert_eq!(since(), Some(LATER));
        signer.adopt(&config(dir.path(), "").policy(), LATER);
        assert_eq!(since(), None);
        signer.adopt(&config(dir.path(), on).policy(), NOW);
        assert_eq!(since(), Some(NOW));
    }
}
