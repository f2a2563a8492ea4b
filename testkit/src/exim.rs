//! Exim, as an MTA at the other end. It speaks everything that we do: PIPELINING, CHUNKING, SMTPUTF8, DSN.

use crate::cell::Cell;
use crate::process::Process;
use crate::remote_mta::{RemoteMta, Site, read_mailbox, wait_for_greeting, wait_for_silence};

use crate::submission::{Security, Submission};

const DOMAIN: &str = "exim.test";
/// Debian's place for it, where it looks without being told.
const CONFIGURATION: &str = "etc/exim4/exim4.conf";
/// It is greylisting while this is there.
const LATER: &str = "etc/exim4/later";

/// An Exim with files of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Exim {
    process: Option<Process>,
    cell: Cell,
    site: Site,
}

impl Exim {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(site: &Site) -> Self {
        let cell = Cell::new("exim4-daemon-light", &site.namespace, site.name_server);
        cell.write(CONFIGURATION, &configuration(site));
        cell.make_certificate(&format!("mx.{DOMAIN}"), "Debian-exim");
        for (dir, owner) in
            [("var/spool/exim4", "Debian-exim"), ("var/log/exim4", "Debian-exim"), ("var/mail", "nobody")]
        {
            cell.make_dir(dir, owner, 0o755);
        }
        let mut exim = Self { process: None, cell, site: site.clone() };
        RemoteMta::start(&mut exim);
        exim
    }
}

impl RemoteMta for Exim {
    fn domain(&self) -> &str {
        DOMAIN
    }

    fn start(&mut self) {
        let mut command = self.cell.command("/opt/usr/sbin/exim4");
        // In the foreground, and it looks into its queue each second.
        command.args(["-bdf", "-q1s"]);
        self.process = Some(Process::start(command, &self.cell.path("var/log/output")));
        wait_for_greeting(&self.site.namespace, self.site.port(25));
    }

    fn stop(&mut self) {
        self.process = None;
        wait_for_silence(&self.site.namespace, self.site.port(25));
    }

    fn greylist(&mut self, on: bool) {
        if on {
            self.cell.write(LATER, "");
        } else {
            std::fs::remove_file(self.cell.path(LATER)).expect("its file");
        }
    }

    fn submission(&self) -> Submission {
        Submission {
            namespace: Some(self.site.namespace.clone()),
            server: self.site.port(25),
            security: Security::StartTls,
            login: None,
        }
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        read_mailbox(&self.cell.path("var/mail/new"))
    }

    fn log(&self) -> String {
        let read = |name| std::fs::read(self.cell.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&["var/log/output", "var/log/exim4/main"].map(read).concat()).into_owned()
    }
}

fn configuration(site: &Site) -> String {
    let address = site.address;
    format!(
        "primary_hostname = mx.{DOMAIN}\nexim_path = /opt/usr/sbin/exim4\nspool_directory = /var/spool/exim4\n\
         log_file_path = /var/log/exim4/%s\npid_file_path = /run/exim4.pid\nlocal_interfaces = {address}\n\
         domainlist local_domains = {DOMAIN}\nkeep_environment =\nacl_smtp_rcpt = acl_rcpt\n\
         acl_smtp_data = accept\nacl_smtp_dkim = accept\ntls_certificate = /etc/tls/certificate.pem\n\
         tls_privatekey = /etc/tls/key.pem\nsmtputf8_advertise_hosts = *\ndsn_advertise_hosts = *\n\
         log_selector = +pipelining +tls_cipher +dkim +received_recipients -queue_run\n\
         dkim_verify_signers = $dkim_signers\n\
         begin acl\n\
         acl_rcpt:\n\
         \x20 defer message = greylisted, come back later\n    condition = ${{if exists{{/{LATER}}}}}\n\
         \x20 deny message = no such user here\n    domains = +local_domains\n    local_parts = rejected\n\
         \x20 accept domains = +local_domains\n\
         \x20 accept hosts = {address}\n    control = dkim_disable_verify\n\
         \x20 deny message = relaying is not permitted\n\
         begin routers\n\
         here:\n  driver = accept\n  domains = +local_domains\n  transport = mailbox\n\
         elsewhere:\n  driver = dnslookup\n  transport = mx\n  no_more\n\
         begin transports\n\
         mailbox:\n  driver = appendfile\n  directory = /var/mail\n  maildir_format\n  envelope_to_add\n\
         \x20 return_path_add\n  user = nobody\n  group = nogroup\n\
         mx:\n  driver = smtp\n\
         begin retry\n* * F,1h,1s\n"
    )
}
