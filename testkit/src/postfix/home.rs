//! Postfix and Dovecot as the home behind a Postern Edge. What Postfix is told is read from `docs/src/standard-hops.md`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{PATIENCE, Postfix};
use crate::certificates::Certificate;
use crate::process::{self, Process};
use crate::{page, ports, until};

const DOVECOT: &str = include_str!("home.dovecot.conf");
/// What the tests want beside what the page says.
const MORE: &str = "compatibility_level = 3.6\nmynetworks =\nheader_checks = regexp:{dir}/header_checks\n\
    smtpd_recipient_restrictions = check_recipient_access inline:{hermit@example.org=REJECT}\n";
/// Who has a mailbox.
const PEOPLE: [&str; 4] = ["bob", "carol", "postmaster", "hermit"];
/// What the header of a message must not have.
const HEADER_CHECKS: &str = "/^Subject: forbidden/ REJECT cellar.lan wants no forbidden subjects\n";

/// The name that an Edge logs in with.
pub const EDGE_USER: &str = "edge";
/// Its password.
pub const EDGE_PASSWORD: &str = "staple battery";

/// Whom the home lets hand mail in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Who shows the certificate with this SHA-256 fingerprint.
    Certificate(&'a str),
    /// Who logs in.
    Login,
}

/// The two programs. They have `bob`, `carol` and `postmaster` of `example.org`, and
/// `hermit`, to whom nobody may write. They stop when this is dropped.
#[derive(Debug)]
pub struct PostfixHome {
    dovecot: Option<Process>,
    postfix: Postfix,
    smtps: SocketAddr,
    certificate: Certificate,
    is_running: bool,
}

impl PostfixHome {
    /// Its files; nothing runs yet. Without a certificate it makes its own.
    ///
    /// # Panics
    /// When they can't be written.
    #[must_use]
    pub fn new(certificate: Option<&Certificate>) -> Self {
        let postfix = Postfix::prepare();
        let own = Certificate { chain: postfix.path("certificate.pem"), key: postfix.path("key.pem") };
        let certificate = certificate.cloned().unwrap_or(own);
        std::fs::create_dir(postfix.path("dovecot")).expect("a directory");
        std::fs::write(postfix.path("header_checks"), HEADER_CHECKS).expect("a file");
        std::fs::write(postfix.path("users"), format!("{EDGE_USER}:{{PLAIN}}{EDGE_PASSWORD}\n"))
            .expect("a file");
        Self { dovecot: None, postfix, smtps: ports::free(), certificate, is_running: false }
    }

    /// Where it takes mail, within TLS.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.smtps
    }

    /// SHA-256 of its certificate, as `openssl` prints it.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut command = process::command(None, "openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&self.certificate.chain);
        let printed = process::run_ok(command, b"", PATIENCE);
        printed.trim().split_once('=').expect("a fingerprint").1.to_owned()
    }

    /// Starts both.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start(&mut self, access: Access<'_>) {
        let dovecot = self.path("dovecot.conf");
        std::fs::write(&dovecot, self.fill(DOVECOT)).expect("a file");
        let mut command = process::command(None, "dovecot");
        command.arg("-F").arg("-c").arg(&dovecot);
        self.dovecot = Some(Process::start(command, &self.path("dovecot.out")));
        let main = self.postfix.surroundings() + &self.fill(MORE) + &self.main(access);
        std::fs::write(self.path("config/main.cf"), main).expect("a file");
        let services = self.postfix.master() + LMTP + &self.service(access);
        std::fs::write(self.path("config/master.cf"), services).expect("a file");
        self.start_postfix();
        until("Dovecot takes mail", PATIENCE, || self.path("lmtp").exists().then_some(()));
    }

    /// Has it say nothing of chunks, as an older MTA, or one that is set up against smuggling.
    ///
    /// # Panics
    /// When Postfix does not take the setting.
    pub fn take_no_chunks(&self) {
        let mut command = process::command(None, "postconf");
        command.arg("-c").arg(self.path("config"));
        command.args(["-e", "smtpd_discard_ehlo_keywords=chunking,silent-discard"]);
        process::run_ok(command, b"", PATIENCE);
        process::run_ok(self.postfix.control("reload"), b"", PATIENCE);
    }

    /// Starts Postfix again, as it was.
    pub fn start_postfix(&mut self) {
        process::run_ok(self.postfix.control("start"), b"", PATIENCE);
        self.is_running = true;
        until("Postfix listens", PATIENCE, || std::net::TcpStream::connect(self.smtps).ok());
    }

    /// Stops Postfix: the home is away.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop_postfix(&mut self) {
        process::run_ok(self.postfix.control("stop"), b"", PATIENCE);
        self.is_running = false;
    }

    /// The messages in a user's mailbox.
    #[must_use]
    pub fn messages(&self, user: &str) -> Vec<Vec<u8>> {
        let mailbox = self.path("mail").join(user).join("Maildir/new");
        let Ok(entries) = std::fs::read_dir(mailbox) else { return Vec::new() };
        let read = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.expect("an entry").path());
        entries.map(|entry| crate::message::with_crlf(&read(entry).expect("a message"))).collect()
    }

    /// Postfix's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.postfix.log()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.postfix.path(name)
    }

    /// main.cf, as the page has it.
    fn main(&self, access: Access<'_>) -> String {
        let mailboxes: String = PEOPLE.map(|name| format!("{name}@example.org x\n")).concat();
        std::fs::write(self.path("mailboxes"), mailboxes).expect("a file");
        let fingerprint = match access {
            Access::Certificate(fingerprint) => fingerprint,
            Access::Login => "00",
        };
        let text = page::text("main.cf of the home")
            .replace("BA:1D:5A:…", fingerprint)
            .replace("/etc/postfix/home.pem", "{certificate}")
            .replace("/etc/postfix/home.key", "{key}")
            .replace("private/dovecot-lmtp", "{dir}/lmtp");
        self.postfix.placed(&self.fill(&text))
    }

    /// The way in for Edge, as the page has it.
    fn service(&self, access: Access<'_>) -> String {
        let service =
            page::text("master.cf of the home").replace("smtps inet", &format!("{} inet", self.smtps));
        if matches!(access, Access::Certificate(_)) {
            return service;
        }
        let of_certificates = ["ask_ccert", "fingerprint_digest", "permit_tls_clientcerts"];
        let kept = service.lines().filter(|line| !of_certificates.iter().any(|word| line.contains(word)));
        let login = page::text("master.cf of the home, in place of the lines on certificates");
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        (kept + &login).replace("private/auth", &self.path("auth").display().to_string())
    }

    fn fill(&self, text: &str) -> String {
        let show = |path: &Path| path.display().to_string();
        text.replace("{dir}", &show(self.postfix.dir.path()))
            .replace("{certificate}", &show(&self.certificate.chain))
            .replace("{key}", &show(&self.certificate.key))
    }
}

/// The client that gives Dovecot its mail.
const LMTP: &str = "lmtp unix - - n - - lmtp\n";

impl Drop for PostfixHome {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the home's log\n{}", self.log());
            let dovecot = std::fs::read(self.path("dovecot.log")).unwrap_or_default();
            eprintln!("---- Dovecot's log\n{}", String::from_utf8_lossy(&dovecot));
        }
        if let Some(dovecot) = &mut self.dovecot {
            dovecot.signal(rustix::process::Signal::TERM);
            dovecot.wait(PATIENCE);
        }
    }
}
