//! The format version in every database: SQLite's `user_version`.
//!
//! A file of a newer version is not touched: what it means is not known. One of an older version is brought up when it is
//! opened, in one transaction.

use std::path::Path;

use rusqlite::Connection;
use store::StoreError;

use crate::fault::Fault;

/// The version of the file at `path`, which is no newer than `known`. 0 is a file that is new, or that was made before files
/// of its kind had a version.
pub(crate) fn of(connection: &Connection, path: &Path, known: i64) -> Result<i64, Fault> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > known { Err(StoreError::Newer(path.display().to_string()).into()) } else { Ok(version) }
}

/// Notes the version that the file has now.
pub(crate) fn set(connection: &Connection, version: i64) -> Result<(), Fault> {
    Ok(connection.pragma_update(None, "user_version", version)?)
}
