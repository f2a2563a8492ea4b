//! What one half tells the other.
//!
//! Edge tells Home all that it found: it is Home's own edge. Home tells Edge names and verdicts alone: each is one of a fixed
//! set, so that there is no room for a word that names the house.

use mail::UnixTime;

use crate::check::Check;
use crate::finding::{Finding, Half, Verdict, printable};

/// Most findings that are taken from the other half.
pub const FINDINGS_MAX: usize = 256;

/// Most octets of words that go over the link: with every octet of them escaped, and the names beside them, they fit the frame.
const WORDS_OCTETS_MAX: usize = 20 * 1024;

/// What Edge's half said.
#[derive(Debug, Clone)]
pub struct HalfTold {
    /// Its program and version.
    pub software: String,
    /// Its clock.
    pub now: UnixTime,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// How many of its findings are of checks that this program does not know.
    pub unknown_checks: usize,
}

/// Edge's findings as they go over the link.
#[must_use]
pub fn to_link(findings: &[Finding], software: &str, now: UnixTime) -> link::Examined {
    // The worst first, so that it is what is fine that goes without words.
    let mut findings: Vec<&Finding> = findings.iter().take(FINDINGS_MAX).collect();
    findings.sort_by_key(|one| one.verdict);
    let mut left = WORDS_OCTETS_MAX;
    let told = findings.into_iter().map(|one| {
        let words = one.what.len() + one.advice.len();
        let fits = words <= left;
        left -= if fits { words } else { 0 };
        let word = |text: &str| if fits { text.to_owned() } else { String::new() };
        link::ExaminedFinding {
            check: one.check.name().to_owned(),
            verdict: one.verdict.as_str().to_owned(),
            what: word(&one.what),
            advice: word(&one.advice),
        }
    });
    link::Examined { software: software.to_owned(), now, findings: told.collect() }
}

/// Edge's findings as they came.
#[must_use]
pub fn from_link(examined: &link::Examined) -> HalfTold {
    let (mut findings, mut unknown_checks) = (Vec::new(), 0);
    for one in examined.findings.iter().take(FINDINGS_MAX) {
        match (Check::named(&one.check), Verdict::named(&one.verdict)) {
            (Some(check), Some(verdict)) => {
                findings.push(Finding::new(Half::Edge, check, verdict, &one.what).advising(&one.advice));
            }
            _ => unknown_checks += 1,
        }
    }
    HalfTold { software: printable(&examined.software), now: examined.now, findings, unknown_checks }
}

/// Home's own findings as they go to Edge: names and verdicts.
#[must_use]
pub fn names(findings: &[Finding]) -> Vec<(String, String)> {
    let own = findings.iter().filter(|one| one.half == Half::Home).take(FINDINGS_MAX);
    own.map(|one| (one.check.name().to_owned(), one.verdict.as_str().to_owned())).collect()
}

/// The same as they came: what is no name of a check or no verdict is dropped.
#[must_use]
pub fn from_names(told: &[(String, String)]) -> Vec<(Check, Verdict)> {
    let known = told.iter().take(FINDINGS_MAX);
    known.filter_map(|(check, verdict)| Some((Check::named(check)?, Verdict::named(verdict)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(half: Half, check: Check, what: &str) -> Finding {
        Finding::new(half, check, Verdict::Fault, what).advising("see nas.house.example, 192.168.7.9")
    }

    #[test]
    fn what_edge_found_comes_to_home_as_it_was_and_checks_of_a_newer_edge_are_counted() {
        let findings = [found(Half::Edge, Check::Ptr, "no name\x07")];
        let mut sent = to_link(&findings, "postern 1", UnixTime::from_secs(7));
        let of_tomorrow =
            link::ExaminedFinding { check: "of-tomorrow".to_owned(), ..sent.findings[0].clone() };
        sent.findings.push(of_tomorrow);
        let told = from_link(&sent);
        assert_eq!(told.findings, findings);
        assert_eq!(
            (told.unknown_checks, told.now, told.software.as_str()),
            (1, UnixTime::from_secs(7), "postern 1")
        );
        sent.findings = vec![sent.findings[0].clone(); FINDINGS_MAX + 1];
        assert_eq!(from_link(&sent).findings.len(), FINDINGS_MAX);
    }

    #[test]
    fn whatever_an_edge_found_fits_the_frame_and_the_worst_keeps_its_words() {
        let long = "\"".repeat(600);
        let one = |verdict| Finding::new(Half::Edge, Check::BlocklistAnswers, verdict, &long).advising(&long);
        let mut findings = vec![one(Verdict::Fine); FINDINGS_MAX];
        findings.insert(FINDINGS_MAX - 1, one(Verdict::Fault));
        let sent = to_link(&findings, "postern 1", UnixTime::from_secs(7));
        let (first, last) = (sent.findings.first().unwrap(), sent.findings.last().unwrap());
        assert_eq!((first.verdict.as_str(), first.what.len()), ("fault", 600));
        assert_eq!((last.what.as_str(), sent.findings.len()), ("", FINDINGS_MAX));
        let words: usize = sent.findings.iter().map(|one| one.what.len() + one.advice.len()).sum();
        assert_eq!(words, WORDS_OCTETS_MAX / 1200 * 1200);
        let id = mail::ItemId::from_bytes([1; 16]);
        let mut frame = bytes::BytesMut::new();
        link::Frame::ErrandDone(id, link::ErrandResult::Examined(sent)).encode(&mut frame).unwrap();
    }

    /// Promise 4: nothing on Edge tells where Home is. A finding's own words may name the house, so none goes.
    #[test]
    fn edge_hears_names_and_verdicts_and_no_word_that_could_name_the_house() {
        let house = "nas.house.example at 192.168.7.9 and 203.0.113.9 of alice";
        let all: Vec<Finding> = Check::ALL.iter().map(|check| found(Half::Home, *check, house)).collect();
        let told = names(&all);
        let sent = serde_json::to_string(&told).unwrap_or_default();
        for word in ["nas", "house", "192.168", "203.0", "alice"] {
            assert!(!sent.contains(word), "{word}");
        }
        let words: Vec<&str> =
            Check::ALL.iter().map(|check| check.name()).chain(Verdict::ALL.map(Verdict::as_str)).collect();
        assert!(
            told.iter()
                .all(|(check, verdict)| words.contains(&check.as_str()) && words.contains(&verdict.as_str()))
        );
        assert_eq!(from_names(&told).len(), Check::ALL.len());
        assert!(names(&[found(Half::Edge, Check::Ptr, "x")]).is_empty(), "Edge knows its own");
        let other = [("ptr".to_owned(), house.to_owned()), (house.to_owned(), "fine".to_owned())];
        assert!(from_names(&other).is_empty());
    }
}
