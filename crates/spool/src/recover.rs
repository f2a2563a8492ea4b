//! Rebuilding the index from the segments at start.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mail::ItemId;

use crate::SpoolError;
use crate::disk::{Disk, DiskFile};
use crate::draft::{DRAFT_PREFIX, LARGE_PREFIX};
use crate::index::Index;
use crate::record::{HEADER_OCTETS, Header, MAGIC, is_of_newer};
use crate::segment;

const CHECK_BUFFER_OCTETS: usize = 256 * 1024;

/// Reads every record in order. In the last segment the first record that does not check ends the log: it
/// belongs to the batch that was being written when the program died, and nothing of it was acknowledged. In
/// an older segment the same is damage.
pub(crate) fn recover(dir: &Path, disk: &dyn Disk) -> Result<Index, SpoolError> {
    let files = disk.list(dir).map_err(|error| SpoolError::io("list the spool", &error))?;
    let mut segments = BTreeMap::new();
    let mut large = BTreeMap::new();
    let mut drafts = Vec::new();
    for (name, octets) in files {
        if let Some(number) = segment::number_of(&name) {
            segments.insert(number, octets);
        } else if let Some(id) = name.strip_prefix(LARGE_PREFIX).and_then(|id| id.parse::<ItemId>().ok()) {
            large.insert(id, octets);
        } else if name.starts_with(DRAFT_PREFIX) {
            drafts.push(name);
        }
    }
    let mut index = Index::default();
    let last = segments.last_key_value().map(|(number, _)| *number);
    for (number, octets) in segments {
        let path = dir.join(segment::name_of(number));
        let file =
            disk.open(&path).map_err(|error| SpoolError::io(format!("open {}", path.display()), &error))?;
        let scan = Scan { path: &path, number, octets, is_last: Some(number) == last };
        scan.run(&file, &mut index)?;
    }
    // Only now: a spool of a newer version is left as it is.
    for name in drafts {
        remove(disk, &dir.join(&name), "remove an unfinished draft")?;
    }
    make_durable(dir, disk, &index)?;
    for (id, octets) in large {
        if index.is_large(id) {
            index.file_octets += octets;
        } else {
            remove(disk, &dir.join(crate::draft::large_name(id)), "remove an unfinished large item")?;
        }
    }
    Ok(index)
}

/// What a killed process left in the system's caches is taken for durable from here on: a sender that tries an
/// item again is told that it is there, and the segment is written to under a name that has to stay.
fn make_durable(dir: &Path, disk: &dyn Disk, index: &Index) -> Result<(), SpoolError> {
    let last = index.segments.last_key_value().map_or(Ok(()), |(_, segment)| segment.file.sync_data());
    last.and_then(|()| disk.sync_dir(dir)).map_err(|error| SpoolError::io("sync the spool", &error))
}

fn remove(disk: &dyn Disk, path: &Path, what: &str) -> Result<(), SpoolError> {
    disk.remove(path).map_err(|error| SpoolError::io(what, &error))
}

struct Scan<'a> {
    path: &'a Path,
    number: u32,
    octets: u64,
    is_last: bool,
}

impl Scan<'_> {
    fn run(&self, file: &Arc<dyn DiskFile>, index: &mut Index) -> Result<(), SpoolError> {
        index.add_segment(self.number, Arc::clone(file), self.octets);
        let mut offset = MAGIC.len() as u64;
        let mut magic = [0; MAGIC.len()];
        let is_there = self.octets >= offset && self.read(file, &mut magic, 0).is_ok();
        if is_there && is_of_newer(&magic) {
            return Err(self.newer());
        }
        if !is_there || &magic != MAGIC {
            return self.end_of_log(file, index, 0);
        }
        while offset < self.octets {
            match self.record_at(file, offset)? {
                Some(header) => {
                    index.apply(self.number, offset, &header);
                    offset += header.record_octets();
                }
                None => return self.end_of_log(file, index, offset),
            }
        }
        Ok(())
    }

    /// The record at `offset`, or `None` when what is there is not a whole one. Bodies are checked in the
    /// last segment only: in older ones everything was acknowledged long ago, and a start must be quick.
    fn record_at(&self, file: &Arc<dyn DiskFile>, offset: u64) -> Result<Option<Header>, SpoolError> {
        let mut octets = [0; HEADER_OCTETS];
        if offset + HEADER_OCTETS as u64 > self.octets {
            return Ok(None);
        }
        self.read(file, &mut octets, offset)?;
        let header = Header::decode(&octets).map_err(|_| self.newer())?;
        let Some(header) = header else { return Ok(None) };
        if offset.saturating_add(header.record_octets()) > self.octets {
            return Ok(None);
        }
        if self.is_last && !self.content_checks(file, offset, &header)? {
            return Ok(None);
        }
        Ok(Some(header))
    }

    fn content_checks(
        &self,
        file: &Arc<dyn DiskFile>,
        offset: u64,
        header: &Header,
    ) -> Result<bool, SpoolError> {
        let mut at = offset + HEADER_OCTETS as u64;
        let end = offset + header.record_octets();
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; CHECK_BUFFER_OCTETS.min(usize::try_from(end - at).unwrap_or(usize::MAX))];
        while at < end {
            let step = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.read(file, &mut buffer[..step], at)?;
            crc.update(&buffer[..step]);
            at += step as u64;
        }
        Ok(crc.finalize() == header.content_crc)
    }

    /// Cuts the last segment after its last whole record; an older one that ends early is damaged.
    fn end_of_log(&self, file: &Arc<dyn DiskFile>, index: &mut Index, offset: u64) -> Result<(), SpoolError> {
        if !self.is_last {
            return Err(SpoolError::Damaged { file: self.path.display().to_string(), offset });
        }
        let io = |error: &std::io::Error| SpoolError::io(format!("mend {}", self.path.display()), error);
        file.set_len(offset).map_err(|error| io(&error))?;
        if offset == 0 {
            file.write_all_at(MAGIC, 0).map_err(|error| io(&error))?;
        }
        file.sync_data().map_err(|error| io(&error))?;
        if let Some(segment) = index.segments.get_mut(&self.number) {
            segment.octets = offset.max(MAGIC.len() as u64);
        }
        Ok(())
    }

    fn newer(&self) -> SpoolError {
        SpoolError::Newer { file: self.path.display().to_string() }
    }

    fn read(&self, file: &Arc<dyn DiskFile>, buffer: &mut [u8], offset: u64) -> Result<(), SpoolError> {
        file.read_exact_at(buffer, offset)
            .map_err(|error| SpoolError::io(format!("read {}", self.path.display()), &error))
    }
}
