//! chasquid, as an MTA at the other end. It has SMTPUTF8 and PIPELINING, no CHUNKING and no DSN.

use std::time::Duration;

use crate::cell::Cell;
use crate::process::{self, Process};
use crate::remote_mta::{RemoteMta, Site, read_mailbox, wait_for_greeting, wait_for_silence};

use crate::submission::{Security, Submission};

const DOMAIN: &str = "chasquid.test";
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "pretty secret";
/// The users that it knows.
const USERS: [&str; 2] = ["you", "j\u{f6}rg"];
/// It is greylisting while this is there.
const LATER: &str = "etc/chasquid/later";
const HOOK: &str = "#!/bin/sh\n[ ! -e /etc/chasquid/later ] || { echo 'come back later'; exit 75; }\n";
/// Its only way to deliver: a program with the message on its standard input.
const DELIVER: &str = r#"#!/bin/sh
set -e
new=$(mktemp /var/mail/.XXXXXXXX)
{ printf 'Delivered-To: %s\n' "$1"; cat; } > "$new"
mv "$new" "/var/mail/$(basename "$new" | tr -d .)"
"#;

/// A chasquid with files of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Chasquid {
    process: Option<Process>,
    cell: Cell,
    site: Site,
}

impl Chasquid {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(site: &Site) -> Self {
        let cell = Cell::new("chasquid", &site.namespace, site.name_server);
        cell.write("etc/chasquid/chasquid.conf", &configuration(site));
        cell.write("etc/chasquid/deliver", DELIVER);
        cell.write("etc/chasquid/hooks/post-data", HOOK);
        for script in ["etc/chasquid/deliver", "etc/chasquid/hooks/post-data"] {
            let run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(cell.path(script), run).expect("permissions");
        }
        cell.make_certificate(&format!("mx.{DOMAIN}"), "nobody");
        let own = format!("etc/chasquid/certs/mx.{DOMAIN}");
        for (from, to) in [("certificate.pem", "fullchain.pem"), ("key.pem", "privkey.pem")] {
            cell.make_dir(&own, "nobody", 0o755);
            std::fs::copy(cell.path("etc/tls").join(from), cell.path(&own).join(to)).expect("a copy");
        }
        cell.make_dir(&format!("etc/chasquid/domains/{DOMAIN}"), "nobody", 0o755);
        cell.make_dir("var/lib/chasquid", "nobody", 0o755);
        cell.make_dir("var/mail", "nobody", 0o755);
        for user in USERS {
            let mut command = cell.command("/opt/usr/bin/chasquid-util");
            command.args(["user-add", &format!("{user}@{DOMAIN}"), &format!("--password={PASSWORD}")]);
            process::run_ok(command, b"", PATIENCE);
        }
        let mut chown = process::command(None, "chown");
        chown.args(["-R", "nobody"]).arg(cell.path("etc/chasquid"));
        process::run_ok(chown, b"", PATIENCE);
        let mut chasquid = Self { process: None, cell, site: site.clone() };
        RemoteMta::start(&mut chasquid);
        chasquid
    }
}

impl RemoteMta for Chasquid {
    fn domain(&self) -> &str {
        DOMAIN
    }

    fn start(&mut self) {
        // It is made to be nobody special; systemd gives it the ports.
        let mut command = self.cell.command("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        command.args(["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]);
        command.arg("/opt/usr/bin/chasquid");
        self.process = Some(Process::start(command, &self.cell.path("var/log/output")));
        for port in [25, 587] {
            wait_for_greeting(&self.site.namespace, self.site.port(port));
        }
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
            server: self.site.port(587),
            security: Security::StartTls,
            login: Some((format!("you@{DOMAIN}"), PASSWORD.to_owned())),
        }
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        read_mailbox(&self.cell.path("var/mail"))
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.cell.path("var/log/output")).unwrap_or_default())
            .into_owned()
    }
}

fn configuration(site: &Site) -> String {
    let address = site.address;
    format!(
        "hostname: \"mx.{DOMAIN}\"\nsmtp_address: \"{address}:25\"\nsubmission_address: \"{address}:587\"\n\
         data_dir: \"/var/lib/chasquid\"\nmail_delivery_agent_bin: \"/etc/chasquid/deliver\"\n\
         mail_delivery_agent_args: \"%to%\"\nmail_log_path: \"<stdout>\"\n"
    )
}
