//! The scoring table: what counts for and against a client or a message, and how much.
//!
//! A sign is something seen, its points come from here and nowhere else. Points are tenths, so that sums are
//! exact.

use std::collections::BTreeMap;

use mail::Sign;
pub(crate) use mail::{explain_signs as explain, sum_of_signs as total};

use crate::config::{ScoreConfig, tenths};
pub(crate) use crate::signs::{Beside, LIST, ROWS};

/// What a sign adds to a DMARC failure. What is in no table adds nothing.
pub(crate) fn beside_dmarc(sign: &Sign) -> Beside {
    if sign.name.starts_with(LIST) {
        return Beside::Evidence;
    }
    ROWS.iter().find(|row| row.name == sign.name).map_or(Beside::SameFact, |row| row.beside_dmarc)
}

/// The signs that are evidence of their own beside a DMARC failure; none when those that speak for the client weigh as
/// much as those that speak against it.
pub(crate) fn evidence_beside_dmarc<'a>(signs: impl IntoIterator<Item = &'a Sign>) -> Vec<&'a Sign> {
    let evidence: Vec<&Sign> =
        signs.into_iter().filter(|sign| beside_dmarc(sign) == Beside::Evidence).collect();
    let sum: i32 = evidence.iter().map(|sign| sign.tenths).sum();
    if sum > 0 { evidence } else { Vec::new() }
}

/// The table as it is in force.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    points: BTreeMap<String, i32>,
    /// Points in tenths from which on a client is asked to come again.
    pub greylist_from: i32,
    /// Points in tenths from which on a message goes to Junk.
    pub junk_from: i32,
    /// Points in tenths from which on a message is refused.
    pub reject_from: i32,
}

impl Table {
    /// The rows above, with what the configuration changes.
    pub(crate) fn new(config: &ScoreConfig) -> Self {
        let mut points: BTreeMap<String, i32> =
            ROWS.iter().map(|row| (row.name.to_owned(), row.tenths)).collect();
        points.extend(config.points.iter().map(|(name, points)| (name.clone(), tenths(*points))));
        Self {
            points,
            greylist_from: tenths(config.greylist_from),
            junk_from: tenths(config.junk_from),
            reject_from: tenths(config.reject_from),
        }
    }

    /// A sign of that row, unless it counts nothing.
    pub(crate) fn sign(&self, row: &str, detail: impl Into<String>) -> Option<Sign> {
        let tenths = self.points.get(row).copied().filter(|tenths| *tenths != 0)?;
        Some(Sign { name: row.to_owned(), tenths, detail: detail.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_from_the_table_and_the_configuration() {
        let config = ScoreConfig {
            points: [("no-ptr".to_owned(), 2.5), ("dkim-fail".to_owned(), 0.0)].into(),
            ..ScoreConfig::default()
        };
        let table = Table::new(&config);
        assert_eq!(table.sign("no-ptr", "x").unwrap().tenths, 25);
        assert_eq!(table.sign("spf-fail", "").unwrap().tenths, 30);
        assert!(table.sign("dkim-fail", "").is_none() && table.sign("nothing", "").is_none());
        let signs: Vec<Sign> =
            [table.sign("no-ptr", ""), table.sign("dmarc-pass", "")].into_iter().flatten().collect();
        assert_eq!(total(&signs), 10);
        assert_eq!(explain(&signs), "1.0 (no-ptr 2.5, dmarc-pass -1.5)");
    }

    #[test]
    fn no_row_stands_there_twice() {
        let names: std::collections::BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
    }

    fn seen(names: &[(&str, i32)]) -> Vec<Sign> {
        let sign = |(name, tenths): &(&str, i32)| Sign {
            name: (*name).to_owned(),
            tenths: *tenths,
            detail: String::new(),
        };
        names.iter().map(sign).collect()
    }

    #[test]
    fn what_fails_with_dmarc_is_no_evidence_beside_it_and_what_the_client_does_is() {
        let same = ["spf-fail", "spf-softfail", "spf-error", "dkim-fail", "dmarc-fail", "dmarc-pass"];
        for row in ROWS {
            let expected = match row.name {
                name if same.contains(&name) => Beside::SameFact,
                "helo-unknown" => Beside::TooLittle,
                _ => Beside::Evidence,
            };
            assert_eq!(row.beside_dmarc, expected, "{}", row.name);
            let signs = seen(&[(row.name, 1)]);
            assert_eq!(
                !evidence_beside_dmarc(&signs).is_empty(),
                expected == Beside::Evidence,
                "{}",
                row.name
            );
        }
        let all: Vec<(&str, i32)> = same.iter().map(|name| (*name, 1000)).collect();
        assert!(evidence_beside_dmarc(&seen(&all)).is_empty(), "however much they weigh");
        assert!(evidence_beside_dmarc(&seen(&[("unheard-of", 1000)])).is_empty());
    }

    #[test]
    fn a_list_of_the_good_outweighs_evidence_of_the_same_weight() {
        assert_eq!(evidence_beside_dmarc(&seen(&[("list:bl.test", 10), ("spf-fail", 30)])).len(), 1);
        assert!(evidence_beside_dmarc(&seen(&[("no-ptr", 15), ("list:good.test", -15)])).is_empty());
        assert_eq!(evidence_beside_dmarc(&seen(&[("no-ptr", 15), ("list:good.test", -14)])).len(), 2);
    }

    #[test]
    fn the_table_in_the_manual_is_this_one() {
        let manual = include_str!("../../../docs/src/configuration.md");
        for row in ROWS {
            let line = manual.lines().find(|line| line.starts_with(&format!("| `{}` |", row.name)));
            let line = line.unwrap_or_else(|| panic!("{} is not in configuration.md", row.name));
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let beside = match row.beside_dmarc {
                Beside::SameFact => "the same fact",
                Beside::TooLittle => "too little",
                Beside::Evidence => "evidence",
            };
            assert_eq!(
                (cells[2], cells[3]),
                (&*format!("{:.1}", f64::from(row.tenths) / 10.0), beside),
                "{line}"
            );
        }
    }
}
