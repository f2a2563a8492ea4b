//! What we depend on: licences, sources, what is banned, and, where the database of known faults can be reached, those.
//! `deny.toml` says what is allowed.

use std::process::{Command, Stdio};

use crate::step::{Failure, Plan};
use crate::tools::CARGO_DENY;

/// Seconds that the database may take.
const PATIENCE: &str = "60";

pub(crate) fn check(plan: &mut Plan, target: &str) -> Result<(), Failure> {
    let tool = CARGO_DENY.provide(plan, target)?;
    // Several versions of one crate are a warning, and a tree of who wants which: nobody reads that here.
    let quiet = ["--log-level", "error"];
    let check = [&quiet[..], &["check", "bans", "licenses", "sources"]].concat();
    plan.program("licences, sources, bans", &tool, &check)?;
    // A network that swallows what is sent to it would hold this up for minutes.
    let fetched =
        Command::new("timeout").args([PATIENCE, &tool, "fetch", "db"]).stdin(Stdio::null()).output();
    let fetched = fetched.map_err(|error| Failure::new(format!("{tool}: {error}")))?;
    if fetched.status.success() {
        let check = [&quiet[..], &["check", "--disable-fetch", "advisories"]].concat();
        return plan.program("advisories", &tool, &check);
    }
    let why = String::from_utf8_lossy(&fetched.stderr).into_owned();
    plan.step("advisories: NOT LOOKED AT", || {
        println!("the database of advisories can't be reached from here\n{}", why.trim());
        Ok(())
    })
}
