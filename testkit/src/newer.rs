//! Programs of Debians that are newer than the one the tests run on: unpacked aside with all that they need, and laid
//! over `/usr` in a mount namespace of their own. Everything else that they see is this host's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{package, process};

const PATIENCE: Duration = Duration::from_secs(600);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Lays its files over this host's; directories of modules hold its own only.
const BEGIN: &str = "mount -t overlay overlay -o \"lowerdir=$0/usr:/usr\" /usr || exit 1\n\
    for part in lib/dovecot lib/postfix lib/rspamd share/rspamd; do\n\
    mount --bind \"$0/usr/$part\" \"/usr/$part\" || exit 1\ndone\nexec \"$@\"";

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 13: Postfix 3.10, Dovecot 2.4.1, rspamd 3.12.
    Trixie,
    /// What the next one is made of: Postfix 3.11, Dovecot 2.4.5, rspamd 4.1, postsrsd 2 on 2026-11-30, later ones later.
    Sid,
}

impl Release {
    const fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Trixie => &["postfix", "dovecot-imapd", "dovecot-lmtpd", "rspamd"],
            Self::Sid => &["postfix", "dovecot-imapd", "dovecot-lmtpd", "rspamd", "postsrsd"],
        }
    }

    /// A program of this Debian, in a network namespace or none.
    ///
    /// # Panics
    /// When its packages can't be fetched or unpacked.
    #[must_use]
    pub fn command(self, namespace: Option<&str>, program: &str) -> Command {
        let mut command = process::command(namespace, "unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg(BEGIN);
        command.arg(self.root()).arg(program);
        command
    }

    /// The version that a program tells.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn version(self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(None, program);
        command.args(arguments);
        process::run_ok(command, b"", PATIENCE)
    }

    /// The directory with its files.
    ///
    /// # Panics
    /// When its packages can't be fetched or unpacked.
    #[must_use]
    pub fn root(self) -> PathBuf {
        // One fetches, the others wait.
        let lock = package::cache().join(format!("debian-{}.lock", self.name()));
        let lock = std::fs::File::create(lock).expect("a file");
        lock.lock().expect("the lock");
        let root = package::cache().join(format!("debian-{}", self.name()));
        if !root.is_dir() {
            let made = self.fetch();
            // Whole or not at all.
            std::fs::rename(made.path().join("root"), &root).expect("a new name");
        }
        root
    }

    fn fetch(self) -> tempfile::TempDir {
        let dir =
            tempfile::Builder::new().prefix("unpacking-").tempdir_in(package::cache()).expect("a directory");
        for name in ["lists/partial", "cache/archives/partial", "root"] {
            std::fs::create_dir_all(dir.path().join(name)).expect("a directory");
        }
        let sources = format!("deb [signed-by={KEYRING}] {} {} main\n", mirror(), self.name());
        std::fs::write(dir.path().join("sources.list"), sources).expect("a file");
        // Nothing is there: so all that a package needs is fetched.
        std::fs::write(dir.path().join("status"), "").expect("a file");
        std::fs::write(dir.path().join("apt.conf"), apt_conf(dir.path())).expect("a file");
        apt_get(dir.path(), &["update"]);
        apt_get(dir.path(), &[&["--yes", "--download-only", "install"], self.packages()].concat());
        for archive in std::fs::read_dir(dir.path().join("cache/archives")).expect("the directory") {
            let archive = archive.expect("an entry").path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                unpack(&archive, &dir.path().join("root"));
            }
        }
        dir
    }
}

fn apt_conf(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"-\";\nDir::State::Lists \"{dir}/lists\";\n\
         Dir::State::status \"{dir}/status\";\nDir::Cache \"{dir}/cache\";\nDebug::NoLocking \"true\";\n\
         APT::Install-Recommends \"false\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n"
    )
}

fn apt_get(dir: &Path, arguments: &[&str]) {
    let mut command = process::command(None, "apt-get");
    command.env("APT_CONFIG", dir.join("apt.conf")).env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
    command.args(arguments);
    process::run_ok(command, b"", PATIENCE);
}

/// Its scripts are not run.
fn unpack(archive: &Path, root: &Path) {
    let mut command = process::command(None, "sh");
    command.args(["-c", "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink -C \"$2\"", "sh"]);
    command.arg(archive).arg(root);
    process::run_ok(command, b"", PATIENCE);
}

/// The mirror that this host has its own packages from.
pub(crate) fn mirror() -> String {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut text = read(Path::new("/etc/apt/sources.list"));
    for entry in std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        text.push('\n');
        text.push_str(&read(&entry.path()));
    }
    mirror_in(&text).unwrap_or_else(|| panic!("no mirror of Debian among the sources of apt"))
}

/// The first address that ends in `/debian`, of lines that are in use.
fn mirror_in(sources: &str) -> Option<String> {
    let lines = sources.lines().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let mut words = lines.flat_map(str::split_whitespace);
    words
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_that_this_host_uses() {
        let new =
            "Types: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(mirror_in(new).as_deref(), Some("http://mirror.example/debian"));
        let old =
            "deb [arch=amd64] https://other.example/x y main\ndeb http://m.example/debian/ bookworm main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("http://m.example/debian/"));
        assert_eq!(mirror_in("# deb http://m.example/debian bookworm main\n"), None);
    }
}
