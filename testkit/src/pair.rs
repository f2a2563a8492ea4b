//! The program in both roles, set up and paired as an operator would do it.

mod former;
mod lone;
mod lone_home;
mod more;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::dns::NameServer;
use crate::imap::Account;
use crate::link_relay::LinkRelay;
use crate::process::{self, Process};
use crate::{binary, ports, until};

pub use lone::LoneEdge;
pub use lone_home::LoneHome;
pub use more::{MoreEdge, MoreHome, MorePlace};

/// The home's domain.
pub const DOMAIN: &str = "example.org";
/// The edge's host name.
pub const EDGE_NAME: &str = "mx.example.org";
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

const COMMAND_PATIENCE: Duration = Duration::from_secs(60);
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long the link may take to come back, its longest pause between tries included.
pub const LINK_PATIENCE: Duration = Duration::from_secs(120);

/// How a pair differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct PairOptions {
    /// TOML that is merged into `edge.toml`.
    pub edge_config: String,
    /// TOML that is merged into `home.toml`.
    pub home_config: String,
    /// Whether users may send.
    pub outbound: bool,
    /// A name server for Edge.
    pub name_server: Option<SocketAddr>,
    /// Where the two are, when it is not this host's loopback.
    pub places: Option<Places>,
    /// What Edge's processes find around them.
    pub around_edge: Surroundings,
    /// What Home's processes find around them.
    pub around_home: Surroundings,
}

/// What a daemon finds around it, beside its network.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// The name of its host, when it is not this one's.
    pub host_name: Option<String>,
    /// The size of a file system in memory that the data directory is on, in MiB.
    pub disk_mib: Option<u32>,
}

/// Gives the host a name that it has for this program alone.
const NAMED: &str = "echo \"$1\" > /proc/sys/kernel/hostname; shift; exec \"$@\"";
const NO_NAMES: &str = include_str!("no_names.py");

/// A name server in a network namespace that says of every name that it does not exist.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn start_no_names(namespace: &str, address: SocketAddr, dir: &Path) -> Process {
    let mut python = process::command(Some(namespace), "/usr/bin/python3");
    python.args(["-c", NO_NAMES, &address.ip().to_string(), &address.port().to_string()]);
    let log = dir.join("no-names.log");
    let process = Process::start(python, &log);
    until("the name server is there", Duration::from_secs(30), || {
        std::fs::read_to_string(&log).ok().filter(|log| log.contains("ready"))
    });
    process
}

/// A door with limits that no test reaches by accident.
const EVERYBODY_IS_LET_IN: &str = "[door]\ngreet_pause = 0\nconnections_per_address = 100000\n\
    connections_per_minute = 100000000\nerrors_per_hour = 100000\nunknown_recipients_per_hour = 100000";

/// Network namespaces and addresses for a pair.
#[derive(Debug, Clone)]
pub struct Places {
    /// Edge's namespace.
    pub edge_namespace: String,
    /// Home's namespace.
    pub home_namespace: String,
    /// Where Edge takes mail.
    pub smtp: SocketAddr,
    /// Where Edge takes links.
    pub link: SocketAddr,
    /// Where Home takes outgoing mail.
    pub submission: SocketAddr,
    /// Where Home gives mailboxes.
    pub imap: SocketAddr,
}

/// One role: its files and its process.
#[derive(Debug)]
pub struct Role {
    name: &'static str,
    namespace: Option<String>,
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    around: Surroundings,
}

/// An edge and a home, paired, running, with the users `alice` and `bob`.
#[derive(Debug)]
pub struct Pair {
    // Dropped in this order: the processes before their files.
    /// The edge.
    pub edge: Role,
    /// The home.
    pub home: Role,
    /// Where Edge takes mail.
    pub smtp: SocketAddr,
    /// Where Home takes outgoing mail.
    pub submission: SocketAddr,
    /// Where Home gives mailboxes.
    pub imap: SocketAddr,
    /// Where no name exists, unless the test has a name server of its own.
    name_server: Option<NameServer>,
    /// The same in the edge's own network.
    no_names: Option<Process>,
    dir: TempDir,
}

impl Role {
    /// With files in `own`, which is made.
    fn new(name: &'static str, own: &Path, namespace: Option<String>) -> Self {
        std::fs::create_dir(own).expect("a directory");
        Self {
            name,
            namespace,
            config: own.join(format!("{name}.toml")),
            data: own.join("data"),
            log: own.join("log"),
            process: None,
            around: Surroundings::default(),
        }
    }

    fn settle_in(&mut self, around: Surroundings) {
        if let Some(mib) = around.disk_mib {
            std::fs::create_dir(&self.data).expect("a directory");
            let mut mount = process::command(None, "mount");
            mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&self.data);
            process::run_ok(mount, b"", COMMAND_PATIENCE);
        }
        self.around = around;
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// What the daemon wrote to its log since the beginning.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Runs `postern` with these arguments and this role's configuration.
    #[must_use]
    pub fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = process::command(self.namespace.as_deref(), binary::postern());
        command.args(arguments).arg("--config").arg(&self.config);
        process::run(command, input.as_bytes(), COMMAND_PATIENCE)
    }

    /// As [`Self::command`], and it has to succeed.
    ///
    /// # Panics
    /// When it does not.
    #[allow(clippy::must_use_candidate, reason = "most callers want the effect")]
    pub fn command_ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.command(arguments, input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "postern {arguments:?}: {}\n{out}{err}\n{}",
            output.status,
            self.log()
        );
        out.into_owned()
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_until_it_answers();
    }

    /// Starts the daemon.
    pub fn spawn(&mut self) {
        let mut command = match &self.around.host_name {
            None => process::command(self.namespace.as_deref(), binary::postern()),
            Some(name) => {
                let mut command = process::command(self.namespace.as_deref(), "unshare");
                command.args(["--uts", "sh", "-c", NAMED, "sh", name]).arg(binary::postern());
                command
            }
        };
        command.args([self.name, "run", "--config"]).arg(&self.config);
        command.envs(self.around.environment.iter().cloned());
        self.process = Some(Process::start(command, &self.log));
    }

    /// Waits until the daemon answers.
    ///
    /// # Panics
    /// When it ended.
    pub fn wait_until_it_answers(&mut self) {
        until(&format!("{} answers", self.name), START_PATIENCE, || {
            let running = self.process.as_mut().is_some_and(Process::is_running);
            assert!(running, "{} ended:\n{}", self.name, self.log());
            self.status()
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM; gives the exit status.
    ///
    /// # Panics
    /// When it takes longer than that.
    pub fn terminate(&mut self, within: Duration) -> std::process::ExitStatus {
        let mut process = self.process.take().expect("a running daemon");
        process.signal(Signal::TERM);
        process.wait(within)
    }

    /// Sends a signal to the running daemon.
    ///
    /// # Panics
    /// When it is not running.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running daemon").signal(signal);
    }

    /// Whether the daemon has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Ends the daemon in order and starts it again.
    ///
    /// # Panics
    /// When it does not end.
    pub fn restart(&mut self) {
        self.terminate(Duration::from_secs(30));
        self.start();
    }

    /// The daemon's process id; `None` when it was not started.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Its memory now, in octets.
    #[must_use]
    pub fn resident_octets(&self) -> u64 {
        let id = self.process.as_ref().map_or(0, Process::id);
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib =
            line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// What `postern status --json` says; `None` while the daemon does not answer.
    #[must_use]
    pub fn status(&self) -> Option<Value> {
        let output = self.command(&["status", "--json"], "");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Merges TOML into the configuration file.
    ///
    /// # Panics
    /// When one of them is not TOML.
    pub fn configure(&self, more: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration");
        let mut table: toml::Table = text.parse().expect("TOML");
        merge(&mut table, more.parse().expect("TOML"));
        std::fs::write(&self.config, table.to_string()).expect("the configuration");
    }
}

fn merge(into: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

impl Pair {
    /// The usual pair.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&PairOptions::default())
    }

    /// A pair that differs.
    ///
    /// # Panics
    /// When something does not work as it should for an operator.
    #[must_use]
    pub fn with(options: &PairOptions) -> Self {
        Self::joined(options, None)
    }

    /// A pair with a relay on the link.
    ///
    /// # Panics
    /// As [`Self::with`].
    #[must_use]
    pub fn with_relay(options: &PairOptions, relay: &LinkRelay) -> Self {
        Self::joined(options, Some(relay))
    }

    fn joined(options: &PairOptions, relay: Option<&LinkRelay>) -> Self {
        let dir = crate::leavings::dir("journey");
        let places = options.places.as_ref();
        let mut edge =
            Role::new("edge", &dir.path().join("edge"), places.map(|places| places.edge_namespace.clone()));
        let mut home =
            Role::new("home", &dir.path().join("home"), places.map(|places| places.home_namespace.clone()));
        edge.settle_in(options.around_edge.clone());
        home.settle_in(options.around_home.clone());
        let mut pair = Self {
            edge,
            home,
            smtp: places.map_or_else(ports::free, |places| places.smtp),
            submission: places.map_or_else(ports::free, |places| places.submission),
            imap: places.map_or_else(ports::free, |places| places.imap),
            name_server: None,
            no_names: None,
            dir,
        };
        let link = places.map_or_else(ports::free, |places| places.link);
        if options.name_server.is_none() && places.is_none() {
            pair.name_server = Some(NameServer::start(&[]));
        }
        let mut server = options.name_server.or(pair.name_server.as_ref().map(NameServer::address));
        if let Some(places) = places.filter(|_| server.is_none()) {
            let address = ports::free();
            pair.no_names = Some(start_no_names(&places.edge_namespace, address, pair.dir.path()));
            server = Some(address);
        }
        let (link, told) = relay.map_or((link, link), |relay| (relay.edge(), relay.address()));
        let code = pair.set_up_edge([link, told], options, server);
        pair.edge.start();
        pair.set_up_home(&code, options);
        for user in ["alice", "bob"] {
            pair.add_user(user);
        }
        pair.home.start();
        pair.wait_for_link();
        pair
    }

    /// Sets it up to take links at one address and to tell Home the other.
    fn set_up_edge(
        &self,
        [link, told]: [SocketAddr; 2],
        options: &PairOptions,
        server: Option<SocketAddr>,
    ) -> String {
        let data = self.edge.data.display().to_string();
        let (smtp, link, told) = (self.smtp.to_string(), link.to_string(), told.to_string());
        let mut arguments = vec!["edge", "setup", "--hostname", EDGE_NAME, "--data", &data];
        arguments.extend(as_user());
        arguments.extend(["--smtp", &smtp, "--link", &link, "--link-address", &told]);
        let server = server.unwrap_or_else(ports::free).to_string();
        arguments.extend(["--dns", &server]);
        let printed = self.edge.command_ok(&arguments, "");
        // All clients of a test come from one address.
        self.edge.configure(EVERYBODY_IS_LET_IN);
        self.edge.configure(&options.edge_config);
        code_in(&printed)
    }

    fn set_up_home(&self, code: &str, options: &PairOptions) {
        let data = self.home.data.display().to_string();
        let (submission, imap) = (self.submission.to_string(), self.imap.to_string());
        let mut arguments = vec!["home", "setup", "--domain", DOMAIN, "--data", &data];
        arguments.extend(as_user());
        arguments.extend(["--submission", &submission, "--imap", &imap]);
        if options.outbound {
            arguments.extend(["--outbound", "on"]);
        }
        arguments.push(code);
        self.home.command_ok(&arguments, "");
        self.home.configure(&options.home_config);
    }

    /// Adds a user of the home's domain.
    pub fn add_user(&self, name: &str) {
        let address = format!("{name}@{DOMAIN}");
        self.home.command_ok(&["user", "add", &address, "--password-stdin"], &format!("{PASSWORD}\n"));
    }

    /// A user's mailboxes.
    #[must_use]
    pub fn account(&self, name: &str) -> Account {
        Account {
            server: self.imap,
            user: format!("{name}@{DOMAIN}"),
            password: PASSWORD.to_owned(),
            namespace: self.home.namespace.clone(),
        }
    }

    /// The directory that everything of this pair is in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The edge's side of the link, as it says: whether it is up, and how many messages are sealed.
    #[must_use]
    pub fn link(&self) -> (bool, u64) {
        let status = self.edge.status().unwrap_or_default();
        let home = &status["homes"][0];
        (home["link"] == "up", home["sealed"].as_u64().unwrap_or_default())
    }

    /// How the home reaches the edge: `quic` or `tcp`; `None` while it does not.
    #[must_use]
    pub fn transport(&self) -> Option<String> {
        let status = self.home.status()?;
        let edge = &status["edges"][0];
        (edge["link"] == "up").then(|| edge["transport"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until both sides say that the link is up.
    pub fn wait_for_link(&self) {
        until("the link is up", LINK_PATIENCE, || {
            (self.transport().is_some() && self.link().0).then_some(())
        });
    }

    /// Waits until the edge says that the link is down.
    pub fn wait_for_no_link(&self) {
        until("the link is down", LINK_PATIENCE, || (!self.link().0).then_some(()));
    }

    /// Waits until nothing sealed is left on the edge.
    pub fn wait_until_drained(&self, within: Duration) {
        until("sealed mail is handed over", within, || (self.link() == (true, 0)).then_some(()));
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
        if self.around.disk_mib.is_some() {
            let mut umount = process::command(None, "umount");
            umount.arg("--lazy").arg(&self.data);
            let _ = process::run(umount, b"", COMMAND_PATIENCE);
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for role in [&self.edge, &self.home] {
                let log = role.log();
                let lines: Vec<&str> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(40)..];
                eprintln!("---- the end of {}'s log\n{}", role.name, last.join("\n"));
            }
        }
    }
}

/// What has `setup` make files for whoever runs the tests, and no user of the machine: the directories of tests are
/// closed to others. A journey of its own runs what `setup` writes without this.
#[must_use]
pub fn as_user() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["--user", "root"] } else { &[] }
}

/// The lines of the trace of a role whose data this is, oldest first, as far as they can be read.
#[must_use]
pub fn trace_text(data: &Path) -> String {
    let dir = data.join("trace");
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // Numbers come before words: the file that is written is the last.
    names.sort();
    let read = |name: &String| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    names.iter().map(read).collect()
}

/// The pairing code in what `postern edge setup` or `postern edge pair` printed.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn code_in(printed: &str) -> String {
    let code = printed.split_whitespace().find(|word| word.starts_with("postern1-"));
    code.unwrap_or_else(|| panic!("no pairing code in {printed}")).to_owned()
}
