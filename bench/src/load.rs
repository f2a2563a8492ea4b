//! The load: Postfix's `smtp-source` and `smtp-sink`, the same for all systems.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use testkit::process::{self, Process};
use testkit::{ports, until};

const PATIENCE: Duration = Duration::from_secs(1200);

/// What `smtp-source` sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) messages: u32,
    /// Connections at one time.
    pub(crate) sessions: u32,
    /// Octets of a message.
    pub(crate) octets: u32,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) connections: Connections,
    /// What is sent instead of the generator's own text; `octets` then says nothing.
    pub(crate) file: Option<&'a std::path::Path>,
}

/// How long `smtp-source` stays on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One for each message, as strangers do.
    PerMessage,
    /// One for each session.
    Kept,
}

/// The usual load: 4 KiB for bob, a connection for each message.
pub(crate) const INBOUND: Load<'static> = Load {
    messages: 0,
    sessions: 20,
    octets: 4096,
    from: "a@remote.test",
    to: "bob@example.org",
    connections: Connections::PerMessage,
    file: None,
};

impl Load<'_> {
    /// The command, for the record.
    pub(crate) fn command_line(&self, server: &str) -> String {
        format!("smtp-source {} {server}", self.arguments().join(" "))
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        if self.connections == Connections::Kept {
            arguments.push("-d".to_owned());
        }
        let content = match self.file {
            Some(file) => ("-F", file.display().to_string()),
            None => ("-l", self.octets.to_string()),
        };
        let pairs = [
            ("-m", self.messages.to_string()),
            ("-s", self.sessions.to_string()),
            content,
            ("-f", self.from.to_owned()),
            ("-t", self.to.to_owned()),
            ("-M", "remote.test".to_owned()),
        ];
        arguments.extend(pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
        arguments
    }

    /// Sends, and waits until all is answered. A message that is not taken ends the bench.
    pub(crate) fn send(&self, server: SocketAddr) {
        let mut command = process::command(None, "smtp-source");
        command.args(self.arguments()).arg(format!("inet:{}:{}", server.ip(), server.port()));
        process::run_ok(command, b"", PATIENCE);
    }
}

/// `smtp-sink`: takes mail, counts it, throws it away.
#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    process: Process,
    log: PathBuf,
    dir: TempDir,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // It writes as nobody, when it writes.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).expect("permissions");
        let (address, log) = (ports::free(), dir.path().join("counters"));
        let process = Self::listen(address, &log, &["-c"]);
        Self { address, process, log, dir }
    }

    fn listen(address: SocketAddr, log: &std::path::Path, options: &[&str]) -> Process {
        let mut command = process::command(None, "smtp-sink");
        // It wants to be nobody rather than root.
        // A domain's connections wait a moment for more, and there are many domains: not only its usual 256.
        command.args(["-u", "nobody", "-m", "5000"]).args(options).args([&address.to_string(), "1000"]);
        let process = Process::start(command, log);
        until("smtp-sink listens", Duration::from_secs(10), || std::net::TcpStream::connect(address).ok());
        process
    }

    /// What comes, as text, while something is sent: for that time it writes what it gets to a file. It counts from
    /// zero after that.
    pub(crate) fn shown(&mut self, send: impl FnOnce()) -> String {
        let (file, log) = (self.dir.path().join("shown"), self.dir.path().join("log"));
        self.process.kill();
        self.process = Self::listen(self.address, &log, &["-D", &file.display().to_string()]);
        send();
        let shown = until("a message at smtp-sink", PATIENCE, || {
            let text = String::from_utf8_lossy(&std::fs::read(&file).ok()?).into_owned();
            text.contains("\n\n").then_some(text)
        });
        self.process.kill();
        let _ = std::fs::remove_file(&self.log);
        self.process = Self::listen(self.address, &self.log, &["-c"]);
        shown
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages so far. `smtp-sink -c` writes `sess=1 quit=2 mesg=3` and a carriage return each time.
    pub(crate) fn count(&self) -> usize {
        let written = std::fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&written[written.len().saturating_sub(200)..]).into_owned();
        let last = tail.rsplit('\r').find_map(|line| line.rsplit_once("mesg="));
        last.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_default()
    }
}
