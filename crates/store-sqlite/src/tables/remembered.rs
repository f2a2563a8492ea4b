//! Ids of messages that are gone: `forwarded.db`, `handed-over.db`.

use std::path::Path;

use mail::{ItemId, UnixTime};
use store::StoreError;
use store::tables::Remembered;

use super::database::Database;
use crate::column::column;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS forwarded (id BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS forwarded_at ON forwarded (at);";

/// The ids of one file, each with its second.
#[derive(Debug)]
pub struct SqliteRemembered(Database);

impl SqliteRemembered {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Damaged`], those of the disk.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Database::open(file, SCHEMA).map(Self)
    }
}

impl Remembered for SqliteRemembered {
    fn has(&self, id: ItemId) -> Result<bool, StoreError> {
        self.0.ask(|database| {
            let mut select = database.prepare_cached("SELECT 1 FROM forwarded WHERE id = ?1")?;
            Ok(select.exists([id.as_bytes()])?)
        })
    }

    fn insert(&self, id: ItemId, now: UnixTime, oldest: UnixTime) -> Result<(), StoreError> {
        self.0.change(|database| {
            let mut delete = database.prepare_cached("DELETE FROM forwarded WHERE at < ?1")?;
            delete.execute([column(oldest.as_secs())])?;
            let mut insert =
                database.prepare_cached("INSERT OR REPLACE INTO forwarded (id, at) VALUES (?1, ?2)")?;
            insert.execute((id.as_bytes(), column(now.as_secs())))?;
            Ok(())
        })
    }
}
