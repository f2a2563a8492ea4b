//! A host as an operator has it: the program, root's shell, empty `/etc/postern` and `/var/lib`, and the service manager's
//! part: daemons start as their unit says, with its user, its capabilities and its limits. No user is added to the
//! machine around.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{binary, cell, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// The units that are shipped.
const UNITS: [(&str, &str); 2] = [
    ("edge", include_str!("../../docs/systemd/postern-edge.service")),
    ("home", include_str!("../../docs/systemd/postern-home.service")),
];
/// What systemd gives a service unless it is told otherwise: so many descriptors, and a limit that it may raise.
const SOFT_DESCRIPTORS: u32 = 1024;

/// Mounts what is this machine's, where nobody else sees it, and begins there. The program is below `/opt`. With a
/// directory for `writable` all else is read-only, as `ProtectSystem=strict` has it.
const ENTER: &str = r#"set -e
root=$1; program=$2; writable=$3; shift 3
mount --bind "$root" "$root"
mount --bind /usr "$root/usr"
mount --bind /dev "$root/dev"
mount --bind "$program" "$root/opt"
mount -t proc proc "$root/proc"
if [ -n "$writable" ]; then
    mount --bind "$root/$writable" "$root/$writable"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -o remount,bind,ro "$root"
fi
exec chroot "$root" "$@"
"#;

/// A host in a network namespace.
#[derive(Debug)]
pub struct Host {
    dir: TempDir,
    namespace: String,
}

/// A daemon on it. It ends when it is dropped.
#[derive(Debug)]
pub struct Service {
    process: Process,
}

impl Host {
    /// An empty one in this network namespace, which asks this name server.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn new(namespace: &str, name_server: IpAddr) -> Self {
        let dir = crate::leavings::dir("host");
        cell::furnish(dir.path(), &[("root", 0), ("nobody", 65534)], name_server);
        // What useradd writes to.
        for name in ["shadow", "gshadow"] {
            std::fs::write(dir.path().join("etc").join(name), "").expect("a file");
        }
        Self { dir, namespace: namespace.to_owned() }
    }

    /// The path, from outside, of what is at this path inside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside.trim_start_matches('/'))
    }

    /// The network namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn enter(&self, writable: &str) -> Command {
        let program = binary::postern().parent().expect("a directory");
        let mut command = process::command(Some(&self.namespace), "unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]);
        command.arg(self.dir.path()).arg(program).arg(writable);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// What root types.
    #[must_use]
    pub fn shell(&self, line: &str, input: &str) -> Output {
        let mut command = self.enter("");
        command.args(["sh", "-c", &format!("cd /root; PATH=/opt:$PATH; {line}")]);
        process::run(command, input.as_bytes(), PATIENCE)
    }

    /// What root types, and it has to succeed. Gives what it printed.
    ///
    /// # Panics
    /// When it does not.
    #[allow(clippy::must_use_candidate, reason = "most callers want the effect")]
    pub fn shell_ok(&self, line: &str, input: &str) -> String {
        let output = self.shell(line, input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{line}: {}\n{out}{err}", output.status);
        out.into_owned()
    }

    /// What root types, and it has to fail. Gives the exit code and what was said.
    ///
    /// # Panics
    /// When it succeeds.
    #[must_use]
    pub fn shell_fails(&self, line: &str, input: &str) -> (i32, String) {
        let output = self.shell(line, input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{line} succeeded:\n{out}{err}");
        (output.status.code().unwrap_or(-1), format!("{out}{err}"))
    }

    /// Starts a role as its unit has it started, and waits until it answers. `hard` is the limit of descriptors that
    /// the unit gets; the machine's own without.
    ///
    /// # Panics
    /// When it ends instead.
    #[must_use]
    pub fn start(&self, role: &str, hard: Option<u32>) -> Service {
        let mut service =
            Service { process: Process::start(self.as_the_unit_says(role, hard), &self.log(role)) };
        until(&format!("{role} answers"), PATIENCE, || {
            assert!(service.process.is_running(), "{role} ended:\n{}", self.log_of(role));
            self.status()
        });
        service
    }

    /// Starts what root types and leaves it running; waits until it printed this.
    ///
    /// # Panics
    /// When it ends without.
    #[must_use]
    pub fn background(&self, line: &str, until_it_says: &str) -> Process {
        let mut command = self.enter("");
        command.args(["sh", "-c", &format!("PATH=/opt:$PATH; {line}")]);
        let log = self.log("background");
        let mut running = Process::start(command, &log);
        until(until_it_says, PATIENCE, || {
            let said = running.log();
            assert!(running.is_running(), "{line} ended:\n{said}");
            said.contains(until_it_says).then_some(())
        });
        running
    }

    fn as_the_unit_says(&self, role: &str, hard: Option<u32>) -> Command {
        let unit = UNITS.iter().find(|(name, _)| *name == role).expect("one of the roles").1;
        let said = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("the unit has no {key}")).to_owned()
        };
        let user = said("User");
        let capabilities = |key: &str| said(key).to_ascii_lowercase().replace("cap_", "-all,+");
        assert_eq!((said("ProtectSystem"), said("NoNewPrivileges")), ("strict".to_owned(), "yes".to_owned()));
        let state = format!("var/lib/{}", said("StateDirectory"));
        let mut command = self.enter(&state);
        command.arg("prlimit").arg(format!(
            "--nofile={SOFT_DESCRIPTORS}:{}",
            hard.map(|hard| hard.to_string()).unwrap_or_default()
        ));
        command.args(["setpriv", "--reuid", &user, "--regid", &user, "--init-groups", "--no-new-privs"]);
        let ambient = capabilities("AmbientCapabilities");
        command.args(["--inh-caps", &ambient, "--ambient-caps", &ambient]);
        command.args(["--bounding-set", &capabilities("CapabilityBoundingSet")]);
        let start = said("ExecStart");
        let mut words = start.split(' ');
        assert_eq!(words.next(), Some("/usr/local/bin/postern"));
        command.arg("/opt/postern").args(words);
        command
    }

    fn log(&self, role: &str) -> PathBuf {
        self.path(&format!("var/log/{role}"))
    }

    /// What a role's daemons wrote to their log.
    #[must_use]
    pub fn log_of(&self, role: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log(role)).unwrap_or_default()).into_owned()
    }

    /// What `postern status` says to root, who names no file; `None` while nobody answers.
    #[must_use]
    pub fn status(&self) -> Option<Value> {
        let output = self.shell("postern status --json", "");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Owner's name and mode of everything below a path inside, as `find` prints them.
    #[must_use]
    pub fn owners(&self, inside: &str) -> Vec<String> {
        let printed = self.shell_ok(&format!("find {inside} -printf '%u %m %y %p\\n'"), "");
        printed.lines().map(str::to_owned).collect()
    }
}

impl Service {
    /// The process of the daemon itself, below those that made its surroundings.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        let mut id = self.process.id();
        loop {
            let children =
                std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            match children.split_whitespace().next() {
                Some(child) => id = child.parse().expect("a number"),
                None => return id,
            }
        }
    }

    /// Ends it in order, as the service manager does.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(mut self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.process_id()).expect("an id"));
        let _ = rustix::process::kill_process(id.expect("an id"), rustix::process::Signal::TERM);
        self.process.wait(PATIENCE);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for (role, _) in UNITS.iter().filter(|_| std::thread::panicking()) {
            print_end(role, &self.log(role));
        }
    }
}

fn print_end(role: &str, log: &Path) {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    if !lines.is_empty() {
        eprintln!("---- the end of {role}'s log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
    }
}
