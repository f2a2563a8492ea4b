//! Child processes that do not outlive the test.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::until;

/// A program with its arguments, to be started in a network namespace or on this host.
#[must_use]
pub fn command(namespace: Option<&str>, program: impl AsRef<Path>) -> Command {
    let program = find(program.as_ref());
    let mut command = match namespace {
        None => Command::new(program),
        Some(namespace) => {
            let mut command = Command::new(find(Path::new("ip")));
            command.args(["netns", "exec", namespace]).arg(program);
            command
        }
    };
    command.stdin(Stdio::null());
    command
}

/// A program's path, also when it is in `/usr/sbin` and that is not searched.
fn find(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let searched = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&searched).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = dirs.map(|dir| dir.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{} is not installed: run 'cargo xtask packages'", program.display()))
}

/// Runs a program to its end.
///
/// # Panics
/// When it is not done within the time.
pub fn run(mut command: Command, input: &[u8], within: Duration) -> Output {
    let line = format!("{command:?}");
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut out = child.stdout.take().expect("piped");
    let mut err = child.stderr.take().expect("piped");
    let out = std::thread::spawn(move || {
        let mut octets = Vec::new();
        out.read_to_end(&mut octets).map(|_| octets)
    });
    let err = std::thread::spawn(move || {
        let mut octets = Vec::new();
        err.read_to_end(&mut octets).map(|_| octets)
    });
    let mut running = Process { child, log: None };
    if let Some(mut stdin) = running.child.stdin.take() {
        // A program that ends without reading everything has its reasons; its exit status says them.
        let _ = stdin.write_all(input);
    }
    let status = until(&line, within, || running.child.try_wait().expect("its status"));
    let read = |thread: std::thread::JoinHandle<std::io::Result<Vec<u8>>>| {
        thread.join().expect("the reader").expect("its output")
    };
    Output { status, stdout: read(out), stderr: read(err) }
}

/// As [`run`], and the program must succeed. Returns what it printed.
///
/// # Panics
/// When it fails, with all that it said.
pub fn run_ok(command: Command, input: &[u8], within: Duration) -> String {
    let line = format!("{command:?}");
    let output = run(command, input, within);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A running program. Dropping it kills it and all that it started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Option<PathBuf>,
}

impl Process {
    /// Starts a program; what it prints is added to the log file.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let open = || -> File {
            let file = OpenOptions::new().create(true).append(true).open(log);
            file.unwrap_or_else(|error| panic!("{}: {error}", log.display()))
        };
        command.process_group(0).stdout(open()).stderr(open());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: Some(log.to_owned()) }
    }

    /// The way to its standard input, if that is piped; dropping it ends the input.
    pub fn take_stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within the time.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let what = format!("the end of process {}", self.id());
        until(&what, within, || self.child.try_wait().expect("its status"))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.is_running() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Its output so far.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |log| std::fs::read(log).unwrap_or_default();
        String::from_utf8_lossy(&self.log.as_ref().map(read).unwrap_or_default()).into_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
