//! Each check is made to pass by facts of two hosts that are well, and to fail by one change of them.

mod cases;
mod well;

use std::collections::BTreeSet;

use self::cases::{Case, Change, cases};
use self::well::{edge_that_is_well, home_that_is_well};
use super::*;
use crate::check::By;

fn found(case: &Case) -> Vec<Finding> {
    match &case.change {
        Change::Edge(change) => {
            let mut facts = edge_that_is_well();
            change(&mut facts);
            edge(&facts)
        }
        Change::Home(change) => {
            let mut facts = home_that_is_well();
            change(&mut facts);
            home(&facts)
        }
    }
}

fn verdicts(findings: &[Finding], check: Check) -> BTreeSet<Verdict> {
    findings.iter().filter(|one| one.check == check).map(|one| one.verdict).collect()
}

#[test]
fn each_check_passes_on_hosts_that_are_well() {
    let (edge, home) = (edge(&edge_that_is_well()), home(&home_that_is_well()));
    for finding in edge.iter().chain(&home) {
        assert_eq!(finding.verdict, Verdict::Fine, "{finding:#?}");
    }
    for check in Check::ALL {
        let by = |half| !verdicts(if half == Half::Edge { &edge } else { &home }, *check).is_empty();
        let made = match check.by() {
            By::Edge => by(Half::Edge),
            By::Home => by(Half::Home),
            By::Both => by(Half::Edge) && by(Half::Home),
        };
        assert!(made, "{check} is not made by whom it says");
    }
}

#[test]
fn each_check_fails_when_what_it_looks_at_is_wrong() {
    for case in cases() {
        let findings = found(&case);
        let seen = verdicts(&findings, case.check);
        assert!(seen.contains(&case.verdict), "{}: {} is {seen:?}: {findings:#?}", case.when, case.check);
        let worst = findings.iter().filter(|one| one.check == case.check).min_by_key(|one| one.verdict);
        let worst = worst.unwrap_or_else(|| panic!("{}", case.when));
        assert!(!worst.what.is_empty() && !worst.advice.is_empty(), "{worst:#?}");
        // One thing that is wrong makes no other check cry, but for those that can't be made then.
        let others = findings.iter().filter(|one| one.check != case.check && one.verdict < Verdict::Unknown);
        let others: Vec<&str> =
            others.map(|one| one.check.name()).filter(|name| !case.with.contains(name)).collect();
        assert!(others.is_empty(), "{}: {others:?} cry, too", case.when);
    }
}

#[test]
fn no_check_is_without_a_case_that_makes_it_fail() {
    let cases = cases();
    let failing: BTreeSet<Check> = cases.iter().map(|case| case.check).collect();
    let without: Vec<&Check> = Check::ALL.iter().filter(|check| !failing.contains(check)).collect();
    assert!(without.is_empty(), "without a case: {without:?}");
}

#[test]
fn what_can_not_be_told_is_told_with_the_reason() {
    let mut facts = home_that_is_well();
    facts.domains[0].dmarc = Err("nothing was heard in time".to_owned());
    let findings = home(&facts);
    let dmarc = findings.iter().find(|one| one.check == Check::Dmarc).unwrap();
    assert_eq!(
        (dmarc.verdict, dmarc.what.as_str()),
        (Verdict::Unknown, "could not be told: nothing was heard in time")
    );
}

/// Promise 4 at its other end: what Edge shows of a home is made of names and of its own words alone.
#[test]
fn edge_shows_what_a_home_found_by_name() {
    let mut facts = edge_that_is_well();
    let at = facts.host.clock.now;
    facts.homes.as_mut().unwrap()[0].told =
        Some((at, vec![(Check::Spf, Verdict::Fault), (Check::Mx, Verdict::Fine)]));
    let findings = edge(&facts);
    let spf = findings.iter().find(|one| one.check == Check::Spf).unwrap();
    assert_eq!((spf.half, spf.verdict), (Half::Home, Verdict::Fault));
    assert_eq!(spf.what, format!("home 00ff00ff00ff00ff says so ({})", at.rfc3339()));
    assert!(spf.advice.contains("'postern doctor' at home"));
}

#[test]
fn who_sends_nothing_yet_is_warned_of_what_sending_will_need() {
    let mut facts = edge_that_is_well();
    facts.sends = false;
    facts.names[0].names = Ok(Vec::new());
    assert_eq!(verdicts(&edge(&facts), Check::Ptr), [Verdict::Warning].into());
    let mut facts = home_that_is_well();
    facts.outbound = false;
    facts.domains[0].spf = Ok(Vec::new());
    assert_eq!(verdicts(&home(&facts), Check::Spf), [Verdict::Warning].into());
}

#[test]
fn a_large_disk_with_little_of_it_left_is_a_warning_and_no_fault() {
    for (free, octets, verdict) in [
        (2 << 30, 251 << 30, Verdict::Warning),
        (1 << 30, 251 << 30, Verdict::Warning),
        ((1 << 30) - 1, 251 << 30, Verdict::Fault),
        ((256 << 20) - 1, 1 << 30, Verdict::Fault),
        (256 << 20, 1 << 30, Verdict::Warning),
        (20 << 30, 251 << 30, Verdict::Fine),
    ] {
        let mut facts = edge_that_is_well();
        let disk = facts.host.disk.as_mut().unwrap();
        (disk.free_octets, disk.octets) = (free, octets);
        assert_eq!(verdicts(&edge(&facts), Check::DiskSpace), [verdict].into(), "{free} of {octets}");
    }
}

#[test]
fn a_domain_that_takes_everybody_bounces_nothing() {
    let mut facts = home_that_is_well();
    facts.edges[0].port_25.as_mut().unwrap().nobody = Ok(well::reply(250));
    assert_eq!(verdicts(&home(&facts), Check::Backscatter), [Verdict::Fault].into());
    facts.takes_everybody = Ok(true);
    assert_eq!(verdicts(&home(&facts), Check::Backscatter), [Verdict::Fine].into());
}

#[test]
fn a_list_that_can_not_be_believed_does_not_count() {
    let code = |last| std::net::Ipv4Addr::new(127, 0, 0, last);
    let refusal = std::net::Ipv4Addr::new(127, 255, 255, 254);
    for (test, never, codes) in [
        (vec![], vec![], vec![]),
        (vec![code(2)], vec![code(2)], vec![code(2)]),
        (vec![refusal], vec![refusal], vec![refusal]),
        (vec![std::net::Ipv4Addr::new(203, 0, 113, 1)], vec![], vec![]),
    ] {
        let mut facts = edge_that_is_well();
        let list = &mut facts.lists[0];
        (list.test_entry, list.never_entry, list.codes) = (Ok(test), Ok(never), Ok(codes));
        let findings = edge(&facts);
        assert_eq!(verdicts(&findings, Check::BlocklistAnswers), [Verdict::Fine, Verdict::Warning].into());
        assert!(verdicts(&findings, Check::BlocklistIpv4).is_empty(), "it neither clears nor condemns");
    }
}
