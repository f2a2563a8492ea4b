//! The scoring table: what counts for and against a client or a message, and how much.
//!
//! A sign is something seen, its points come from here and nowhere else. Points are tenths, so that sums are
//! exact.

use std::collections::BTreeMap;

use mail::Sign;
pub use mail::{explain_signs as explain, sum_of_signs as total};

use crate::config::{ScoreConfig, tenths};

/// The rows: name, points in tenths, meaning. `edge.toml` may give each other points.
pub const ROWS: &[(&str, i32, &str)] = &[
    ("pregreet", 60, "the client spoke before it was greeted"),
    ("early-talker", 20, "it sent commands before the reply to EHLO"),
    ("no-ptr", 15, "its address has no name"),
    ("ptr-mismatch", 10, "the name of its address does not lead back to it"),
    ("helo-bare", 10, "it calls itself something without a domain"),
    ("helo-ours", 60, "it calls itself by this host's name or address"),
    ("helo-unknown", 7, "the name it calls itself has no address"),
    ("spf-fail", 30, "SPF says that it may not send for the domain"),
    ("spf-softfail", 10, "SPF says that it probably may not"),
    ("spf-error", 5, "the SPF record can't be understood, or DNS does not answer"),
    ("dkim-fail", 5, "the message is signed and no signature holds"),
    ("dmarc-fail", 20, "nobody vouches for the author's domain, whose owner wants nothing done"),
    ("dmarc-pass", -15, "the author's domain is vouched for"),
    ("from-broken", 60, "the From field names no author, or several"),
    ("forged-dsn", 40, "the reverse-path is null and the message is no notification"),
];

/// The table as it is in force.
#[derive(Debug, Clone)]
pub struct Table {
    points: BTreeMap<String, i32>,
    /// From here on a client is asked to come again.
    pub greylist_from: i32,
    /// From here on a message goes to Junk.
    pub junk_from: i32,
    /// From here on it is refused.
    pub reject_from: i32,
}

impl Table {
    /// The rows above, with what the configuration changes.
    pub fn new(config: &ScoreConfig) -> Self {
        let mut points: BTreeMap<String, i32> =
            ROWS.iter().map(|(name, tenths, _)| ((*name).to_owned(), *tenths)).collect();
        points.extend(config.points.iter().map(|(name, points)| (name.clone(), tenths(*points))));
        Self {
            points,
            greylist_from: tenths(config.greylist_from),
            junk_from: tenths(config.junk_from),
            reject_from: tenths(config.reject_from),
        }
    }

    /// A sign of that row, unless it counts nothing.
    pub fn sign(&self, row: &str, detail: impl Into<String>) -> Option<Sign> {
        let tenths = self.points.get(row).copied().filter(|tenths| *tenths != 0)?;
        Some(Sign { name: row.to_owned(), tenths, detail: detail.into() })
    }
}

/// Whether there is such a row.
pub fn is_row(name: &str) -> bool {
    ROWS.iter().any(|(known, ..)| *known == name)
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
        let names: std::collections::BTreeSet<&str> = ROWS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), ROWS.len());
    }
}
