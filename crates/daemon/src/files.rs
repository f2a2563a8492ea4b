//! Small files that a role keeps beside its mail: keys, pins, snapshots. Replaced whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::owner::{self, Owner};
use crate::problem::{self, Problem};

/// Makes a directory that only its owner may enter.
///
/// # Errors
/// When it can't be made; whom to be or where to put it is said.
pub fn make_private_dir(dir: &Path) -> Result<(), Problem> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        let advice = "run as a user who may write there, or choose another place with --data";
        Problem::setup(
            format!("can't make the directory {}: {}", dir.display(), problem::io_words(&error)),
            advice_on(dir_of(dir), &error, advice),
        )
    })
}

/// The same path from the root on: a daemon may be started from anywhere.
pub fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The directory that a file is in; that of a bare name is the one we are in.
pub fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        Some(dir) => dir,
        None => Path::new("/"),
    }
}

/// Replaces a file: written beside it, made durable, renamed over it. Owner and mode stay; a new one is for its owner
/// alone. A failure leaves the old file, and nothing beside it.
///
/// # Errors
/// As the system says. After a failure behind the rename the new file is there, and may be gone after a power loss.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = draft_path(path);
    let done = write_draft(path, &draft, content).and_then(|()| std::fs::rename(&draft, path));
    if let Err(error) = done {
        let _ = std::fs::remove_file(&draft);
        return Err(error);
    }
    File::open(dir_of(path))?.sync_all()
}

/// Everything on the file system of this directory is on its disk, whoever wrote it.
///
/// # Errors
/// As the system says.
pub fn sync_below(dir: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(dir)?).map_err(io::Error::from)
}

fn write_draft(path: &Path, draft: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    if let Ok(about) = std::fs::metadata(path) {
        // Whoever may write here but not give files away makes the file his own, as an editor does.
        let _ = std::os::unix::fs::fchown(&file, Some(about.uid()), Some(about.gid()));
        file.set_permissions(std::fs::Permissions::from_mode(about.permissions().mode() & 0o7777))?;
    }
    file.write_all(content)?;
    file.sync_all()
}

fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Reads a text file that has to be there. A byte order mark, which some editors put before it, is no part of the text.
///
/// # Errors
/// When it is not there, can't be read, or is no UTF-8; `advice` says what to do.
pub fn read_text(path: &Path, advice: &str) -> Result<String, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| read_problem(path, &error, advice))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a password from the first line of a file. That everybody on this host can read it too is said in the log.
///
/// # Errors
/// When it can't be read, or its first line is empty or has a NUL; `advice` says what to do.
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
/// 16 octets.
///
/// # Errors
/// As [`read_password`], and when it is shorter or longer than a secret may be.
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

/// A failure to read, for the operator. `advice` is for a file that is not there.
pub fn read_problem(path: &Path, error: &io::Error, advice: &str) -> Problem {
    let what = format!("can't read {}: {}", path.display(), problem::io_words(error));
    Problem::setup(what, advice_on(path, error, advice))
}

/// A failure to write, for the operator.
pub fn write_problem(path: &Path, error: &io::Error) -> Problem {
    let what = format!("can't write {}: {}", path.display(), problem::io_words(error));
    Problem::setup(
        what,
        advice_on(path, error, "check that the directory is there and that its disk is well"),
    )
}

/// What to do about a failure with a file. `otherwise` is for what has no cause of its own here.
fn advice_on(path: &Path, error: &io::Error, otherwise: &str) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => whom_to_be(path),
        io::ErrorKind::IsADirectory => "name the file itself, not the directory it is in".to_owned(),
        io::ErrorKind::NotADirectory => "a part of the path is a file; correct the path".to_owned(),
        io::ErrorKind::InvalidData => "save the file as text in UTF-8".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "the disk is mounted read-only (or the service's unit makes it so); choose a place that can be written"
                .to_owned()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make room ('df -h {}' shows how much there is)", dir_of(path).display())
        }
        _ => otherwise.to_owned(),
    }
}

/// As whom a command can open a file that we may not: the owner of the file, or of what is nearest above it.
pub fn whom_to_be(path: &Path) -> String {
    let owner = path.ancestors().find_map(|place| Owner::of(place).ok());
    let me = Owner::me();
    match owner {
        Some(owner) if owner.name() != me.name() && owner.name() != "root" => {
            format!("run this as root or as the user {0}: 'sudo -u {0} postern …'", owner.name())
        }
        _ if owner::is_root() => "not even root may: see the file system and its attributes".to_owned(),
        Some(owner) if owner.name() == me.name() => {
            "it belongs to this user, but its mode, or that of a directory above it, keeps him out: see 'ls -ld'"
                .to_owned()
        }
        // A daemon was meant to read it: with what 'setup' writes it can.
        _ if me.name() == owner::SERVICE_USER => {
            let (user, path) = (me.name(), path.display());
            format!("let the user {user} read it, as root: 'chgrp {user} {path}; chmod 640 {path}'")
        }
        _ => "run this as root: 'sudo postern …'".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: `setup --config edge.toml` wrote the file and said "No such file or directory". Cause: the directory
    /// of a bare name was taken for one without a name.
    #[test]
    fn a_bare_name_is_of_the_directory_we_are_in() {
        for (path, dir) in
            [("edge.toml", "."), ("./edge.toml", "."), ("/edge.toml", "/"), ("a/b", "a"), ("/", "/")]
        {
            assert_eq!(dir_of(Path::new(path)), Path::new(dir), "{path}");
        }
        // No test may change where the process is: this name is new there, and removed at once.
        let bare = PathBuf::from(format!("postern-bare-{}.toml", std::process::id()));
        replace(&bare, b"first").unwrap();
        replace(&bare, b"second").unwrap();
        let read = std::fs::read(&bare);
        std::fs::remove_file(&bare).unwrap();
        assert_eq!(read.unwrap(), b"second");
    }

    #[test]
    fn what_is_replaced_keeps_its_mode_and_a_failure_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        replace(&path, b"one").unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!((mode(), std::fs::read(&path).unwrap()), (0o640, b"two".to_vec()));
        // A directory can't be renamed over.
        let taken = dir.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        std::fs::write(taken.join("x"), "x").unwrap();
        assert!(replace(&taken, b"three").is_err());
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "taken"]);
    }

    #[test]
    fn a_file_that_cant_be_read_says_what_it_is_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| read_text(path, "make it").unwrap_err().to_string();
        let path = dir.path().join("x.toml");
        assert!(said(&path).ends_with("no such file or directory\n  what to do: make it"), "{}", said(&path));
        assert!(said(dir.path()).contains("name the file itself"), "{}", said(dir.path()));
        std::fs::write(&path, [0xff, 0xfe, b'x']).unwrap();
        assert!(said(&path).contains("UTF-8"), "{}", said(&path));
        let below = path.join("y.toml");
        assert!(said(&below).contains("a part of the path is a file"), "{}", said(&below));
    }

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
