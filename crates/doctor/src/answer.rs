//! The three answers that all findings come to.

use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::finding::{Finding, Verdict};
use crate::fitness::Fitness;

/// Yes, no, or that it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Everything that it takes was seen.
    Yes,
    /// Something is broken that it takes.
    No,
    /// Nothing is known to be broken, but something could not be looked at.
    Unknown,
}

/// One answer and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The answer.
    pub fit: Fit,
    /// The checks that made it a no, or that could not be made.
    pub because: Vec<Check>,
}

impl Answered {
    /// What these findings come to.
    #[must_use]
    pub fn of(answer: Fitness, findings: &[Finding]) -> Self {
        let with = |verdict| {
            let touching =
                findings.iter().filter(|one| one.verdict == verdict && one.check.touches().contains(&answer));
            let mut because: Vec<Check> = touching.map(|one| one.check).collect();
            because.sort_unstable();
            because.dedup();
            because
        };
        let faults = with(Verdict::Fault);
        if !faults.is_empty() {
            return Self { fit: Fit::No, because: faults };
        }
        let unknown = with(Verdict::Unknown);
        let looked_at = findings.iter().any(|one| one.check.touches().contains(&answer));
        let fit = if unknown.is_empty() && looked_at { Fit::Yes } else { Fit::Unknown };
        Self { fit, because: unknown }
    }

    /// The answer as a line for people.
    #[must_use]
    pub fn line(&self, answer: Fitness) -> String {
        let names: Vec<&str> = self.because.iter().map(|check| check.name()).collect();
        let names = names.join(", ");
        let question = answer.question();
        match self.fit {
            Fit::Yes => format!("{question}: yes"),
            Fit::No => format!("{question}: no, because of {names}"),
            Fit::Unknown if names.is_empty() => format!("{question}: not known"),
            Fit::Unknown => format!("{question}: not known, since this could not be told: {names}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Half;

    fn found(check: Check, verdict: Verdict) -> Finding {
        Finding::new(Half::Home, check, verdict, "seen")
    }

    #[test]
    fn a_fault_makes_a_no_of_what_it_touches_and_what_could_not_be_told_is_no_yes() {
        let fine = [found(Check::Mx, Verdict::Fine), found(Check::Spf, Verdict::Warning)];
        assert_eq!(Answered::of(Fitness::Receive, &fine).line(Fitness::Receive), "fit to receive: yes");
        assert_eq!(Answered::of(Fitness::Send, &fine).fit, Fit::Yes, "a warning is no fault");
        assert_eq!(Answered::of(Fitness::Hidden, &fine).line(Fitness::Hidden), "hidden: not known");
        let mut some = fine.to_vec();
        some.push(found(Check::PortOut, Verdict::Unknown));
        let said = Answered::of(Fitness::Send, &some).line(Fitness::Send);
        assert_eq!(said, "fit to send: not known, since this could not be told: port-25-out");
        some.extend([found(Check::Ptr, Verdict::Fault), found(Check::Ptr, Verdict::Fault)]);
        let said = Answered::of(Fitness::Send, &some).line(Fitness::Send);
        assert_eq!(said, "fit to send: no, because of ptr");
        assert_eq!(Answered::of(Fitness::Receive, &some).fit, Fit::Yes, "it does not touch receiving");
    }
}
