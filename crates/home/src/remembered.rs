//! Messages that are gone from here, forwarded or handed over, so that one that Edge hands in again is known.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemon::problem::Problem;
use mail::{ItemId, UnixTime};
use rusqlite::Connection;

/// How long they are remembered, in seconds. Edge hands in again what was not answered, as soon as the link is up:
/// no home is away for longer than this.
const KEEP_SECS: u64 = 90 * 86_400;

/// Cloning shares it.
#[derive(Clone)]
pub(super) struct Remembered(Arc<Mutex<Connection>>);

impl Remembered {
    /// Opens or makes the file of this name.
    pub(super) fn open(data: &Path, name: &str) -> Result<Self, Problem> {
        let database = open_database(&data.join(name)).map_err(|error| {
            Problem::failed(
                format!("the record of mail that has left, {name}: {error}"),
                "check the disk; without the file a new one is made, and what is handed in again leaves again",
            )
        })?;
        Ok(Self(Arc::new(Mutex::new(database))))
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message has left the queue. Blocks.
    pub(super) fn has(&self, id: ItemId) -> rusqlite::Result<bool> {
        let database = self.database();
        let mut select = database.prepare_cached("SELECT 1 FROM forwarded WHERE id = ?1")?;
        select.exists([id.as_bytes()])
    }

    /// Remembers one, durably, and forgets those of long ago. Blocks.
    pub(super) fn insert(&self, id: ItemId, now: UnixTime) -> rusqlite::Result<()> {
        let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let database = self.database();
        let transaction = database.unchecked_transaction()?;
        let oldest = now.as_secs().saturating_sub(KEEP_SECS);
        transaction.execute("DELETE FROM forwarded WHERE at < ?1", [seconds(oldest)])?;
        let row = (id.as_bytes(), seconds(now.as_secs()));
        transaction.execute("INSERT OR REPLACE INTO forwarded (id, at) VALUES (?1, ?2)", row)?;
        transaction.commit()
    }
}

fn open_database(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS forwarded (id BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS forwarded_at ON forwarded (at);",
    )?;
    Ok(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forwarded_is_known_for_ninety_days_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |secs| UnixTime::from_secs(1_000_000 + secs);
        let (one, two, three) =
            (ItemId::from_bytes([1; 16]), ItemId::from_bytes([2; 16]), ItemId::from_bytes([3; 16]));
        let remembered = Remembered::open(dir.path(), "gone.db").unwrap();
        assert!(!remembered.has(one).unwrap());
        remembered.insert(one, at(0)).unwrap();
        drop(remembered);
        let remembered = Remembered::open(dir.path(), "gone.db").unwrap();
        remembered.insert(two, at(KEEP_SECS)).unwrap();
        assert!(remembered.has(one).unwrap() && remembered.has(two).unwrap());
        remembered.insert(three, at(KEEP_SECS + 1)).unwrap();
        assert!(!remembered.has(one).unwrap() && remembered.has(two).unwrap());
    }
}
