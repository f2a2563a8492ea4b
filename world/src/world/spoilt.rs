//! Hosts whose clock can be set and whose disk can be spoilt.

use std::path::PathBuf;

use tempfile::TempDir;
use testkit::process;

use super::{PATIENCE, Setting, World};

const BAD_DISK_LIBRARY: &str = "/bad_disk.so";
const FAKETIME_LIBRARY: &str = "/libfaketimeMT.so.1";
const BAD_DISK: &str = include_str!("../chaos/bad_disk.c");

impl World {
    /// Looks that both daemons have the libraries by which clocks are set and disks are spoilt: a loader that finds one
    /// missing only warns, and nothing would ever fail.
    pub(crate) fn faults_are_possible(&self) {
        for role in [&self.pair.edge, &self.pair.home] {
            let id = role.process_id().expect("a running daemon");
            let maps = std::fs::read_to_string(format!("/proc/{id}/maps")).expect("what it has loaded");
            for library in [BAD_DISK_LIBRARY, FAKETIME_LIBRARY] {
                assert!(maps.contains(library), "process {id} has not loaded {library}");
            }
        }
    }
}

/// What may happen to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// Every sync takes most of a second.
    Slow,
    /// Nothing can be changed.
    ReadOnly,
}

impl DiskFault {
    /// The variable that says which file turns it on.
    pub(super) const fn variable(self) -> &'static str {
        match self {
            Self::Slow => "BAD_DISK_SLOW",
            Self::ReadOnly => "BAD_DISK_READ_ONLY",
        }
    }
}

pub(super) fn clock_file(dir: &TempDir, host: &str) -> PathBuf {
    dir.path().join(format!("{host}-clock"))
}

pub(super) fn switch_file(dir: &TempDir, host: &str, fault: DiskFault) -> PathBuf {
    dir.path().join(format!("{host}-{}", fault.variable()))
}

/// The libraries and switches that let a story do to a host what it likes.
pub(super) fn environment(setting: &Setting, host: &str, dir: &TempDir) -> Vec<(String, String)> {
    let (mut libraries, mut all) = (Vec::new(), Vec::new());
    let mut set = |name: &str, value: String| all.push((name.to_owned(), value));
    if setting.own_clock {
        let clock = clock_file(dir, host);
        std::fs::write(&clock, "+0\n").expect("a clock");
        libraries.push(faketime());
        set("FAKETIME_TIMESTAMP_FILE", clock.display().to_string());
        set("FAKETIME_NO_CACHE", "1".to_owned());
        // Waits are real.
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned());
    }
    if setting.faulty {
        libraries.push(bad_disk(dir));
        // The directory that the test makes for the pair.
        set("BAD_DISK_BELOW", std::env::temp_dir().join("postern-journey-").display().to_string());
        for fault in [DiskFault::Slow, DiskFault::ReadOnly] {
            set(fault.variable(), switch_file(dir, host, fault).display().to_string());
        }
    }
    if !libraries.is_empty() {
        all.push(("LD_PRELOAD".to_owned(), libraries.join(":")));
    }
    all
}

/// Compiles the library that spoils disks.
fn bad_disk(dir: &TempDir) -> String {
    let (source, library) = (dir.path().join("bad_disk.c"), dir.path().join(&BAD_DISK_LIBRARY[1..]));
    if !library.exists() {
        std::fs::write(&source, BAD_DISK).expect("a file");
        let mut gcc = process::command(None, "gcc");
        gcc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
        process::run_ok(gcc, b"", PATIENCE);
    }
    library.display().to_string()
}

/// The library of Debian's package `libfaketime`, for programs with threads.
fn faketime() -> String {
    let mut list = process::command(None, "dpkg");
    list.args(["-L", "libfaketime"]);
    let files = process::run_ok(list, b"", PATIENCE);
    let found = files.lines().find(|path| path.ends_with(FAKETIME_LIBRARY));
    found.expect("libfaketimeMT: run 'cargo xtask packages'").to_owned()
}
