//! A data directory as a daemon, or a command without one, finds it: closed to others, and nothing in it that is
//! another user's. What can be mended is mended; what can't is said before any mail is taken.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::owner::{self, Owner};
use crate::problem::{self, Problem};

/// Entries that are looked at; below a directory that nobody else may enter the rest is closed anyway.
const ENTRIES_MAX: usize = 200_000;
/// What file systems make by themselves at their top.
const NOT_OURS: &str = "lost+found";

/// Takes the rights of others away from everything below `data`, and refuses what belongs to another user: it could
/// be neither read nor replaced. Without such a directory there is nothing to look at.
///
/// # Errors
/// Names the first entry that belongs to another user, or can't be looked at, and what to type.
pub fn check(data: &Path) -> Result<(), Problem> {
    let top = match std::fs::symlink_metadata(data) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(problem_at(data, &error)),
    };
    // A link to another disk is followed here, and nowhere below.
    let top = if top.is_symlink() {
        std::fs::metadata(data).map_err(|error| problem_at(data, &error))?
    } else {
        top
    };
    let me = rustix::process::geteuid().as_raw();
    let mut tightened = usize::from(tighten(data, &top, me, data)?);
    let mut open = vec![data.to_owned()];
    let mut left = ENTRIES_MAX;
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|error| problem_at(&dir, &error))? {
            let path = entry.map_err(|error| problem_at(&dir, &error))?.path();
            if left == 0 {
                break;
            }
            left -= 1;
            let Some(about) = look_at(&path)? else { continue };
            if about.is_symlink() || path == data.join(NOT_OURS) {
                continue;
            }
            tightened += usize::from(tighten(&path, &about, me, data)?);
            if about.is_dir() {
                open.push(path);
            }
        }
    }
    if tightened > 0 {
        tracing::warn!(data = %data.display(), entries = tightened, "others could read what is kept here; no longer");
    }
    Ok(())
}

/// `None` when it has gone since it was listed.
fn look_at(path: &Path) -> Result<Option<Metadata>, Problem> {
    match std::fs::symlink_metadata(path) {
        Ok(about) => Ok(Some(about)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(problem_at(path, &error)),
    }
}

/// Gives whether others had rights to it.
fn tighten(path: &Path, about: &Metadata, me: u32, data: &Path) -> Result<bool, Problem> {
    if about.uid() != me && me != 0 {
        return Err(belongs_to_another(path, data));
    }
    let mode = about.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(false);
    }
    let closed = Permissions::from_mode(mode & 0o700);
    std::fs::set_permissions(path, closed).map_err(|error| problem_at(path, &error))?;
    Ok(true)
}

fn belongs_to_another(path: &Path, data: &Path) -> Problem {
    let owner = Owner::of(path).map_or_else(|_| "another user".to_owned(), |owner| owner.name().to_owned());
    let me = Owner::me();
    let me = me.name();
    Problem::setup(
        format!(
            "{} belongs to {owner}, not to {me}, whom everything below {} has to belong to",
            path.display(),
            data.display()
        ),
        format!("as root: chown -R {me}: {}", data.display()),
    )
}

fn problem_at(path: &Path, error: &io::Error) -> Problem {
    let what = format!("can't look at {}: {}", path.display(), problem::io_words(error));
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => crate::files::whom_to_be(path),
        _ if owner::is_root() => "see the file system".to_owned(),
        _ => "see the file system, or run this as root".to_owned(),
    };
    Problem::setup(what, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Symptom: `directory.db` and the mailboxes could be read by every user of the host when the data directory had
    /// been made by hand. Cause: nobody looked at its mode, and SQLite's files followed the umask.
    #[test]
    fn what_others_could_read_is_closed_to_them_at_every_depth() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let deep = data.join("mailboxes/a");
        std::fs::create_dir_all(&deep).unwrap();
        for (path, open) in [(&data, 0o755), (&data.join("mailboxes"), 0o711), (&deep, 0o777)] {
            set(path, open);
        }
        for name in ["directory.db", "mailboxes/a.db", "mailboxes/a/1"] {
            std::fs::write(data.join(name), "x").unwrap();
            set(&data.join(name), 0o644);
        }
        // What a link leads to is somebody else's.
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "x").unwrap();
        set(&outside, 0o644);
        std::os::unix::fs::symlink(&outside, data.join("link")).unwrap();
        check(&data).unwrap_or_else(|problem| panic!("{problem}"));
        for name in ["", "mailboxes", "mailboxes/a"] {
            assert_eq!(mode(&data.join(name)), 0o700, "{name}");
        }
        for name in ["directory.db", "mailboxes/a.db", "mailboxes/a/1"] {
            assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        }
        assert_eq!(mode(&outside), 0o644);
        assert!(check(&dir.path().join("none")).is_ok());
    }

    /// Symptom: `user add` by root, and the daemon answered 250 for a mailbox that it could not write.
    #[test]
    fn what_belongs_to_another_user_is_named_with_what_to_type() {
        if !owner::is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join(NOT_OURS)).unwrap();
        let nobody = Owner::named("nobody").unwrap().unwrap();
        nobody.take(dir.path()).unwrap();
        nobody.take(&data).unwrap();
        // What the file system made is root's, and harmless.
        let checked = || owner::as_owner_of(&data, || check(&data));
        assert!(checked().is_ok());
        std::fs::write(data.join("alice.db"), "x").unwrap();
        let said = checked().unwrap_err().to_string();
        assert!(said.contains("alice.db belongs to root, not to nobody"), "{said}");
        assert!(said.ends_with(&format!("chown -R nobody: {}", data.display())), "{said}");
    }
}
