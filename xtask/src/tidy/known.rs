//! The list of what does not hold yet. It may only shrink: what is not in it fails the check, and so does an entry
//! that holds by now.
//!
//! A line is a rule's word, what is known by it, and, where the rule counts, how much of it there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::finding::{Finding, Rule};

/// Where it lies, from the root.
pub(crate) const LIST: &str = "xtask/tidy/known.txt";

/// What is known, and how much of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    entries: BTreeMap<(Rule, String), usize>,
}

impl Known {
    /// Reads the list; else says which line it is and what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        let mut last = "";
        for (index, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("{LIST}:{}: {what}: {line}", index + 1);
            let (rule, key, amount) = entry(line).ok_or_else(|| wrong("not an entry"))?;
            if line <= last {
                return Err(wrong("not sorted, or twice"));
            }
            last = line;
            if entries.insert((rule, key.to_owned()), amount).is_some() {
                return Err(wrong("twice"));
            }
        }
        Ok(Self { entries })
    }

    /// The list of what was found.
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let entries = findings.iter().map(|finding| ((finding.rule, finding.key.clone()), finding.amount));
        Self { entries: entries.collect() }
    }

    /// The list as its file has it.
    pub(crate) fn text(&self) -> String {
        let line = |((rule, key), amount): (&(Rule, String), &usize)| {
            let mut line = format!("{} {key}", rule.word());
            if rule.is_counted() {
                let _ = write!(line, " {amount}");
            }
            line
        };
        let mut lines: Vec<String> = self.entries.iter().map(line).collect();
        lines.sort();
        lines.into_iter().map(|line| line + "\n").collect()
    }

    /// What is wrong: findings that are not known, and entries that do not hold.
    pub(crate) fn differences(&self, findings: &[Finding]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut left = self.entries.clone();
        for finding in findings {
            match left.remove(&(finding.rule, finding.key.clone())) {
                None => wrong.push(finding.to_string()),
                Some(known) if finding.amount > known => {
                    wrong.push(format!("{finding}\n    it was {known}, and is {}", finding.amount));
                }
                Some(known) if finding.amount < known => wrong.push(format!(
                    "{LIST}: {} {} {known}: it is {} by now\n    what to do: cargo xtask tidy --known",
                    finding.rule.word(),
                    finding.key,
                    finding.amount
                )),
                Some(_) => {}
            }
        }
        wrong.extend(left.into_keys().map(|(rule, key)| {
            format!(
                "{LIST}: {} {key}: holds by now\n    what to do: remove it, or cargo xtask tidy --known",
                rule.word()
            )
        }));
        wrong
    }

    /// The list that follows this one: what was found, unless that is more. A file that moved has its entries
    /// under its new name, so each rule is counted and not each entry.
    pub(crate) fn next(&self, findings: &[Finding]) -> Result<Self, Vec<Rule>> {
        let next = Self::of(findings);
        let more: Vec<Rule> = (Rule::ALL.into_iter())
            .filter(|rule| {
                let (was, is) = (self.sizes(*rule), next.sizes(*rule));
                is.0 > was.0 || is.1 > was.1
            })
            .collect();
        if more.is_empty() { Ok(next) } else { Err(more) }
    }

    /// Entries of a rule, and their amounts together.
    fn sizes(&self, rule: Rule) -> (usize, usize) {
        let amounts = self.entries.iter().filter(|((of, _), _)| *of == rule).map(|(_, amount)| *amount);
        (amounts.clone().count(), amounts.sum())
    }
}

fn entry(line: &str) -> Option<(Rule, &str, usize)> {
    let (word, rest) = line.split_once(' ')?;
    let rule = Rule::ALL.into_iter().find(|rule| rule.word() == word)?;
    let (key, amount) = if rule.is_counted() {
        rest.rsplit_once(' ').and_then(|(key, n)| Some((key, n.parse().ok()?)))?
    } else {
        (rest, 1)
    };
    (!key.is_empty()).then_some((rule, key, amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: Rule, key: &str, amount: usize) -> Finding {
        Finding {
            rule,
            key: key.to_owned(),
            amount,
            path: "a.rs".to_owned(),
            line: 7,
            what: "bad".to_owned(),
        }
    }

    fn known() -> Known {
        Known::parse("circle a -> b\nfile-lines c d 700\n").unwrap()
    }

    #[test]
    fn what_is_known_and_nothing_else_passes() {
        let findings = [finding(Rule::Circle, "a -> b", 1), finding(Rule::FileLines, "c d", 700)];
        assert_eq!(known().differences(&findings), [""; 0]);
        assert_eq!(Known::of(&findings), known());
        assert_eq!(Known::of(&findings).text(), "circle a -> b\nfile-lines c d 700\n");
    }

    #[test]
    fn what_is_new_or_grew_or_shrank_or_holds_by_now_is_said() {
        let wrong = known().differences(&[finding(Rule::FileLines, "c d", 701), finding(Rule::Head, "e", 1)]);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(
            wrong[0].starts_with("a.rs:7: bad\n") && wrong[0].ends_with("it was 700, and is 701"),
            "{wrong:?}"
        );
        assert!(wrong[1].starts_with("a.rs:7: bad\n    what to do: open the file with"), "{wrong:?}");
        assert!(wrong[2].contains("circle a -> b: holds by now\n    what to do: remove it"), "{wrong:?}");
        let less =
            known().differences(&[finding(Rule::Circle, "a -> b", 1), finding(Rule::FileLines, "c d", 699)]);
        assert!(less.len() == 1 && less[0].contains("it is 699 by now"), "{less:?}");
    }

    #[test]
    fn a_list_that_is_not_sorted_or_not_readable_is_refused() {
        for bad in [
            "head b\nhead a\n",
            "head a\nhead a\n",
            "x a\n",
            "file-lines a\n",
            "head\n",
            "\n",
            "<<<<<<< HEAD\n",
        ] {
            assert!(Known::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_list_follows_a_file_that_moved_but_never_grows() {
        let moved = [finding(Rule::Circle, "x -> b", 1), finding(Rule::FileLines, "c d", 690)];
        assert_eq!(known().next(&moved).unwrap().text(), "circle x -> b\nfile-lines c d 690\n");
        let longer = [finding(Rule::FileLines, "e", 701)];
        assert_eq!(known().next(&longer), Err(vec![Rule::FileLines]));
        let more = [
            finding(Rule::Circle, "a -> b", 1),
            finding(Rule::Circle, "b -> a", 1),
            finding(Rule::Head, "e", 1),
        ];
        assert_eq!(known().next(&more), Err(vec![Rule::Circle, Rule::Head]));
    }

    #[test]
    fn each_rule_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.word()).collect();
        assert_eq!(words.len(), Rule::ALL.len());
    }
}
