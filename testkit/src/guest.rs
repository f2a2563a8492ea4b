//! A host with an operating system of its own: a fresh Debian that systemd booted, in a container, as an operator has it
//! after he rented one. What is installed there is installed by its own package manager.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{binary, newer, package, until};

const PATIENCE: Duration = Duration::from_secs(120);
/// For making a root, which fetches some sixty megabytes.
const FETCHING: Duration = Duration::from_secs(600);
/// What a small server has beside what cannot be left away.
const INSTALLED: &str = "systemd,adduser,debconf,iproute2,nftables";

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debian {
    /// Debian 12: systemd 252.
    Bookworm,
    /// Debian 13: systemd 257.
    Trixie,
    /// What the next ones are made of: systemd 262 on 2026-11-30.
    Sid,
}

impl Debian {
    const fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    /// The directory of a system that was just installed; made once.
    fn installed(self) -> PathBuf {
        let root = package::cache().join(format!("root-{}", self.name()));
        let lock = root.with_extension("lock");
        // One fetches, the others wait.
        let lock = std::fs::File::create(lock).expect("a file");
        lock.lock().expect("the lock");
        if !root.is_dir() {
            let dir = tempfile::Builder::new().prefix("installing-").tempdir_in(package::cache());
            let dir = dir.expect("a directory");
            let made = dir.path().join("root");
            let mut command = process::command(None, "mmdebstrap");
            command.args(["--quiet", "--mode=root", "--variant=essential", "--format=directory"]);
            command.arg(format!("--include={INSTALLED}"));
            // Mirrors keep their copy of sid for longer than it is valid.
            command
                .args(["--aptopt=Acquire::Check-Valid-Until \"false\"", "--aptopt=Acquire::Retries \"3\""]);
            command.arg(self.name()).arg(&made).arg(newer::mirror());
            process::run_ok(command, b"", FETCHING);
            // Whole or not at all.
            std::fs::rename(&made, &root).expect("a new name");
        }
        root
    }
}

/// A running system. It is switched off when it is dropped.
#[derive(Debug)]
pub struct Guest {
    machine: Process,
    /// The process id of its first process.
    first: u32,
    /// Where its network is.
    namespace: String,
    dir: TempDir,
}

impl Guest {
    /// Boots a fresh one in this network namespace; it asks this name server.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn boot(debian: Debian, namespace: &str, name_server: IpAddr) -> Self {
        let dir = crate::leavings::dir("guest");
        let root = dir.path().join("root");
        let mut copy = process::command(None, "cp");
        copy.args(["--archive", "--reflink=auto"]).arg(debian.installed()).arg(&root);
        process::run_ok(copy, b"", PATIENCE);
        let _ = std::fs::remove_file(root.join("etc/resolv.conf"));
        std::fs::write(root.join("etc/resolv.conf"), format!("nameserver {name_server}\n")).expect("a file");
        let (machine, first) = switched_on(dir.path(), namespace);
        let guest = Self { machine, first, namespace: namespace.to_owned(), dir };
        guest.wait();
        guest
    }

    /// Switches it off in order and on again.
    ///
    /// # Panics
    /// When it does not go down, or does not come up.
    pub fn restart(&mut self) {
        let _ = self.shell("systemctl poweroff", "");
        until("the guest is down", PATIENCE, || (!self.machine.is_running()).then_some(()));
        (self.machine, self.first) = switched_on(self.dir.path(), &self.namespace);
        self.wait();
    }

    fn wait(&self) {
        until("the guest is up", PATIENCE, || {
            let said = self.shell("systemctl is-system-running", "");
            // What no container can do does not count.
            ["running\n", "degraded\n"].contains(&&*String::from_utf8_lossy(&said.stdout)).then_some(())
        });
    }

    /// The path, from outside, of what is at this path inside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join("root").join(inside.trim_start_matches('/'))
    }

    fn enter(&self) -> Command {
        let mut command = process::command(None, "nsenter");
        command.args(["--target", &self.first.to_string()]);
        command.args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--root", "--wd"]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command
    }

    /// What root types.
    #[must_use]
    pub fn shell(&self, line: &str, input: &str) -> Output {
        let mut command = self.enter();
        command.args(["sh", "-c", line]);
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
        assert!(output.status.success(), "{line}: {}\n{out}{err}{}", output.status, self.journal());
        out.into_owned()
    }

    /// The last of what its services said.
    #[must_use]
    pub fn journal(&self) -> String {
        String::from_utf8_lossy(&self.shell("journalctl --no-pager --lines 60", "").stdout).into_owned()
    }

    /// Puts a file there, for root.
    ///
    /// # Panics
    /// When it can't be copied.
    pub fn copy_in(&self, file: &Path, inside: &str) {
        std::fs::copy(file, self.path(inside)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Puts the Debian package of Postern there; gives its path.
    ///
    /// # Panics
    /// When it was not packed.
    #[must_use]
    pub fn bring_package(&self) -> String {
        self.copy_in(&debian_package(), "/root/postern.deb");
        "/root/postern.deb".to_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // In order, so that nothing of it stays mounted; it is killed if it does not listen.
        let mut off = self.enter();
        off.args(["systemctl", "poweroff", "--force"]);
        let _ = off.output();
        self.machine.kill();
    }
}

/// The Debian package that `cargo xtask package` made.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn debian_package() -> PathBuf {
    packed("postern_", "_amd64.deb")
}

/// What `cargo xtask package` made, of which the name begins and ends so.
pub(crate) fn packed(begin: &str, end: &str) -> PathBuf {
    let folder = binary::postern().parent().and_then(Path::parent).expect("a directory").join("package");
    let mut files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(begin) && name.ends_with(end)
    };
    let found = files.find(named);
    found.unwrap_or_else(|| {
        panic!("no {begin}…{end} in {}: cargo xtask package --images --debug", folder.display())
    })
}

/// Boots what is in `root` of this directory. Gives it, and its first process.
fn switched_on(dir: &Path, namespace: &str) -> (Process, u32) {
    let mut command = process::command(None, "systemd-nspawn");
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    command.arg("--directory").arg(dir.join("root"));
    command.arg(format!("--network-namespace-path=/run/netns/{namespace}"));
    command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"]);
    // The network is its own, as a host's is.
    command.arg("--capability=CAP_NET_ADMIN");
    command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
    let mut machine = Process::start(command, &dir.join("console"));
    let first = until("the guest's first process", PATIENCE, || {
        assert!(machine.is_running(), "the guest ended:\n{}", machine.log());
        child_of(machine.id())
    });
    (machine, first)
}

fn child_of(id: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
