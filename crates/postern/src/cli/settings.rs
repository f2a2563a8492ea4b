//! `postern outbound` and `postern reload`: what is changed while a role runs.

use std::path::Path;

use clap::ValueEnum;
use daemon::config::{self, Checked};
use daemon::control;
use daemon::edited::Edited;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::{DoctorRequest, Reloaded, Request};
use doctor::{Examination, Fitness};
use home::config::{HomeConfig, Switch};
use serde_json::{Value, json};

/// Whether users may send to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Outbound {
    /// They may
    On,
    /// What they send abroad is refused
    Off,
}

impl Outbound {
    const fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Whether the doctor is asked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// What speaks against it keeps it off.
    Fit,
    /// The operator knows better.
    Force,
}

/// Writes the switch into the configuration and has a running Home heed it. On only where the doctor knows nothing against it:
/// an address that sends before it is fit is soon on lists.
pub(super) fn outbound(
    wanted: Outbound,
    config_path: &Path,
    (care, json): (Care, bool),
) -> Result<(), Problem> {
    let mut file = Edited::open::<HomeConfig>(config_path)?;
    let before = config::load::<HomeConfig>(config_path)?;
    let is_so = (before.outbound == Switch::On) == (wanted == Outbound::On);
    if wanted == Outbound::On && care == Care::Fit && !is_so {
        see_that_it_is_fit(&before.data)?;
    }
    file.set("outbound", wanted.word());
    let config: HomeConfig = file.write()?;
    let reloaded = ask_to_reload(&config.data)?;
    if json {
        print::value(&json!({ "outbound": wanted.word(), "in_force": reloaded.is_some() }), true);
        return Ok(());
    }
    let when = if reloaded.is_some() { "from now on" } else { "from Home's next start on" };
    let what = match wanted {
        Outbound::On => "users may send to the world",
        Outbound::Off => "what users send to the world is refused",
    };
    let done = if is_so { "So it was already in" } else { "Written into" };
    print::text(&format!("{done} {}: {when} {what}.", config_path.display()));
    if wanted == Outbound::On {
        print::text(
            "If Edge's host has the rules of 'postern firewall edge', load them again: they let no mail out yet.",
        );
    }
    Ok(())
}

fn see_that_it_is_fit(data: &Path) -> Result<(), Problem> {
    let request = Request::Doctor(DoctorRequest::default());
    let answer = process::block_on(control::ask(data, &request))??;
    let report = answer.as_ref().and_then(Examination::from_json).ok_or_else(|| {
        Problem::failed(
            "Home does not run, so nobody can look whether its edge is fit to send",
            "start it and try again; or, when you know that it is, say --force",
        )
    })?;
    let against = report.against(Fitness::Send);
    if against.is_empty() {
        return Ok(());
    }
    let lines = against.iter().map(|one| format!("\n  {}: {}", one.check, one.what));
    Err(Problem::failed(
        format!("sending stays off, since this speaks against it:{}", lines.collect::<String>()),
        "'postern doctor' says what to type for each; --force switches it on all the same",
    ))
}

/// Has the running role whose data this is read its configuration again.
pub(super) fn reload<C: Checked>(config_path: &Path, data: &Path, json: bool) -> Result<(), Problem> {
    // What can't be used is said here, where somebody reads it.
    config::load::<C>(config_path)?;
    let reloaded = ask_to_reload(data)?.ok_or_else(|| {
        Problem::failed("the role does not run", "it reads its configuration when it starts")
    })?;
    if json {
        print::value(&json!(reloaded), true);
        return Ok(());
    }
    print::text("Configuration and certificate were read again.");
    if !reloaded.after_restart.is_empty() {
        print::text(&format!("After a restart only: {}.", reloaded.after_restart.join(", ")));
    }
    Ok(())
}

/// `None` when the role does not run.
fn ask_to_reload(data: &Path) -> Result<Option<Reloaded>, Problem> {
    let answer = process::block_on(control::ask(data, &Request::Reload))??;
    answer.map(read).transpose()
}

fn read(answer: Value) -> Result<Reloaded, Problem> {
    serde_json::from_value(answer).map_err(|error| {
        Problem::failed(
            format!("the daemon's answer can't be read: {error}"),
            "restart it: it is of another version",
        )
    })
}
