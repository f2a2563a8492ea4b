//! What a check found.

use serde::{Deserialize, Serialize};

use crate::check::Check;

/// How bad it is. The order is that in which findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Something is broken.
    Fault,
    /// It works, and will not for long, or not for everybody.
    Warning,
    /// It could not be told; `what` says why.
    Unknown,
    /// Good to know; nothing has to be done.
    Notice,
    /// As it is to be.
    Fine,
}

impl Verdict {
    /// All, worst first.
    pub const ALL: [Self; 5] = [Self::Fault, Self::Warning, Self::Unknown, Self::Notice, Self::Fine];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Notice => "notice",
            Self::Fine => "fine",
        }
    }

    /// The verdict of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == name)
    }
}

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// At an edge.
    Edge,
    /// At Home.
    Home,
}

impl Half {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Home => "home",
        }
    }
}

/// One finding: what, why it matters, what to type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The half that made it.
    pub half: Half,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was seen, or why nothing was.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
}

impl Finding {
    /// A finding; its advice is the check's own unless it is fine.
    #[must_use]
    pub fn new(half: Half, check: Check, verdict: Verdict, what: impl Into<String>) -> Self {
        let advice = if verdict == Verdict::Fine { "" } else { check.advice() };
        let what = printable(&what.into());
        Self { check, half, verdict, what, why: check.why(), advice: advice.to_owned() }
    }

    /// The same with other advice.
    #[must_use]
    pub fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice = printable(&advice.into());
        self
    }
}

/// Most octets of a sentence: what strangers say may be in it.
const SENTENCE_OCTETS_MAX: usize = 600;

/// Strangers' words neither steer a terminal nor fill it.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }) {
        if out.len() + c.len_utf8() > SENTENCE_OCTETS_MAX {
            break;
        }
        out.push(c);
    }
    out
}

/// The findings of one half as they come about.
pub(crate) struct Sheet {
    half: Half,
    found: Vec<Finding>,
}

impl Sheet {
    pub(crate) const fn of(half: Half) -> Self {
        Self { half, found: Vec::new() }
    }

    pub(crate) const fn half(&self) -> Half {
        self.half
    }

    pub(crate) fn add(&mut self, check: Check, verdict: Verdict, what: impl Into<String>) {
        self.found.push(Finding::new(self.half, check, verdict, what));
    }

    /// With advice of its own.
    pub(crate) fn advise(
        &mut self,
        check: Check,
        (verdict, what): (Verdict, String),
        advice: impl Into<String>,
    ) {
        self.found.push(Finding::new(self.half, check, verdict, what).advising(advice));
    }

    pub(crate) fn fine(&mut self, check: Check, what: impl Into<String>) {
        self.add(check, Verdict::Fine, what);
    }

    /// `good` when it holds, else `bad` with this verdict.
    pub(crate) fn judge(
        &mut self,
        check: Check,
        holds: bool,
        good: impl Into<String>,
        bad: (Verdict, String),
    ) {
        if holds {
            self.fine(check, good);
        } else {
            self.add(check, bad.0, bad.1);
        }
    }

    /// The fact, if it is known; else it is told that it is not.
    pub(crate) fn known<'f, T>(&mut self, check: Check, fact: &'f Result<T, String>) -> Option<&'f T> {
        match fact {
            Ok(fact) => Some(fact),
            Err(reason) => {
                self.add(check, Verdict::Unknown, format!("could not be told: {reason}"));
                None
            }
        }
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_printable_and_bounded() {
        let at = |octets: usize| printable(&"x".repeat(octets)).len();
        assert_eq!(
            (at(SENTENCE_OCTETS_MAX), at(SENTENCE_OCTETS_MAX + 1)),
            (SENTENCE_OCTETS_MAX, SENTENCE_OCTETS_MAX)
        );
        assert_eq!(printable("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::named(verdict.as_str()), Some(verdict));
        }
    }

    #[test]
    fn what_is_fine_needs_no_advice_and_all_else_has_some() {
        assert!(Finding::new(Half::Edge, Check::Ptr, Verdict::Fine, "x").advice.is_empty());
        let fault = Finding::new(Half::Edge, Check::Ptr, Verdict::Fault, "x");
        assert!(fault.advice.contains("PTR"));
        assert_eq!(fault.advising("y").advice, "y");
    }
}
