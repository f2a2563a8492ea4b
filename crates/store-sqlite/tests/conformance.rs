//! What the seam promises, over files in a directory of their own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::sync::Arc;

use store_conformance::Home;
use store_conformance::tables::Tables;
use store_sqlite::{
    Options, SqliteMailboxes, SqlitePeople, SqliteQuarantine, SqliteRemembered, SqliteReports,
};

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteMailboxes::open(directory.path(), Options::default()).unwrap();
    Home::new(Arc::new(store), directory)
}

fn tables() -> Tables {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    Tables {
        people: Arc::new(SqlitePeople::open(&at("directory.db")).unwrap()),
        quarantine: Arc::new(SqliteQuarantine::open(&at("quarantine.db")).unwrap()),
        remembered: Arc::new(SqliteRemembered::open(&at("forwarded.db")).unwrap()),
        reports: Arc::new(SqliteReports::open(&at("tls_reports.db")).unwrap()),
        kept: Box::new(directory),
    }
}

store_conformance::mailboxes!(home);
store_conformance::tables!(tables);
