//! The ledger of reports on TLS.

use mail::{Domain, ItemId};
use store::tables::{Progress, ReportChange, ReportRow, ReportState};

use super::Tables;

const DAY_SECS: u64 = 86_400;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// A report of a day, whole, that is due an hour after it.
fn report(number: u8, day: u64, of: &str) -> ReportRow {
    ReportRow {
        id: ItemId::from_bytes([number; 16]),
        day,
        domain: domain(of),
        begun: day * DAY_SECS,
        ended: (day + 1) * DAY_SECS - 1,
        due: (day + 1) * DAY_SECS + 3600,
        results: format!("{{\"number\":{number}}}"),
        progress: Progress { state: ReportState::Open, targets: None, tries: 0 },
    }
}

fn write(tables: &Tables, rows: &[ReportRow]) {
    let changes: Vec<ReportChange> = rows.iter().cloned().map(ReportChange::Begin).collect();
    tables.reports.write(0, &changes).unwrap();
}

pub fn a_report_is_counted_until_its_end(tables: &Tables) {
    let row = report(1, 10, "a.example");
    write(tables, &[row.clone(), report(2, 10, "b.example"), report(3, 11, "a.example")]);
    let found = |now: u64| tables.reports.counting(10, &domain("a.example"), now).unwrap();
    assert_eq!(found(row.ended), Some((row.id, row.results.clone())));
    assert_eq!(found(row.ended + 1), None);
    let more = ReportChange::Results { id: row.id, results: "more".into() };
    tables.reports.write(0, &[more]).unwrap();
    assert_eq!(found(row.ended), Some((row.id, "more".into())));
    let progress = Progress { state: ReportState::Sent, ..row.progress };
    tables.reports.update(row.id, &progress, 0).unwrap();
    assert_eq!(found(row.ended), None, "it is not open any more");
}

pub fn a_day_counts_its_reports_and_those_of_a_domain(tables: &Tables) {
    assert_eq!(tables.reports.count(10, &domain("a.example")).unwrap(), (0, 0));
    let rows = [(1, 10, "a.example"), (2, 10, "a.example"), (3, 10, "b.example"), (4, 11, "a.example")];
    write(tables, &rows.map(|(number, day, of)| report(number, day, of)));
    assert_eq!(tables.reports.count(10, &domain("a.example")).unwrap(), (3, 2));
    assert_eq!(tables.reports.count(10, &domain("c.example")).unwrap(), (3, 0));
}

pub fn what_is_due_is_open_over_and_not_too_old(tables: &Tables) {
    let mut early = report(2, 10, "b.example");
    early.due -= 60;
    let (first, late) = (report(1, 10, "a.example"), report(3, 11, "a.example"));
    write(tables, &[first.clone(), early.clone(), late.clone()]);
    let due = |now: u64, oldest: u64, most: u32| tables.reports.due(now, oldest, most).unwrap();
    assert_eq!(due(early.due - 1, 0, 9), []);
    assert_eq!(due(first.due, 0, 9), [early.clone(), first.clone()]);
    assert_eq!(due(first.due, 0, 1), [early.clone()]);
    assert_eq!(due(late.due, 11, 9), [late]);
    let progress = Progress {
        state: ReportState::Open,
        targets: Some(vec!["mailto:tls@b.example".into(), "https://b.example/, x".into()]),
        tries: 3,
    };
    tables.reports.update(early.id, &progress, first.due + 1).unwrap();
    let waits = ReportRow { progress, due: first.due + 1, ..early };
    assert_eq!(due(first.due, 0, 9), std::slice::from_ref(&first));
    assert_eq!(due(first.due + 1, 0, 9), [first.clone(), waits]);
    let progress = Progress { state: ReportState::Unwanted, targets: Some(Vec::new()), tries: 1 };
    tables.reports.update(first.id, &progress, 0).unwrap();
    assert_eq!(tables.reports.entries(Some(&first.domain)).unwrap()[0].progress, progress);
    assert!(!due(first.due, 0, 9).iter().any(|row| row.id == first.id));
}

pub fn a_report_that_is_cut_short_ends_but_not_before_it_has_begun(tables: &Tables) {
    let (whole, sent) = (report(1, 10, "a.example"), report(2, 10, "b.example"));
    let mut begins = report(3, 10, "c.example");
    let now = 10 * DAY_SECS + 500;
    begins.begun = now;
    write(tables, &[whole, sent.clone(), begins]);
    let progress = Progress { state: ReportState::Sent, ..sent.progress.clone() };
    tables.reports.update(sent.id, &progress, sent.due).unwrap();
    tables.reports.cut_short(now).unwrap();
    let ends = |of: &str| {
        let row = tables.reports.entries(Some(&domain(of))).unwrap().remove(0);
        (row.ended, row.due)
    };
    assert_eq!(ends("a.example"), (now - 1, 0));
    assert_eq!(ends("b.example"), (sent.ended, sent.due));
    assert_eq!(ends("c.example"), (now, 0));
    assert_eq!(tables.reports.due(now, 0, 9).unwrap().len(), 1, "the other is not over yet");
}

pub fn old_days_go_with_a_write(tables: &Tables) {
    write(tables, &[report(1, 10, "a.example"), report(2, 11, "a.example")]);
    tables.reports.write(11, &[ReportChange::Begin(report(3, 12, "a.example"))]).unwrap();
    let days: Vec<u64> = tables.reports.entries(None).unwrap().iter().map(|row| row.day).collect();
    assert_eq!(days, [11, 12]);
}

pub fn entries_are_those_of_a_domain_or_all_the_newest_last(tables: &Tables) {
    let rows = [report(1, 10, "a.example"), report(2, 10, "b.example"), report(3, 11, "a.example")];
    let reversed: Vec<ReportRow> = rows.iter().rev().cloned().collect();
    write(tables, &reversed);
    assert_eq!(tables.reports.entries(None).unwrap(), rows);
    let of_a = tables.reports.entries(Some(&domain("a.example"))).unwrap();
    assert_eq!(of_a, [rows[0].clone(), rows[2].clone()]);
}
