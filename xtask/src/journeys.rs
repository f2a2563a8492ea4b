//! The journeys, some at one time. They wait most of the time, for clocks, retries and other people's programs, so
//! each runs in a process of its own, with ports and network namespaces of its own.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::step::{Failure, Plan};

/// Journeys that run at one time.
const AT_ONE_TIME: usize = 4;
/// Those that take longest begin first, so that none of them is left when all others are done.
pub(crate) const LONG: [&str; 5] = [
    "store_crash::a_failed_write_or_sync_never_loses_what_was_acknowledged",
    "store_crash::the_store_killed_at_any_write_keeps_what_it_acknowledged",
    "authentication::a_dead_resolver_lets_mail_in_unjudged_or_holds_it_off_as_the_operator_wants",
    "crashes::what_was_answered_250_survives_fifty_kills_and_comes_once",
    "lmtp::while_dovecot_is_away_senders_come_again_and_sealed_mail_waits_and_comes_once",
];

/// Runs those with `filter` in their name, or all. `postern` is the program that is tested.
pub(crate) fn run(plan: &mut Plan, filter: Option<&str>, postern: &str) -> Result<(), Failure> {
    plan.step("journeys", || {
        let program = build()?;
        let mut names = list(&program, filter)?;
        if names.is_empty() {
            return Err(Failure::new(format!("no journey has '{}' in its name", filter.unwrap_or_default())));
        }
        names.sort_by_key(|name| LONG.iter().position(|long| long == name).unwrap_or(LONG.len()));
        let failed = side_by_side(&program, &names, postern);
        println!("\njourneys: {} passed, {} failed", names.len() - failed.len(), failed.len());
        match &failed[..] {
            [] => Ok(()),
            failed => Err(Failure::new(format!("these journeys failed:\n  {}", failed.join("\n  ")))),
        }
    })
}

/// Builds the journeys and gives the path of their program.
fn build() -> Result<String, Failure> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["test", "--workspace", "--test", "journeys", "--no-run"]);
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let said = output(command)?;
    let artifact =
        said.lines().find(|line| line.contains(r#""name":"journeys""#) && line.contains(EXECUTABLE));
    let path = artifact.and_then(|line| line.split_once(EXECUTABLE)?.1.split('"').next());
    path.map(str::to_owned).ok_or_else(|| Failure::new("cargo did not say where the journeys are".to_owned()))
}

const EXECUTABLE: &str = r#""executable":""#;

fn list(program: &str, filter: Option<&str>) -> Result<Vec<String>, Failure> {
    let mut command = Command::new(program);
    command.args(["--list", "--format", "terse"]).args(filter);
    let said = output(command)?;
    Ok(said.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn output(mut command: Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| Failure::new(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(Failure::new(format!("{command:?}: {}\n{said}", output.status)))
}

/// Gives the names of those that failed.
fn side_by_side(program: &str, names: &[String], postern: &str) -> Vec<String> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for place in 0..AT_ONE_TIME {
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let (said, holds) = one(program, name, postern, place);
                    // Held while it is printed, so that what each says stays together.
                    let Ok(mut failed) = failed.lock() else { return };
                    let verdict = if holds { "ok" } else { "FAILED" };
                    println!("{said}-- {name}: {verdict} after {:.1} s", begun.elapsed().as_secs_f64());
                    if !holds {
                        failed.push(name.clone());
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_default()
}

/// What it printed, and whether it holds.
fn one(program: &str, name: &str, postern: &str, place: usize) -> (String, bool) {
    let mut command = Command::new(program);
    command.args(["--exact", name, "--show-output"]).stdin(Stdio::null());
    // Where cargo has tests run.
    command.current_dir("tests");
    // They do not build it each; and no two look for free ports in the same range.
    command.env("POSTERN_TEST_BINARY", postern).env("POSTERN_TEST_PLACE", place.to_string());
    match command.output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            // A name that no test has would pass.
            let ran = said.contains(" 1 passed;") || !output.status.success();
            (said, output.status.success() && ran)
        }
        Err(error) => (format!("{program}: {error}\n"), false),
    }
}
