//! Dovecot: mailboxes that LMTP delivers into, and the logins that Postfix asks it about.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::newer::Release;
use crate::process::{self, Process};
use crate::{ports, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// Debian's `nobody`.
const MAIL_UID: &str = "65534";

/// A Dovecot with files of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Dovecot {
    process: Option<Process>,
    /// Of which Debian it is, if not this host's.
    release: Option<Release>,
    dir: TempDir,
    lmtp: SocketAddr,
    /// Where mail programs read, with which certificate.
    imap: Option<(SocketAddr, Certificate)>,
}

/// An account: address, password, and how many octets its mailbox may have.
pub type User<'a> = (&'a str, &'a str, Option<u64>);

impl Dovecot {
    /// Starts one that has these users and no others.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(users: &[User<'_>]) -> Self {
        Self::start_of(None, users)
    }

    /// As [`Self::start`], with a port at which mail programs read, TLS first.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_imap(users: &[User<'_>], certificate: Certificate) -> Self {
        Self::make(None, users, Some((ports::free(), certificate)))
    }

    /// As [`Self::start`], of another Debian.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_of(release: Option<Release>, users: &[User<'_>]) -> Self {
        Self::make(release, users, None)
    }

    fn make(release: Option<Release>, users: &[User<'_>], imap: Option<(SocketAddr, Certificate)>) -> Self {
        let dir = crate::leavings::dir("dovecot");
        let mut dovecot = Self { process: None, release, dir, lmtp: ports::free(), imap };
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dovecot.dir.path(), open).expect("permissions");
        std::fs::create_dir(dovecot.path("mail")).expect("a directory");
        let mut owner = process::command(None, "chown");
        owner.arg("nobody").arg(dovecot.path("mail"));
        process::run_ok(owner, b"", PATIENCE);
        users.iter().for_each(|user| dovecot.add(*user));
        std::fs::write(dovecot.path("dovecot.conf"), dovecot.configuration()).expect("a file");
        dovecot.start_again();
        dovecot
    }

    /// Starts it with what it has.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let mut command = match self.release {
            Some(release) => release.command(None, "dovecot"),
            None => process::command(None, "dovecot"),
        };
        command.arg("-F").arg("-c").arg(self.path("dovecot.conf"));
        self.process = Some(Process::start(command, &self.path("output")));
        until("Dovecot listens", PATIENCE, || std::net::TcpStream::connect(self.lmtp).ok());
    }

    /// Adds a user, of whom a running one knows at once.
    ///
    /// # Panics
    /// When the file of users can't be written.
    pub fn add(&self, (address, password, quota): User<'_>) {
        let quota = quota.map_or_else(String::new, |octets| match self.release {
            Some(_) => format!("userdb_quota_storage_size={octets}B"),
            None => format!("userdb_quota_rule=*:bytes={octets}"),
        });
        let home = self.path("mail").join(address);
        let mut users =
            OpenOptions::new().create(true).append(true).open(self.path("users")).expect("a file");
        writeln!(users, "{address}:{{PLAIN}}{password}:{MAIL_UID}:{MAIL_UID}::{}::{quota}", home.display())
            .expect("a line");
    }

    /// Ends it; its mailboxes stay.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(rustix::process::Signal::TERM);
            let _ = process.wait(PATIENCE);
        }
        let _ = std::fs::remove_file(self.lmtp_socket());
    }

    /// Where it takes mail over TCP.
    #[must_use]
    pub const fn lmtp(&self) -> SocketAddr {
        self.lmtp
    }

    /// Where mail programs read.
    ///
    /// # Panics
    /// When it was started without.
    #[must_use]
    pub fn imap(&self) -> SocketAddr {
        self.imap.as_ref().expect("a port for mail programs").0
    }

    /// Puts a message into a folder of a user, `.` and its name, or `""` for INBOX; it came so many seconds after 1970, and has
    /// the flags of these letters.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn put(&self, address: &str, folder: &str, (seconds, flags): (u64, &str), message: &[u8]) {
        let maildir = self.path("mail").join(address).join("Maildir").join(folder);
        for part in ["new", "cur", "tmp"] {
            std::fs::create_dir_all(maildir.join(part)).expect("a directory");
        }
        let path = maildir.join("cur").join(format!("{seconds}.1.host:2,{flags}"));
        std::fs::write(&path, message).expect("a file");
        let when = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(when))
            .expect("its time");
        let mut owner = process::command(None, "chown");
        owner.args(["-R", "nobody"]).arg(self.path("mail"));
        process::run_ok(owner, b"", PATIENCE);
    }

    /// The socket at which it takes mail.
    #[must_use]
    pub fn lmtp_socket(&self) -> PathBuf {
        self.path("lmtp")
    }

    /// The socket at which Postfix asks about logins.
    #[must_use]
    pub fn auth_socket(&self) -> PathBuf {
        self.path("auth")
    }

    /// What is in the mailbox of an address, in no order, with CRLF.
    #[must_use]
    pub fn messages(&self, address: &str) -> Vec<Vec<u8>> {
        let maildir = self.path("mail").join(address).join("Maildir");
        let read = |dir: &str| crate::remote_mta::read_mailbox(&maildir.join(dir));
        let all = ["new", "cur"].into_iter().flat_map(read);
        all.map(|message| crate::message::with_crlf(&message)).collect()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configuration(&self) -> String {
        let files = self.surroundings();
        let dir = self.dir.path().display();
        match self.release {
            None => format!(
                "disable_plaintext_auth = no\nmail_location = maildir:~/Maildir\nmail_plugins = quota\n\
                 plugin {{\n  quota = maildir:User quota\n}}\n\
                 passdb {{\n  driver = passwd-file\n  args = {dir}/users\n}}\n\
                 userdb {{\n  driver = passwd-file\n  args = {dir}/users\n}}\n{files}"
            ),
            // From 2.4 on it wants its version first, and most names are others.
            Some(_) => format!(
                "dovecot_config_version = 2.4.1\ndovecot_storage_version = 2.4.1\nauth_allow_cleartext = yes\n\
                 mail_driver = maildir\nmail_path = ~/Maildir\nmail_plugins {{\n  quota = yes\n}}\n\
                 quota \"User quota\" {{\n  driver = maildir\n  storage_grace = 0\n}}\n\
                 passdb passwd-file {{\n  passwd_file_path = {dir}/users\n}}\n\
                 userdb passwd-file {{\n  passwd_file_path = {dir}/users\n}}\n{files}"
            ),
        }
    }

    /// The configuration that both releases share.
    fn surroundings(&self) -> String {
        let address = if self.release.is_some() { "listen" } else { "address" };
        let (protocols, reading) = match &self.imap {
            None => ("lmtp", "ssl = no\n".to_owned()),
            Some((at, certificate)) => ("imap lmtp", reading(*at, certificate)),
        };
        format!(
            "base_dir = {dir}/run\nprotocols = {protocols}\nlog_path = {dir}/log\n{reading}first_valid_uid = 1\n\
             first_valid_gid = 1\n\
             service lmtp {{\n  unix_listener {dir}/lmtp {{\n    mode = 0666\n  }}\n\
             \x20 inet_listener lmtp {{\n    {address} = {ip}\n    port = {port}\n  }}\n}}\n\
             service auth {{\n  unix_listener {dir}/auth {{\n    mode = 0666\n  }}\n}}\n",
            dir = self.dir.path().display(),
            ip = self.lmtp.ip(),
            port = self.lmtp.port(),
        )
    }
}

/// The port at which mail programs read, for releases before 2.4.
fn reading(at: SocketAddr, certificate: &Certificate) -> String {
    format!(
        "ssl = yes\nssl_cert = <{chain}\nssl_key = <{key}\nservice imap-login {{\n  inet_listener imap {{\n    port = 0\n  }}\n\
         \x20 inet_listener imaps {{\n    address = {ip}\n    port = {port}\n  }}\n}}\n",
        chain = certificate.chain.display(),
        key = certificate.key.display(),
        ip = at.ip(),
        port = at.port(),
    )
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
    }
}
