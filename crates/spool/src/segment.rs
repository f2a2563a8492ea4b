//! One append-only file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::record::MAGIC;

const PREFIX: &str = "segment-";

/// The file name of a segment; names sort as the numbers do.
pub(crate) fn name_of(number: u32) -> String {
    format!("{PREFIX}{number:08}")
}

/// The number in a segment's file name.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Makes an empty segment that is there after a crash.
pub(crate) fn create(disk: &dyn Disk, dir: &Path, number: u32) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(&dir.join(name_of(number)))?;
    file.write_all_at(MAGIC, 0)?;
    file.sync_data()?;
    disk.sync_dir(dir)?;
    Ok(file)
}
