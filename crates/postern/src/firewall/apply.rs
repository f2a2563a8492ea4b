//! Loading a ruleset so that nobody locks himself out: what was there before comes back unless the new rules are
//! confirmed, from another session, within a time.
//!
//! A guard, a process of its own that outlives the session, waits for that time. Confirming removes the file that it
//! would load, [`waiting`] says where that is: then it ends.

mod waiting;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon::files;
use daemon::problem::Problem;
use daemon::system::random_u64;

use self::waiting::WaitingRoom;

/// Takes the table away, if it is there.
const NO_TABLE: &str = "table inet postern\ndelete table inet postern\n";
/// What nft says of a table that is not there.
const NOT_THERE: &str = "No such file or directory";
/// How soon a guard ends that has nothing to guard any more.
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// Loads `ruleset`. Unless [`confirm`] is called within `seconds`, what was there before is loaded again.
///
/// # Errors
/// When nothing was changed: another one waits to be confirmed, or nft refuses.
pub(crate) fn load(ruleset: &str, seconds: u64) -> Result<(), Problem> {
    let room = WaitingRoom::open()?;
    let _alone = room.lock()?;
    room.clear()?;
    let before = format!("{NO_TABLE}{}", table_now()?);
    let load = random_u64();
    let held = room.admit(load, &before)?;
    // The guard first: from the moment that the rules are in force somebody is there to take them back.
    let begun = begin_guard(load, seconds, held).and_then(|()| nft(&["-f", "-"], ruleset).map(drop));
    if begun.is_err() {
        // What it would load is what is there.
        room.forget(load);
    }
    begun
}

/// Keeps the rules that were loaded last.
///
/// # Errors
/// When nothing waits to be confirmed.
pub(crate) fn confirm() -> Result<(), Problem> {
    let room = WaitingRoom::open()?;
    // Not before what is being loaded is there.
    let _alone = room.lock()?;
    if room.confirm()? {
        return Ok(());
    }
    Err(match room.refused()? {
        Some(path) => Problem::setup(
            format!(
                "nothing waits to be confirmed. nft refused the rules from before, so the table inet postern was taken \
                 away: this host has none of its rules now. The refused ones are in {}",
                path.display()
            ),
            "load rules with --apply",
        ),
        None => Problem::setup(
            "nothing waits to be confirmed: the old rules are back, or nothing was loaded",
            "load them again with --apply; --seconds N gives you more time",
        ),
    })
}

/// The guard of a load: waits, then brings back the rules from before unless the load was confirmed.
///
/// # Errors
/// When nft refuses them. Then our table is taken away: nobody is locked out by rules that nobody wanted.
pub(crate) fn guard(load: u64, seconds: u64) -> Result<(), Problem> {
    let room = WaitingRoom::open()?;
    let begun = Instant::now();
    let whole = Duration::from_secs(seconds);
    while let Some(left) = whole.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        if !room.waits(load) {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOKS_EVERY));
    }
    let Some(taken) = room.take(load) else { return Ok(()) };
    let rules = files::read_text(&taken, "look why it is gone");
    if let Err(problem) = rules.and_then(|rules| nft(&["-f", "-"], &rules)) {
        nft(&["-f", "-"], NO_TABLE)?;
        room.refuse(load);
        return Err(problem);
    }
    std::fs::remove_file(&taken).map_err(|error| files::write_problem(&taken, &error))
}

/// Whether rules of ours are loaded on this host.
///
/// # Errors
/// When nft can't be run, or not by this user.
pub(crate) fn is_loaded() -> Result<bool, Problem> {
    table_now().map(|table| !table.is_empty())
}

/// The table as it is, with what its sets hold; empty when it is not there.
fn table_now() -> Result<String, Problem> {
    match nft(&["list", "table", "inet", "postern"], "") {
        Err(problem) if problem.to_string().contains(NOT_THERE) => Ok(String::new()),
        listed => listed,
    }
}

/// Starts it, with the file to hold as its standard input.
fn begin_guard(load: u64, seconds: u64, held: File) -> Result<(), Problem> {
    let failed = |error: std::io::Error| Problem::failed(format!("the guard can't be started: {error}"), "");
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["firewall", "guard", "--seconds", &seconds.to_string(), "--load", &load.to_string()]);
    command.stdin(held).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    // A session that breaks off takes the processes of its own group with it.
    command.process_group(0).spawn().map(drop).map_err(failed)
}

/// Runs nft and gives what it printed.
fn nft(arguments: &[&str], input: &str) -> Result<String, Problem> {
    let advice = "install the package nftables, and run this as root";
    let failed = |error: std::io::Error| Problem::setup(format!("nft can't be run: {error}"), advice);
    let mut child = Command::new("nft")
        .args(arguments)
        .env("LC_ALL", "C")
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
