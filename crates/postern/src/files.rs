//! Small files that a role keeps beside its mail: keys, pins, snapshots. Replaced whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
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

/// Reads a text file that has to be there. A byte order mark, which some editors put before it, is no part of the text.
pub fn read_text(path: &Path, advice: &str) -> Result<String, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problem::setup(format!("can't read {}: {error}", path.display()), advice))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a password from the first line of a file. That everybody on this host can read it too is said in the log.
pub fn read_password(path: &Path, advice: &str) -> Result<String, Problem> {
    let text = read_text(path, advice)?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    if password.is_empty() || password.contains('\0') {
        return Err(Problem::setup(
            format!("{}: there is no password on the first line", path.display()),
            advice,
        ));
    }
    if is_for_everybody(path) {
        let what_to_do = "chmod o-r";
        tracing::warn!(path = %path.display(), what_to_do, "everybody on this host can read a password");
    }
    Ok(password)
}

/// Reads a secret that two programs share. It is drawn, not thought up, so it has no slow hash and at least
/// [`SECRET_OCTETS_MIN`] octets.
pub fn read_secret(path: &Path, key: &str) -> Result<String, Problem> {
    let advice =
        format!("put the password there, on one line; 'openssl rand -base64 24' makes one. See {key}");
    let secret = read_password(path, &advice)?.trim_end().to_owned();
    if !(SECRET_OCTETS_MIN..=SECRET_OCTETS_MAX).contains(&secret.len()) {
        let what = format!(
            "{}: a password of {SECRET_OCTETS_MIN} to {SECRET_OCTETS_MAX} octets is wanted, this one has {}",
            path.display(),
            secret.len()
        );
        return Err(Problem::setup(what, advice));
    }
    Ok(secret)
}

/// Shortest and longest secret of [`read_secret`], in octets.
const SECRET_OCTETS_MIN: usize = 16;
const SECRET_OCTETS_MAX: usize = 255;

/// Whether others than the owner and the group of a file may read it.
fn is_for_everybody(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o004 != 0)
}

/// A failure to write, for the operator.
pub fn write_problem(path: &Path, error: &io::Error) -> Problem {
    Problem::setup(
        format!("can't write {}: {error}", path.display()),
        "check that the disk has room and that this user may write there",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_and_long_enough_not_to_be_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_secret(&path, "[x] password_file").map_err(|problem| problem.to_string())
        };
        assert_eq!(read("0123456789abcdef\n").unwrap(), "0123456789abcdef");
        assert!(read(&"x".repeat(SECRET_OCTETS_MAX)).is_ok());
        for (wrong, why) in [
            ("", "no password on the first line"),
            ("\nsecond line of sixteen", "no password on the first line"),
            ("0123456789abcde", "16 to 255 octets"),
            (&"x".repeat(SECRET_OCTETS_MAX + 1), "16 to 255 octets"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(why) && error.contains("openssl rand"), "{error}");
        }
        for (mode, is) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_for_everybody(&path), is, "{mode:o}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_secret(&path, "[x] password_file").is_err());
    }
}
