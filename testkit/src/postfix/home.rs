//! Postfix and Dovecot as the home behind a Postern Edge. What Postfix is told is read from `docs/src/standard-hops.md`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{PATIENCE, Postfix};
use crate::certificates::Certificate;
use crate::namespace::within;
use crate::newer::Release;
use crate::process::{self, Process};
use crate::remote_mta::{Site, read_mailbox};
use crate::{page, ports, until};

/// What Dovecot is told beside what the page says.
const DOVECOT: &str = include_str!("home.dovecot.conf");
/// The same from 2.4 on, where most names are others.
const DOVECOT_2_4: &str = include_str!("home.dovecot-2.4.conf");
/// What the tests want of Postfix beside what the page says.
const MORE: &str = "compatibility_level = 3.6\nheader_checks = regexp:{dir}/header_checks\n\
    smtpd_sender_restrictions = check_recipient_access inline:{hermit@example.org=REJECT}\n";
/// Names that have a mailbox.
const PEOPLE: [&str; 5] = ["bob", "carol", "postmaster", "hermit", FULL];
/// The name whose mailbox is small.
const FULL: &str = "full";
/// How that is said in the file of users, and from 2.4 on.
const SMALL: [&str; 2] = ["userdb_quota_rule=*:bytes=3000", "userdb_quota_storage_size=3000B"];
/// Aliases: to somebody here, to somebody elsewhere, and to both.
const ALIASES: &str = "team@example.org bob@example.org, carol@example.org\nfriend@example.org friend@elsewhere.test\n\
    both@example.org bob@example.org, friend@elsewhere.test\nstuffed@example.org full@example.org\n";
/// What the header of a message must not have.
const HEADER_CHECKS: &str = "/^Subject: forbidden/ REJECT cellar.lan wants no forbidden subjects\n";
/// Whose mail it is, on the page.
const DOMAIN: &str = "example.org";
/// Where Edge hands in, on the page.
const PORT: u16 = 4465;
/// Where Postfix's sockets are, on the page.
const SOCKETS: &str = "/var/spool/postfix/";

/// The name that an Edge logs in with.
pub const EDGE_USER: &str = "edge";
/// The password of that name.
pub const EDGE_PASSWORD: &str = "staple battery";

/// Whom the home lets hand mail in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// Who shows the certificate with this SHA-256 fingerprint.
    Certificate(&'a str),
    /// A client that logs in.
    Login,
}

/// The two programs. They have `bob`, `carol` and `postmaster` of `example.org`, `hermit`, to whom nobody may write, and
/// `full`, whose mailbox has room for one message; `team`, `friend`, `both` and `stuffed` are aliases. They stop when this
/// is dropped.
#[derive(Debug)]
pub struct PostfixHome {
    dovecot: Option<Process>,
    postfix: Postfix,
    smtps: SocketAddr,
    certificate: Certificate,
    domain: String,
    smarthost: Option<SocketAddr>,
    is_running: bool,
}

impl PostfixHome {
    /// Its files; nothing runs yet. Without a certificate it makes its own.
    ///
    /// # Panics
    /// When they can't be written.
    #[must_use]
    pub fn new(certificate: Option<&Certificate>) -> Self {
        Self::of(Postfix::prepare(), certificate, ports::free(), DOMAIN)
    }

    /// The same with programs of another Debian.
    ///
    /// # Panics
    /// When the files can't be written.
    #[must_use]
    pub fn of_release(release: Option<Release>) -> Self {
        let mut postfix = Postfix::prepare();
        postfix.release = release;
        Self::of(postfix, None, ports::free(), DOMAIN)
    }

    /// The same on a host of its own, at the port that the page names, for another domain.
    ///
    /// # Panics
    /// When they can't be written.
    #[must_use]
    pub fn at(site: &Site, domain: &str) -> Self {
        let mut postfix = Postfix::prepare();
        postfix.settle_at(site);
        Self::of(postfix, None, site.port(PORT), domain)
    }

    fn of(mut postfix: Postfix, certificate: Option<&Certificate>, smtps: SocketAddr, domain: &str) -> Self {
        // As the page says, nothing listens on port 25.
        postfix.port_25 = Some(String::new());
        let own = Certificate { chain: postfix.path("certificate.pem"), key: postfix.path("key.pem") };
        let certificate = certificate.cloned().unwrap_or(own);
        std::fs::create_dir(postfix.path("dovecot")).expect("a directory");
        std::fs::write(postfix.path("header_checks"), HEADER_CHECKS).expect("a file");
        std::fs::write(postfix.path("virtual"), ALIASES.replace(DOMAIN, domain)).expect("a file");
        let sockets = postfix.path("queue/private");
        std::fs::create_dir_all(&sockets).expect("a directory");
        postfix.give("postfix", "queue/private");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&sockets, private).expect("permissions");
        let domain = domain.to_owned();
        let home =
            Self { dovecot: None, postfix, smtps, certificate, domain, smarthost: None, is_running: false };
        home.people_are(&PEOPLE);
        home
    }

    /// Mail leaves by this smarthost once it is started, with STARTTLS and without a login.
    pub const fn sends_by(&mut self, smarthost: SocketAddr) {
        self.smarthost = Some(smarthost);
    }

    /// Dovecot knows these from now on, and nobody else.
    fn people_are(&self, people: &[&str]) {
        let mut users = format!("{EDGE_USER}:{{PLAIN}}{EDGE_PASSWORD}\n");
        let small = SMALL[usize::from(self.postfix.release.is_some())];
        for name in people {
            let quota = if *name == FULL { small } else { "" };
            users += &format!("{name}@{}:{{PLAIN}}x::::::{quota}\n", self.domain);
        }
        std::fs::write(self.path("users"), users).expect("a file");
    }

    /// Dovecot forgets somebody, whom Postfix still takes mail for.
    ///
    /// # Panics
    /// When the file of users can't be written.
    pub fn dovecot_forgets(&self, name: &str) {
        let left: Vec<_> = PEOPLE.into_iter().filter(|person| *person != name).collect();
        self.people_are(&left);
        // It looks once a second whether its file has changed.
        std::thread::sleep(Duration::from_secs(2));
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
        std::fs::write(&dovecot, self.dovecot_conf()).expect("a file");
        let mut command = self.postfix.program("dovecot");
        command.arg("-F").arg("-c").arg(&dovecot);
        self.dovecot = Some(Process::start(command, &self.path("dovecot.out")));
        let main = self.postfix.surroundings() + &self.fill(MORE) + &self.main(access);
        std::fs::write(self.path("config/main.cf"), main).expect("a file");
        let services = self.postfix.master() + LMTP + &self.service(access);
        std::fs::write(self.path("config/master.cf"), services).expect("a file");
        self.start_postfix();
        until("Dovecot takes mail", PATIENCE, || {
            self.path("queue/private/dovecot-lmtp").exists().then_some(())
        });
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
        until("Postfix listens", PATIENCE, || {
            let connects = || std::net::TcpStream::connect(self.smtps).is_ok();
            within(self.postfix.namespace.as_deref(), connects).then_some(())
        });
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
        let mailbox = self.path("mail").join(user).join("Maildir");
        // Dovecot 2.4.5 gives what arrives a keyword, and so puts it where read mail is.
        let all = ["new", "cur"].into_iter().flat_map(|dir| read_mailbox(&mailbox.join(dir)));
        all.map(|message| crate::message::with_crlf(&message)).collect()
    }

    /// What is in Postfix's queue, a line for each message.
    #[must_use]
    pub fn queued(&self) -> Vec<String> {
        self.postfix.queued()
    }

    /// Postfix's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.postfix.log()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.postfix.path(name)
    }

    /// Dovecot's, as the page has it for its version.
    fn dovecot_conf(&self) -> String {
        let (own, since) = match self.postfix.release {
            None => (DOVECOT, ""),
            Some(_) => (DOVECOT_2_4, ", from Dovecot 2.4 on"),
        };
        let text = page::text(&format!("dovecot.conf of the home{since}"))
            .replace("protocols = imap lmtp", "protocols = lmtp")
            + &page::text(&format!("dovecot.conf of the host that is asked for logins{since}"))
                .replace("/etc/dovecot/hops", &self.path("users").display().to_string());
        self.fill(own) + &text.replace(SOCKETS, &format!("{}/", self.path("queue").display()))
    }

    /// main.cf, as the page has it.
    fn main(&self, access: Access<'_>) -> String {
        let mailboxes: String = PEOPLE.map(|name| format!("{name}@{} x\n", self.domain)).concat();
        std::fs::write(self.path("mailboxes"), mailboxes).expect("a file");
        let fingerprint = match access {
            Access::Certificate(fingerprint) => fingerprint,
            Access::Login => "00",
        };
        let text = self
            .way_out(&page::text("main.cf of the home"))
            .replace("BA:1D:5A:…", fingerprint)
            .replace("/etc/postfix/home.pem", "{certificate}")
            .replace("/etc/postfix/home.key", "{key}");
        self.postfix.placed(&self.fill(&text))
    }

    /// With the way out by a smarthost, if there is one, as the page has it but for how the two know each other.
    fn way_out(&self, main: &str) -> String {
        let Some(smarthost) = self.smarthost else { return main.to_owned() };
        let own = page::text("/etc/postfix/own-received");
        std::fs::write(
            self.path("own-received"),
            own.replace("example\\.org", &self.domain.replace('.', "\\.")),
        )
        .expect("a file");
        let next = format!("[{}]:{}", smarthost.ip(), smarthost.port());
        let by_smarthost = page::text("main.cf of the home: a smarthost, in place of default_transport")
            .replace("[mx.example.net]:465", &next)
            .replace("wrappermode = yes", "wrappermode = no")
            .replace("level = secure", "level = encrypt")
            .replace("smtp_sasl_auth_enable = yes", "smtp_sasl_auth_enable = no");
        let kept = main.lines().filter(|line| !line.starts_with("default_transport"));
        kept.map(|line| format!("{line}\n")).collect::<String>() + &by_smarthost
    }

    /// The way in for Edge, as the page has it.
    fn service(&self, access: Access<'_>) -> String {
        let service =
            page::text("master.cf of the home").replace("4465 inet", &format!("{} inet", self.smtps));
        if matches!(access, Access::Certificate(_)) {
            return service;
        }
        let of_certificates = ["ask_ccert", "fingerprint_digest", "permit_tls_clientcerts"];
        let kept = service.lines().filter(|line| !of_certificates.iter().any(|word| line.contains(word)));
        let login = page::text("master.cf of the home, in place of the lines on certificates");
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        kept + &login
    }

    fn fill(&self, text: &str) -> String {
        let show = |path: &Path| path.display().to_string();
        text.replace(DOMAIN, &self.domain)
            .replace("{dir}", &show(self.postfix.dir.path()))
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
