//! The file layer: the only place where the spool meets a file system, so that a test can let any step fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// The operations on a directory that the spool needs. Each one is a step that can fail or be the last.
pub trait Disk: Send + Sync {
    /// Makes the directory and its parents.
    ///
    /// # Errors
    /// The system's error.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names and sizes of the files in it.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Makes a new file for reading and writing; it must not be there yet.
    ///
    /// # Errors
    /// The system's error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// The system's error.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file within its directory.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the directory durable.
    ///
    /// # Errors
    /// The system's error.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operations on one file.
pub trait DiskFile: Send + Sync {
    /// Writes all octets at the offset.
    ///
    /// # Errors
    /// As the system says; some of the octets may be written.
    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()>;
    /// Fills the buffer from the offset.
    ///
    /// # Errors
    /// As the system says, or `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// So many octets from the offset on, if the disk is not needed for them; never blocks. `None` also when that can't be
    /// told.
    fn read_now(&self, octets: usize, offset: u64) -> Option<Bytes> {
        let _ = (octets, offset);
        None
    }
    /// Makes the file's contents durable (`fdatasync`).
    ///
    /// # Errors
    /// As the system says. After an error the file's unsynced content is unknown.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file to a length in octets.
    ///
    /// # Errors
    /// The system's error.
    fn set_len(&self, octets: u64) -> io::Result<()>;
}

/// The real file system. Files are made readable by their owner only.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_file() {
                files.push((entry.file_name().to_string_lossy().into_owned(), meta.len()));
            }
        }
        Ok(files)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, octets, offset)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    fn read_now(&self, octets: usize, offset: u64) -> Option<Bytes> {
        content::read_now(self, offset, octets)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn set_len(&self, octets: u64) -> io::Result<()> {
        Self::set_len(self, octets)
    }
}
