//! The machine: what the system tells of itself without being root.

use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use daemon::clock::Clock as _;
use daemon::clock::SystemClock;
use daemon::descriptors;
use mail::UnixTime;
use tokio::time::Instant;

use super::deadline::until;
use super::names;
use super::world::World;
use crate::facts::{Clock, DataDirectory, Disk, Fact, HostFacts, Memory};

/// Entries at the top of the data directory that are looked at.
const ENTRIES_MAX: usize = 1000;
/// What systemd's own time service leaves when it has set the clock.
const TIMESYNC_MARK: &str = "/run/systemd/timesync/synchronized";

/// What a half has to say for the facts of its machine.
#[derive(Debug, Clone)]
pub struct HostKnows {
    /// Where its data is.
    pub data: PathBuf,
    /// Its clock.
    pub now: UnixTime,
    /// Whether our firewall rules are loaded, if whoever asks could look.
    pub firewall: Option<bool>,
    /// Whether the limit of open files is that of the daemon: a command has its own.
    pub is_daemon: bool,
}

impl HostKnows {
    /// Of a half with this data directory, now.
    #[must_use]
    pub fn here(data: &Path) -> Self {
        Self { data: data.to_owned(), now: SystemClock.now(), firewall: None, is_daemon: true }
    }
}

/// Gathers the facts of a machine until then.
pub async fn host(world: &impl World, knows: &HostKnows, deadline: Instant) -> HostFacts {
    let (resolver, root_signed) =
        tokio::join!(names::resolver(world, deadline), until(deadline, world.root_signed()));
    let not_root = "the rules of a host are shown to its root alone".to_owned();
    HostFacts {
        resolver,
        clock: Clock { now: knows.now, synchronised: synchronised(), root_signed },
        disk: disk(&knows.data),
        open_files: if knows.is_daemon {
            Ok(descriptors::limit())
        } else {
            Err("the daemon does not run".to_owned())
        },
        memory: memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        data: data(&knows.data),
        firewall: knows.firewall.ok_or(not_root),
    }
}

/// Whether systemd-timesyncd says that it keeps the clock right. Others leave no mark that everybody may read, and no program is
/// started to ask them.
fn synchronised() -> Fact<bool> {
    if Path::new(TIMESYNC_MARK).exists() {
        return Ok(true);
    }
    let runs = Path::new(TIMESYNC_MARK).parent().is_some_and(Path::exists);
    runs.then_some(false).ok_or_else(|| "systemd-timesyncd does not run on this host".to_owned())
}

fn disk(data: &Path) -> Fact<Disk> {
    let about = rustix::fs::statvfs(data).map_err(|error| std::io::Error::from(error).to_string())?;
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let whole = std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    Ok(Disk {
        free_octets: about.f_bavail.saturating_mul(about.f_frsize),
        octets: about.f_blocks.saturating_mul(about.f_frsize),
        free_inodes: about.f_favail,
        inodes: about.f_files,
        kind: kind_of_mount(&mounts, &whole),
    })
}

/// The kind of the file system that a path is on: of the mounts above it the deepest, and of those the last.
fn kind_of_mount(mounts: &str, path: &Path) -> String {
    let mut best = (0, String::new());
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (words.next(), words.next()) else { continue };
        // Blanks in names are written as octal numbers.
        let at = at.replace("\\040", " ");
        if path.starts_with(&at) && at.len() >= best.0 {
            best = (at.len(), kind.to_owned());
        }
    }
    best.1
}

fn memory(meminfo: &str) -> Fact<Memory> {
    let value = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    };
    let read = || Some(Memory { available: value("MemAvailable")?, total: value("MemTotal")? });
    read().ok_or_else(|| "/proc/meminfo does not say".to_owned())
}

fn data(dir: &Path) -> Fact<DataDirectory> {
    let words = |error: std::io::Error| daemon::problem::io_words(&error);
    let about = std::fs::metadata(dir).map_err(words)?;
    let owner = about.uid();
    let mut of_others = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(words)?.take(ENTRIES_MAX) {
        let entry = entry.map_err(words)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_others = entry.metadata().is_ok_and(|about| about.uid() != owner);
        if is_others && name != "lost+found" {
            of_others.push(name);
        }
    }
    let me = rustix::process::geteuid().as_raw();
    Ok(DataDirectory { mode: about.permissions().mode() & 0o7777, own: me == owner || me == 0, of_others })
}

/// The addresses from which connections to the world come, IPv4 and IPv6, as the routes of this host say. Nothing is sent.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    // Addresses of documentation (RFC 5737, RFC 3849): the way there is the way to everybody.
    let towards = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let from = towards.into_iter().filter_map(|(any, towards)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(towards).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    });
    from.filter(|ip| !ip.is_unspecified() && !ip.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_above_a_path_says_what_it_is_on() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /var/lib tmpfs rw 0 0\n//x /var/lib/my\\040mail cifs rw 0 0\n/dev/b /var/lib xfs rw 0 0\n";
        let kind = |path: &str| kind_of_mount(mounts, Path::new(path));
        assert_eq!(
            [kind("/etc"), kind("/var/lib/x"), kind("/var/lib/my mail/x"), kind("/var/library")],
            ["ext4", "xfs", "cifs", "ext4"]
        );
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let memory = memory("MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n").unwrap();
        assert_eq!((memory.available, memory.total), (1 << 20, 2 << 20));
        assert!(super::memory("MemTotal: x kB\n").is_err());
    }

    #[test]
    fn a_directory_is_seen_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "x").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
        let seen = data(dir.path()).unwrap();
        assert_eq!((seen.mode, seen.own, seen.of_others.len()), (0o750, true, 0));
        assert!(data(&dir.path().join("none")).is_err());
        assert!(disk(dir.path()).unwrap().octets > 0);
    }
}
