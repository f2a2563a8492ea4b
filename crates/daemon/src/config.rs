//! The configuration files: TOML, one per role, strict.
//!
//! An unknown key, a value of the wrong kind or out of bounds is an error that names file, line and key. What keys there
//! are is each role's; here is how any of them is read.

mod units;
mod words;

use std::path::{Path, PathBuf};

use link::Role;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

pub use units::{Octets, Seconds, parsed};

/// Where a certificate is, when it is not the self-made one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The file with the PEM chain, leaf first.
    pub certificate: Option<PathBuf>,
    /// The file with the PEM private key.
    pub key: Option<PathBuf>,
}

/// What the service manager hands over under these names is used, when the configuration names no files (`LoadCredential=` in
/// the units).
const CREDENTIALS: [&str; 2] = ["tls.crt", "tls.key"];

impl TlsConfig {
    /// The files configured, else those that the service manager handed over, else the self-made ones in the data directory.
    pub fn files(&self, data: &Path) -> net::tls::CertificateFiles {
        self.given().unwrap_or_else(|| net::tls::CertificateFiles {
            certificate: data.join("certificate.pem"),
            key: data.join("certificate-key.pem"),
        })
    }

    /// Whether the self-made certificate is used.
    pub fn is_self_made(&self) -> bool {
        self.given().is_none()
    }

    fn given(&self) -> Option<net::tls::CertificateFiles> {
        let configured = self.certificate.clone().zip(self.key.clone());
        let (certificate, key) =
            configured.or_else(|| credentials(std::env::var_os("CREDENTIALS_DIRECTORY")?.as_ref()))?;
        Some(net::tls::CertificateFiles { certificate, key })
    }

    /// What to type when the files can't be used; `file` is the configuration's.
    pub fn advice(&self, file: &str) -> String {
        if self.certificate.is_none() && self.given().is_some() {
            return "correct both files in /etc/credstore, and restart the service; or remove both for a self-made one".to_owned();
        }
        format!("correct [tls] certificate and key in {file}, or remove both for a self-made one")
    }

    /// Says what is wrong with it.
    ///
    /// # Errors
    /// One of the two without the other.
    pub fn check(&self) -> Result<(), String> {
        if self.certificate.is_some() == self.key.is_some() {
            Ok(())
        } else {
            Err("[tls] needs both certificate and key, or neither for a self-made one".to_owned())
        }
    }
}

/// Certificate and key that the service manager handed over in this directory. One without the other is told when it is read.
fn credentials(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let [certificate, key] = CREDENTIALS.map(|name| dir.join(name));
    (certificate.is_file() || key.is_file()).then_some((certificate, key))
}

/// Values that a role checks beyond their types.
pub trait Checked: DeserializeOwned {
    /// The role that the file configures.
    const ROLE: Role;

    /// Says what is wrong with a value that parsed.
    fn check(&self) -> Result<(), String>;
}

/// Reads and checks a file.
///
/// # Errors
/// When the file can't be read, is that of the other role, or holds what can't be: the operator corrects it.
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
///
/// # Errors
/// When the file can't be read.
pub fn role_of(path: &Path) -> Result<Role, Problem> {
    read(path, Role::Home).map(|text| role_in(&text).unwrap_or(Role::Home))
}

pub(crate) fn read(path: &Path, role: Role) -> Result<String, Problem> {
    let (setup, other) = match role {
        Role::Edge => ("postern edge setup", Role::Home),
        Role::Home => ("postern home setup", Role::Edge),
    };
    let beside = path.with_file_name(if other == Role::Home { "home.toml" } else { "edge.toml" });
    if !path.exists() && beside.exists() {
        return Err(Problem::setup(
            format!("this host is {}: there is no {} here", name(other), path.display()),
            format!("type it on the host that is {}, or name its file with --config", name(role)),
        ));
    }
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
///
/// # Errors
/// The first thing in it that can't be, with its line and what may stand there.
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

    #[test]
    fn what_the_service_manager_hands_over_is_used_only_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(credentials(dir.path()), None);
        let [certificate, key] = CREDENTIALS.map(|name| dir.path().join(name));
        std::fs::write(&certificate, "").unwrap();
        assert!(
            credentials(dir.path()).is_some(),
            "a certificate without its key is told, and not passed over"
        );
        std::fs::write(&key, "").unwrap();
        assert_eq!(credentials(dir.path()), Some((certificate, key)));
    }
}
