//! What is known of messages in quarantine: `quarantine.db`.

use std::path::Path;

use mail::ItemId;
use rusqlite::{OptionalExtension as _, Row, params};
use store::StoreError;
use store::tables::{QuarantineEntries, QuarantineEntry};

use super::database::{Database, time, unreadable};
use crate::column::column;
use crate::fault::Fault;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS message (
        item TEXT PRIMARY KEY, at INTEGER NOT NULL, account TEXT NOT NULL,
        uidvalidity INTEGER NOT NULL, uid INTEGER NOT NULL, reverse_path TEXT NOT NULL,
        recipients TEXT NOT NULL, reason TEXT NOT NULL, score REAL) STRICT;";
const SELECT: &str =
    "SELECT item, at, account, uidvalidity, uid, reverse_path, recipients, reason, score FROM message";

/// The entries of the quarantine of a Home.
#[derive(Debug)]
pub struct SqliteQuarantine(Database);

impl SqliteQuarantine {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Damaged`], those of the disk.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Database::open(file, SCHEMA).map(Self)
    }
}

impl QuarantineEntries for SqliteQuarantine {
    fn insert(&self, entry: &QuarantineEntry) -> Result<(), StoreError> {
        self.0.ask(|database| {
            let sql = "INSERT OR IGNORE INTO message
                           (item, at, account, uidvalidity, uid, reverse_path, recipients, reason, score)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            let recipients =
                serde_json::to_string(&entry.recipients).map_err(|_| unreadable("a list of recipients"))?;
            database.execute(
                sql,
                params![
                    entry.item.to_string(),
                    column(entry.at.0),
                    entry.account,
                    entry.uidvalidity,
                    entry.uid,
                    entry.reverse_path,
                    recipients,
                    entry.reason,
                    entry.score,
                ],
            )?;
            Ok(())
        })
    }

    fn remove(&self, item: ItemId) -> Result<(), StoreError> {
        self.0.ask(|database| {
            database.execute("DELETE FROM message WHERE item = ?1", [item.to_string()])?;
            Ok(())
        })
    }

    fn entries(&self) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.0.ask(|database| {
            let mut select = database.prepare_cached(&format!("{SELECT} ORDER BY at, item"))?;
            let rows = select.query_map([], |row| Ok(entry(row)))?;
            rows.map(|row| row?).collect()
        })
    }

    fn count(&self) -> Result<u64, StoreError> {
        self.0.ask(|database| {
            let mut select = database.prepare_cached("SELECT count(*) FROM message")?;
            let count: i64 = select.query_row([], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
    }

    fn entry(&self, item: ItemId) -> Result<Option<QuarantineEntry>, StoreError> {
        self.0.ask(|database| {
            let mut select = database.prepare_cached(&format!("{SELECT} WHERE item = ?1"))?;
            select.query_row([item.to_string()], |row| Ok(entry(row))).optional()?.transpose()
        })
    }
}

fn entry(row: &Row<'_>) -> Result<QuarantineEntry, Fault> {
    Ok(QuarantineEntry {
        item: row.get::<_, String>(0)?.parse().map_err(|_| unreadable("an id"))?,
        at: time(row.get(1)?),
        account: row.get(2)?,
        uidvalidity: row.get(3)?,
        uid: row.get(4)?,
        reverse_path: row.get(5)?,
        recipients: serde_json::from_str(&row.get::<_, String>(6)?)
            .map_err(|_| unreadable("a list of recipients"))?,
        reason: row.get(7)?,
        score: row.get(8)?,
    })
}
