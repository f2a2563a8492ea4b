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
        Format::Zone => wanted.iter().for_each(|record| print::text(&record.zone())),
        Format::Table => wanted.iter().for_each(|record| print::text(&row(record, ""))),
    }
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
