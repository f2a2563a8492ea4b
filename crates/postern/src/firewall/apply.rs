//! Loading a ruleset so that nobody locks himself out: what was there before comes back unless the new rules are
//! confirmed, from another session, within a time.
//!
//! A guard, a process of its own that outlives the session, waits for that time. Confirming removes the file that it
//! would load: then it has nothing to do.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::files;
use crate::problem::Problem;

/// Takes the table away, if it is there.
const NO_TABLE: &str = "table inet postern\ndelete table inet postern\n";
/// The file in the data directory.
const FILE: &str = "firewall-before.nft";

/// What brings back the rules from before.
fn before(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Loads `ruleset`. Unless [`confirm`] is called within `seconds`, what was there before is loaded again.
///
/// # Errors
/// When nothing was changed: another one waits to be confirmed, or nft refuses.
pub fn load(data: &Path, ruleset: &str, seconds: u64) -> Result<(), Problem> {
    let path = before(data);
    if path.exists() {
        return Err(Problem::setup(
            "a ruleset that was loaded before waits to be confirmed",
            "run 'postern firewall confirm', or wait until it is taken back",
        ));
    }
    let old = nft(&["list", "table", "inet", "postern"], "").unwrap_or_default();
    files::replace(&path, format!("{NO_TABLE}{old}").as_bytes())
        .map_err(|error| files::write_problem(&path, &error))?;
    // The guard first: from the moment that the rules are in force somebody is there to take them back.
    let begun = begin_guard(data, seconds).and_then(|()| nft(&["-f", "-"], ruleset).map(drop));
    if begun.is_err() {
        // What it would load is what is there.
        let _ = std::fs::remove_file(&path);
    }
    begun
}

/// Keeps the rules that were loaded last.
///
/// # Errors
/// When nothing waits to be confirmed.
pub fn confirm(data: &Path) -> Result<(), Problem> {
    std::fs::remove_file(before(data)).map_err(|_| {
        Problem::setup(
            "nothing waits to be confirmed: the old rules are back, or nothing was loaded",
            "load them again with --apply; --seconds N gives you more time",
        )
    })
}

/// The guard: waits, then loads the rules from before if they are still there.
///
/// # Errors
/// When nft refuses; the file stays.
pub fn guard(data: &Path, seconds: u64) -> Result<(), Problem> {
    std::thread::sleep(Duration::from_secs(seconds));
    let path = before(data);
    let Ok(rules) = std::fs::read_to_string(&path) else { return Ok(()) };
    nft(&["-f", "-"], &rules)?;
    std::fs::remove_file(&path).map_err(|error| files::write_problem(&path, &error))
}

fn begin_guard(data: &Path, seconds: u64) -> Result<(), Problem> {
    let failed = |error: std::io::Error| Problem::failed(format!("the guard can't be started: {error}"), "");
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["firewall", "guard", "--seconds", &seconds.to_string(), "--data"]).arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A session that breaks off takes the processes of its own group with it.
    command.process_group(0).spawn().map(drop).map_err(failed)
}

/// Runs nft and gives what it printed.
fn nft(arguments: &[&str], input: &str) -> Result<String, Problem> {
    let advice = "install the package nftables, and run this as root";
    let failed = |error: std::io::Error| Problem::setup(format!("nft can't be run: {error}"), advice);
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Problem::setup(format!("nft refuses: {said}"), advice))
}
