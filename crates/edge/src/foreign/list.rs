//! A file of recipients: one address per line, or `@domain` for everybody there.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon::clock::Clock;
use daemon::files;
use daemon::problem::Problem;
use mail::UnixTime;
use mail::{Address, Domain};
use tokio::time::Instant;

/// Most lines that count: addresses and domains.
const ENTRIES_MAX: usize = 1_000_000;
/// How often it is looked whether the file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For how long it must not have been written to: half of a file would refuse good recipients for good.
const RESTS_FOR: Duration = Duration::from_secs(2);

/// The file and what it says.
pub(super) struct List {
    path: PathBuf,
    separators: String,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
}

struct Current {
    entries: Arc<Entries>,
    modified: Option<SystemTime>,
    looked: Instant,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Entries {
    addresses: HashSet<String>,
    domains: HashSet<String>,
}

impl List {
    /// Reads the file.
    ///
    /// # Errors
    /// A [`Problem`] that names file and line.
    pub(super) fn open(path: PathBuf, separators: String, clock: Arc<dyn Clock>) -> Result<Self, Problem> {
        let modified = modified(&path);
        let entries = Arc::new(read(&path)?);
        let current = Mutex::new(Current { entries, modified, looked: Instant::now() });
        Ok(Self { path, separators, clock, current })
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of lines that count: addresses and domains.
    pub(super) fn count(&self) -> usize {
        let entries = Arc::clone(&self.current().entries);
        entries.addresses.len() + entries.domains.len()
    }

    /// Whether the address is in it, itself or without its sub-address, or its domain.
    pub(super) async fn has(&self, address: &Address) -> bool {
        self.look().await;
        let entries = Arc::clone(&self.current().entries);
        entries.have(address, &self.separators)
    }

    /// Reads the file again if it has changed; looked at every two seconds at most.
    async fn look(&self) {
        {
            let mut current = self.current();
            if current.looked.elapsed() < LOOK_EVERY {
                return;
            }
            current.looked = Instant::now();
        }
        let path = self.path.clone();
        let found = tokio::task::spawn_blocking(move || modified(&path)).await.unwrap_or_default();
        if found != self.current().modified && rests(found, self.clock.now()) {
            self.reload().await;
        }
    }

    /// Reads the file again. One that can't be read leaves the old list in force.
    pub(super) async fn reload(&self) {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || (modified(&path), read(&path))).await;
        let Ok((modified, read)) = read else { return };
        let mut current = self.current();
        current.modified = modified;
        match read {
            Ok(entries) => current.entries = Arc::new(entries),
            Err(problem) => {
                tracing::error!(%problem, "the recipients file was not read again: the old list stays")
            }
        }
    }
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|about| about.modified()).ok()
}

/// Whether a file that was written to at that time is left alone since. One that is gone is.
fn rests(modified: Option<SystemTime>, now: UnixTime) -> bool {
    let now = UNIX_EPOCH + Duration::from_micros(now.0);
    // By a clock that was set back it would never rest.
    let range = now - RESTS_FOR..now + RESTS_FOR;
    modified.is_none_or(|modified| !range.contains(&modified))
}

fn read(path: &std::path::Path) -> Result<Entries, Problem> {
    let text = files::read_text(path, "write it, one address per line, or use recipients = \"call-ahead\"")?;
    let advice = "write one address or @domain per line; # begins a comment";
    let entries = parse(&text, ENTRIES_MAX)
        .map_err(|what| Problem::setup(format!("{}:{what}", path.display()), advice))?;
    if entries == Entries::default() {
        // A script that failed leaves an empty file: all mail would be refused for good.
        return Err(Problem::setup(format!("{} names nobody", path.display()), advice));
    }
    Ok(entries)
}

/// No more than `most` lines may count.
fn parse(text: &str, most: usize) -> Result<Entries, String> {
    let mut entries = Entries::default();
    for (number, line) in text.lines().enumerate() {
        // A local part may have a '#' in it: a comment stands alone, or behind a blank.
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |error| format!("{}: '{line}': {error}", number + 1);
        if let Some(domain) = line.strip_prefix('@') {
            entries.domains.insert(Domain::parse(domain).map_err(wrong)?.to_string());
        } else {
            entries.addresses.insert(Address::parse(line).map_err(wrong)?.canonical());
        }
        if entries.addresses.len() + entries.domains.len() > most {
            return Err(format!("{}: no more than {most} lines are read", number + 1));
        }
    }
    Ok(entries)
}

impl Entries {
    fn have(&self, address: &Address, separators: &str) -> bool {
        if self.domains.contains(address.domain().as_str()) || self.addresses.contains(&address.canonical()) {
            return true;
        }
        let local = address.canonical_local();
        let plain =
            local.find(|c| separators.contains(c)).filter(|at| *at > 0).and_then(|at| local.get(..at));
        plain.is_some_and(|plain| self.addresses.contains(&format!("{plain}@{}", address.domain())))
    }
}

#[cfg(test)]
mod tests {
    use daemon::clock::{ManualClock, SystemClock};

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn addresses_domains_and_comments_are_read() {
        let entries =
            parse("# people\n\nBob@Example.org  # the boss\r\n@all.example\na#1@example.org\n", 3).unwrap();
        for known in [
            "bob@example.org",
            "BOB@EXAMPLE.ORG",
            "bob+list@example.org",
            "who@all.example",
            "a#1@example.org",
        ] {
            assert!(entries.have(&address(known), "+"), "{known}");
        }
        for unknown in ["eve@example.org", "bob-list@example.org", "+bob@example.org", "bob@all.example.org"]
        {
            assert!(!entries.have(&address(unknown), "+"), "{unknown}");
        }
        assert!(!entries.have(&address("bob+list@example.org"), ""));
        let error = parse("bob@example.org\nalice\n", 9).unwrap_err();
        assert!(error.starts_with("2: 'alice'"), "{error}");
        let error = parse("a@example.org\n@b.example\nc@example.org\n", 2).unwrap_err();
        assert!(error.starts_with("3: no more than 2 lines"), "{error}");
    }

    /// Symptom: the first recipient of a file is unknown. Cause: some editors write a byte order mark before it, which
    /// is a letter like any other to an address with SMTPUTF8.
    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipients");
        std::fs::write(&path, "\u{feff}bob@example.org\r\n").unwrap();
        assert!(read(&path).unwrap().have(&address("bob@example.org"), ""));
    }

    /// Symptom: good recipients are refused for good while a script writes the file anew. Cause: what was there of it
    /// was read, nothing at first.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_not_read_until_it_rests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipients");
        let write = |text: &str, modified| {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(modified).unwrap();
        };
        let clock = ManualClock::at(UnixTime::from_secs(1_000_000_000));
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        write("bob@example.org\n", now - Duration::from_secs(100));
        let list = List::open(path.clone(), "+".to_owned(), clock.clone()).unwrap();
        write("", now + Duration::from_secs(1));
        tokio::time::advance(LOOK_EVERY).await;
        assert!(list.has(&address("bob@example.org")).await);
        write("eve@example.org\n", now + Duration::from_secs(1));
        tokio::time::advance(LOOK_EVERY).await;
        assert!(!list.has(&address("eve@example.org")).await, "it may still be being written");
        clock.pass(RESTS_FOR + Duration::from_secs(2));
        tokio::time::advance(LOOK_EVERY).await;
        assert!(list.has(&address("eve@example.org")).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipients");
        let write = |text: &str, second| {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        };
        write("bob@example.org\n", 1);
        let list = List::open(path.clone(), "+".to_owned(), SystemClock::shared()).unwrap();
        let (bob, eve) = (address("bob@example.org"), address("eve@example.org"));
        write("eve@example.org\n", 2);
        assert!(list.has(&bob).await, "it is not looked at for every recipient");
        tokio::time::advance(LOOK_EVERY).await;
        assert!(list.has(&eve).await && !list.has(&bob).await);
        write("no address\n", 3);
        tokio::time::advance(LOOK_EVERY).await;
        assert!(list.has(&eve).await);
        write("# nobody\n", 4);
        tokio::time::advance(LOOK_EVERY).await;
        assert!(list.has(&eve).await, "an empty file is a mistake");
        write("bob@example.org\n", 4);
        list.reload().await;
        assert!(list.has(&bob).await, "SIGHUP does not wait for a new time");
        assert!(List::open(dir.path().join("none"), String::new(), SystemClock::shared()).is_err());
        write("\n", 5);
        assert!(
            List::open(path, String::new(), SystemClock::shared())
                .err()
                .unwrap()
                .to_string()
                .contains("names nobody")
        );
    }
}
