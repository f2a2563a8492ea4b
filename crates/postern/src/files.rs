//! Small files that a role keeps beside its mail: keys, pins, snapshots. Replaced whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Makes a directory that only its owner may enter.
pub fn make_private_dir(dir: &Path) -> Result<(), Problem> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        Problem::setup(
            format!("can't make the directory {}: {error}", dir.display()),
            "run as a user who may write there, or choose another place with --data",
        )
    })
}

/// Replaces a file by one that only its owner may read: written beside it, made durable, renamed over it.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let draft = draft_path(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(dir)?.sync_all()
}

fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// [`replace`] for a value that is kept as JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(value)?)
}

/// Reads a value that is kept as JSON; `None` when there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Problem> {
    let advice = "restore the file from a backup, or move it away to begin anew";
    match std::fs::read(path) {
        Ok(content) => serde_json::from_slice(&content)
            .map(Some)
            .map_err(|error| Problem::setup(format!("{} is damaged: {error}", path.display()), advice)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::setup(format!("can't read {}: {error}", path.display()), advice)),
    }
}

/// Reads a text file that has to be there.
pub fn read_text(path: &Path, advice: &str) -> Result<String, Problem> {
    std::fs::read_to_string(path)
        .map_err(|error| Problem::setup(format!("can't read {}: {error}", path.display()), advice))
}

/// A failure to write, for the operator.
pub fn write_problem(path: &Path, error: &io::Error) -> Problem {
    Problem::setup(
        format!("can't write {}: {error}", path.display()),
        "check that the disk has room and that this user may write there",
    )
}
