//! Bodies that lie in files of their own, next to the account's database: `<account>.large/<body id>`.
//!
//! A large body would go through SQLite's log and be written a second time into the database file. The
//! file it arrived in is instead given a name and kept. It never changes; what names it is a row in the
//! database, so it is part of the account from the commit on. A file without a row is what a crash or an
//! undone transaction left: the next start removes it.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};
use store::StoreError;

use crate::column::{column, unsigned};
use crate::fault::Fault;

/// Bodies from this size on, in octets, that come in a file keep that file.
pub(crate) const LARGE_OCTETS: u64 = 1024 * 1024;

/// The files of an account's large bodies.
#[derive(Debug)]
pub(crate) struct LargeBodies {
    directory: PathBuf,
    /// Above every id that a file was made for since this was made. A commit whose sync fails is undone here,
    /// and may yet be there after a crash, when the log had reached the disk: then its file must be there too,
    /// and be the same. So an id whose transaction failed is not used again.
    unused: Cell<u64>,
}

impl LargeBodies {
    /// Those of the account whose database is `file`.
    pub(crate) fn of(file: &Path) -> Self {
        Self { directory: file.with_extension("large"), unused: Cell::new(0) }
    }

    /// The lowest id that a body may get.
    pub(crate) fn unused(&self) -> u64 {
        self.unused.get()
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(id.to_string())
    }

    fn error(&self, error: &std::io::Error) -> StoreError {
        StoreError::from_io(&self.directory, error)
    }

    /// Makes the first `octets` of `source` durable as the file of the body `id`, below `head` octets that
    /// are in the database.
    pub(crate) fn write(
        &self,
        connection: &Connection,
        id: u64,
        head: usize,
        source: &File,
        octets: u64,
    ) -> Result<(), Fault> {
        let there = source.metadata().map_err(|error| StoreError::Source(error.to_string()))?.len();
        if there < octets {
            return Err(StoreError::Source(format!("it has {there} octets and should have {octets}")).into());
        }
        self.unused.set(self.unused.get().max(id + 1));
        self.keep(id, source, octets).map_err(|error| self.error(&error))?;
        let sql = "INSERT INTO large (body, head) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![column(id), column(head as u64)])?;
        Ok(())
    }

    fn keep(&self, id: u64, source: &File, octets: u64) -> std::io::Result<()> {
        let path = self.path(id);
        if !self.directory.exists() {
            fs::create_dir(&self.directory)?;
            fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))?;
            sync(self.directory.parent().unwrap_or(Path::new(".")))?;
        }
        // Ids are not given out again, so what has this name is what a sweep could not remove.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        if source.metadata()?.len() != octets || !link(source, &path) {
            copy(source, octets, &path)?;
        }
        // Large messages are read rarely: their pages would push out those of the databases.
        let _ = rustix::fs::fadvise(source, 0, None, rustix::fs::Advice::DontNeed);
        sync(&self.directory)
    }

    /// Whether the body `id` lies in a file, and how many octets of it, from the first on, do not.
    pub(crate) fn head(connection: &Connection, id: u64) -> Result<Option<u64>, Fault> {
        let mut select = connection.prepare_cached("SELECT head FROM large WHERE body = ?1")?;
        let head: Option<i64> = select.query_row([column(id)], |row| row.get(0)).optional()?;
        Ok(head.map(unsigned))
    }

    /// Appends to `out` what the file of the body `id` has in `range`. `None`: there is no such file.
    pub(crate) fn read(
        &self,
        id: u64,
        range: std::ops::Range<u64>,
        out: &mut Vec<u8>,
    ) -> Result<Option<()>, Fault> {
        let file = match File::open(self.path(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(&error).into()),
        };
        let start = out.len();
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        out.resize(start + wanted, 0);
        file.read_exact_at(&mut out[start..], range.start).map_err(|error| {
            out.truncate(start);
            self.error(&error)
        })?;
        Ok(Some(()))
    }

    /// The file of the body `id` is not there, and should be.
    pub(crate) fn missing(&self, id: u64) -> StoreError {
        StoreError::from_io(&self.path(id), &ErrorKind::NotFound.into())
    }

    /// Removes the row of a body that no message has any more. Tells whether there was one: then its file is
    /// to be removed after the commit.
    pub(crate) fn release(connection: &Connection, id: u64) -> Result<bool, Fault> {
        let sql = "DELETE FROM large WHERE body = ?1";
        Ok(connection.prepare_cached(sql)?.execute([column(id)])? > 0)
    }

    /// Removes a file whose row is gone. What can't be removed now, the next start removes.
    pub(crate) fn remove(&self, id: u64) {
        let _ = fs::remove_file(self.path(id));
    }

    /// Removes files without a row.
    pub(crate) fn sweep(&self, connection: &Connection) -> Result<(), Fault> {
        let names = match fs::read_dir(&self.directory) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.error(&error).into()),
        };
        let mut select = connection.prepare("SELECT body FROM large")?;
        let rows = select.query_map([], |row| row.get::<_, i64>(0).map(unsigned))?;
        let known: HashSet<u64> = rows.collect::<Result<_, _>>()?;
        for name in names {
            let name = name.map_err(|error| self.error(&error))?.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok());
            if let Some(id) = id.filter(|id| !known.contains(id)) {
                self.remove(id);
            }
        }
        Ok(())
    }

    /// Fails when a file is missing or has not the octets that its messages have.
    pub(crate) fn check(&self, connection: &Connection) -> Result<(), Fault> {
        let sql = "SELECT DISTINCT large.body, message.octets - large.head
                   FROM large JOIN message ON message.body = large.body";
        let mut select = connection.prepare(sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (id, octets) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
            let path = self.path(id);
            let there = fs::metadata(&path).map_err(|error| StoreError::from_io(&path, &error))?;
            if there.len() != octets {
                return Err(StoreError::Damaged(path.display().to_string()).into());
            }
        }
        Ok(())
    }

    /// Removes all of them, with their directory.
    pub(crate) fn remove_all(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.error(&error)),
            _ => Ok(()),
        }
    }
}

/// Gives an unnamed file this name, durably but for the name. False when this can't be done: the file was
/// made on another file system, or on one that knows no unnamed files. Then it is copied.
fn link(source: &File, path: &Path) -> bool {
    let unnamed = format!("/proc/self/fd/{}", source.as_raw_fd());
    let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    source.set_permissions(fs::Permissions::from_mode(0o600)).is_ok()
        && source.sync_data().is_ok()
        && rustix::fs::linkat(rustix::fs::CWD, unnamed, rustix::fs::CWD, path, follow).is_ok()
}

fn copy(source: &File, octets: u64, path: &Path) -> std::io::Result<()> {
    let file = File::options().write(true).create_new(true).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    let mut piece = vec![0; 256 * 1024];
    let mut at = 0;
    while at < octets {
        let wanted = usize::try_from(octets - at).unwrap_or(usize::MAX).min(piece.len());
        source.read_exact_at(&mut piece[..wanted], at)?;
        file.write_all_at(&piece[..wanted], at)?;
        at += wanted as u64;
    }
    file.sync_data()
}

fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}
