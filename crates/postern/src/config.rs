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
mod words;

use std::path::{Path, PathBuf};

use link::Role;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use deliver::DeliverConfig;
pub use edge::{
    DmarcPolicy, DoorConfig, EdgeConfig, ListConfig, OnDnsFailure, PolicyConfig, ScoreConfig, tenths,
};
pub use filter::{Direction, FilterConfig, Kind as FilterKind, OnFailure, TIMEOUT_MAX as FILTER_TIMEOUT_MAX};
pub use foreign_edge::ForeignEdgeConfig;
pub use foreign_home::ForeignHomeConfig;
pub use home::{
    DateZone, EdgePin, HomeConfig, Limits as HomeLimits, OnLeak, QueueConfig, SendingConfig, Switch,
};
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
    /// Whose file it is.
    const ROLE: Role;

    /// Says what is wrong with a value that parsed.
    fn check(&self) -> Result<(), String>;
}

/// Reads and checks a file.
pub fn load<C: Checked>(path: &Path) -> Result<C, Problem> {
    let text = read(path, C::ROLE)?;
    // What is wrong with the other role's file is that it is the other role's.
    if let Some(role) = role_in(&text).filter(|role| *role != C::ROLE) {
        return Err(Problem::setup(
            format!("{} is the configuration of {}, not of {}", path.display(), name(role), name(C::ROLE)),
            format!("name the file of {} with --config", name(C::ROLE)),
        ));
    }
    parse(path, &text)
}

/// Text as it stands in a file: quoted, so that it is read as what it was.
pub fn quoted(text: &str) -> String {
    // The shortest form is not always a basic string, and lines are compared.
    toml::Value::String(text.to_owned()).to_string()
}

/// Whose configuration a file is. A file that is no TOML is taken for Home's: reading it says what is wrong.
pub fn role_of(path: &Path) -> Result<Role, Problem> {
    read(path, Role::Home).map(|text| role_in(&text).unwrap_or(Role::Home))
}

fn read(path: &Path, role: Role) -> Result<String, Problem> {
    let setup = match role {
        Role::Edge => "postern edge setup",
        Role::Home => "postern home setup",
    };
    crate::files::read_text(path, &format!("make it with '{setup}', or name another with --config"))
}

/// Each role has one key that it can't be without. `None` when neither is there, or both.
fn role_in(text: &str) -> Option<Role> {
    let table: toml::Table = text.parse().ok()?;
    // Home may have a `hostname` too.
    if table.contains_key("domains") {
        return Some(Role::Home);
    }
    table.contains_key("hostname").then_some(Role::Edge)
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Edge => "Edge",
        Role::Home => "Home",
    }
}

/// Reads and checks the text of a file of this name.
pub fn parse<C: Checked>(path: &Path, text: &str) -> Result<C, Problem> {
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
    let message = words::plain(error.message());
    let what = format!("{}:{line}:{column}: {message}\n  {line} | {source}", path.display());
    Problem::setup(what, words::advice(error.message()))
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
        assert!(error.starts_with("postern.toml:3:1: there is no key 'sntp' here"), "{error}");
        assert!(error.contains("did you mean 'smtp'?"), "{error}");
    }

    #[test]
    fn a_bad_address_names_its_line() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[listen]\nsmtp = [\"0.0.0.0\"]\n");
        assert!(error.contains("postern.toml:3:"), "{error}");
        assert!(error.contains("an address and a port"), "{error}");
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[tls]\nkey = \"k.pem\"\n");
        assert!(error.contains("needs both certificate and key"), "{error}");
    }

    #[test]
    fn dates_leave_in_utc_unless_the_configuration_keeps_them() {
        let zone = |value: &str| {
            let text = format!("domains = [\"example.org\"]\n[submission]\n{value}");
            parse::<HomeConfig>(Path::new("home.toml"), &text).map(|config| config.submission.date_zone)
        };
        assert_eq!(zone("").unwrap(), DateZone::Utc);
        assert_eq!(zone("date_zone = \"utc\"").unwrap(), DateZone::Utc);
        assert_eq!(zone("date_zone = \"keep\"").unwrap(), DateZone::Keep);
        assert!(zone("date_zone = \"+0100\"").is_err());
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
    fn a_home_may_be_away_for_a_second_to_a_year_before_the_operator_is_warned() {
        let edge = |secs: u64| format!("hostname = \"mx.example.org\"\n[homes]\naway_warning = {secs}\n");
        let year = 365 * 24 * 3600;
        for good in [1, year] {
            assert!(parse::<EdgeConfig>(Path::new("edge.toml"), &edge(good)).is_ok());
        }
        for bad in [0, year + 1] {
            assert!(error_of::<EdgeConfig>(&edge(bad)).contains("away_warning has to be 1 s to 365 d"));
        }
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
}
