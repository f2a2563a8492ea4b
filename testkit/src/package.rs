//! A Debian package that is unpacked and not installed: the MTAs of Debian shut each other out, and Postfix is here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process;

const PATIENCE: Duration = Duration::from_secs(300);

/// The files of a package, below the target directory.
#[derive(Debug)]
pub struct Package {
    root: PathBuf,
}

impl Package {
    /// Takes it from the cache, or fetches it. The libraries that it needs are in the list of `cargo xtask packages`.
    ///
    /// # Panics
    /// When apt-get does not find it, or dpkg does not unpack it.
    #[must_use]
    pub fn unpacked(name: &str) -> Self {
        let root = cache().join(name);
        if !root.is_dir() {
            let dir = tempfile::Builder::new().prefix("unpacking-").tempdir_in(cache()).expect("a directory");
            let archive = download(name, dir.path());
            let files = dir.path().join("files");
            let mut dpkg = process::command(None, "dpkg");
            dpkg.arg("-x").arg(archive).arg(&files);
            process::run_ok(dpkg, b"", PATIENCE);
            // Whole or not at all, and another run may have been faster.
            let _ = std::fs::rename(&files, &root);
        }
        assert!(root.is_dir(), "no files of {name}");
        Self { root }
    }

    /// The directory that its paths begin in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Fetches the archive into a directory and gives its path.
fn download(name: &str, dir: &Path) -> PathBuf {
    let apt_get = |arguments: &[&str]| {
        let mut command = process::command(None, "apt-get");
        command.current_dir(dir).arg("--quiet").args(arguments);
        process::run(command, b"", PATIENCE)
    };
    if !apt_get(&["download", name]).status.success() {
        // A fresh machine has no lists.
        apt_get(&["update"]);
        let output = apt_get(&["download", name]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut files =
        std::fs::read_dir(dir).expect("the directory").map(|entry| entry.expect("an entry").path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "deb")).expect("an archive")
}

/// `peers` in the target directory, which cargo marks as a cache; beside a program that was copied elsewhere.
pub(crate) fn cache() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let target = test.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let cache = target.or(test.parent()).expect("a directory").join("peers");
    std::fs::create_dir_all(&cache).expect("a directory");
    cache
}
