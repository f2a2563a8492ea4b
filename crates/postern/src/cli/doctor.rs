//! `postern doctor`: asks the daemon how both halves are; without one, looks at what can be seen without it.

use std::path::{Path, PathBuf};

use daemon::config;
use daemon::control;
use daemon::owner;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::{DoctorRequest, Request};
use doctor::Examination;
use edge::config::EdgeConfig;
use home::config::HomeConfig;
use link::Role;
use mail::Domain;
use serde_json::Value;

use crate::firewall::apply;

/// Arguments of `postern doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    /// A host that takes mail: its port 25 is tried from Edge, to see whether port 25 is open outward
    #[arg(long, value_name = "HOST")]
    probe: Option<Domain>,
    /// The configuration file of the role (default: that of the role that is set up on this host)
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Carries out `postern doctor`, on the role that `here` finds unless one is named. Exit code 0 when nothing is broken, 1 when something is, 2 when nobody could look.
pub(super) fn run(
    arguments: &DoctorArguments,
    here: impl FnOnce() -> Result<PathBuf, Problem>,
) -> Result<(), Problem> {
    let path = arguments.config.clone().map_or_else(here, Ok)?;
    let role = config::role_of(&path)?;
    // Root alone may ask the kernel for its rules, and the daemon is not root.
    let firewall = if owner::is_root() { apply::is_loaded().ok() } else { None };
    let request = DoctorRequest { probe: arguments.probe.as_ref().map(ToString::to_string), firewall };
    let shown = match asked(&path, role, &request)? {
        Some(value) => Printed::from_daemon(value)?,
        None => Printed::of(&alone(&path, role, &request)?),
    };
    shown.print(arguments.json);
    // A script reads one document, and a person has read what is wrong.
    if shown.is_good { Ok(()) } else { Err(Problem::told()) }
}

fn data_of(path: &Path, role: Role) -> Result<PathBuf, Problem> {
    match role {
        Role::Edge => config::load::<EdgeConfig>(path).map(|config| config.data),
        Role::Home => config::load::<HomeConfig>(path).map(|config| config.data),
    }
}

fn asked(path: &Path, role: Role, request: &DoctorRequest) -> Result<Option<Value>, Problem> {
    let data = data_of(path, role)?;
    process::block_on(async { control::ask(&data, &Request::Doctor(request.clone())).await })?
}

/// Without a daemon: DNS, machine, own files.
fn alone(path: &Path, role: Role, request: &DoctorRequest) -> Result<Examination, Problem> {
    let data = data_of(path, role)?;
    let unable = |why: String| Problem::setup(why, "see /etc/resolv.conf, and the keys of the configuration");
    owner::as_owner_of(&data, || {
        process::block_on(async {
            match role {
                Role::Edge => edge::examine_alone(&config::load(path)?, request).await.map_err(unable),
                Role::Home => {
                    let config: HomeConfig = config::load(path)?;
                    let keys = home::dkim::status(&config).await?;
                    home::examine_alone(&config, keys, request).await.map_err(unable)
                }
            }
        })?
    })
}

/// A report as it is printed: the daemon's, or one that was made here.
struct Printed {
    json: Value,
    lines: Vec<String>,
    is_good: bool,
}

impl Printed {
    fn of(report: &Examination) -> Self {
        Self { json: report.to_json(), lines: report.lines(), is_good: report.is_good() }
    }

    fn from_daemon(value: Value) -> Result<Self, Problem> {
        let report = Examination::from_json(&value).ok_or_else(|| {
            Problem::setup(
                "the daemon answered what this program does not know",
                "both are of different versions: restart the daemon",
            )
        })?;
        Ok(Self { json: value, lines: report.lines(), is_good: report.is_good() })
    }

    fn print(&self, json: bool) {
        if json {
            print::value(&self.json, true);
        } else {
            self.lines.iter().for_each(|line| print::text(line));
        }
    }
}
