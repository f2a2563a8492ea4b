//! Handing a message to an MTA as its user, with ESMTP parameters: Python's smtplib.

use std::net::SocketAddr;
use std::time::Duration;

use crate::process;

const SUBMIT: &str = include_str!("submit.py");
const PATIENCE: Duration = Duration::from_secs(90);

/// How the connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first octet.
    Tls,
    /// STARTTLS.
    StartTls,
    /// Neither TLS nor STARTTLS.
    None,
}

/// An MTA that takes mail from its users.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The network namespace to be in.
    pub namespace: Option<String>,
    /// The address that it listens on.
    pub server: SocketAddr,
    /// The kind of connection.
    pub security: Security,
    /// User and password, if it wants them.
    pub login: Option<(String, String)>,
}

/// A message and what is asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The reverse-path.
    pub from: &'a str,
    /// The recipient, or several with commas between them.
    pub to: &'a str,
    /// Parameters of MAIL, with spaces between them.
    pub mail_options: &'a str,
    /// Parameters of RCPT, with spaces between them.
    pub rcpt_options: &'a str,
    /// The message, with CRLF.
    pub message: &'a [u8],
}

impl Submission {
    /// Hands a message in.
    ///
    /// # Panics
    /// When it is not taken.
    pub fn send(&self, sent: Sent<'_>) {
        let (ip, port) = (self.server.ip().to_string(), self.server.port().to_string());
        let security = match self.security {
            Security::Tls => "tls",
            Security::StartTls => "starttls",
            Security::None => "none",
        };
        let (user, password) = self.login.clone().unwrap_or_default();
        let mut python = process::command(self.namespace.as_deref(), "/usr/bin/python3");
        python.args(["-c", SUBMIT, &ip, &port, security, &user, &password]);
        python.args([sent.from, sent.to, sent.mail_options, sent.rcpt_options]);
        process::run_ok(python, sent.message, PATIENCE);
    }
}
