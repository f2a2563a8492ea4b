//! A cell for a daemon whose paths and users are compiled in: a root directory of its own, with this machine's `/usr`
//! and the daemon's package in it. No user is added to the machine, and nothing of it is written to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::package::Package;
use crate::process;

const PATIENCE: Duration = Duration::from_secs(60);

/// Mounts what is this machine's, where nobody else sees it, and begins there. The package is `/opt`.
const ENTER: &str = r#"set -e
root=$1; package=$2; shift 2
mount --bind /usr "$root/usr"
mount --bind /dev "$root/dev"
mount --bind "$package" "$root/opt"
mount -t proc proc "$root/proc"
[ ! -d "$package/usr/libexec" ] || mount --bind "$package/usr/libexec" "$root/usr/libexec"
exec chroot "$root" "$@"
"#;

/// Whoever may own files in it; the numbers are nobody's on the machine around.
const USERS: [(&str, u32); 5] =
    [("root", 0), ("nobody", 65534), ("Debian-exim", 64901), ("opensmtpd", 64902), ("opensmtpq", 64903)];

/// A root directory in a network namespace.
#[derive(Debug)]
pub struct Cell {
    dir: TempDir,
    package: Package,
    namespace: String,
}

impl Cell {
    /// An empty one in this network namespace, whose programs ask this name server.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn new(package: &str, namespace: &str, name_server: std::net::IpAddr) -> Self {
        let dir = crate::leavings::dir("cell");
        furnish(dir.path(), &USERS, name_server);
        Self { dir, package: Package::unpacked(package), namespace: namespace.to_owned() }
    }

    /// The path, from outside, of what is at this path inside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside.trim_start_matches('/'))
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When it can't.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    /// Makes a directory that belongs to one of the cell's users.
    ///
    /// # Panics
    /// When it can't.
    pub fn make_dir(&self, inside: &str, owner: &str, mode: u32) {
        let path = self.path(inside);
        std::fs::create_dir_all(&path).expect("a directory");
        self.give(inside, owner);
        set_mode(&path, mode);
    }

    /// Gives a file or directory to one of the cell's users.
    ///
    /// # Panics
    /// When it can't.
    pub fn give(&self, inside: &str, owner: &str) {
        let (_, id) = USERS.iter().find(|(name, _)| *name == owner).expect("one of its users");
        std::os::unix::fs::chown(self.path(inside), Some(*id), Some(*id)).expect("an owner");
    }

    /// A certificate for the host, as `etc/tls/certificate.pem`, and its key, which one of the cell's users may read.
    ///
    /// # Panics
    /// When `openssl` fails.
    pub fn make_certificate(&self, host: &str, reader: &str) {
        std::fs::create_dir_all(self.path("etc/tls")).expect("a directory");
        let mut command = process::command(None, "openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-nodes", "-days", "2"]);
        command.args(["-subj", &format!("/CN={host}"), "-addext", &format!("subjectAltName=DNS:{host}")]);
        command.arg("-keyout").arg(self.path("etc/tls/key.pem"));
        command.arg("-out").arg(self.path("etc/tls/certificate.pem"));
        process::run_ok(command, b"", PATIENCE);
        self.give("etc/tls/key.pem", reader);
    }

    /// A program of the package, or of this machine, by its path inside. All that it starts ends with it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = process::command(Some(&self.namespace), "unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]);
        command.arg(self.dir.path()).arg(self.package.root()).arg(program);
        command
    }

    /// The network namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let logs = ["var/log/output", "var/log/exim4/main"].map(|name| self.path(name));
        for log in logs.iter().filter(|_| std::thread::panicking()) {
            let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!(
                "---- the end of {}\n{}",
                log.display(),
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// Makes what every program expects to find below `/`: directories, users, and where names are asked for.
pub(crate) fn furnish(root: &Path, users: &[(&str, u32)], name_server: std::net::IpAddr) {
    set_mode(root, 0o755);
    for name in ["usr", "dev", "opt", "proc", "etc", "run", "tmp", "root", "var/log", "var/lib", "var/spool"]
    {
        std::fs::create_dir_all(root.join(name)).expect("a directory");
    }
    set_mode(&root.join("tmp"), 0o1777);
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).expect("a link");
    }
    std::os::unix::fs::symlink("../run", root.join("var/run")).expect("a link");
    let (mut passwd, mut group) = (String::new(), "nogroup:x:65534:\nmail:x:8:\n".to_owned());
    for (name, id) in users {
        let _ = writeln!(passwd, "{name}:x:{id}:{id}::/root:/bin/sh");
        let _ = writeln!(group, "{name}:x:{id}:");
    }
    let write = |name: &str, text: &str| std::fs::write(root.join("etc").join(name), text).expect("a file");
    write("passwd", &passwd);
    write("group", &group);
    write("resolv.conf", &format!("nameserver {name_server}\n"));
    write("services", "smtp 25/tcp\ndomain 53/tcp\ndomain 53/udp\n");
    write("hosts", "127.0.0.1 localhost\n");
    write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
}

fn set_mode(path: &Path, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("permissions");
}
