//! The configuration files: TOML, one per role, strict.
//!
//! An unknown key, a value of the wrong kind or out of bounds is an error that names file, line and key.

mod deliver;
mod edge;
mod filter;
mod foreign_edge;
mod foreign_home;
mod home;
mod smarthost;
mod units;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use deliver::DeliverConfig;
pub use edge::{
    DmarcPolicy, DoorConfig, EdgeConfig, ListConfig, OnDnsFailure, PolicyConfig, ScoreConfig, tenths,
};
pub use filter::{Direction, FilterConfig, Kind as FilterKind, OnFailure, TIMEOUT_MAX as FILTER_TIMEOUT_MAX};
pub use foreign_edge::ForeignEdgeConfig;
pub use foreign_home::ForeignHomeConfig;
pub use home::{EdgePin, HomeConfig, Limits as HomeLimits, OnLeak, QueueConfig, SendingConfig, Switch};
pub use smarthost::{SmarthostConfig, TlsStart};
pub use units::{Octets, Seconds};

use crate::problem::Problem;

/// Where a certificate is, when it is not the self-made one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM chain, leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM private key.
    pub key: Option<PathBuf>,
}

impl TlsConfig {
    /// The files configured, or the self-made ones in the data directory.
    pub fn files(&self, data: &Path) -> net::tls::CertificateFiles {
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                net::tls::CertificateFiles { certificate: certificate.clone(), key: key.clone() }
            }
            _ => net::tls::CertificateFiles {
                certificate: data.join("certificate.pem"),
                key: data.join("certificate-key.pem"),
            },
        }
    }

    /// Whether the self-made certificate is used.
    pub fn is_self_made(&self) -> bool {
        self.certificate.is_none() || self.key.is_none()
    }

    fn check(&self) -> Result<(), String> {
        if self.certificate.is_some() == self.key.is_some() {
            Ok(())
        } else {
            Err("[tls] needs both certificate and key, or neither for a self-made one".to_owned())
        }
    }
}

/// Values that a role checks beyond their types.
pub trait Checked: DeserializeOwned {
    /// Says what is wrong with a value that parsed.
    fn check(&self) -> Result<(), String>;
}

/// Reads and checks a file.
pub fn load<C: Checked>(path: &Path) -> Result<C, Problem> {
    let advice = "make it with 'postern edge setup' or 'postern home setup', or name it with --config";
    let text = crate::files::read_text(path, advice)?;
    parse(path, &text)
}

fn parse<C: Checked>(path: &Path, text: &str) -> Result<C, Problem> {
    let config: C = toml::from_str(text).map_err(|error| syntax_problem(path, text, &error))?;
    config
        .check()
        .map_err(|what| Problem::setup(format!("{}: {what}", path.display()), "correct the file"))?;
    Ok(config)
}

fn syntax_problem(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let source = text.lines().nth(line - 1).unwrap_or_default();
    let message = error.message();
    let what = format!("{}:{line}:{column}: {message}\n  {line} | {source}", path.display());
    let advice = suggestion(message).unwrap_or_else(|| "correct the line".to_owned());
    Problem::setup(what, advice)
}

/// For "unknown field `a`, expected one of `b`, `c`": the known key that is nearest to the unknown one.
fn suggestion(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let nearest = quoted.min_by_key(|known| distance(unknown, known))?;
    let close = distance(unknown, nearest) <= 3.min(unknown.chars().count());
    Some(if close {
        format!("did you mean '{nearest}'?")
    } else {
        "remove the key, or see the documentation for its name".to_owned()
    })
}

/// Edit distance of two keys.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of<C: Checked + std::fmt::Debug>(text: &str) -> String {
        parse::<C>(Path::new("postern.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_an_error_with_file_line_and_suggestion() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[listen]\nsntp = []\n");
        assert!(error.starts_with("postern.toml:3:1: unknown field `sntp`"), "{error}");
        assert!(error.contains("did you mean 'smtp'?"), "{error}");
    }

    #[test]
    fn a_bad_address_names_its_line() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[listen]\nsmtp = [\"0.0.0.0\"]\n");
        assert!(error.contains("postern.toml:3:"), "{error}");
        assert!(error.contains("invalid socket address"), "{error}");
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[tls]\nkey = \"k.pem\"\n");
        assert!(error.contains("needs both certificate and key"), "{error}");
    }

    #[test]
    fn limits_are_taken_at_their_bound_and_refused_past_it() {
        let home = |octets: u64| format!("domains = [\"example.org\"]\n[limits]\nmessage = {octets}\n");
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(1 << 30)).is_ok());
        let error = error_of::<HomeConfig>(&home((1 << 30) + 1));
        assert!(error.contains("message"), "{error}");
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(64 * 1024)).is_ok());
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(64 * 1024 - 1)).is_err());
    }

    #[test]
    fn sessions_are_one_to_a_hundred_thousand_and_an_address_has_one_at_least() {
        let home = |limits: &str| {
            let text = format!("domains = [\"example.org\"]\n[limits]\n{limits}\n");
            parse::<HomeConfig>(Path::new("home.toml"), &text).is_ok()
        };
        let sessions = ["sessions = 0", "sessions = 1", "sessions = 100000", "sessions = 100001"];
        assert_eq!(sessions.map(home), [false, true, true, false]);
        assert_eq!(["sessions_per_address = 0", "sessions_per_address = 1"].map(home), [false, true]);
    }

    #[test]
    fn unsigned_addresses_are_ours_and_no_more_than_their_limit() {
        let home =
            |unsigned: &str| format!("domains = [\"example.org\"]\n[return_path]\nunsigned = [{unsigned}]\n");
        let error = error_of::<HomeConfig>(&home("\"a@example.com\""));
        assert!(error.contains("unsigned: a@example.com is not of a domain"), "{error}");
        assert!(
            parse::<HomeConfig>(Path::new("home.toml"), &home(&"\"a@example.org\", ".repeat(1000))).is_ok()
        );
        let error = error_of::<HomeConfig>(&home(&"\"a@example.org\", ".repeat(1001)));
        assert!(error.contains("at most 1000"), "{error}");
    }

    #[test]
    fn the_distance_of_words_is_counted_in_edits() {
        assert_eq!(distance("smtp", "sntp"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
