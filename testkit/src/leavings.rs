//! What tests that were killed have left behind: daemons, network namespaces, directories with file systems in memory on
//! them. Each directory and namespace has the process id of its owner in its name, and goes when that process is gone.
//!
//! Nothing else is touched: a process is ended when it is in such a namespace, or is a `postern` whose configuration is
//! below such a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process;

const PATIENCE: Duration = Duration::from_secs(30);
/// Names of directories are this, what it is, the owner, and what makes them different.
const DIR: &str = "postern-";
/// Names of namespaces are this, the owner's process id, and the place.
pub(crate) const NAMESPACE: &str = "psn";
const NAMESPACES: &str = "/run/netns";

/// A directory that goes when it is dropped, or, should this process be killed, when the next test begins.
///
/// # Panics
/// When it can't be made.
#[must_use]
pub fn dir(what: &str) -> TempDir {
    remove();
    let prefix = format!("{DIR}{what}-{}-", owner(std::process::id()));
    tempfile::Builder::new().prefix(&prefix).tempdir().expect("a directory")
}

/// Removes what processes that are gone have left, once in each process.
pub fn remove() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        remove_namespaces();
        remove_dirs(&std::env::temp_dir());
    });
}

/// How a process calls itself in names: another PID namespace may have the same file system, and other processes. Short, for
/// paths of sockets are.
fn owner(id: u32) -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let space: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{id}.{:x}", space.parse::<u64>().unwrap_or_default())
}

/// Whether there is no such process, or nothing left of it but its exit status.
fn is_gone(id: u32) -> bool {
    let stat = |id: &str| fs::read_to_string(format!("/proc/{id}/stat")).ok();
    // Where there is no /proc nobody is known to be gone.
    let (own, other) = (stat("self"), stat(&id.to_string()));
    own.is_some()
        && other.is_none_or(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

/// Whether this is the name of a directory whose owner is gone.
fn is_left(name: &str) -> bool {
    let parts: Vec<&str> = name.strip_prefix(DIR).unwrap_or_default().rsplitn(3, '-').collect();
    let [_, told, _] = parts[..] else { return false };
    let id = told.split_once('.').and_then(|(id, _)| id.parse().ok());
    id.is_some_and(|id| told == owner(id) && is_gone(id))
}

fn remove_namespaces() {
    for name in names_in(Path::new(NAMESPACES)) {
        let rest = name.strip_prefix(NAMESPACE).unwrap_or_default();
        let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if !id.parse().is_ok_and(is_gone) {
            continue;
        }
        let inside = ip(&["netns", "pids", &name]);
        inside.lines().filter_map(|line| line.trim().parse().ok()).for_each(kill);
        ip(&["netns", "del", &name]);
    }
}

/// With the daemons that live in them, and what is mounted there.
fn remove_dirs(temporary: &Path) {
    for name in names_in(temporary).filter(|name| is_left(name)) {
        let dir = temporary.join(name);
        // A link is nobody's directory.
        if !dir.symlink_metadata().is_ok_and(|it| it.is_dir()) {
            continue;
        }
        daemons_of(&dir).for_each(kill);
        for mounted in mounts_below(&dir) {
            let mut umount = process::command(None, "umount");
            umount.arg("--lazy").arg(mounted);
            let _ = process::run(umount, b"", PATIENCE);
        }
        if mounts_below(&dir).is_empty() {
            let _ = fs::remove_dir_all(&dir);
        }
    }
}

/// Processes of `postern` that have an argument below the directory.
fn daemons_of(dir: &Path) -> impl Iterator<Item = i32> {
    names_in(Path::new("/proc")).filter_map(|name| name.parse().ok()).filter(move |id: &i32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words =
            line.split(|octet| *octet == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let is_postern =
            words.next().is_some_and(|program| Path::new(&program).file_name() == Some("postern".as_ref()));
        is_postern && words.any(|word| Path::new(&word).starts_with(dir))
    })
}

fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

fn names_in(dir: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn kill(id: i32) {
    if let Some(id) = Pid::from_raw(id) {
        let _ = kill_process(id, Signal::KILL);
    }
}

/// What it prints, whether it succeeds or not: another test may be removing the same.
fn ip(arguments: &[&str]) -> String {
    let mut command = process::command(None, "ip");
    command.args(arguments);
    String::from_utf8_lossy(&process::run(command, b"", PATIENCE).stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of a process that was there.
    fn nobody() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn what_a_dead_process_left_goes_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let gone = nobody();
        let names = [
            (format!("postern-journey-{}-aB3", owner(gone)), false),
            (format!("postern-a-b-{}-aB3", owner(gone)), false),
            (format!("postern-journey-{}-aB3", owner(std::process::id())), true),
            (format!("postern-journey-{gone}.1-aB3"), true),
            (format!("postern-journey-{gone}-aB3"), true),
            (format!("other-journey-{}-aB3", owner(gone)), true),
            ("postern-journey-aB3".to_owned(), true),
        ];
        for (name, _) in &names {
            fs::create_dir_all(temporary.path().join(name).join("data")).unwrap();
        }
        remove_dirs(temporary.path());
        for (name, stays) in &names {
            assert_eq!(temporary.path().join(name).exists(), *stays, "{name}");
        }
    }

    #[test]
    fn a_directory_names_its_owner_and_stays_as_long_as_he_lives() {
        let own = dir("kind");
        let name = own.path().file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with(&format!("postern-kind-{}.", std::process::id())), "{name}");
        assert!(!is_left(&name));
    }
}
