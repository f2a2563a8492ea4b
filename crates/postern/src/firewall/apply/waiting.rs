//! What waits to be confirmed: a file with the rules from before, for each load one of its own.
//!
//! The files are in a directory of root's below `/run`. A daemon that was broken into can't reach what root will give
//! to nft, as it could in its own data directory; and a reboot, which takes the rules away, takes the files too.
//!
//! A file is called by the network namespace, the load's random number and what became of it. The guard has it open
//! and locked as long as it lives: so a file whose guard was killed is known, and holds nobody up.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use daemon::files;
use daemon::problem::Problem;
use rustix::fs::{FlockOperation, OFlags, flock};

const DIR: &str = "/run/postern-firewall";
/// The guard takes it back, or will.
const WAITING: &str = "waiting";
/// The guard is taking it back.
const TAKEN: &str = "taken-back";
/// nft refused it.
const REFUSED: &str = "refused";

/// The directory, and which of its files are this host's.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    dir: PathBuf,
    /// The number of the network namespace. The rules are the namespace's, whichever role they are of, so at most one
    /// load waits in each. Hosts that share one `/run`, as containers may, have different numbers; and the number is
    /// given to no other as long as the guard lives, since the guard is in the namespace.
    host: u64,
}

/// Held while rules are loaded or confirmed.
#[derive(Debug)]
pub(super) struct Alone(#[expect(dead_code, reason = "the lock goes when it is closed")] File);

impl WaitingRoom {
    /// The waiting room of this host.
    ///
    /// # Errors
    /// When the directory can't be made, or others could write to it.
    pub(super) fn open() -> Result<Self, Problem> {
        let dir = PathBuf::from(DIR);
        make_own_dir(&dir)?;
        let namespace = std::fs::metadata("/proc/self/ns/net").map_err(|error| unusable(&dir, &error))?;
        Ok(Self { dir, host: namespace.ino() })
    }

    /// Waits until nobody else loads or confirms. Two who load at one time would each take the other's rules for those
    /// from before.
    ///
    /// # Errors
    /// When the directory is gone.
    pub(super) fn lock(&self) -> Result<Alone, Problem> {
        let lock = || {
            let dir = File::open(&self.dir)?;
            flock(&dir, FlockOperation::LockExclusive)?;
            Ok(Alone(dir))
        };
        lock().map_err(|error: io::Error| unusable(&self.dir, &error))
    }

    /// Removes what is left of loads before.
    ///
    /// # Errors
    /// When one of them waits and its guard lives, or the directory can't be read.
    pub(super) fn clear(&self) -> Result<(), Problem> {
        for fate in [WAITING, TAKEN] {
            if self.all(fate)?.iter().any(|path| is_guarded(path)) {
                return Err(Problem::setup(
                    "a ruleset that was loaded before waits to be confirmed",
                    "run 'postern firewall confirm', or wait until it is taken back",
                ));
            }
        }
        // Their guards are dead: what they were to take back has stayed, and is what there was before.
        for fate in [WAITING, TAKEN, REFUSED] {
            for path in self.all(fate)? {
                std::fs::remove_file(&path).map_err(|error| files::write_problem(&path, &error))?;
            }
        }
        Ok(())
    }

    /// Keeps the rules from before for a load, and gives the file that its guard has to hold.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn admit(&self, load: u64, rules: &str) -> Result<File, Problem> {
        let path = self.path(load, WAITING);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(rules.as_bytes())?;
            Ok(file)
        };
        write().map_err(|error: io::Error| files::write_problem(&path, &error))
    }

    /// Whether a load waits to be confirmed; when that can't be found out, it does.
    pub(super) fn waits(&self, load: u64) -> bool {
        self.path(load, WAITING).try_exists().unwrap_or(true)
    }

    /// Lets whatever waits go, and says whether something did. Of this and [`Self::take`] one alone finds the file.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(super) fn confirm(&self) -> Result<bool, Problem> {
        Ok(self.all(WAITING)?.iter().any(|path| std::fs::remove_file(path).is_ok()))
    }

    /// Removes a load's file, whether it is there or not.
    pub(super) fn forget(&self, load: u64) {
        let _ = std::fs::remove_file(self.path(load, WAITING));
    }

    /// Takes a load's file, so that it can't be confirmed any more; `None` when it was.
    pub(super) fn take(&self, load: u64) -> Option<PathBuf> {
        let taken = self.path(load, TAKEN);
        std::fs::rename(self.path(load, WAITING), &taken).is_ok().then_some(taken)
    }

    /// Notes that nft refused the file that was taken.
    pub(super) fn refuse(&self, load: u64) {
        let _ = std::fs::rename(self.path(load, TAKEN), self.path(load, REFUSED));
    }

    /// The file that nft refused, if there is one.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub(super) fn refused(&self) -> Result<Option<PathBuf>, Problem> {
        Ok(self.all(REFUSED)?.pop())
    }

    fn path(&self, load: u64, fate: &str) -> PathBuf {
        self.dir.join(format!("{}-{load:016x}.{fate}", self.host))
    }

    /// This host's files of one kind.
    fn all(&self, fate: &str) -> Result<Vec<PathBuf>, Problem> {
        let (prefix, suffix) = (format!("{}-", self.host), format!(".{fate}"));
        let entries = std::fs::read_dir(&self.dir).map_err(|error| unusable(&self.dir, &error))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let ours = names.filter(|name| name.starts_with(&prefix) && name.ends_with(&suffix));
        Ok(ours.map(|name| self.dir.join(name)).collect())
    }
}

/// Whether somebody holds it: its guard, or who starts that.
fn is_guarded(path: &Path) -> bool {
    let file = File::open(path);
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

/// Makes a directory that nobody else may enter. What is there has to be like that: others can't have put files or
/// links into it.
fn make_own_dir(dir: &Path) -> Result<(), Problem> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(dir, &error)),
        _ => {}
    }
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    let open = OpenOptions::new().read(true).custom_flags(flags).open(dir);
    let about = open.and_then(|open| open.metadata()).map_err(|error| unusable(dir, &error))?;
    if about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Problem::setup(
        format!("{} is not a directory that is yours alone", dir.display()),
        "see who made it, and remove it",
    ))
}

fn unusable(dir: &Path, error: &io::Error) -> Problem {
    Problem::setup(format!("can't use the directory {}: {error}", dir.display()), "run this as root")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn room(dir: &Path, host: u64) -> WaitingRoom {
        WaitingRoom { dir: dir.to_owned(), host }
    }

    #[test]
    fn the_directory_is_made_for_its_owner_alone_and_no_other_is_taken() {
        let above = tempfile::tempdir().unwrap();
        let own = above.path().join("own");
        for _ in 0..2 {
            make_own_dir(&own).unwrap();
        }
        assert_eq!(std::fs::metadata(&own).unwrap().mode() & 0o7777, 0o700);
        let link = above.path().join("link");
        symlink(&own, &link).unwrap();
        assert!(make_own_dir(&link).is_err(), "a link, even to one that is right");
        let file = above.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(make_own_dir(&file).is_err());
        for mode in [0o770, 0o707, 0o720, 0o702, 0o1777] {
            std::fs::set_permissions(&own, std::fs::Permissions::from_mode(mode)).unwrap();
            let problem = make_own_dir(&own).unwrap_err().to_string();
            assert!(problem.contains("yours alone"), "{mode:o}: {problem}");
        }
        if rustix::process::geteuid().is_root() {
            let others = above.path().join("others");
            make_own_dir(&others).unwrap();
            std::os::unix::fs::chown(&others, Some(65534), None).unwrap();
            assert!(make_own_dir(&others).is_err());
        }
    }

    #[test]
    fn of_confirming_and_taking_back_one_alone_finds_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let room = room(dir.path(), 7);
        let _guard = room.admit(1, "rules").unwrap();
        assert!(room.waits(1));
        assert!(room.confirm().unwrap());
        assert!(!room.waits(1) && room.take(1).is_none() && !room.confirm().unwrap());

        let _guard = room.admit(2, "rules").unwrap();
        let taken = room.take(2).unwrap();
        assert_eq!(std::fs::read_to_string(taken).unwrap(), "rules");
        assert!(!room.confirm().unwrap() && room.take(2).is_none());
        assert!(room.clear().is_err(), "it is still being loaded");
        room.refuse(2);
        assert!(room.refused().unwrap().is_some());
        room.clear().unwrap();
        assert!(room.refused().unwrap().is_none());
    }

    #[test]
    fn a_guard_takes_only_its_own_load() {
        let dir = tempfile::tempdir().unwrap();
        let room = room(dir.path(), 7);
        drop(room.admit(1, "first"));
        room.confirm().unwrap();
        let _guard = room.admit(2, "second").unwrap();
        assert!(room.take(1).is_none(), "the first guard, which wakes up late");
        assert!(room.waits(2));
    }

    #[test]
    fn one_load_waits_on_a_host_as_long_as_its_guard_lives() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (room(dir.path(), 7), room(dir.path(), 77));
        let guard = here.admit(1, "rules").unwrap();
        let problem = here.clear().unwrap_err().to_string();
        assert!(problem.contains("waits to be confirmed"), "{problem}");
        there.clear().unwrap();
        assert!(!there.confirm().unwrap() && here.waits(1), "another host's is not touched");
        drop(guard);
        here.clear().unwrap();
        assert!(!here.waits(1));
    }
}
