//! The ledger of TLS sessions: `tls_reports.db`.

use std::path::Path;

use mail::{Domain, ItemId};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use store::StoreError;
use store::tables::{Progress, ReportChange, ReportRow, ReportState, Reports};

use super::database::{Database, unreadable};
use crate::column::{column, unsigned};
use crate::fault::Fault;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS report (
        id TEXT PRIMARY KEY,
        day INTEGER NOT NULL,
        domain TEXT NOT NULL,
        begun INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        due INTEGER NOT NULL,
        results TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'open',
        targets TEXT,
        tries INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX IF NOT EXISTS report_of_day ON report (day, domain);";
const COLUMNS: &str = "id, day, domain, begun, ended, due, results, state, targets, tries";

/// The reports of a Home.
#[derive(Debug)]
pub struct SqliteReports(Database);

impl SqliteReports {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Damaged`], those of the disk.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Database::open(file, SCHEMA).map(Self)
    }

    fn select(&self, which: &str, values: &[&dyn ToSql]) -> Result<Vec<ReportRow>, StoreError> {
        self.0.ask(|database| {
            let mut select = database.prepare_cached(&format!("SELECT {COLUMNS} FROM report {which}"))?;
            let rows = select.query_map(values, |row| Ok(report(row)))?;
            Ok(rows.filter_map(|row| row.ok().flatten()).collect())
        })
    }
}

impl Reports for SqliteReports {
    fn counting(&self, day: u64, domain: &Domain, now: u64) -> Result<Option<(ItemId, String)>, StoreError> {
        self.0.ask(|database| {
            let sql = "SELECT id, results FROM report
                       WHERE day = ?1 AND domain = ?2 AND state = 'open' AND ended >= ?3";
            let mut select = database.prepare_cached(sql)?;
            let values = params![column(day), domain.as_str(), column(now)];
            let found: Option<(String, String)> =
                select.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let Some((id, results)) = found else { return Ok(None) };
            Ok(Some((id.parse().map_err(|_| unreadable("an id"))?, results)))
        })
    }

    fn count(&self, day: u64, domain: &Domain) -> Result<(u64, u64), StoreError> {
        self.0.ask(|database| {
            let sql = "SELECT count(*), count(CASE domain WHEN ?2 THEN 1 END) FROM report WHERE day = ?1";
            let mut select = database.prepare_cached(sql)?;
            let values = params![column(day), domain.as_str()];
            Ok(select.query_row(values, |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?)
        })
    }

    fn write(&self, oldest_day: u64, changes: &[ReportChange]) -> Result<(), StoreError> {
        self.0.change(|database| {
            database.execute("DELETE FROM report WHERE day < ?1", [column(oldest_day)])?;
            for change in changes {
                match change {
                    ReportChange::Begin(row) => begin(database, row)?,
                    ReportChange::Results { id, results } => {
                        let sql = "UPDATE report SET results = ?2 WHERE id = ?1";
                        database.prepare_cached(sql)?.execute(params![id.to_string(), results])?;
                    }
                }
            }
            Ok(())
        })
    }

    fn due(&self, now: u64, oldest_day: u64, most: u32) -> Result<Vec<ReportRow>, StoreError> {
        let which = "WHERE state = 'open' AND due <= ?1 AND ended < ?1 AND day >= ?3 ORDER BY due LIMIT ?2";
        self.select(which, &[&column(now), &most, &column(oldest_day)])
    }

    fn entries(&self, domain: Option<&Domain>) -> Result<Vec<ReportRow>, StoreError> {
        match domain {
            None => self.select("ORDER BY begun, domain", &[]),
            Some(domain) => self.select("WHERE domain = ?1 ORDER BY begun", &[&domain.as_str()]),
        }
    }

    fn cut_short(&self, now: u64) -> Result<(), StoreError> {
        self.0.ask(|database| {
            let sql =
                "UPDATE report SET due = 0, ended = min(ended, max(begun, ?1 - 1)) WHERE state = 'open'";
            database.execute(sql, [column(now)])?;
            Ok(())
        })
    }

    fn update(&self, id: ItemId, progress: &Progress, due: u64) -> Result<(), StoreError> {
        self.0.ask(|database| {
            let sql = "UPDATE report SET state = ?2, targets = ?3, tries = ?4, due = ?5 WHERE id = ?1";
            let (state, targets) = (progress.state.as_str(), list(progress.targets.as_ref())?);
            database.execute(sql, params![id.to_string(), state, targets, progress.tries, column(due)])?;
            Ok(())
        })
    }
}

fn list(targets: Option<&Vec<String>>) -> Result<Option<String>, Fault> {
    targets.map(serde_json::to_string).transpose().map_err(|_| unreadable("a list of targets"))
}

fn begin(database: &Connection, row: &ReportRow) -> Result<(), Fault> {
    let sql = format!("INSERT INTO report ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
    database.prepare_cached(&sql)?.execute(params![
        row.id.to_string(),
        column(row.day),
        row.domain.as_str(),
        column(row.begun),
        column(row.ended),
        column(row.due),
        row.results,
        row.progress.state.as_str(),
        list(row.progress.targets.as_ref())?,
        row.progress.tries,
    ])?;
    Ok(())
}

fn report(row: &Row<'_>) -> Option<ReportRow> {
    let text = |place: usize| row.get::<_, String>(place).ok();
    let number = |place: usize| row.get::<_, i64>(place).ok().and_then(|number| u64::try_from(number).ok());
    let targets: Option<String> = row.get(8).ok()?;
    Some(ReportRow {
        id: text(0)?.parse().ok()?,
        day: number(1)?,
        domain: Domain::parse(&text(2)?).ok()?,
        begun: number(3)?,
        ended: number(4)?,
        due: number(5)?,
        results: text(6)?,
        progress: Progress {
            state: ReportState::parse(&text(7)?)?,
            targets: targets.and_then(|targets| serde_json::from_str(&targets).ok()),
            tries: row.get(9).ok()?,
        },
    })
}
