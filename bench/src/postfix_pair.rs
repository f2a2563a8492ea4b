//! What people build today: an edge Postfix and a home Postfix, joined by SMTPS with client certificates. Bare,
//! or with SPF, OpenDKIM on both sides and Dovecot. Its configuration is in `bench/pair/`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{ports, process, until};

use crate::load::Sink;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(60);
/// Debian's `nobody`.
const MAIL_UID: &str = "65534";
/// Debian's own list of services; the comparison is with what people install.
const STOCK_MASTER: &str = "/usr/share/postfix/master.cf.dist";

const COMMON: &str = include_str!("../pair/common.main.cf");
const EDGE: [&str; 2] = [include_str!("../pair/edge.main.cf"), include_str!("../pair/edge.master.cf")];
const HOME: [&str; 2] = [include_str!("../pair/home.main.cf"), include_str!("../pair/home.master.cf")];
const EDGE_FILTERS: &str = include_str!("../pair/edge.filters.cf");
const HOME_DOVECOT: &str = include_str!("../pair/home.dovecot.cf");
const OPENDKIM: &str = include_str!("../pair/opendkim.conf");
const OPENDKIM_SIGN: &str = include_str!("../pair/opendkim.sign.conf");
/// Where the processes around the Postfixes say who they are.
const PROCESS_FILES: [&str; 3] = ["dovecot/master.pid", "opendkim.pid", "opendkim.sign.pid"];
const DOVECOT: &str = include_str!("../pair/dovecot.conf");

/// What is around the two Postfixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Equipment {
    /// Nothing: Postfix writes the mailbox itself.
    Bare,
    /// SPF and DKIM checks on the edge; Dovecot keeps the mailboxes, and the home signs what users send.
    Filters,
}

/// The pair, running. It stops when it is dropped.
pub(crate) struct PostfixPair {
    equipment: Equipment,
    dir: TempDir,
    listeners: Listeners,
}

/// Where its parts listen; other ports for each pair, so that two can be up.
struct Listeners {
    /// The edge, for the internet.
    smtp: SocketAddr,
    /// The home, for the edge.
    hop: SocketAddr,
    /// The edge, for the home.
    relay: SocketAddr,
    /// The home, for its users.
    submission: SocketAddr,
    milter: SocketAddr,
    signer: SocketAddr,
    imap: SocketAddr,
    /// Where the edge sends the world's mail.
    world: SocketAddr,
}

impl Listeners {
    fn new(sink: Option<&Sink>) -> Self {
        Self {
            smtp: ports::free(),
            hop: ports::free(),
            relay: ports::free(),
            submission: ports::free(),
            milter: ports::free(),
            signer: ports::free(),
            imap: ports::free(),
            // Without a sink nobody listens there.
            world: sink.map_or_else(ports::free, Sink::address),
        }
    }

    /// Puts the addresses and ports where the text has `{smtp}` and so on.
    fn fill(&self, text: &str) -> String {
        let named = [
            ("smtp", self.smtp),
            ("hop", self.hop),
            ("relay", self.relay),
            ("submission", self.submission),
            ("milter", self.milter),
            ("signer", self.signer),
            ("imap", self.imap),
            ("world", self.world),
        ];
        named.iter().fold(text.to_owned(), |text, (name, address)| {
            text.replace(&format!("{{{name}}}"), &address.to_string())
                .replace(&format!("{{{name}_port}}"), &address.port().to_string())
        })
    }
}

impl PostfixPair {
    /// Starts it. What its home sends goes to the sink.
    pub(crate) fn start(equipment: Equipment, sink: Option<&Sink>) -> Self {
        let dir = tempfile::Builder::new().prefix("postern-bench-pair-").tempdir().expect("a directory");
        let pair = Self { equipment, dir, listeners: Listeners::new(sink) };
        pair.make_directories();
        for role in ["edge", "home"] {
            pair.make_certificate(role);
        }
        pair.configure("edge", &EDGE);
        pair.configure("home", &HOME);
        if equipment == Equipment::Filters {
            pair.start_filters();
        }
        for role in ["home", "edge"] {
            pair.postfix(role, "start");
        }
        until("the edge listens", PATIENCE, || std::net::TcpStream::connect(pair.inbound()).ok());
        pair
    }

    /// Where users submit, TLS from the start, any password.
    pub(crate) fn submission(&self) -> SocketAddr {
        self.listeners.submission
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make_directories(&self) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        for name in ["edge", "home", "mail"] {
            fs::create_dir(self.path(name)).expect("a directory");
        }
        own(&self.path("mail"), "nobody");
        for role in ["edge", "home"] {
            for name in ["etc", "queue", "data"] {
                fs::create_dir(self.path(role).join(name)).expect("a directory");
            }
            own(&self.path(role).join("data"), "postfix");
        }
    }

    fn make_certificate(&self, role: &str) {
        let mut command = process::command(None, "openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-nodes", "-days", "2", "-subj", &format!("/CN={role}.test")]);
        command.args(["-addext", &format!("subjectAltName=DNS:{role}.test")]);
        command.arg("-keyout").arg(self.path(role).join("key.pem"));
        command.arg("-out").arg(self.path(role).join("certificate.pem"));
        process::run_ok(command, b"", PATIENCE);
    }

    /// Writes main.cf, master.cf and the list of the one client certificate that is let in: the other's.
    fn configure(&self, role: &str, [main, master]: &[&str; 2]) {
        let fill = |text: &str| self.fill(text).replace("{role}", role);
        let more = match (self.equipment, role) {
            (Equipment::Bare, _) => "",
            (Equipment::Filters, "edge") => EDGE_FILTERS,
            (Equipment::Filters, _) => HOME_DOVECOT,
        };
        let etc = self.path(role).join("etc");
        fs::write(etc.join("main.cf"), fill(&[COMMON, main, more].concat())).expect("main.cf");
        fs::write(etc.join("master.cf"), stock_master() + &fill(master)).expect("master.cf");
        let other = if role == "edge" { "home" } else { "edge" };
        let list = etc.join("clientcerts");
        fs::write(&list, format!("{} {other}\n", self.fingerprint(other))).expect("clientcerts");
        let mut postmap = process::command(None, "postmap");
        postmap.arg("-c").arg(&etc).arg(&list);
        process::run_ok(postmap, b"", PATIENCE);
    }

    fn fingerprint(&self, role: &str) -> String {
        let mut command = process::command(None, "openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
        command.arg(self.path(role).join("certificate.pem"));
        let printed = process::run_ok(command, b"", PATIENCE);
        printed.trim().split_once('=').expect("a fingerprint").1.to_owned()
    }

    fn start_filters(&self) {
        let mut openssl = process::command(None, "openssl");
        openssl.args(["genrsa", "-traditional", "-out"]).arg(self.path("home/dkim.pem")).arg("2048");
        process::run_ok(openssl, b"", PATIENCE);
        self.start_opendkim("opendkim", OPENDKIM);
        self.start_opendkim("opendkim.sign", OPENDKIM_SIGN);
        let dovecot = self.path("dovecot.conf");
        fs::write(&dovecot, self.fill(DOVECOT)).expect("dovecot.conf");
        let mut command = process::command(None, "dovecot");
        command.arg("-c").arg(&dovecot);
        start_daemon(command);
    }

    fn start_opendkim(&self, name: &str, configuration: &str) {
        let file = self.path(&format!("{name}.conf"));
        fs::write(&file, self.fill(configuration)).expect("opendkim's configuration");
        let mut command = process::command(None, "opendkim");
        command.arg("-x").arg(&file).arg("-P").arg(self.path(&format!("{name}.pid")));
        process::run_ok(command, b"", PATIENCE);
    }

    fn fill(&self, text: &str) -> String {
        let text = self.listeners.fill(text);
        text.replace("{dir}", &self.dir.path().display().to_string()).replace("{mail_uid}", MAIL_UID)
    }

    fn postfix(&self, role: &str, verb: &str) {
        process::run_ok(self.control(role, verb), b"", PATIENCE);
    }

    fn control(&self, role: &str, verb: &str) -> Command {
        let mut command = process::command(None, "postfix");
        command.arg("-c").arg(self.path(role).join("etc")).arg(verb);
        command
    }

    fn process_id(&self, file: &str) -> Option<u32> {
        fs::read_to_string(self.path(file)).ok()?.trim().parse().ok()
    }
}

impl System for PostfixPair {
    fn inbound(&self) -> SocketAddr {
        self.listeners.smtp
    }

    fn delivered(&mut self) -> usize {
        fs::read_dir(self.path("mail/bob/Maildir/new")).map_or(0, Iterator::count)
    }

    fn processes(&self) -> Vec<u32> {
        let masters = ["edge/queue/pid/master.pid", "home/queue/pid/master.pid"];
        masters.iter().chain(&PROCESS_FILES).filter_map(|file| self.process_id(file)).collect()
    }

    fn send_home_away(&mut self) {
        self.postfix("home", "stop");
    }
}

impl Drop for PostfixPair {
    fn drop(&mut self) {
        for role in ["edge", "home"] {
            let _ = process::run(self.control(role, "stop"), b"", PATIENCE);
        }
        for id in PROCESS_FILES.iter().filter_map(|file| self.process_id(file)) {
            let pid = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            until("the filters end", PATIENCE, || {
                (!Path::new(&format!("/proc/{id}")).exists()).then_some(())
            });
        }
    }
}

/// Runs a command that leaves a daemon behind. The daemon keeps its standard output, so nobody waits for the end
/// of that.
fn start_daemon(mut command: Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}

fn own(path: &Path, user: &str) {
    let mut command = process::command(None, "chown");
    command.arg(user).arg(path);
    process::run_ok(command, b"", PATIENCE);
}

/// The stock services without chroot and without the stock listener on port 25.
fn stock_master() -> String {
    let stock = fs::read_to_string(STOCK_MASTER).expect("Debian's postfix");
    let mut master = String::new();
    for line in stock.lines().filter(|line| !line.starts_with('#')) {
        let mut fields: Vec<&str> = line.split_whitespace().collect();
        let is_service = !line.starts_with(char::is_whitespace) && fields.len() >= 8;
        if is_service && fields[0] == "smtp" && fields[1] == "inet" {
            continue;
        }
        if is_service {
            fields[4] = "n";
            master.push_str(&fields.join(" "));
        } else {
            master.push_str(line);
        }
        master.push('\n');
    }
    master
}
