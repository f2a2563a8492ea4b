//! Facts to findings. Nothing here asks anybody: what a finding says depends on the facts alone, so each check can be made to
//! fail and to pass in a test.

mod domain;
mod edge;
mod home;
mod host;
mod link;
mod port;
mod round_trip;
mod words;

#[cfg(test)]
mod tests;

use crate::check::Check;
use crate::facts::{EdgeFacts, HomeFacts, HostFacts};
use crate::finding::{Finding, Half, Sheet, Verdict};

pub use edge::is_inner;
pub(crate) use port::BEHIND_THE_PORT;

/// The machine alone, before anything is set up on it.
#[must_use]
pub fn machine(half: Half, facts: &HostFacts) -> Vec<Finding> {
    let mut sheet = Sheet::of(half);
    host::judge(&mut sheet, facts);
    sheet.into_findings()
}

/// Edge's half, and what its homes said of theirs.
#[must_use]
pub fn edge(facts: &EdgeFacts) -> Vec<Finding> {
    let mut sheet = Sheet::of(Half::Edge);
    runs(&mut sheet, &facts.runs);
    host::judge(&mut sheet, &facts.host);
    edge::judge(&mut sheet, facts);
    let mut findings = sheet.into_findings();
    findings.extend(edge::told_by_homes(facts));
    findings
}

/// Home's half, what it sees of its edges, and what they said of themselves.
#[must_use]
pub fn home(facts: &HomeFacts) -> Vec<Finding> {
    let mut sheet = Sheet::of(Half::Home);
    runs(&mut sheet, &facts.runs);
    host::judge(&mut sheet, &facts.host);
    for one in &facts.domains {
        domain::judge(&mut sheet, one, facts);
    }
    for one in &facts.edges {
        port::judge(&mut sheet, one, facts);
        link::judge(&mut sheet, one);
    }
    home::judge(&mut sheet, facts);
    round_trip::judge(&mut sheet, facts);
    let mut findings = sheet.into_findings();
    let told = facts.edges.iter().filter_map(|one| one.half.as_ref().ok());
    findings.extend(told.flat_map(|told| told.findings.iter().cloned()));
    findings
}

fn runs(sheet: &mut Sheet, runs: &Result<(), String>) {
    match runs {
        Ok(()) => sheet.fine(Check::DaemonRuns, "it answers"),
        Err(why) => sheet.add(Check::DaemonRuns, Verdict::Fault, why.clone()),
    }
}
