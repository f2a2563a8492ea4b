//! The mailbox store under a shim that kills it, or fails one system call, at the Nth change of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{binary, process};

use crate::alone;

const SHIM: &str = include_str!("failing_calls.c");
const MESSAGES: &str = "24";
const PATIENCE: Duration = Duration::from_secs(60);

struct Shim {
    library: PathBuf,
    dir: TempDir,
}

impl Shim {
    fn compile() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("failing_calls.c");
        let library = dir.path().join("failing_calls.so");
        std::fs::write(&source, SHIM).unwrap();
        let mut gcc = process::command(None, "gcc");
        gcc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl");
        process::run_ok(gcc, b"", PATIENCE);
        Self { library, dir }
    }

    /// Delivers into the directory with the fault at that call.
    fn deliver(&self, directory: &Path, fault: &str, call: u64) -> Output {
        let mut command = Command::new(binary::store_crash());
        command.arg(directory).arg(MESSAGES).env("LD_PRELOAD", &self.library);
        command.env("FAIL_HOW", fault).env("FAIL_AT", call.to_string());
        command.env("FAIL_BELOW", directory);
        process::run(command, b"", PATIENCE)
    }

    /// What the shim says of a run without fault.
    fn whole_run(&self) -> (Output, String) {
        let output = self.deliver(&self.dir.path().join("whole"), "count", 0);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (output, said)
    }

    /// How many calls a run without fault makes.
    fn count(&self) -> u64 {
        let (output, said) = self.whole_run();
        let calls = said.lines().find_map(|line| line.strip_prefix("calls: "));
        let calls = calls.unwrap_or_else(|| panic!("the shim was not there: {said}")).parse().unwrap();
        assert!(calls > 50, "only {calls} calls: the shim does not see them");
        assert_eq!(acknowledged(&output).len(), MESSAGES.parse::<usize>().unwrap());
        calls
    }
}

fn acknowledged(output: &Output) -> Vec<String> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let whole = printed.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.filter_map(|line| line.strip_prefix("ok ")).map(str::to_owned).collect()
}

/// What is in the store now, how often; ends the test when a file is damaged.
fn verify(directory: &Path, when: &str) -> BTreeMap<String, u32> {
    let mut command = Command::new(binary::store_crash());
    command.arg("verify").arg(directory);
    let output = process::run(command, b"", PATIENCE);
    assert!(output.status.success(), "{when}: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = printed.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(item, times)| (item.to_owned(), times.parse().unwrap())).collect()
}

/// A run for every call that a whole one makes.
fn every_call(fault: &str) {
    let shim = Shim::compile();
    let calls = shim.count();
    let mut cut_short = 0;
    for call in 1..=calls {
        let when = format!("{fault} at call {call} of about {calls}");
        let directory = shim.dir.path().join(format!("{fault}-{call}"));
        let output = shim.deliver(&directory, fault, call);
        let acknowledged = acknowledged(&output);
        cut_short += u32::from(!output.status.success());
        let there = if directory.exists() { verify(&directory, &when) } else { BTreeMap::new() };
        for item in &acknowledged {
            assert_eq!(there.get(item), Some(&1), "{when}: {item} was acknowledged");
        }
        let twice: Vec<_> = there.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{when}: {twice:?}");
        let _ = std::fs::remove_dir_all(&directory);
    }
    println!("{calls} calls, each of them; {cut_short} runs were cut short");
    assert!(cut_short > 0, "the fault does nothing");
}

/// Symptom: each commit cost two writes on the disk, on file systems with a journal a commit of that as well. Cause: SQLite was
/// built without `HAVE_FDATASYNC` and synced the time of the change with the data. Analysis: perf, calls of the store's
/// writer.
#[test]
fn a_commit_syncs_the_data_of_the_log_and_no_more() {
    let (_, said) = Shim::compile().whole_run();
    let syncs =
        said.lines().find_map(|line| line.strip_prefix("syncs of a log: 0 whole, ")?.strip_suffix(" data"));
    let syncs: u32 = syncs.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(syncs >= 3, "{said}");
}

#[test]
fn the_store_killed_at_any_write_keeps_what_it_acknowledged() {
    let _alone = alone();
    every_call("kill");
}

#[test]
fn a_failed_write_or_sync_never_loses_what_was_acknowledged() {
    let _alone = alone();
    every_call("error");
}
