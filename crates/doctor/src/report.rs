//! All findings of a run, the three answers, and how they are shown and remembered.

use std::collections::{BTreeMap, BTreeSet};

use mail::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{Answered, Fit};
use crate::check::Check;
use crate::finding::{Finding, Half, Verdict};
use crate::fitness::Fitness;
use crate::judge::BEHIND_THE_PORT;

/// What a run found.
#[derive(Debug, Clone)]
pub struct Examination {
    /// When it was made.
    pub at: UnixTime,
    /// Everything that was found, worst first.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// A report of these findings.
    #[must_use]
    pub fn of(at: UnixTime, mut findings: Vec<Finding>) -> Self {
        // What one half has seen is known, whatever the other could not see: a house often can't reach port 25 at all.
        let both: Vec<Check> = BEHIND_THE_PORT.into_iter().chain([Check::PortIn]).collect();
        let seen: Vec<Check> =
            both.into_iter().filter(|check| findings.iter().any(|one| is_known(one, *check))).collect();
        findings.retain(|one| one.verdict != Verdict::Unknown || !seen.contains(&one.check));
        findings.sort_by_key(|one| (one.verdict, one.check, one.half));
        Self { at, findings }
    }

    /// One of the three answers.
    #[must_use]
    pub fn answer(&self, answer: Fitness) -> Answered {
        Answered::of(answer, &self.findings)
    }

    /// What speaks against doing what this answer is about: what is broken, and what will not last. While nobody sends, what
    /// only sending needs is no more than a warning.
    #[must_use]
    pub fn against(&self, answer: Fitness) -> Vec<&Finding> {
        let speaks =
            |one: &&Finding| one.verdict <= Verdict::Warning && one.check.touches().contains(&answer);
        self.findings.iter().filter(speaks).collect()
    }

    /// Whether nothing is broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|one| one.verdict != Verdict::Fault)
    }

    /// For scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let answers: serde_json::Map<String, Value> =
            Fitness::ALL.iter().map(|one| (one.as_str().to_owned(), json!(self.answer(*one)))).collect();
        json!({ "at": self.at.rfc3339(), "good": self.is_good(), "answers": answers, "findings": self.findings })
    }

    /// What [`Examination::to_json`] wrote. `None` when it is something else; findings of checks that are not known are left out.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |one: &Value, field: &str| one.get(field)?.as_str().map(str::to_owned);
        let finding = |one: &Value| {
            let half = if text(one, "half")? == Half::Edge.as_str() { Half::Edge } else { Half::Home };
            let (check, verdict) =
                (Check::named(&text(one, "check")?)?, Verdict::named(&text(one, "verdict")?)?);
            Some(Finding::new(half, check, verdict, text(one, "what")?).advising(text(one, "advice")?))
        };
        let at = UnixTime::parse_rfc3339(value.get("at")?.as_str()?)?;
        let findings = value.get("findings")?.as_array()?;
        Some(Self { at, findings: findings.iter().filter_map(finding).collect() })
    }

    /// For people: by verdict, what is fine as one line, then the three answers.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let together = self.unknown_together();
        let alone = |one: &&Finding| {
            one.verdict != Verdict::Fine
                && !(one.verdict == Verdict::Unknown && together.contains_key(one.what.as_str()))
        };
        for one in self.findings.iter().filter(alone) {
            let (verdict, half) = (one.verdict.as_str(), one.half.as_str());
            lines.push(format!("{verdict:<8} {:<22} {half:<5} {}", one.check, one.what));
            if one.verdict != Verdict::Notice {
                lines.push(format!("         why:        {}", one.why));
            }
            if !one.advice.is_empty() {
                lines.push(format!("         what to do: {}", one.advice));
            }
        }
        for (why, checks) in &together {
            lines.push(format!("unknown  {} checks: {why}", checks.len()));
            lines.push(format!("         which:      {}", checks.join(", ")));
        }
        let fine: BTreeSet<&str> = self
            .findings
            .iter()
            .filter(|one| one.verdict == Verdict::Fine)
            .map(|one| one.check.name())
            .collect();
        if !fine.is_empty() {
            lines.push(format!("fine     {}", fine.into_iter().collect::<Vec<_>>().join(", ")));
        }
        lines.push(String::new());
        lines.extend(Fitness::ALL.iter().map(|one| self.answer(*one).line(*one)));
        lines
    }
}

/// Checks that could not be made for one cause, from so many on, are one thing to an operator.
const TOGETHER: usize = 3;

impl Examination {
    fn unknown_together(&self) -> BTreeMap<&str, Vec<&'static str>> {
        let mut causes: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        for one in self.findings.iter().filter(|one| one.verdict == Verdict::Unknown) {
            causes.entry(one.what.as_str()).or_default().push(one.check.name());
        }
        causes.retain(|_, checks| checks.len() >= TOGETHER);
        causes
    }
}

/// What is kept of a run: enough for `status`, and to see what became worse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it was made.
    pub at: UnixTime,
    /// Fit to receive, fit to send, hidden.
    pub fit: [Fit; 3],
    /// The names of the checks that found a fault, with their halves.
    pub faults: BTreeSet<(Half, String)>,
    /// How many warnings there were.
    pub warnings: usize,
}

impl From<&Examination> for LastRun {
    fn from(report: &Examination) -> Self {
        let of = |verdict| report.findings.iter().filter(move |one| one.verdict == verdict);
        Self {
            at: report.at,
            fit: Fitness::ALL.map(|one| report.answer(one).fit),
            faults: of(Verdict::Fault).map(|one| (one.half, one.check.name().to_owned())).collect(),
            warnings: of(Verdict::Warning).count(),
        }
    }
}

impl LastRun {
    /// The faults that were not there in the run before.
    #[must_use]
    pub fn worse_than(&self, before: Option<&Self>) -> Vec<(Half, Check)> {
        let is_new = |fault: &&(Half, String)| before.is_none_or(|before| !before.faults.contains(*fault));
        let new = self.faults.iter().filter(is_new);
        new.filter_map(|(half, name)| Some((*half, Check::named(name)?))).collect()
    }

    /// For `status`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let [receive, send, hidden] = self.fit;
        let faults: Vec<String> =
            self.faults.iter().map(|(half, name)| format!("{name} ({})", half.as_str())).collect();
        json!({
            "at": self.at.rfc3339(), "receive": receive, "send": send, "hidden": hidden,
            "faults": faults, "warnings": self.warnings,
        })
    }
}

/// Whether a finding says something of this check.
fn is_known(finding: &Finding, check: Check) -> bool {
    finding.check == check && finding.verdict != Verdict::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(found: &[(Half, Check, Verdict)]) -> Examination {
        let findings =
            found.iter().map(|(half, check, verdict)| Finding::new(*half, *check, *verdict, "seen"));
        Examination::of(UnixTime::from_secs(1_800_000_000), findings.collect())
    }

    #[test]
    fn the_worst_comes_first_and_the_three_answers_last() {
        let report = report(&[
            (Half::Home, Check::Mx, Verdict::Fine),
            (Half::Edge, Check::Ptr, Verdict::Fault),
            (Half::Home, Check::Backup, Verdict::Notice),
        ]);
        let lines = report.lines();
        assert!(lines[0].starts_with("fault    ptr                    edge  seen"), "{lines:#?}");
        assert!(lines[1].contains("why:") && lines[2].contains("what to do:"));
        assert_eq!(
            lines[lines.len() - 3..],
            ["fit to receive: yes", "fit to send: no, because of ptr", "hidden: not known"]
        );
        assert!(!report.is_good());
        let json = report.to_json();
        assert_eq!(Examination::from_json(&json).map(|read| read.lines()), Some(lines));
        assert_eq!(
            (&json["answers"]["send"]["fit"], &json["findings"][0]["check"]),
            (&"no".into(), &"ptr".into())
        );
    }

    #[test]
    fn that_one_half_has_seen_port_25_open_is_enough_unless_the_other_saw_it_refused() {
        let seen =
            |other| report(&[(Half::Edge, Check::PortIn, Verdict::Fine), (Half::Home, Check::PortIn, other)]);
        assert_eq!(seen(Verdict::Unknown).answer(Fitness::Receive).fit, Fit::Yes);
        assert_eq!(seen(Verdict::Fault).answer(Fitness::Receive).fit, Fit::No);
    }

    #[test]
    fn what_is_only_warned_of_speaks_against_sending_too_and_what_is_not_known_does_not() {
        let all = [
            (Half::Edge, Check::Ptr, Verdict::Warning),
            (Half::Home, Check::Spf, Verdict::Fault),
            (Half::Home, Check::Mx, Verdict::Fault),
            (Half::Edge, Check::PortOut, Verdict::Unknown),
        ];
        let report = report(&all);
        let against: Vec<Check> = report.against(Fitness::Send).iter().map(|one| one.check).collect();
        assert_eq!(against, [Check::Spf, Check::Ptr]);
    }

    #[test]
    fn what_one_half_has_seen_behind_the_port_is_known_though_the_other_could_not_look() {
        let seen = |edge| {
            let all = [(Half::Edge, Check::StartTls, edge), (Half::Home, Check::StartTls, Verdict::Unknown)];
            report(&all).answer(Fitness::Receive).fit
        };
        assert_eq!(seen(Verdict::Fine), Fit::Yes);
        assert_eq!(seen(Verdict::Fault), Fit::No);
        assert_ne!(seen(Verdict::Unknown), Fit::Yes);
    }

    #[test]
    fn only_what_became_worse_is_news() {
        let bad = [(Half::Edge, Check::Ptr, Verdict::Fault), (Half::Home, Check::Spf, Verdict::Fault)];
        let (one, both) = (LastRun::from(&report(&bad[..1])), LastRun::from(&report(&bad)));
        assert_eq!(one.worse_than(None), [(Half::Edge, Check::Ptr)]);
        assert_eq!(both.worse_than(Some(&one)), [(Half::Home, Check::Spf)]);
        assert!(both.worse_than(Some(&both)).is_empty() && one.worse_than(Some(&both)).is_empty());
        let kept = serde_json::to_string(&both).unwrap_or_default();
        assert_eq!(serde_json::from_str::<LastRun>(&kept).ok(), Some(both));
    }
}
