//! The ledger of TLS sessions: what was counted, by UTC day and domain, and how far its report is.
//!
//! A small SQLite file, `tls_reports.db`. A row is one report. While a day lasts its row is added to; a row that
//! the operator had reported before the day was over is followed by another part of the same day. What is written
//! is durable when a call returns.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemon::problem::Problem;
use daemon::system;
use mail::{Domain, ItemId, UnixTime};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tlspolicy::report::Results;

/// Seconds of a day.
pub(super) const DAY_SECS: u64 = 86_400;
/// Most domains that are counted in one day; sessions with any more are not reported on.
pub(super) const DOMAINS_MAX: usize = 1000;
/// Most octets of one row's results; what would make them longer is not counted.
pub(super) const RESULTS_OCTETS_MAX: usize = 64 * 1024;
/// For so many days rows are kept, whatever became of them.
pub(super) const KEPT_DAYS: u64 = 7;
/// A report is sent within so many seconds after its day, at random (RFC 8460 section 4.1): else the reports of
/// all the world would come at midnight.
const SPREAD_SECS: u64 = 4 * 3600;

/// How far a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is counted, or is to be sent.
    Open,
    /// Everybody who wanted it has it, or has it in the outbound queue.
    Sent,
    /// Nobody wants it.
    Unwanted,
    /// It could not be delivered in time.
    Dropped,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sent => "sent",
            Self::Unwanted => "unwanted",
            Self::Dropped => "dropped",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Sent, Self::Unwanted, Self::Dropped]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One report, as far as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its id.
    pub(super) id: ItemId,
    /// The day, counted from 1970.
    pub(super) day: u64,
    /// The recipients' domain.
    pub(super) domain: Domain,
    /// Seconds since 1970: its first.
    pub(super) begun: u64,
    /// Its last.
    pub(super) ended: u64,
    /// What was counted.
    pub(super) results: Results,
    pub(super) state: State,
    /// Where it still has to go; `None` as long as nobody was asked.
    pub(super) targets: Option<Vec<String>>,
    /// How often it was tried.
    pub(super) tries: u32,
}

/// A handle to the ledger. Cloning shares it. All calls block.
#[derive(Clone)]
pub(super) struct Ledger(Arc<Mutex<Connection>>);

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
const COLUMNS: &str = "id, day, domain, begun, ended, results, state, targets, tries";

impl Ledger {
    /// Opens or makes `tls_reports.db`.
    pub(super) fn open(data: &Path) -> Result<Self, Problem> {
        let open = || -> rusqlite::Result<Connection> {
            let database = Connection::open(data.join("tls_reports.db"))?;
            database.pragma_update(None, "journal_mode", "WAL")?;
            database.pragma_update(None, "synchronous", "FULL")?;
            database.execute_batch(SCHEMA)?;
            Ok(database)
        };
        let database = open().map_err(|error| {
            let advice = "check the disk, or remove tls_reports.db: then this week's reports on TLS are lost";
            Problem::failed(format!("the reports on TLS: {error}"), advice)
        })?;
        Ok(Self(Arc::new(Mutex::new(database))))
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts sessions of now, and forgets what is too old.
    pub(super) fn add(&self, counted: Vec<(Domain, Results)>, now: UnixTime) -> rusqlite::Result<()> {
        let (now, day) = (now.as_secs(), now.as_secs() / DAY_SECS);
        let mut database = self.database();
        let database = database.transaction()?;
        database.execute("DELETE FROM report WHERE day + ?1 < ?2", params![int(KEPT_DAYS), int(day)])?;
        for (domain, results) in counted {
            add_one(&database, &domain, results, day, now)?;
        }
        database.commit()
    }

    /// What is to be sent by now, of days that are over or were cut short; no more than `most`.
    pub(super) fn due(&self, now: UnixTime, most: u32) -> rusqlite::Result<Vec<Entry>> {
        let which = "WHERE state = 'open' AND due <= ?1 AND ended < ?1 AND day >= ?3 ORDER BY due LIMIT ?2";
        let oldest = (now.as_secs() / DAY_SECS).saturating_sub(KEPT_DAYS);
        self.select(which, &[&int(now.as_secs()), &most, &int(oldest)])
    }

    /// All of one domain, or of all, the newest last.
    pub(super) fn entries(&self, domain: Option<&Domain>) -> rusqlite::Result<Vec<Entry>> {
        match domain {
            None => self.select("ORDER BY begun, domain", &[]),
            Some(domain) => self.select("WHERE domain = ?1 ORDER BY begun", &[&domain.as_str()]),
        }
    }

    /// Ends the days so far: what was counted is to be sent now, what comes next is another report.
    pub(super) fn cut_short(&self, now: UnixTime) -> rusqlite::Result<()> {
        let sql = "UPDATE report SET due = 0, ended = min(ended, max(begun, ?1 - 1)) WHERE state = 'open'";
        self.database().execute(sql, [int(now.as_secs())]).map(drop)
    }

    /// Notes how far a report is, and when it is tried again.
    pub(super) fn update(&self, entry: &Entry, due: UnixTime) -> rusqlite::Result<()> {
        let sql = "UPDATE report SET state = ?2, targets = ?3, tries = ?4, due = ?5 WHERE id = ?1";
        let targets = entry.targets.as_ref().and_then(|targets| serde_json::to_string(targets).ok());
        let id = entry.id.to_string();
        let values = params![id, entry.state.as_str(), targets, entry.tries, int(due.as_secs())];
        self.database().execute(sql, values).map(drop)
    }

    fn select(&self, which: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<Entry>> {
        let database = self.database();
        let mut select = database.prepare(&format!("SELECT {COLUMNS} FROM report {which}"))?;
        let rows = select.query_map(values, |row| Ok(entry(row)))?;
        // A row that can't be read is as good as none: it is gone after a few days.
        Ok(rows.filter_map(|row| row.ok().flatten()).collect())
    }
}

fn add_one(
    database: &Connection,
    domain: &Domain,
    more: Results,
    day: u64,
    now: u64,
) -> rusqlite::Result<()> {
    let sql =
        "SELECT id, results FROM report WHERE day = ?1 AND domain = ?2 AND state = 'open' AND ended >= ?3";
    let known = database
        .query_row(sql, params![int(day), domain.as_str(), int(now)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((id, written)) = known else { return begin(database, domain, more, day, now) };
    let mut results: Results = serde_json::from_str(&written).unwrap_or_default();
    results.add(more);
    match text_of(&results) {
        Some(text) => {
            database.execute("UPDATE report SET results = ?2 WHERE id = ?1", params![id, text]).map(drop)
        }
        None => Ok(()),
    }
}

/// The first sessions of a day, or of what is left of one.
fn begin(database: &Connection, domain: &Domain, more: Results, day: u64, now: u64) -> rusqlite::Result<()> {
    let sql = "SELECT count(*), count(CASE domain WHEN ?2 THEN 1 END) FROM report WHERE day = ?1";
    let (rows, parts): (i64, i64) =
        database.query_row(sql, params![int(day), domain.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut results = Results::default();
    results.add(more);
    let Some(text) = text_of(&results).filter(|_| usize::try_from(rows).is_ok_and(|rows| rows < DOMAINS_MAX))
    else {
        return Ok(());
    };
    let begun = if parts == 0 { day * DAY_SECS } else { now };
    let end = (day + 1) * DAY_SECS;
    let due = end + system::random_u64() % SPREAD_SECS;
    let sql = "INSERT INTO report (id, day, domain, begun, ended, due, results)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let id = system::new_item_id().to_string();
    let values = params![id, int(day), domain.as_str(), int(begun), int(end - 1), int(due), text];
    database.execute(sql, values).map(drop)
}

/// SQLite's integers have a sign.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn text_of(results: &Results) -> Option<String> {
    serde_json::to_string(results).ok().filter(|text| text.len() <= RESULTS_OCTETS_MAX)
}

fn entry(row: &Row<'_>) -> Option<Entry> {
    let text = |place: usize| row.get::<_, String>(place).ok();
    let time = |place: usize| row.get::<_, i64>(place).ok().and_then(|time| u64::try_from(time).ok());
    let targets: Option<String> = row.get(7).ok()?;
    Some(Entry {
        id: text(0)?.parse().ok()?,
        day: time(1)?,
        domain: Domain::parse(&text(2)?).ok()?,
        begun: time(3)?,
        ended: time(4)?,
        results: serde_json::from_str(&text(5)?).ok()?,
        state: State::parse(&text(6)?)?,
        targets: targets.and_then(|targets| serde_json::from_str(&targets).ok()),
        tries: row.get(8).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use tlspolicy::report::{AppliedPolicy, PolicyType};

    use super::*;

    const NOON: u64 = 20_000 * DAY_SECS + DAY_SECS / 2;

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    fn one(text: &str) -> Vec<(Domain, Results)> {
        let mut results = Results::default();
        results.success(AppliedPolicy::without_content(PolicyType::NoPolicyFound, text));
        vec![(domain(text), results)]
    }

    fn successes(entry: &Entry) -> u64 {
        entry.results.policies().iter().map(|of| of.summary.total_successful_session_count).sum()
    }

    #[test]
    fn a_day_is_one_report_and_due_within_four_hours_of_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let midnight = 20_001 * DAY_SECS;
        for now in [NOON, midnight - 1, midnight, NOON + DAY_SECS] {
            ledger.add(one("a.example"), at(now)).unwrap();
        }
        assert!(ledger.due(at(midnight - 1), 9).unwrap().is_empty());
        let due = ledger.due(at(midnight + SPREAD_SECS), 9).unwrap();
        let [first] = &due[..] else { panic!("{due:?}") };
        assert_eq!((first.begun, first.ended, successes(first)), (midnight - DAY_SECS, midnight - 1, 2));
        assert_eq!(ledger.entries(None).unwrap().len(), 2);
        let late = |days: u64| ledger.due(at(NOON + days * DAY_SECS), 9).unwrap().len();
        assert_eq!((late(KEPT_DAYS), late(KEPT_DAYS + 1)), (2, 1), "after a week nobody wants it");
        drop(ledger);
        assert_eq!(
            Ledger::open(dir.path()).unwrap().due(at(midnight + SPREAD_SECS), 9).unwrap(),
            due,
            "restart"
        );
    }

    #[test]
    fn a_day_that_is_cut_short_goes_on_in_another_report() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.add(one("a.example"), at(NOON)).unwrap();
        ledger.cut_short(at(NOON + 10)).unwrap();
        let mut first = ledger.due(at(NOON + 10), 9).unwrap().remove(0);
        assert_eq!((first.begun, first.ended), (NOON - DAY_SECS / 2, NOON + 9));
        ledger.add(one("a.example"), at(NOON + 10)).unwrap();
        assert_eq!(ledger.due(at(NOON + 10), 9).unwrap(), [first.clone()], "the rest of the day is not due");
        first.state = State::Sent;
        first.targets = Some(Vec::new());
        ledger.update(&first, at(0)).unwrap();
        assert!(ledger.due(at(NOON + 10), 9).unwrap().is_empty(), "nothing is sent twice");
        let all = ledger.entries(Some(&domain("a.example"))).unwrap();
        let begun: Vec<u64> = all.iter().map(|entry| entry.begun).collect();
        assert_eq!((begun, &all[0]), (vec![NOON - DAY_SECS / 2, NOON + 10], &first));
    }

    #[test]
    fn domains_of_a_day_days_and_lengths_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let many = (0..=DOMAINS_MAX).flat_map(|number| one(&format!("{number}.example"))).collect();
        ledger.add(many, at(NOON)).unwrap();
        assert_eq!(ledger.entries(None).unwrap().len(), DOMAINS_MAX);
        ledger.add(one("0.example"), at(NOON)).unwrap();
        assert_eq!(successes(&ledger.entries(Some(&domain("0.example"))).unwrap()[0]), 2, "known ones go on");
        ledger.add(one("a.example"), at(NOON + KEPT_DAYS * DAY_SECS)).unwrap();
        assert_eq!(ledger.entries(None).unwrap().len(), DOMAINS_MAX + 1);
        ledger.add(one("a.example"), at(NOON + (KEPT_DAYS + 1) * DAY_SECS)).unwrap();
        assert_eq!(ledger.entries(None).unwrap().len(), 2);
        let fits = |octets: usize| text_of(&filled(octets)).is_some();
        assert!(fits(RESULTS_OCTETS_MAX) && !fits(RESULTS_OCTETS_MAX + 1));
    }

    /// Results that are so long when they are written.
    fn filled(octets: usize) -> Results {
        let with = |mut characters: usize| {
            let mut results = Results::default();
            for name in ["a", "b", "c", "d", "e"] {
                let mut text = || {
                    let length = characters.min(500);
                    characters -= length;
                    "x".repeat(length)
                };
                let policy_string = (0..32).map(|_| text()).collect();
                let policy = AppliedPolicy::without_content(PolicyType::Sts, name);
                results.success(AppliedPolicy { policy_string, ..policy });
            }
            results
        };
        let length = |results: &Results| serde_json::to_string(results).unwrap().len();
        let results = with(octets - length(&with(0)));
        assert_eq!(length(&results), octets);
        results
    }
}
