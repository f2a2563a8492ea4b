//! One small table's file. One connection, used by one thread at a time: it is asked seldom. A file that was made before
//! there were versions has version 0 and is otherwise as version 1.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mail::UnixTime;
use rusqlite::Connection;
use store::StoreError;

use crate::column::unsigned;
use crate::fault::Fault;
use crate::version;

/// `user_version` of the files that this version writes.
const VERSION: i64 = 1;
/// How long a statement waits for another process that holds the file, such as a backup.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// A database and where it is.
pub(super) struct Database {
    file: PathBuf,
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the file, or makes it, with what `schema` makes where it is missing.
    pub(super) fn open(file: &Path, schema: &str) -> Result<Self, StoreError> {
        let connection = connect(file, schema).map_err(|fault| fault.in_file(file))?;
        Ok(Self { file: file.to_owned(), connection: Mutex::new(connection) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks something, or changes something with one statement.
    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        question(&self.lock()).map_err(|fault| fault.in_file(&self.file))
    }

    /// Changes something whole or not at all.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let changed = || -> Result<T, Fault> {
            let transaction = connection.transaction()?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        }();
        changed.map_err(|fault| fault.in_file(&self.file))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.file).finish()
    }
}

pub(super) fn connect(file: &Path, schema: &str) -> Result<Connection, Fault> {
    let mut connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_WAIT)?;
    // Before anything is written.
    let version = version::of(&connection, file, VERSION)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(schema)?;
    if version < VERSION {
        version::set(&transaction, VERSION)?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// What was written is not what is read.
pub(super) fn unreadable(what: &str) -> Fault {
    StoreError::Database(format!("{what} is not as it was written")).into()
}

/// A time that is kept in microseconds.
pub(super) fn time(column: i64) -> UnixTime {
    UnixTime(unsigned(column))
}
