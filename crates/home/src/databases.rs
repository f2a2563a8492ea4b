//! In what Home keeps: the one place that knows it is SQLite, and how its files are called. Everybody else sees the traits
//! of `store`.

use std::path::Path;
use std::sync::Arc;

use daemon::problem::Problem;
use directory::{Directory, kept_problem as problem};
use store::tables::{QuarantineEntries, Remembered, Reports};
use store::{Mailboxes, StoreError};
use store_sqlite::{
    Options, SqliteMailboxes, SqlitePeople, SqliteQuarantine, SqliteRemembered, SqliteReports,
};

use crate::config::HomeConfig;

/// Opens the mailboxes in a directory, which is made when missing. Blocks.
pub(crate) fn open_mailboxes(directory: &Path) -> Result<Arc<dyn Mailboxes>, StoreError> {
    Ok(Arc::new(SqliteMailboxes::open(directory, Options::default())?))
}

/// Opens or makes `directory.db` in the data directory: accounts and aliases. Blocks.
pub(crate) fn open_directory(config: &HomeConfig) -> Result<Directory, Problem> {
    let advice = "check the disk, or restore directory.db from a backup";
    let people = SqlitePeople::open(&config.data.join("directory.db"))
        .map_err(|error| problem("the directory of accounts", &error, advice))?;
    Directory::open(config.policy(), Arc::new(people))
}

/// Opens or makes `quarantine.db`. Blocks.
pub(crate) fn open_quarantine(data: &Path) -> Result<Arc<dyn QuarantineEntries>, Problem> {
    let table = SqliteQuarantine::open(&data.join("quarantine.db"));
    Ok(Arc::new(
        table
            .map_err(|error| problem("the quarantine", &error, "check the disk, or restore quarantine.db"))?,
    ))
}

/// Opens or makes the file of this name, with ids of mail that has left. Blocks.
pub(crate) fn open_remembered(data: &Path, name: &str) -> Result<Arc<dyn Remembered>, Problem> {
    let table = SqliteRemembered::open(&data.join(name));
    let advice =
        "check the disk; without the file a new one is made, and what is handed in again leaves again";
    Ok(Arc::new(
        table
            .map_err(|error| problem(&format!("the record of mail that has left, {name}"), &error, advice))?,
    ))
}

/// Opens or makes `tls_reports.db`. Blocks.
pub(crate) fn open_reports(data: &Path) -> Result<Arc<dyn Reports>, Problem> {
    let table = SqliteReports::open(&data.join("tls_reports.db"));
    let advice = "check the disk, or remove tls_reports.db: then this week's reports on TLS are lost";
    Ok(Arc::new(table.map_err(|error| problem("the reports on TLS", &error, advice))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each file is one that a newer version has written: SQLite's `user_version` is at octets 60 to 63 of its header.
    #[test]
    fn a_file_of_a_newer_version_is_refused_in_words_that_do_not_tell_to_remove_it() {
        let data = tempfile::tempdir().unwrap();
        let text = format!("domains = [\"example.org\"]\ndata = {:?}\n", data.path().display().to_string());
        let config = toml::from_str(&text).unwrap();
        let open = |name: &str| match name {
            "quarantine.db" => open_quarantine(data.path()).map(drop),
            "tls_reports.db" => open_reports(data.path()).map(drop),
            "directory.db" => open_directory(&config).map(drop),
            name => open_remembered(data.path(), name).map(drop),
        };
        for name in ["directory.db", "quarantine.db", "tls_reports.db", "forwarded.db", "handed-over.db"] {
            open(name).unwrap();
            let file = data.path().join(name);
            let mut octets = std::fs::read(&file).unwrap();
            octets[60..64].copy_from_slice(&99_u32.to_be_bytes());
            std::fs::write(&file, octets).unwrap();
            let told = open(name).unwrap_err().to_string();
            assert!(told.contains("install that version again, or restore an older backup"), "{told}");
            assert!(told.contains(name) && !told.contains("remove"), "{told}");
        }
    }
}
