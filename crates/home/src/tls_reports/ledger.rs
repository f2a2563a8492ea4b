//! The ledger of TLS sessions: what was counted, by UTC day and domain, and how far its report is.
//!
//! A row is one report. While a day lasts its row is added to; a row that
//! the operator had reported before the day was over is followed by another part of the same day. What is written
//! is durable when a call returns.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemon::problem::Problem;
use daemon::system;
use mail::{Domain, ItemId, UnixTime};
use store::StoreError;
use store::tables::{Progress, ReportChange, ReportRow, Reports};
use tlspolicy::report::Results;

use crate::databases;

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

pub(super) use store::tables::ReportState as State;

/// One report, as far as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The report's id.
    pub(super) id: ItemId,
    /// The day, counted from 1970.
    pub(super) day: u64,
    /// The recipients' domain.
    pub(super) domain: Domain,
    /// The first second that it is about, in seconds since 1970.
    pub(super) begun: u64,
    /// The last second that it is about, in seconds since 1970.
    pub(super) ended: u64,
    /// The results that were counted.
    pub(super) results: Results,
    pub(super) state: State,
    /// Where it still has to go; `None` as long as nobody was asked.
    pub(super) targets: Option<Vec<String>>,
    /// Attempts that failed so far.
    pub(super) tries: u32,
}

/// A handle to the ledger. Cloning shares it. All calls block.
#[derive(Clone)]
pub(super) struct Ledger {
    reports: Arc<dyn Reports>,
    /// Held while reports are counted on or cut short: what is read is not another when it is written.
    alone: Arc<Mutex<()>>,
}

impl Ledger {
    /// Opens or makes `tls_reports.db`.
    pub(super) fn open(data: &Path) -> Result<Self, Problem> {
        databases::open_reports(data).map(Self::of)
    }

    fn of(reports: Arc<dyn Reports>) -> Self {
        Self { reports, alone: Arc::default() }
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts sessions of now, and forgets what is too old.
    pub(super) fn add(&self, counted: HashMap<Domain, Results>, now: UnixTime) -> Result<(), StoreError> {
        let (now, day) = (now.as_secs(), now.as_secs() / DAY_SECS);
        let _alone = self.alone();
        let (mut changes, mut begun) = (Vec::new(), 0);
        for (domain, more) in counted {
            let change = match self.reports.counting(day, &domain, now)? {
                Some((id, written)) => counted_on(id, &written, more),
                None => self.begin(domain, more, (day, now), begun)?.inspect(|_| begun += 1),
            };
            changes.extend(change);
        }
        self.reports.write(day.saturating_sub(KEPT_DAYS), &changes)
    }

    /// The first sessions of a day, or of what is left of one. `begun`: so many reports of the day are not written yet.
    fn begin(
        &self,
        domain: Domain,
        more: Results,
        (day, now): (u64, u64),
        begun: u64,
    ) -> Result<Option<ReportChange>, StoreError> {
        let (of_day, of_domain) = self.reports.count(day, &domain)?;
        let mut results = Results::default();
        results.add(more);
        let Some(results) = text_of(&results).filter(|_| of_day + begun < DOMAINS_MAX as u64) else {
            return Ok(None);
        };
        let end = (day + 1) * DAY_SECS;
        Ok(Some(ReportChange::Begin(ReportRow {
            id: ItemId::new(UnixTime::from_secs(now), system::random()),
            day,
            domain,
            begun: if of_domain == 0 { day * DAY_SECS } else { now },
            ended: end - 1,
            due: end + system::random_u64() % SPREAD_SECS,
            results,
            progress: Progress { state: State::Open, targets: None, tries: 0 },
        })))
    }

    /// What is to be sent by now, of days that are over or were cut short; no more than `most`.
    pub(super) fn due(&self, now: UnixTime, most: u32) -> Result<Vec<Entry>, StoreError> {
        let oldest_day = (now.as_secs() / DAY_SECS).saturating_sub(KEPT_DAYS);
        self.reports.due(now.as_secs(), oldest_day, most).map(entries)
    }

    /// All of one domain, or of all, the newest last.
    pub(super) fn entries(&self, domain: Option<&Domain>) -> Result<Vec<Entry>, StoreError> {
        self.reports.entries(domain).map(entries)
    }

    /// Ends the days so far: what was counted is to be sent now, what comes next is another report.
    pub(super) fn cut_short(&self, now: UnixTime) -> Result<(), StoreError> {
        let _alone = self.alone();
        self.reports.cut_short(now.as_secs())
    }

    /// Notes how far a report is, and when it is tried again.
    pub(super) fn update(&self, entry: &Entry, due: UnixTime) -> Result<(), StoreError> {
        let progress = Progress { state: entry.state, targets: entry.targets.clone(), tries: entry.tries };
        self.reports.update(entry.id, &progress, due.as_secs())
    }
}

/// What was counted with more. Nothing where that is too long to be kept.
fn counted_on(id: ItemId, written: &str, more: Results) -> Option<ReportChange> {
    let mut results: Results = serde_json::from_str(written).unwrap_or_default();
    results.add(more);
    text_of(&results).map(|results| ReportChange::Results { id, results })
}

fn text_of(results: &Results) -> Option<String> {
    serde_json::to_string(results).ok().filter(|text| text.len() <= RESULTS_OCTETS_MAX)
}

/// A row that can't be read is as good as none: it is gone after a few days.
fn entries(rows: Vec<ReportRow>) -> Vec<Entry> {
    rows.into_iter().filter_map(entry).collect()
}

fn entry(row: ReportRow) -> Option<Entry> {
    Some(Entry {
        results: serde_json::from_str(&row.results).ok()?,
        id: row.id,
        day: row.day,
        domain: row.domain,
        begun: row.begun,
        ended: row.ended,
        state: row.progress.state,
        targets: row.progress.targets,
        tries: row.progress.tries,
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

    fn one(text: &str) -> HashMap<Domain, Results> {
        let mut results = Results::default();
        results.success(AppliedPolicy::without_content(PolicyType::NoPolicyFound, text));
        HashMap::from([(domain(text), results)])
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
