//! A network of the bench's own: nothing but loopback, and a resolver on it. What the systems under test ask
//! or send can't leave the machine, and no port of the machine is in the way.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PREFIX: &str = "postern-bench-";
/// Set for the process that is inside.
const INSIDE: &str = "POSTERN_BENCH_INSIDE";

/// Whether this process is in the bench's network already.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// A network namespace and its resolver file. Both go when it is dropped.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Result<Self, String> {
        remove_stale();
        let namespace = Self { name: format!("{PREFIX}{}", std::process::id()) };
        ip(&["netns", "add", &namespace.name])?;
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        let dir = resolver_dir(&namespace.name);
        std::fs::create_dir_all(&dir)
            .and_then(|()| std::fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.1\n"))
            .map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Runs this program again, with the same arguments, inside a network of its own.
///
/// # Errors
/// A sentence that says what to do, when this user may not make one.
pub(crate) fn run_inside() -> Result<ExitCode, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the bench starts Postfix and makes a network namespace: run it as root".to_owned());
    }
    let namespace = Namespace::new()?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("ip")
        .args(["netns", "exec", &namespace.name])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .map_err(|error| format!("ip netns exec: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Removes what a bench left that was killed.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_prefix(PREFIX).unwrap_or_default();
        if !id.is_empty() && !Path::new("/proc").join(id).exists() {
            remove(&name);
        }
    }
}

fn remove(name: &str) {
    // The namespace is empty by now or will be; there is nothing else to do about a failure.
    let _ = ip(&["netns", "del", name]);
    let _ = std::fs::remove_dir_all(resolver_dir(name));
}

/// Where `ip netns exec` takes the resolver file from: ip-netns(8).
fn resolver_dir(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let status = Command::new("ip").args(arguments).status().map_err(|error| format!("ip: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("ip {} failed ({status})", arguments.join(" "))) }
}
