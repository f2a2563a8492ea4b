//! Reading mailboxes with Python's imaplib: somebody else's idea of IMAP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::process;

const PRELUDE: &str = include_str!("imap_prelude.py");
const PYTHON: &str = "/usr/bin/python3";
const PATIENCE: Duration = Duration::from_secs(180);

/// An account on an IMAP server.
#[derive(Debug, Clone)]
pub struct Account {
    /// The server, TLS first.
    pub server: SocketAddr,
    /// The login, which is the whole address.
    pub user: String,
    /// The password.
    pub password: String,
    /// The network namespace to be in.
    pub namespace: Option<String>,
}

impl Account {
    /// Runs a Python script with `imap`, a logged-in `imaplib.IMAP4_SSL`, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn script(&self, script: &str) -> String {
        let mut command = process::command(self.namespace.as_deref(), PYTHON);
        command.args(["-c", &format!("{PRELUDE}\n{script}")]);
        command.args([&self.server.ip().to_string(), &self.server.port().to_string()]);
        command.args([&self.user, &self.password]);
        process::run_ok(command, b"", PATIENCE)
    }

    /// How many messages a mailbox holds.
    #[must_use]
    pub fn count(&self, mailbox: &str) -> usize {
        let printed = self.script(&format!("print(count({mailbox:?}))"));
        printed.trim().parse().unwrap_or_else(|_| panic!("a number: {printed}"))
    }

    /// Whole messages, by UID, in order.
    ///
    /// # Panics
    /// When they can't be read.
    #[must_use]
    pub fn messages(&self, mailbox: &str) -> Vec<Vec<u8>> {
        self.fetch(mailbox, "BODY.PEEK[]")
    }

    /// The subjects, by UID, in order.
    #[must_use]
    pub fn subjects(&self, mailbox: &str) -> Vec<String> {
        let fields = self.fetch(mailbox, "BODY.PEEK[HEADER.FIELDS (SUBJECT)]");
        fields.iter().map(|field| crate::message::field(field, "Subject").unwrap_or_default()).collect()
    }

    fn fetch(&self, mailbox: &str, what: &str) -> Vec<Vec<u8>> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().display().to_string();
        let _ = self.script(&format!("fetch_to_file({mailbox:?}, {what:?}, {path:?})"));
        split(&std::fs::read(Path::new(&path)).expect("the messages"))
    }
}

/// The messages in a file that holds each after its length and a line end.
///
/// # Panics
/// When it is cut off.
#[must_use]
pub fn split(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(end) = octets.iter().position(|octet| *octet == b'\n') {
        let length: usize = String::from_utf8_lossy(&octets[..end]).parse().expect("a length");
        messages.push(octets[end + 1..end + 1 + length].to_vec());
        octets = &octets[end + 1 + length..];
    }
    messages
}

/// What a script printed as JSON.
///
/// # Panics
/// When it is not JSON.
#[must_use]
pub fn json(printed: &str) -> Value {
    serde_json::from_str(printed.trim()).unwrap_or_else(|error| panic!("{error}: {printed}"))
}
