//! `postern demo`: both roles as real processes and a pretend internet, on loopback, in a temporary directory.
//!
//! It goes the way an operator goes: set up, pair, add users, run. Then Home goes away and a message is
//! sealed, Home comes back and has it, one message comes in live and one goes out. What was read back is
//! compared with what was sent.

mod dialogue;
mod dns;
mod remote;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daemon::clock::{Clock as _, SystemClock};
use daemon::config;
use daemon::control;
use daemon::problem::Problem;
use daemon::request::{PeopleRequest, Request};
use daemon::system;
use daemon::trace;
use dialogue::Dialogue;
use dns::NameServer;
use edge::setup::{self as edge_setup, SetupArguments as EdgeArguments};
use home::accounts;
use home::config::HomeConfig;
use home::setup::{self as home_setup, SetupArguments as HomeArguments};
use remote::RemoteMta;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;

const DOMAIN: &str = "home.example";
const REMOTE: &str = "world.example";
const ALICE: &str = "alice@home.example";
const BOB: &str = "bob@home.example";
const FRIEND: &str = "friend@world.example";
/// How long the demo waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A role as a child process; it ends with the demo.
struct Role {
    child: Child,
}

impl Role {
    fn start(role: &str, config: &Path, log: &Path) -> Result<Self, Problem> {
        let failed = |error: std::io::Error| Problem::failed(format!("can't start {role}: {error}"), "");
        let program = std::env::current_exe().map_err(failed)?;
        let log = std::fs::File::options().append(true).create(true).open(log).map_err(failed)?;
        let child = Command::new(program)
            .args([role, "run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child })
    }

    /// Ends the process with the signal that systemd sends.
    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

/// The demo's two hosts and its internet.
struct Stage {
    _dir: tempfile::TempDir,
    runtime: Runtime,
    root: PathBuf,
    name_server: SocketAddr,
    remote_port: u16,
    smtp: SocketAddr,
    submission: SocketAddr,
    imap: SocketAddr,
    password: String,
    edge: Option<Role>,
    home: Option<Role>,
    world: Receiver<Vec<u8>>,
    /// Events that were printed.
    shown: usize,
}

/// Plays the demo. With `once` it ends when everything was read back; else it stays up until Ctrl-C.
pub(crate) fn run(once: bool) -> Result<(), Problem> {
    let mut stage = Stage::begin()?;
    match stage.set_up().and_then(|()| stage.play()) {
        Ok(()) if once => {
            println!("\nBoth messages were read back and are what was sent.");
            Ok(())
        }
        Ok(()) => stage.stay().inspect_err(|_| stage.show_logs()),
        Err(problem) => {
            stage.show_logs();
            Err(problem)
        }
    }
}

/// How often it is looked whether both roles still run.
const LOOKED_AFTER_EVERY: Duration = Duration::from_secs(1);

fn say(text: &str) {
    println!("\n== {text}");
}

/// Ports below those that the system gives to connections that go out: none of these can take one before its
/// daemon listens.
const PORTS: std::ops::Range<u64> = 10_000..32_000;

/// An address on loopback that is free for TCP and UDP.
fn free_address() -> Result<SocketAddr, Problem> {
    let span = PORTS.end - PORTS.start;
    for _ in 0..1000 {
        let port = u16::try_from(PORTS.start + system::random_u64() % span).unwrap_or(u16::MAX);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Problem::failed("no free port on loopback", "end what listens on so many of them"))
}

/// The demo makes no user on the machine that it is shown on.
fn own_user() -> Option<String> {
    daemon::owner::is_root().then(|| "root".to_owned())
}

fn io_problem(error: &std::io::Error) -> Problem {
    Problem::failed(format!("the demo can't go on: {error}"), "check that the temporary directory has room")
}

impl Stage {
    /// The pretend internet runs; the edge and the home are not there yet.
    fn begin() -> Result<Self, Problem> {
        say("Setting up: an edge, a home behind it, a pretend internet; all on loopback");
        let dir = tempfile::Builder::new().prefix("postern-demo").tempdir().map_err(|e| io_problem(&e))?;
        let root = dir.path().to_owned();
        let runtime = Runtime::new().map_err(|error| io_problem(&error))?;
        let (name_server, remote_port, world) = start_world(&runtime)?;
        let (smtp, submission, imap) = (free_address()?, free_address()?, free_address()?);
        let password = format!("{:016x}", system::random_u64());
        Ok(Self {
            _dir: dir,
            runtime,
            root,
            name_server,
            remote_port,
            smtp,
            submission,
            imap,
            password,
            edge: None,
            home: None,
            world,
            shown: 0,
        })
    }

    /// The edge runs, Home is paired with it, has two users and runs.
    fn set_up(&mut self) -> Result<(), Problem> {
        let link = free_address()?;
        let edge = EdgeArguments {
            hostname: format!("mx.{DOMAIN}"),
            config: self.root.join("edge.toml"),
            data: self.root.join("edge"),
            smtp: vec![self.smtp],
            link: vec![link],
            link_address: Some(link.to_string()),
            dns: vec![self.name_server],
            user: own_user(),
        };
        edge_setup::setup_quietly(&edge)?;
        append(&edge.config, &format!("\n[outbound]\nport = {}\n", self.remote_port))?;
        let code = edge_setup::new_code(&config::load(&edge.config)?, &[], SystemClock.now())?;
        println!("pairing code: {code}");
        self.edge = Some(Role::start("edge", &edge.config, &self.root.join("edge.log"))?);
        self.wait_for("the edge", |stage| stage.status("edge").is_some())?;
        let done = home_setup::setup(&HomeArguments {
            code: Some(code),
            domain: vec![mail::Domain::parse(DOMAIN).map_err(|e| Problem::failed(e, ""))?],
            config: self.root.join("home.toml"),
            data: self.root.join("home"),
            submission: vec![self.submission],
            imap: vec![self.imap],
            outbound: "on".to_owned(),
            user: own_user(),
        })?;
        println!("{done}");
        for user in [ALICE, BOB] {
            let (address, password) = (user.to_owned(), self.password.clone());
            let request = PeopleRequest::AddUser { address, password, restore: None };
            let config: HomeConfig = config::load(&self.root.join("home.toml"))?;
            self.runtime.block_on(accounts::command(&config, request))?;
        }
        self.start_home()
    }

    fn start_home(&mut self) -> Result<(), Problem> {
        self.home = Some(Role::start("home", &self.root.join("home.toml"), &self.root.join("home.log"))?);
        // The link is up and the edge has kept the list of addresses: now it can take mail for them.
        self.wait_for("the link", |stage| {
            let kept = stage
                .status("home")
                .and_then(|status| status.get("edges")?.get(0)?.get("snapshot")?.as_u64());
            kept.is_some_and(|generation| generation > 0)
        })
    }

    fn play(&mut self) -> Result<(), Problem> {
        say("Home goes away; a message for Alice arrives meanwhile");
        if let Some(mut home) = self.home.take() {
            home.stop();
        }
        let sealed = message(FRIEND, ALICE, "sealed", "Written while you were away.");
        let reply = self.send_from_world(ALICE, &sealed)?;
        println!("the edge answered the sender: {reply}");
        self.check_sealed("Written while you were away")?;

        say("Home comes back and gets it");
        self.start_home()?;
        self.read_back(ALICE, "sealed", &sealed)?;

        say("A message for Bob arrives while Home is connected: handed off live");
        let live = message(FRIEND, BOB, "live", "Straight through.");
        let reply = self.send_from_world(BOB, &live)?;
        println!("Home's verdict reached the sender: {reply}");
        self.read_back(BOB, "live", &live)?;

        say("Alice writes to the world, through Home and the edge");
        let out = message(ALICE, FRIEND, "outward", "Greetings from behind the wall.");
        let login = (ALICE.to_owned(), self.password.clone());
        let submission = self.submission;
        let reply = self.runtime.block_on(async {
            let login = Some((login.0.as_str(), login.1.as_str()));
            Dialogue::tls(submission).await?.send(login, ALICE, FRIEND, &out).await
        })?;
        println!("Home answered Alice: {reply}");
        self.check_outward("Greetings from behind the wall.")?;
        self.show_trace()
    }

    fn send_from_world(&mut self, to: &str, message: &str) -> Result<String, Problem> {
        let smtp = self.smtp;
        self.runtime.block_on(async { Dialogue::plain(smtp).await?.send(None, FRIEND, to, message).await })
    }

    /// Nothing readable rests on the edge.
    fn check_sealed(&mut self, marker: &str) -> Result<(), Problem> {
        let status = self.status("edge").unwrap_or_default();
        let sealed = status.get("homes").and_then(|homes| homes.get(0)?.get("sealed")?.as_u64());
        if sealed != Some(1) {
            return Err(Problem::failed(format!("the edge has {sealed:?} sealed items, not one"), ""));
        }
        if holds(&self.root.join("edge"), marker.as_bytes()).map_err(|error| io_problem(&error))? {
            return Err(Problem::failed("the message is readable on the edge's disk", ""));
        }
        println!("on the edge's disk: 1 sealed item, and no readable word of it");
        Ok(())
    }

    /// Reads a message over IMAP and compares it with what was sent.
    fn read_back(&mut self, user: &str, word: &str, sent: &str) -> Result<(), Problem> {
        let (imap, password) = (self.imap, self.password.clone());
        let mut read = None;
        self.wait_for("the message in the mailbox", |stage| {
            let newest = stage
                .runtime
                .block_on(async { Dialogue::tls(imap).await?.newest((user, &password), word).await });
            read = newest.ok().flatten();
            read.is_some()
        })?;
        if !read.is_some_and(|read| read.ends_with(sent.as_bytes())) {
            return Err(Problem::failed(format!("what {user} reads is not what was sent"), ""));
        }
        println!("read back over IMAP by {user}: byte for byte what was sent, below three trace fields");
        self.show_trace()
    }

    fn check_outward(&mut self, body: &str) -> Result<(), Problem> {
        let Self { runtime, world, .. } = self;
        let arrived = runtime.block_on(async { tokio::time::timeout(PATIENCE, world.recv()).await });
        let Ok(Some(arrived)) = arrived else {
            return Err(Problem::failed("Alice's message did not reach the world", ""));
        };
        let text = String::from_utf8_lossy(&arrived);
        if !text.contains(body) || text.contains("mua.lan") || text.contains("127.0.0.1") {
            return Err(Problem::failed("Alice's message was changed, or names where she writes from", ""));
        }
        println!("{FRIEND} got it; nothing in it names Home, or the program Alice wrote with");
        Ok(())
    }

    fn status(&self, role: &str) -> Option<Value> {
        let data = self.root.join(role);
        let request = Request::Status;
        self.runtime.block_on(control::ask(&data, &request)).ok().flatten()
    }

    fn wait_for(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), Problem> {
        let begun = Instant::now();
        while !done(self) {
            self.see_that_both_run(what)?;
            if begun.elapsed() > PATIENCE {
                return Err(Problem::failed(
                    format!("{what} did not come within {} s", PATIENCE.as_secs()),
                    "",
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Prints the events that came since the last time.
    fn show_trace(&mut self) -> Result<(), Problem> {
        // Edge's half comes over the link a moment later.
        std::thread::sleep(Duration::from_millis(300));
        let events = trace::read(&self.root.join("home").join("trace"))?;
        for event in events.iter().skip(self.shown).filter(|event| event.item.is_some()) {
            daemon::print::readable(event);
        }
        self.shown = events.len();
        Ok(())
    }

    fn stay(&mut self) -> Result<(), Problem> {
        say("It stays up. Connect your own mail program:");
        println!("  IMAP   {} (TLS)     user {ALICE} or {BOB}", self.imap);
        println!("  SMTP   {} (TLS)     password {}", self.submission, self.password);
        println!("  The certificate is self-made: your program will ask you to accept it.");
        println!("  Mail from outside: {} (no TLS needed), from anyone to {ALICE}", self.smtp);
        println!("  Write to {FRIEND} and it is shown here. Ctrl-C ends the demo and removes everything.");
        loop {
            let Self { runtime, world, .. } = self;
            let over = runtime.block_on(async {
                tokio::select! {
                    message = world.recv() => match message {
                        Some(message) => {
                            println!("\n-- the world got:\n{}", String::from_utf8_lossy(&message));
                            false
                        }
                        None => true,
                    },
                    _ = tokio::signal::ctrl_c() => true,
                    () = tokio::time::sleep(LOOKED_AFTER_EVERY) => false,
                }
            });
            if over {
                return Ok(());
            }
            self.see_that_both_run("the demo")?;
        }
    }

    /// A role that has ended is told, and not waited for.
    fn see_that_both_run(&mut self, what: &str) -> Result<(), Problem> {
        for (name, role) in [("edge", &mut self.edge), ("home", &mut self.home)] {
            if let Some(Ok(Some(status))) = role.as_mut().map(|role| role.child.try_wait()) {
                return Err(Problem::failed(
                    format!("{what} can't go on: postern {name} has ended ({status})"),
                    "its last lines are above",
                ));
            }
        }
        Ok(())
    }

    fn show_logs(&self) {
        for name in ["edge.log", "home.log"] {
            if let Ok(log) = std::fs::read_to_string(self.root.join(name)) {
                eprintln!("-- {name}, last lines:");
                let lines: Vec<&str> = log.lines().collect();
                lines.iter().skip(lines.len().saturating_sub(20)).for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for role in [self.home.take(), self.edge.take()].into_iter().flatten() {
            drop(role);
        }
    }
}

type World = (SocketAddr, u16, Receiver<Vec<u8>>);

fn start_world(runtime: &Runtime) -> Result<World, Problem> {
    let started = runtime.block_on(async {
        let dns = NameServer::bind(REMOTE).await?;
        let (remote, messages) = RemoteMta::bind(&format!("mx.{REMOTE}")).await?;
        let addresses = (dns.address()?, remote.address()?.port());
        tokio::spawn(dns.run());
        tokio::spawn(remote.run());
        Ok((addresses.0, addresses.1, messages))
    });
    started.map_err(|error: std::io::Error| io_problem(&error))
}

fn append(path: &Path, text: &str) -> Result<(), Problem> {
    use std::io::Write as _;
    let file = std::fs::File::options().append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| io_problem(&error))
}

fn message(from: &str, to: &str, subject: &str, body: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {}\r\nMessage-ID: <{:x}@{}>\r\n\r\n{body}\r\n",
        SystemClock.now().rfc5322(),
        system::random_u64(),
        from.rsplit('@').next().unwrap_or_default(),
    )
}

/// Whether any file below `dir` holds these octets.
fn holds(dir: &Path, octets: &[u8]) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let found = match entry.file_type()? {
            kind if kind.is_dir() => holds(&entry.path(), octets)?,
            kind if kind.is_file() => memchr::memmem::find(&std::fs::read(entry.path())?, octets).is_some(),
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
