//! Accounts and aliases: `directory.db`.

use std::path::Path;

use mail::UnixTime;
use rusqlite::{Connection, ErrorCode};
use store::StoreError;
use store::tables::{AccountRow, AliasRow, Everybody, Past, People};

use super::database::{Database, time};
use crate::column::column;
use crate::fault::Fault;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS account (
        name TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE, password TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS alias (
        address TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (address, target)) STRICT;
    CREATE TABLE IF NOT EXISTS removed (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;";

/// The accounts and aliases of a Home.
#[derive(Debug)]
pub struct SqlitePeople(Database);

impl SqlitePeople {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Damaged`], those of the disk.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Database::open(file, SCHEMA).map(Self)
    }
}

impl People for SqlitePeople {
    fn everybody(&self) -> Result<Everybody, StoreError> {
        self.0.ask(|database| {
            // A row that is added has a number above all others, and keeps its place among them whatever is done to the file.
            let mut accounts =
                database.prepare_cached("SELECT name, address, password FROM account ORDER BY rowid")?;
            let accounts = accounts.query_map([], |row| {
                Ok(AccountRow { name: row.get(0)?, address: row.get(1)?, password: row.get(2)? })
            })?;
            let mut aliases =
                database.prepare_cached("SELECT address, target FROM alias ORDER BY address, target")?;
            let aliases =
                aliases.query_map([], |row| Ok(AliasRow { alias: row.get(0)?, target: row.get(1)? }))?;
            let mut removed = database.prepare_cached("SELECT name, at FROM removed ORDER BY name")?;
            let removed = removed.query_map([], |row| Ok((row.get(0)?, time(row.get(1)?))))?;
            Ok(Everybody {
                accounts: accounts.collect::<Result<_, _>>()?,
                aliases: aliases.collect::<Result<_, _>>()?,
                removed: removed.collect::<Result<_, _>>()?,
            })
        })
    }

    fn admit(&self, new: &AccountRow, leading: &[AliasRow], past: Past) -> Result<(), StoreError> {
        self.0.change(|database| {
            let sql = "INSERT INTO account (name, address, password) VALUES (?1, ?2, ?3)";
            match database.execute(sql, (&new.name, &new.address, &new.password)) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    return Err(StoreError::AccountExists(new.name.clone()).into());
                }
                inserted => inserted?,
            };
            remove_targets(database, leading)?;
            match past {
                Past::Own => {
                    database.execute("DELETE FROM removed WHERE name = ?1", [&new.name])?;
                }
                Past::Anothers(Some(until)) => note_removed(database, &new.name, until)?,
                Past::Anothers(None) => {}
            }
            Ok(())
        })
    }

    fn remove(&self, account: &str, leading: &[AliasRow], at: UnixTime) -> Result<(), StoreError> {
        self.0.change(|database| {
            database.execute("DELETE FROM account WHERE name = ?1", [account])?;
            remove_targets(database, leading)?;
            note_removed(database, account, at)
        })
    }

    fn set_password(&self, address: &str, password: &str) -> Result<bool, StoreError> {
        self.0.ask(|database| {
            let sql = "UPDATE account SET password = ?2 WHERE address = ?1";
            Ok(database.execute(sql, (address, password))? > 0)
        })
    }

    fn add_targets(&self, alias: &str, targets: &[String]) -> Result<(), StoreError> {
        self.0.change(|database| {
            for target in targets {
                let sql = "INSERT OR IGNORE INTO alias (address, target) VALUES (?1, ?2)";
                database.execute(sql, (alias, target))?;
            }
            Ok(())
        })
    }

    fn remove_alias(&self, alias: &str) -> Result<bool, StoreError> {
        self.0.ask(|database| Ok(database.execute("DELETE FROM alias WHERE address = ?1", [alias])? > 0))
    }
}

fn remove_targets(database: &Connection, leading: &[AliasRow]) -> Result<(), Fault> {
    for row in leading {
        let sql = "DELETE FROM alias WHERE address = ?1 AND target = ?2";
        database.execute(sql, (&row.alias, &row.target))?;
    }
    Ok(())
}

fn note_removed(database: &Connection, account: &str, at: UnixTime) -> Result<(), Fault> {
    let sql =
        "INSERT INTO removed (name, at) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET at = max(at, ?2)";
    database.execute(sql, (account, column(at.0)))?;
    Ok(())
}
