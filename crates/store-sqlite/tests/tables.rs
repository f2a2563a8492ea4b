//! The files of the small tables: what older versions wrote is read, what newer ones wrote is left alone.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;

use mail::{Domain, ItemId, UnixTime};
use rusqlite::Connection;
use store::StoreError;
use store::tables::{People as _, QuarantineEntries as _, Remembered as _, ReportState, Reports as _};
use store_sqlite::{SqlitePeople, SqliteQuarantine, SqliteRemembered, SqliteReports};

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

/// As version 0.1 made them, before they had a version.
const DIRECTORY: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE account (name TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE, password TEXT NOT NULL) STRICT;
    CREATE TABLE alias (address TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (address, target)) STRICT;
    CREATE TABLE removed (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
    INSERT INTO account VALUES ('bob--example.org', 'bob@example.org', '$argon2id$x');
    INSERT INTO alias VALUES ('sales@example.org', 'bob@example.org');
    INSERT INTO removed VALUES ('eve--example.org', 1795500000000000);";
const QUARANTINE: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE message (
        item TEXT PRIMARY KEY, at INTEGER NOT NULL, account TEXT NOT NULL,
        uidvalidity INTEGER NOT NULL, uid INTEGER NOT NULL, reverse_path TEXT NOT NULL,
        recipients TEXT NOT NULL, reason TEXT NOT NULL, score REAL) STRICT;
    INSERT INTO message VALUES ('ITEM', 1795500000000000, 'bob--example.org', 7, 9, 'a@x.test',
        '[\"bob@example.org\"]', 'spam', 15.5);";
const FORWARDED: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE forwarded (id BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX forwarded_at ON forwarded (at);
    INSERT INTO forwarded VALUES (x'01010101010101010101010101010101', 1795500000);";
const REPORTS: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE report (
        id TEXT PRIMARY KEY, day INTEGER NOT NULL, domain TEXT NOT NULL, begun INTEGER NOT NULL,
        ended INTEGER NOT NULL, due INTEGER NOT NULL, results TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'open', targets TEXT, tries INTEGER NOT NULL DEFAULT 0) STRICT;
    CREATE INDEX report_of_day ON report (day, domain);
    INSERT INTO report (id, day, domain, begun, ended, due, results)
        VALUES ('ITEM', 10, 'a.example', 864000, 950399, 950400, '[]');";

/// A file that these statements made.
fn made(directory: &Path, name: &str, statements: &str) -> std::path::PathBuf {
    let file = directory.join(name);
    let statements = statements.replace("ITEM", &item().to_string());
    Connection::open(&file).unwrap().execute_batch(&statements).unwrap();
    file
}

fn item() -> ItemId {
    ItemId::from_bytes([1; 16])
}

fn version(file: &Path) -> i64 {
    Connection::open(file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn files_of_the_version_before_are_read_and_get_a_version() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name, statements| made(directory.path(), name, statements);
    let file = at("directory.db", DIRECTORY);
    let people = SqlitePeople::open(&file).unwrap();
    let everybody = people.everybody().unwrap();
    assert_eq!(everybody.accounts[0].password, "$argon2id$x");
    assert_eq!(everybody.aliases[0].target, "bob@example.org");
    assert_eq!(everybody.removed, [("eve--example.org".to_owned(), NOW)]);
    assert_eq!(version(&file), 1);
    drop(people);
    assert_eq!(SqlitePeople::open(&file).unwrap().everybody().unwrap(), everybody);
    let file = at("quarantine.db", QUARANTINE);
    let entry = SqliteQuarantine::open(&file).unwrap().entry(item()).unwrap().unwrap();
    assert_eq!((entry.at, entry.uid, entry.recipients), (NOW, 9, vec!["bob@example.org".to_owned()]));
    assert_eq!((entry.score, version(&file)), (Some(15.5), 1));
    let file = at("forwarded.db", FORWARDED);
    assert!(SqliteRemembered::open(&file).unwrap().has(item()).unwrap());
    assert_eq!(version(&file), 1);
    let file = at("tls_reports.db", REPORTS);
    let rows = SqliteReports::open(&file).unwrap().entries(None).unwrap();
    assert_eq!((rows[0].id, rows[0].ended, rows[0].due), (item(), 950_399, 950_400));
    assert_eq!((rows[0].progress.state, version(&file)), (ReportState::Open, 1));
}

#[test]
fn a_file_of_a_newer_version_is_refused_with_what_to_do_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("any.db");
    Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let before = std::fs::read(&file).unwrap();
    let outcomes = [
        SqlitePeople::open(&file).map(drop),
        SqliteQuarantine::open(&file).map(drop),
        SqliteRemembered::open(&file).map(drop),
        SqliteReports::open(&file).map(drop),
    ];
    for outcome in outcomes {
        let told = outcome.unwrap_err();
        assert_eq!(told, StoreError::Newer(file.display().to_string()));
        assert!(
            told.to_string().contains("install that version again, or restore an older backup"),
            "{told}"
        );
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn what_is_no_database_is_called_damaged_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("directory.db");
    std::fs::write(&file, [7; 8192]).unwrap();
    assert_eq!(SqlitePeople::open(&file).err(), Some(StoreError::Damaged(file.display().to_string())));
    let missing = directory.path().join("nowhere/directory.db");
    assert!(
        matches!(SqlitePeople::open(&missing).err(), Some(StoreError::Files { file, .. }) if file == missing.display().to_string())
    );
}

#[test]
fn what_was_written_is_there_when_the_file_is_opened_again_without_a_close() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("directory.db");
    let people = SqlitePeople::open(&file).unwrap();
    people.remove("bob--example.org", &[], NOW).unwrap();
    people.add_targets("a@example.org", &["b@example.org".into()]).unwrap();
    let copy = directory.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    std::fs::copy(directory.path().join("directory.db-wal"), directory.path().join("copy.db-wal")).unwrap();
    assert_eq!(SqlitePeople::open(&copy).unwrap().everybody().unwrap(), people.everybody().unwrap());
}

/// A row that can't be read costs nobody else's report.
#[test]
fn a_report_that_can_not_be_read_is_as_good_as_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(directory.path(), "tls_reports.db", REPORTS);
    let connection = Connection::open(&file).unwrap();
    let sql = "INSERT INTO report (id, day, domain, begun, ended, due, results)
                   VALUES ('no id', 10, 'b.example', 1, 2, 3, '[]')";
    connection.execute_batch(sql).unwrap();
    let reports = SqliteReports::open(&file).unwrap();
    assert_eq!(reports.entries(None).unwrap().len(), 1);
    assert_eq!(reports.count(10, &Domain::parse("b.example").unwrap()).unwrap(), (2, 1));
}
