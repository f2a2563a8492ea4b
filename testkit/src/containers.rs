//! Containers: podman with a store of its own, which goes when it is dropped, and the compose file that is shipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::{guest, package, process};

const PATIENCE: Duration = Duration::from_secs(120);
/// As Debian 13 has it: that of Debian 12 knows no service in the host's network.
const PODMAN_COMPOSE: &str = "podman-compose==1.3.0";
const COMPOSE: &str = include_str!("../../packaging/oci/compose.yaml");

/// What a machine without systemd, or with less than all of root's rights, asks for.
const SETTINGS: &str = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\
    [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";

/// A host that runs containers, in a network namespace.
#[derive(Debug)]
pub struct Containers {
    dir: TempDir,
    namespace: String,
}

impl Containers {
    /// One with the images of Postern.
    ///
    /// # Panics
    /// When they were not packed, or can't be loaded.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        let dir = crate::leavings::dir("containers");
        let host = Self { dir, namespace: namespace.to_owned() };
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            host.path("store"),
            host.path("run")
        );
        std::fs::write(host.path("storage.conf"), storage).expect("a file");
        std::fs::write(host.path("containers.conf"), SETTINGS).expect("a file");
        std::fs::write(host.path("compose.yaml"), COMPOSE).expect("a file");
        for role in ["edge", "home"] {
            let image = guest::packed(&format!("postern-{role}-"), ".tar");
            host.podman_ok(&["load", "--quiet", "--input", &image.display().to_string()]);
        }
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As `ip netns exec`, which would hide the control groups.
    fn inside(&self, program: &str) -> Command {
        let mut command = process::command(None, "nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program).current_dir(self.dir.path());
        command.env("CONTAINERS_CONF", self.path("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"));
        command
    }

    /// `podman` with these arguments.
    #[must_use]
    pub fn podman(&self, arguments: &[&str]) -> Output {
        let mut command = self.inside("podman");
        command.args(arguments);
        process::run(command, b"", PATIENCE)
    }

    /// As [`Containers::podman`], and it has to succeed. Gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[allow(clippy::must_use_candidate, reason = "most callers want the effect")]
    pub fn podman_ok(&self, arguments: &[&str]) -> String {
        let output = self.podman(arguments);
        ok(&output, arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `podman-compose` with these arguments, and it has to succeed. Gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[allow(clippy::must_use_candidate, reason = "most callers want the effect")]
    pub fn compose_ok(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.inside("/usr/bin/python3");
        command.env("PYTHONPATH", podman_compose()).args(["-m", "podman_compose"]);
        command.args(["--project-name", "postern"]).args(arguments);
        ok(&process::run(command, input.as_bytes(), PATIENCE), arguments)
    }
}

/// Where it is imported from; fetched once.
fn podman_compose() -> PathBuf {
    let folder = package::cache().join("podman-compose");
    let wheel = || std::fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path()).next();
    wheel().unwrap_or_else(|| {
        let mut pip = process::command(None, "python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", PODMAN_COMPOSE, "--dest"]).arg(&folder);
        process::run_ok(pip, b"", PATIENCE);
        wheel().expect("a wheel")
    })
}

fn ok(output: &Output, arguments: &[&str]) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{out}{err}", output.status);
    // One of podman-compose's ways to fail is 0.
    format!("{out}{err}")
}

impl Drop for Containers {
    fn drop(&mut self) {
        let _ = self.podman(&["rm", "--all", "--force", "--time", "5"]);
        unmount(self.dir.path());
    }
}

/// What podman mounts in its store stays mounted when its containers are gone.
fn unmount(below: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for place in places.filter(|place| Path::new(place).starts_with(below)) {
        let mut command = process::command(None, "umount");
        let _ = command.args(["--lazy", place]).output();
    }
}
