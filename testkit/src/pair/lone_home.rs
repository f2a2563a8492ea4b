//! A home without an edge of ours: what it does, its configuration says.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use super::{DOMAIN, MorePlace, PASSWORD, Role, as_user};
use crate::imap::Account;

/// A home with the users `alice` and `bob`, running.
#[derive(Debug)]
pub struct LoneHome {
    // Dropped in this order: the process before its files.
    /// Its files and its process.
    pub role: Role,
    /// Where it takes outgoing mail.
    pub submission: SocketAddr,
    /// The address where it serves IMAP.
    pub imap: SocketAddr,
    domain: String,
    dir: TempDir,
}

impl LoneHome {
    /// Sets it up and starts it with this merged into `home.toml`.
    ///
    /// # Panics
    /// When something does not work as it should for an operator.
    #[must_use]
    pub fn start(config: &str) -> Self {
        let mut home = Self::set_up(config);
        home.role.start();
        home
    }

    /// As [`Self::start`], and it does not run yet.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn set_up(config: &str) -> Self {
        Self::set_up_at(&MorePlace::loopback(), DOMAIN, config)
    }

    /// As [`Self::set_up`], somewhere else and for a domain.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn set_up_at(place: &MorePlace, domain: &str, config: &str) -> Self {
        let dir = crate::leavings::dir("home");
        let role = Role::new("home", &dir.path().join("home"), place.namespace.clone());
        let [submission, imap] = place.listen;
        let data = role.data.display().to_string();
        let (at, mailboxes) = (submission.to_string(), imap.to_string());
        let mut arguments = vec!["home", "setup", "--domain", domain, "--data", &data];
        arguments.extend(as_user());
        arguments.extend(["--submission", &at, "--imap", &mailboxes]);
        role.command_ok(&arguments, "");
        role.configure(config);
        let home = Self { role, submission, imap, domain: domain.to_owned(), dir };
        for user in ["alice", "bob"] {
            let address = format!("{user}@{domain}");
            home.role.command_ok(&["user", "add", &address, "--password-stdin"], &format!("{PASSWORD}\n"));
        }
        home
    }

    /// A user's mailboxes.
    #[must_use]
    pub fn account(&self, name: &str) -> Account {
        Account {
            server: self.imap,
            user: format!("{name}@{}", self.domain),
            password: PASSWORD.to_owned(),
            namespace: self.role.namespace.clone(),
        }
    }

    /// The directory that everything of it is in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for LoneHome {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.role.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("---- the end of home's log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}
