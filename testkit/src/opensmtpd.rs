//! OpenSMTPD, as an MTA at the other end. It has no PIPELINING, CHUNKING or SMTPUTF8.
//!
//! Debian 12's offers STARTTLS and fails at it: its keys are in a process of their own, and what it does for that does
//! not work with OpenSSL 3 (OpenSMTPD's issue 1171). So it stands for hosts whose TLS is broken.

use std::time::Duration;

use crate::cell::Cell;
use crate::process::{self, Process};
use crate::remote_mta::{RemoteMta, Site, read_mailbox, wait_for_greeting, wait_for_silence};

use crate::submission::{Security, Submission};

const DOMAIN: &str = "opensmtpd.test";
const CONFIGURATION: &str = "etc/smtpd.conf";
const PATIENCE: Duration = Duration::from_secs(30);

/// An OpenSMTPD with files of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct OpenSmtpd {
    process: Option<Process>,
    cell: Cell,
    site: Site,
}

impl OpenSmtpd {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(site: &Site) -> Self {
        let cell = Cell::new("opensmtpd", &site.namespace, site.name_server);
        cell.write(CONFIGURATION, &configuration(site, ""));
        cell.make_certificate(&format!("mx.{DOMAIN}"), "root");
        cell.make_dir("var/lib/opensmtpd/empty", "root", 0o755);
        cell.make_dir("var/spool/smtpd", "root", 0o711);
        cell.make_dir("var/mail", "nobody", 0o755);
        let mut smtpd = Self { process: None, cell, site: site.clone() };
        RemoteMta::start(&mut smtpd);
        smtpd
    }
}

impl RemoteMta for OpenSmtpd {
    fn domain(&self) -> &str {
        DOMAIN
    }

    fn speaks_tls(&self) -> bool {
        false
    }

    fn start(&mut self) {
        let mut command = self.cell.command("/opt/usr/sbin/smtpd");
        command.args(["-d", "-f"]).arg(format!("/{CONFIGURATION}"));
        self.process = Some(Process::start(command, &self.cell.path("var/log/output")));
        wait_for_greeting(&self.site.namespace, self.site.port(25));
    }

    fn stop(&mut self) {
        self.process = None;
        wait_for_silence(&self.site.namespace, self.site.port(25));
    }

    fn try_again(&self) {
        // By itself it waits for minutes. Unpacked, the program has not the group that it asks for.
        let mut control = self.cell.command("/usr/bin/setpriv");
        control.args(["--regid", "opensmtpq", "--clear-groups", "/opt/usr/sbin/smtpctl", "schedule", "all"]);
        process::run_ok(control, b"", PATIENCE);
    }

    fn greylist(&mut self, on: bool) {
        let filter =
            "filter later phase rcpt-to match src { 0.0.0.0/0 } reject \"451 4.7.1 come back later\"\n";
        self.stop();
        self.cell.write(CONFIGURATION, &configuration(&self.site, if on { filter } else { "" }));
        RemoteMta::start(self);
    }

    fn submission(&self) -> Submission {
        Submission {
            namespace: Some(self.site.namespace.clone()),
            server: self.site.port(25),
            security: Security::None,
            login: None,
        }
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        read_mailbox(&self.cell.path("var/mail/new"))
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.cell.path("var/log/output")).unwrap_or_default())
            .into_owned()
    }
}

fn configuration(site: &Site, filter: &str) -> String {
    let address = site.address;
    let filtered = if filter.is_empty() { "" } else { "filter later" };
    format!(
        "{filter}pki own cert \"/etc/tls/certificate.pem\"\npki own key \"/etc/tls/key.pem\"\n\
         listen on {address} tls pki own hostname mx.{DOMAIN} {filtered}\n\
         action box maildir \"/var/mail\" virtual {{ \"@\" = nobody }}\n\
         action out relay helo mx.{DOMAIN}\n\
         mta limit conn-delay-host 0 conn-delay-source 0 conn-delay-connector 0 conn-delay-relay 0\n\
         mta limit conn-delay-domain 0 reconn-delay-route 0\n\
         match from any for rcpt-to \"rejected@{DOMAIN}\" reject\n\
         match from any for domain \"{DOMAIN}\" action box\n\
         match from local for any action out\nmatch from src {address} for any action out\n"
    )
}
