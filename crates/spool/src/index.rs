//! The index in memory: where each item is, and what each segment still holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use mail::ItemId;

use crate::Listed;
use crate::disk::DiskFile;
use crate::record::{HEADER_OCTETS, Header, Kind};

/// The place of a record's meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetaPlace {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) octets: u32,
}

#[derive(Debug, Clone, Copy)]
enum StoredBody {
    InSegment { segment: u32, offset: u64, octets: u64 },
    OwnFile { segment: u32, octets: u64 },
}

/// Where an item's body is, ready to be read.
pub(crate) enum BodyPlace {
    InSegment { file: Arc<dyn DiskFile>, offset: u64, octets: u64 },
    OwnFile { octets: u64 },
}

struct Entry {
    meta: MetaPlace,
    body: StoredBody,
}

/// A segment's file and what is still needed of it.
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    /// Octets in the file.
    pub(crate) octets: u64,
    /// Octets of records that are still in force.
    pub(crate) live_octets: u64,
    /// Items that have their body record or their newest meta here.
    pub(crate) live: BTreeSet<ItemId>,
    /// Older segments that hold items which records in this one remove. While one of them is there, this
    /// one must stay, or the items would come back at the next start.
    pub(crate) buries: BTreeSet<u32>,
}

/// What a record did to the index, for the writer to clean up after.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// A large item's own file is no longer needed; its octets.
    pub(crate) orphan_file: Option<(ItemId, u64)>,
}

#[derive(Default)]
pub(crate) struct Index {
    items: BTreeMap<ItemId, Entry>,
    pub(crate) segments: BTreeMap<u32, Segment>,
    /// Octets of drafts and of large items' own files.
    pub(crate) file_octets: u64,
}

impl Index {
    pub(crate) fn has(&self, id: ItemId) -> bool {
        self.items.contains_key(&id)
    }

    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }

    /// What the items of the segments and their own files take, without what is not reclaimed yet.
    pub(crate) fn item_octets(&self) -> u64 {
        let files = self.items.values().filter_map(|entry| match entry.body {
            StoredBody::OwnFile { octets, .. } => Some(octets),
            StoredBody::InSegment { .. } => None,
        });
        files.sum::<u64>() + self.segments.values().map(|segment| segment.live_octets).sum::<u64>()
    }

    pub(crate) fn octets(&self) -> u64 {
        self.file_octets + self.segments.values().map(|segment| segment.octets).sum::<u64>()
    }

    pub(crate) fn list(&self, after: Option<ItemId>, most: usize) -> Vec<Listed> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = |(id, entry): (&ItemId, &Entry)| {
            let octets = match entry.body {
                StoredBody::InSegment { octets, .. } | StoredBody::OwnFile { octets, .. } => octets,
            };
            Listed { id: *id, octets }
        };
        self.items.range((from, Bound::Unbounded)).take(most).map(listed).collect()
    }

    pub(crate) fn meta(&self, id: ItemId) -> Option<(Arc<dyn DiskFile>, MetaPlace)> {
        let place = self.items.get(&id)?.meta;
        Some((Arc::clone(&self.segments.get(&place.segment)?.file), place))
    }

    pub(crate) fn body(&self, id: ItemId) -> Option<BodyPlace> {
        match self.items.get(&id)?.body {
            StoredBody::OwnFile { octets, .. } => Some(BodyPlace::OwnFile { octets }),
            StoredBody::InSegment { segment, offset, octets } => {
                let file = Arc::clone(&self.segments.get(&segment)?.file);
                Some(BodyPlace::InSegment { file, offset, octets })
            }
        }
    }

    pub(crate) fn is_large(&self, id: ItemId) -> bool {
        matches!(self.items.get(&id).map(|entry| entry.body), Some(StoredBody::OwnFile { .. }))
    }

    pub(crate) fn add_segment(&mut self, number: u32, file: Arc<dyn DiskFile>, octets: u64) {
        let segment =
            Segment { file, octets, live_octets: 0, live: BTreeSet::new(), buries: BTreeSet::new() };
        self.segments.insert(number, segment);
    }

    /// Puts a record that is on the disk into force. `offset` is where its header starts.
    pub(crate) fn apply(&mut self, segment: u32, offset: u64, header: &Header) -> Applied {
        let meta = MetaPlace { segment, offset: offset + HEADER_OCTETS as u64, octets: header.meta_octets };
        let id = header.id;
        match header.kind {
            Kind::Item => {
                let offset = meta.offset + u64::from(header.meta_octets);
                let octets = header.body_octets;
                self.insert(id, Entry { meta, body: StoredBody::InSegment { segment, offset, octets } })
            }
            Kind::Large => {
                let octets = header.body_octets;
                self.insert(id, Entry { meta, body: StoredBody::OwnFile { segment, octets } })
            }
            Kind::Update => {
                self.update(id, meta);
                Applied::default()
            }
            Kind::Remove => self.remove(id, segment),
        }
    }

    fn insert(&mut self, id: ItemId, entry: Entry) -> Applied {
        // A second record of the same item is the copy that a clean-up made: it takes the first one's place.
        if let Some(old) = self.items.remove(&id) {
            self.release(id, &old);
        }
        self.hold(id, &entry);
        self.items.insert(id, entry);
        Applied::default()
    }

    fn update(&mut self, id: ItemId, meta: MetaPlace) {
        if let Some(mut entry) = self.items.remove(&id) {
            self.release(id, &entry);
            entry.meta = meta;
            self.hold(id, &entry);
            self.items.insert(id, entry);
        }
    }

    fn remove(&mut self, id: ItemId, by: u32) -> Applied {
        let Some(entry) = self.items.remove(&id) else {
            return Applied::default();
        };
        self.release(id, &entry);
        let (home, orphan_file) = match entry.body {
            StoredBody::InSegment { segment, .. } => (segment, None),
            StoredBody::OwnFile { segment, octets } => (segment, Some((id, octets))),
        };
        if let Some(segment) = self.segments.get_mut(&by).filter(|_| home != by) {
            segment.buries.insert(home);
        }
        Applied { orphan_file }
    }

    fn hold(&mut self, id: ItemId, entry: &Entry) {
        let (home, octets) = entry.home();
        if let Some(segment) = self.segments.get_mut(&home) {
            segment.live.insert(id);
            segment.live_octets += octets;
        }
        if let Some(segment) =
            self.segments.get_mut(&entry.meta.segment).filter(|_| entry.meta.segment != home)
        {
            segment.live.insert(id);
            segment.live_octets += u64::from(entry.meta.octets) + HEADER_OCTETS as u64;
        }
    }

    fn release(&mut self, id: ItemId, entry: &Entry) {
        let (home, octets) = entry.home();
        if let Some(segment) = self.segments.get_mut(&home) {
            segment.live.remove(&id);
            segment.live_octets = segment.live_octets.saturating_sub(octets);
        }
        if let Some(segment) =
            self.segments.get_mut(&entry.meta.segment).filter(|_| entry.meta.segment != home)
        {
            segment.live.remove(&id);
            let octets = u64::from(entry.meta.octets) + HEADER_OCTETS as u64;
            segment.live_octets = segment.live_octets.saturating_sub(octets);
        }
    }

    /// Segments below `active` that nothing needs any more.
    pub(crate) fn dead_segments(&self, active: u32) -> Vec<u32> {
        let older = self.segments.range(..active);
        older.filter(|(_, s)| s.live.is_empty() && !self.is_burying(s)).map(|(number, _)| *number).collect()
    }

    /// The oldest segment below `active` of which less than a quarter is still in force and which could go
    /// once that is copied.
    pub(crate) fn sparse_segment(&self, active: u32) -> Option<u32> {
        let mut older = self.segments.range(..active);
        let sparse = |s: &Segment| !s.live.is_empty() && s.live_octets < s.octets / 4 && !self.is_burying(s);
        older.find(|(_, segment)| sparse(segment)).map(|(number, _)| *number)
    }

    fn is_burying(&self, segment: &Segment) -> bool {
        segment.buries.iter().any(|older| self.segments.contains_key(older))
    }
}

impl Entry {
    /// The segment with the item's first record, and the octets it holds there.
    fn home(&self) -> (u32, u64) {
        let header = HEADER_OCTETS as u64 + u64::from(self.meta.octets);
        match self.body {
            StoredBody::InSegment { segment, octets, .. } => (segment, octets + header),
            StoredBody::OwnFile { segment, .. } => (segment, header),
        }
    }
}
