//! Data that was moved to another machine: it lies here still, and is used there.

use std::path::{Path, PathBuf};

use mail::UnixTime;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::json_file;
use crate::problem::Problem;

/// The file that says so, in the data directory.
pub const MARK: &str = "moved.json";

#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    at: UnixTime,
}

fn path(data: &Path) -> PathBuf {
    data.join(MARK)
}

/// Says that it was moved.
///
/// # Errors
/// When the file can't be written.
pub fn mark(data: &Path, at: UnixTime) -> Result<(), Problem> {
    let path = path(data);
    json_file::replace(&path, &Moved { at }).map_err(|error| files::write_problem(&path, &error))
}

/// Says that it was not, after all. `false` when nothing else was said.
///
/// # Errors
/// When the file can't be removed.
pub fn unmark(data: &Path) -> Result<bool, Problem> {
    let path = path(data);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true).map_err(|error| files::write_problem(&path, &error)),
    }
}

/// Whether the data may be used here.
///
/// # Errors
/// When it was moved away.
pub fn still_here(data: &Path) -> Result<(), Problem> {
    let Some(moved) = json_file::read::<Moved>(&path(data))? else { return Ok(()) };
    Err(Problem::setup(
        format!("this home was moved to another machine at {}", moved.at.rfc3339()),
        "start it there; if it never ran there and never will: postern home move back",
    ))
}
