//! One home: its files, its last snapshot, its link.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use daemon::files;
use daemon::json_file;
use daemon::problem::Problem;
use daemon::trace::Unsent;
use doctor::{Check, Verdict};
use link::Snapshot;
use mail::{Domain, UnixTime};
use net::link_session::live::Live;
use seal::SealTo;
use serde::{Deserialize, Serialize};
use spool::{RealDisk, Spool};
use tokio::sync::Notify;

use super::domains::Grant;
use super::unheard::Unheard;

/// How long outcomes are gathered for one sync while many come. Only Home's queue waits for them.
const OUTCOMES_GATHER: Duration = Duration::from_millis(5);

/// A home's pin, as it rests on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pin {
    /// SHA-256 of the home's raw public key, hexadecimal.
    pub key: String,
    pub paired: UnixTime,
    /// The domains that it may have. A pin of an older version may have any that is free.
    #[serde(default)]
    pub grant: Grant,
    /// When the operator removed it; its key opens nothing since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<UnixTime>,
}

/// A snapshot with its sealing key parsed: if it is here, mail can be sealed.
pub struct KnownHome {
    /// The snapshot as Home pushed it.
    pub snapshot: Snapshot,
    /// The snapshot's sealing key, parsed.
    pub seal_to: SealTo,
}

/// What a home's half found: names of checks and verdicts, and when it said so.
type Told = (UnixTime, Vec<(Check, Verdict)>);

/// One paired home.
pub struct Home {
    /// First 16 hexadecimal digits of its key's fingerprint: its name in logs and commands.
    pub name: String,
    dir: PathBuf,
    pin: Mutex<Pin>,
    kept: RwLock<Option<Arc<KnownHome>>>,
    live: Mutex<Option<Arc<Live>>>,
    last_here: Mutex<Option<UnixTime>>,
    /// Sealed mail that waits for it.
    pub sealed: Spool,
    /// Outcomes that it has not settled yet, sealed.
    pub outcomes: Spool,
    /// Trace events that it has not confirmed yet.
    pub unsent: Unsent,
    /// Messages that may come again.
    pub unheard: Unheard,
    /// What its half found, by name, and when it said so; in memory only.
    found: Mutex<Option<Told>>,
    /// Told when a message was sealed or a trace event was added.
    pub stirred: Notify,
}

impl Home {
    pub(super) fn open(dir: PathBuf, pin: Pin, sealed_octets_max: u64) -> Result<Self, Problem> {
        let kept = match json_file::read::<Snapshot>(&dir.join("snapshot.json"))? {
            Some(snapshot) => Some(Arc::new(keep(snapshot).map_err(|error| {
                Problem::setup(
                    format!("{}/snapshot.json: {error}", dir.display()),
                    "restart Home: it pushes a new one",
                )
            })?)),
            None => None,
        };
        // Before this was written down: a home pushes a snapshot when it is linked, and numbers it by the time.
        let last_here = json_file::read::<UnixTime>(&dir.join("last-here.json"))?
            .or_else(|| kept.as_ref().map(|kept| UnixTime(kept.snapshot.generation)));
        let options = spool::Options { octets_max: sealed_octets_max, ..spool::Options::default() };
        let sealed = open_spool(&dir.join("sealed"), options)?;
        let outcomes = spool::Options { gather: OUTCOMES_GATHER, ..spool::Options::default() };
        let outcomes = open_spool(&dir.join("outcomes"), outcomes)?;
        Ok(Self {
            name: pin.key.get(..16).unwrap_or_default().to_owned(),
            dir,
            pin: Mutex::new(pin),
            kept: RwLock::new(kept),
            live: Mutex::new(None),
            last_here: Mutex::new(last_here),
            sealed,
            outcomes,
            unsent: Unsent::default(),
            unheard: Unheard::default(),
            found: Mutex::new(None),
            stirred: Notify::new(),
        })
    }

    pub(super) fn pin(&self) -> Pin {
        self.pin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the operator removed it.
    pub(super) fn is_removed(&self) -> bool {
        self.pin.lock().unwrap_or_else(PoisonError::into_inner).removed.is_some()
    }

    /// Makes a changed pin durable, then puts it in force.
    pub(super) fn change_pin(&self, pin: Pin) -> Result<(), Problem> {
        let path = self.dir.join("pin.json");
        json_file::replace(&path, &pin).map_err(|error| files::write_problem(&path, &error))?;
        *self.pin.lock().unwrap_or_else(PoisonError::into_inner) = pin;
        Ok(())
    }

    /// The directory with its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The last snapshot, if Home ever pushed one.
    pub fn kept(&self) -> Option<Arc<KnownHome>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The domains that it names, whether it gets them or not.
    pub fn claims(&self) -> Vec<Domain> {
        let kept = self.kept();
        kept.map(|kept| names(&kept.snapshot)).unwrap_or_default()
    }

    /// Makes a snapshot durable, then puts it in force.
    ///
    /// # Errors
    /// What is wrong with the snapshot, or that it can't be written; the one before stays in force.
    pub fn keep(&self, snapshot: Snapshot) -> Result<(), String> {
        let kept = keep(snapshot)?;
        let path = self.dir.join("snapshot.json");
        json_file::replace(&path, &kept.snapshot).map_err(|error| format!("{}: {error}", path.display()))?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(kept));
        Ok(())
    }

    /// When it was last linked: `now` while it is.
    pub fn last_here(&self, now: UnixTime) -> Option<UnixTime> {
        if self.live().is_some() {
            return Some(now);
        }
        *self.last_here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is linked at this time. That it can't be written down costs no mail.
    pub fn was_here(&self, now: UnixTime) {
        *self.last_here.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        let path = self.dir.join("last-here.json");
        if let Err(error) = json_file::replace_plain(&path, &now) {
            tracing::warn!(path = %path.display(), %error, "when a home was here could not be written");
        }
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

    /// It tells what its half found.
    pub fn hear(&self, now: UnixTime, found: Vec<(Check, Verdict)>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, found));
    }

    /// What its half found, if it has told since Edge started.
    pub fn told(&self) -> Option<Told> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a trace event for Home.
    pub fn tell(&self, event: link::Event) {
        self.unsent.push(event);
        self.stirred.notify_waiters();
    }
}

/// The domains of a snapshot.
pub(super) fn names(snapshot: &Snapshot) -> Vec<Domain> {
    snapshot.domains.iter().map(|policy| policy.name.clone()).collect()
}

fn keep(snapshot: Snapshot) -> Result<KnownHome, String> {
    let seal_to =
        SealTo::parse(&snapshot.sealing_key).map_err(|error| format!("its sealing key: {error}"))?;
    Ok(KnownHome { snapshot, seal_to })
}

fn open_spool(dir: &Path, options: spool::Options) -> Result<Spool, Problem> {
    Spool::open(dir, options, Arc::new(RealDisk)).map_err(|error| {
        Problem::setup(format!("the spool {}: {error}", dir.display()), "see the line above")
    })
}
