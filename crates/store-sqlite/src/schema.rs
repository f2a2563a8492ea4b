//! The database file of one account: how it is opened, what is in it, how older versions are brought up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use store::SPECIAL_MAILBOXES;

use crate::fault::Fault;
use crate::version;

/// `user_version` of the files this version writes. A later step is another arm in [`migrate`].
const VERSION: i64 = 3;
/// How long a statement waits for another process that holds the file, such as a backup.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Page cache of a writer's connection; what a large transaction needs beyond it spills to the log.
const WRITER_CACHE_KIB: i64 = 2048;
/// Page cache of a reader's connection; the system's cache is behind it.
const READER_CACHE_KIB: i64 = 256;

/// Octets of a page, set when a file is made. A page costs two writes in the log, so large bodies want large
/// pages; 16 KiB made them a seventh quicker and left small messages as they were (bench/ANALYSIS.md).
const PAGE_OCTETS: i64 = 16384;

/// Creates the file, which must not exist yet, with an empty account in it.
pub(crate) fn create(path: &Path, uidvalidity: u32) -> Result<(), Fault> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "page_size", PAGE_OCTETS)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let transaction = connection.transaction()?;
    migrate(&transaction, 0)?;
    transaction.execute("INSERT INTO account VALUES (1, 1, ?1)", [uidvalidity])?;
    for (name, special_use) in SPECIAL_MAILBOXES {
        let sql = "INSERT INTO mailbox (name, uidvalidity, special_use) VALUES (?1, ?2, ?3)";
        transaction.execute(sql, (name, uidvalidity, special_use))?;
        transaction.execute("INSERT INTO subscription VALUES (?1)", [name])?;
    }
    transaction.commit()?;
    // The file is renamed without its log, so all of it has to be in the file. Closing would do the same, and
    // say nothing when the disk fails.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Opens the one connection that writes.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, Fault> {
    let mut connection = open(path, WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The writer checkpoints between batches, after all of one are answered; the next one waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let version = version::of(&connection, path, VERSION)?;
    if version < VERSION {
        let transaction = connection.transaction()?;
        migrate(&transaction, version)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, Fault> {
    let connection = open(path, READER_CACHE_KIB)?;
    if version::of(&connection, path, VERSION)? < VERSION {
        // Nothing was written since the program was replaced by this version.
        drop(open_writer(path)?);
    }
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path, cache_kib: i64) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| Fault::of(&path.display().to_string(), &error))?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn migrate(connection: &Connection, from: i64) -> Result<(), Fault> {
    if from < 1 {
        connection.execute_batch(include_str!("schema.sql"))?;
    }
    if from < 2 {
        connection.execute_batch(include_str!("schema_2.sql"))?;
    }
    if from < 3 {
        connection.execute_batch(include_str!("schema_3.sql"))?;
    }
    version::set(connection, VERSION)
}
