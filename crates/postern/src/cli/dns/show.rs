//! Records on paper: as a table, as lines of a zone file, as JSON.

use clap::ValueEnum;
use daemon::print;
use serde_json::json;

use crate::records::ask::Found;
use crate::records::authority::Checked;
use crate::records::{Need, Purpose, Wanted};

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table
    Table,
    /// Lines for a zone file
    Zone,
    /// JSON
    Json,
}

pub(super) fn print_wanted(wanted: &[Wanted], format: Format) {
    match format {
        Format::Json => print::value(&json!(wanted), true),
        Format::Zone => with_reasons(wanted).iter().for_each(|line| print::text(line)),
        Format::Table => wanted.iter().for_each(|record| print::text(&row(record, ""))),
    }
}

/// Lines of a zone file, each reason as a comment above what it is the reason for.
fn with_reasons(wanted: &[Wanted]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut last = "";
    for record in wanted {
        // What waits has its reason in its own line.
        if record.need != Need::Later && record.why != last {
            lines.push(format!("; {}", record.why));
            last = record.why;
        }
        lines.push(record.zone());
    }
    lines
}

/// What was found, with what is to be said of the name servers; to a script on the other channel, if at all.
pub(super) fn print_checked(checked: &Checked, format: Format) {
    match format {
        Format::Json => print::value(&json!(checked.found), true),
        Format::Zone => checked.found.iter().for_each(|found| {
            print::text(&format!("{} ; {}", found.wanted.zone(), found.word()));
        }),
        Format::Table => checked.found.iter().for_each(|found| print::text(&found_row(found))),
    }
    for note in &checked.notes {
        eprintln!("postern: {note}");
    }
}

/// A record, and under one that is not as it is to be the line to change.
pub(super) fn found_row(found: &Found) -> String {
    let mut row = row(&found.wanted, found.word());
    if found.should_be.is_some() || found.is_fault() {
        let there = found.found.iter().map(|line| format!("\n          there is: {line}"));
        row.extend(there);
    }
    if let Some(line) = &found.should_be {
        row += &format!("\n          should be: {line}");
    }
    row
}

fn row(record: &Wanted, state: &str) -> String {
    let kind = match record.purpose {
        Purpose::EdgeAddress | Purpose::MtaStsHost => "A/AAAA",
        _ => record.kind.as_str(),
    };
    let value = match record.purpose {
        Purpose::EdgeAddress => "the edge's address",
        Purpose::ProgramsUnnamed => "the host of Home",
        Purpose::MtaStsHost => "the host of the policy",
        _ => &record.value,
    };
    let need = match record.need {
        Need::Required => "",
        Need::Optional => " (optional)",
        Need::Later => " (later)",
    };
    let (name, action, why) = (&record.name, record.action(), record.why);
    format!("{state:<8}  {name}  {kind}  {value}\n          {action}{need}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ask::State;
    use crate::records::{Told, wanted};

    #[test]
    fn a_zone_says_why_once_above_what_it_is_the_reason_for() {
        let config = toml::from_str("domains = [\"a.test\"]").unwrap();
        let lines = with_reasons(&wanted(&config, &[], &Told::default()));
        assert_eq!(
            lines[..2],
            [
                format!("; {}", Purpose::Dmarc.why()),
                "_dmarc.a.test. 3600 IN TXT \"v=DMARC1; p=quarantine\"".to_owned()
            ]
        );
        let reason = format!("; {}", Purpose::NotOffered.why());
        assert_eq!(lines.iter().filter(|line| **line == reason).count(), 1, "of four records");
        assert!(lines.iter().all(|line| line.starts_with("; ") || line.contains(" 3600 IN ")), "{lines:?}");
    }

    #[test]
    fn a_record_that_is_wrong_has_what_is_there_and_what_is_to_be_there_under_it() {
        let config = toml::from_str("domains = [\"a.test\"]").unwrap();
        let record = wanted(&config, &[], &Told::default()).remove(0);
        let line = record.zone();
        let wrong = Found {
            wanted: record,
            state: State::Wrong,
            found: vec!["v=DMARC1".to_owned(), "v=DMARC1".to_owned()],
            should_be: Some(line.clone()),
        };
        let row = found_row(&wrong);
        assert!(
            row.starts_with("wrong     _dmarc.a.test  TXT  v=DMARC1; p=quarantine\n          publish: "),
            "{row}"
        );
        assert_eq!(row.matches("there is: v=DMARC1").count(), 2);
        assert!(row.ends_with(&format!("should be: {line}")), "{row}");
    }
}
