//! An item being written that is too large for memory: a file of its own until it is whole.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use mail::ItemId;

use crate::disk::DiskFile;
use crate::{Shared, SpoolError};

pub(crate) const DRAFT_PREFIX: &str = "draft-";
pub(crate) const LARGE_PREFIX: &str = "large-";

/// The file name of a large item.
pub(crate) fn large_name(id: ItemId) -> String {
    format!("{LARGE_PREFIX}{id}")
}

/// A body that is being written. Dropped before it became an item it leaves nothing behind; so does a crash,
/// because the next start removes it.
pub struct Draft {
    shared: Arc<Shared>,
    id: ItemId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    octets: u64,
    /// Whether the file is still this draft's to remove.
    open: bool,
}

/// A draft whose file is durable under its final name, waiting for its record.
pub(crate) struct Large {
    pub(crate) id: ItemId,
    pub(crate) octets: u64,
}

impl Draft {
    pub(crate) fn create(shared: Arc<Shared>, id: ItemId) -> Result<Self, SpoolError> {
        let octets = shared.index().octets();
        if octets >= shared.options.octets_max {
            return Err(SpoolError::Full { octets, octets_max: shared.options.octets_max });
        }
        let path = shared.dir.join(format!("{DRAFT_PREFIX}{id}"));
        let file = shared.disk.create(&path).map_err(|error| SpoolError::io("begin a draft", &error))?;
        Ok(Self { shared, id, path, file, octets: 0, open: true })
    }

    /// The item this will be.
    #[must_use]
    pub const fn id(&self) -> ItemId {
        self.id
    }

    /// Octets written so far.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// Makes the file durable under its final name. The order matters: content, then name, then directory.
    pub(crate) fn persist(mut self) -> Result<Large, SpoolError> {
        let io = |error: &io::Error| SpoolError::io("keep a draft", error);
        self.file.sync_data().map_err(|error| io(&error))?;
        let path = self.shared.dir.join(large_name(self.id));
        self.shared.disk.rename(&self.path, &path).map_err(|error| io(&error))?;
        self.path = path;
        self.shared.disk.sync_dir(&self.shared.dir).map_err(|error| io(&error))?;
        self.open = false;
        Ok(Large { id: self.id, octets: self.octets })
    }
}

impl Write for Draft {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let more = octets.len() as u64;
        {
            let mut index = self.shared.index();
            if index.octets() + more > self.shared.options.octets_max {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
            }
            index.file_octets += more;
        }
        let written = self.file.write_all_at(octets, self.octets);
        self.octets += more;
        written.map(|()| octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.open {
            // A draft was never acknowledged; if it can't be removed now, the next start does it.
            let _ = self.shared.disk.remove(&self.path);
            let mut index = self.shared.index();
            index.file_octets = index.file_octets.saturating_sub(self.octets);
        }
    }
}
