//! Postfix: the MTA at the other end, as receiver and as sender, and `smtp-source`, its load generator.

mod edge;
mod home;
mod remote;
mod satellite;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::namespace::within;
use crate::newer::Release;
use crate::stunnel::Stunnel;
use crate::{ports, process, until};

pub use edge::{Proof, Relaying, WayHome};
pub use home::{Access, EDGE_PASSWORD, EDGE_USER, PostfixHome};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Postfix with files of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct Postfix {
    dir: TempDir,
    address: SocketAddr,
    namespace: Option<String>,
    /// Of which Debian it is, if not this host's.
    release: Option<Release>,
    /// How it takes mail, when that is not the usual way: a part of master.cf.
    port_25: Option<String>,
    /// Further lines of master.cf.
    services: String,
    /// What gives it TLS to a home.
    stunnel: Option<Stunnel>,
}

impl Postfix {
    /// Starts one that takes mail for this domain, where `rejected@` does not exist and everybody else does.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(domain: &str) -> Self {
        Self::receiving(domain, "")
    }

    /// As [`Self::start`], and it shows what comes to a milter.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with_milter(domain: &str, milter: SocketAddr) -> Self {
        let (ip, port) = (milter.ip(), milter.port());
        Self::receiving(
            domain,
            &format!("smtpd_milters = inet:{ip}:{port}\nmilter_default_action = tempfail\n"),
        )
    }

    fn receiving(domain: &str, more: &str) -> Self {
        let postfix = Self::prepare();
        let task = format!(
            "myhostname = mx.remote.test\nmynetworks =\nvirtual_mailbox_domains = {domain}\n\
             virtual_mailbox_base = {mail}\nvirtual_mailbox_maps = static:all/\n\
             virtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{rejected@{domain}=REJECT}}, \
             reject_unauth_destination\n",
            mail = postfix.path("mail").display(),
        );
        postfix.launch(&(task + more))
    }

    /// Starts one at an address that takes mail for these domains, with STARTTLS if it is given a certificate.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn receiver(address: SocketAddr, domains: &[&str], certificate: Option<&Certificate>) -> Self {
        Self::receiver_with(address, domains, certificate, "")
    }

    /// As [`Self::receiver`] without STARTTLS, with more lines of main.cf, which take something away.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn lacking(address: SocketAddr, domains: &[&str], more: &str) -> Self {
        Self::receiver_with(address, domains, None, more)
    }

    fn receiver_with(
        address: SocketAddr,
        domains: &[&str],
        certificate: Option<&Certificate>,
        more: &str,
    ) -> Self {
        let mut postfix = Self::prepare();
        postfix.address = address;
        if let Some(certificate) = certificate {
            std::fs::copy(&certificate.chain, postfix.path("certificate.pem")).expect("a certificate");
            std::fs::copy(&certificate.key, postfix.path("key.pem")).expect("a key");
        }
        let task = format!(
            "myhostname = mx.remote.test\nmynetworks =\nvirtual_mailbox_domains = {domains}\n\
             virtual_mailbox_base = {mail}\nvirtual_mailbox_maps = static:all/\n\
             virtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\n\
             smtpd_recipient_restrictions = reject_unauth_destination\n{tls}",
            domains = domains.join(", "),
            mail = postfix.path("mail").display(),
            tls = if certificate.is_some() { "" } else { "smtpd_tls_security_level = none\n" },
        );
        postfix.launch(&(task + more))
    }

    /// Starts one by the name of `host` that shows what comes from this host to a milter and sends it on to
    /// another MTA.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn sender(host: &str, milter: SocketAddr, next: SocketAddr) -> Self {
        let task = format!(
            "myhostname = {host}\nmynetworks = 127.0.0.0/8\nrelayhost = [{}]:{}\n\
             smtpd_milters = inet:{}:{}\nmilter_default_action = tempfail\n\
             smtpd_recipient_restrictions = permit_mynetworks, reject\nsmtp_tls_security_level = may\n",
            next.ip(),
            next.port(),
            milter.ip(),
            milter.port(),
        );
        Self::prepare().launch(&task)
    }

    /// Its files, but for those that say what it does.
    fn prepare() -> Self {
        let dir = crate::leavings::dir("postfix");
        let (address, services) = (ports::free(), String::new());
        let postfix =
            Self { dir, address, namespace: None, release: None, port_25: None, services, stunnel: None };
        for name in ["config", "queue", "data", "mail"] {
            std::fs::create_dir(postfix.path(name)).expect("a directory");
        }
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(postfix.dir.path(), open).expect("permissions");
        postfix.give("postfix", "data");
        postfix.give("nobody", "mail");
        postfix.make_certificate();
        postfix
    }

    fn launch(self, task: &str) -> Self {
        std::fs::write(self.path("config/main.cf"), self.main() + task).expect("a file");
        std::fs::write(self.path("config/master.cf"), self.master() + &self.services).expect("a file");
        process::run_ok(self.control("start"), b"", PATIENCE);
        self.wait_until_it_listens();
        self
    }

    fn wait_until_it_listens(&self) {
        until("Postfix listens", PATIENCE, || {
            within(self.namespace.as_deref(), || crate::smtp::SmtpClient::connect(self.address).is_ok())
                .then_some(())
        });
    }

    /// Stops it; its queue stays.
    pub fn stop(&self) {
        process::run_ok(self.control("stop"), b"", PATIENCE);
    }

    /// Starts it again.
    pub fn start_again(&self) {
        process::run_ok(self.control("start"), b"", PATIENCE);
        self.wait_until_it_listens();
    }

    /// The address where it takes mail.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came for this local part, in no order.
    #[must_use]
    pub fn messages(&self, local_part: &str) -> Vec<Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.path("mail/all/new")) else { return Vec::new() };
        let read = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.expect("an entry").path());
        let mine = |message: &Vec<u8>| {
            let to = crate::message::field(&crate::message::with_crlf(message), "Delivered-To");
            to.is_some_and(|to| to.split('@').next() == Some(local_part))
        };
        entries.map(|entry| read(entry).expect("a message")).filter(mine).collect()
    }

    /// What is in its queue, a line for each message.
    #[must_use]
    pub fn queued(&self) -> Vec<String> {
        let mut command = self.program("postqueue");
        command.arg("-c").arg(self.path("config")).arg("-j");
        process::run_ok(command, b"", PATIENCE).lines().map(str::to_owned).collect()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program of the Debian that it is of.
    fn program(&self, name: &str) -> std::process::Command {
        let namespace = self.namespace.as_deref();
        match self.release {
            Some(release) => release.command(namespace, name),
            None => process::command(namespace, name),
        }
    }

    fn control(&self, verb: &str) -> std::process::Command {
        if self.namespace.is_none() {
            let mut command = self.program("postfix");
            command.arg("-c").arg(self.path("config")).arg(verb);
            return command;
        }
        // Its resolver reads a file with a fixed name.
        let mut command = self.program("sh");
        command.args(["-c", "mount --bind \"$1\" /etc/resolv.conf; shift; exec \"$@\"", "sh"]);
        command.arg(self.path("resolv.conf")).arg("postfix").arg("-c").arg(self.path("config")).arg(verb);
        command
    }

    fn make_certificate(&self) {
        let mut command = process::command(None, "openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-nodes", "-days", "2", "-subj", "/CN=mx.remote.test"]);
        command.arg("-keyout").arg(self.path("key.pem")).arg("-out").arg(self.path("certificate.pem"));
        process::run_ok(command, b"", PATIENCE);
    }

    fn give(&self, user: &str, name: &str) {
        let mut owner = process::command(None, "chown");
        owner.arg(user).arg(self.path(name));
        process::run_ok(owner, b"", PATIENCE);
    }

    /// Where its files are, for a Postfix that is told everything else.
    fn surroundings(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "queue_directory = {}\ndata_directory = {}\nmaillog_file = {}\nmaillog_file_prefixes = {}\n\
             inet_protocols = ipv4\ninet_interfaces = 127.0.0.1\nalias_maps =\nalias_database =\n",
            path("queue"),
            path("data"),
            path("log"),
            self.dir.path().display(),
        )
    }

    fn main(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n\
             maillog_file = {log}\nmaillog_file_prefixes = {dir}\nmydestination =\ninet_protocols = ipv4\n\
             inet_interfaces = 127.0.0.1\nalias_maps =\nalias_database =\nmessage_size_limit = 100000000\n\
             mailbox_size_limit = 0\nvirtual_mailbox_limit = 0\nsmtpd_tls_security_level = may\n\
             smtpd_tls_cert_file = {dir}/certificate.pem\nsmtpd_tls_key_file = {dir}/key.pem\n",
            queue = path("queue"),
            data = path("data"),
            log = path("log"),
            dir = self.dir.path().display(),
        )
    }

    fn master(&self) -> String {
        let usual = format!("{} inet n - n - - smtpd\n", self.address);
        format!(
            "{}cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntlsmgr unix - - n 1000? 1 tlsmgr\nvirtual unix - n n - - virtual\n\
             error unix - - n - - error\nretry unix - - n - - error\nproxymap unix - - n - - proxymap\n\
             anvil unix - - n - 1 anvil\nsmtp unix - - n - - smtp\n\
             showq unix n - n - - showq\n\
             verify unix - - n - 1 verify\npostlog unix-dgram n - n - 1 postlogd\n",
            self.port_25.as_ref().unwrap_or(&usual)
        )
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = process::run(self.control("stop"), b"", PATIENCE);
    }
}

/// What `smtp-source` is to send.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The number of messages.
    pub messages: u32,
    /// Connections at one time.
    pub sessions: u32,
    /// Octets of one message, or its content.
    pub content: Content<'a>,
    /// The recipient.
    pub to: &'a str,
}

/// The content of the messages.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// So many octets of filler.
    Octets(u32),
    /// This file; its lines end in LF.
    File(&'a Path),
}

/// Sends with `smtp-source` and waits for its end; it fails when a message is not taken.
pub fn smtp_source(namespace: Option<&str>, server: SocketAddr, load: Load<'_>) {
    let mut command = process::command(namespace, "smtp-source");
    command.args(["-m", &load.messages.to_string(), "-s", &load.sessions.to_string()]);
    match load.content {
        Content::Octets(octets) => command.args(["-l", &octets.to_string()]),
        Content::File(path) => command.arg("-F").arg(path),
    };
    command.args(["-f", "load@sender.test", "-t", load.to, "-M", "sender.test"]);
    command.arg(format!("inet:{}:{}", server.ip(), server.port()));
    process::run_ok(command, b"", Duration::from_secs(600));
}
