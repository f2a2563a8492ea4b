//! Durable items: Edge's sealed mail, Edge's outcome journal, Home's outbound queue.
//!
//! Items live in append-only segment files. One writer thread takes what has piled up, writes it with one
//! `write`, makes it durable with one `fdatasync`, and only then hands out the [`Receipt`]s: an fsync per
//! batch, not per item. The index is in memory and is rebuilt from the segments at start; there is no second
//! truth. What an item holds is none of this crate's business, and no socket is known here.
//!
//! An item that is too large for memory is written as a [`Draft`], a file of its own, and becomes an item by
//! the same kind of record. A draft that never became one is removed at the next start.

#[cfg(test)]
mod crash_tests;
mod disk;
mod draft;
mod error;
#[cfg(test)]
mod failing_disk;
mod index;
mod record;
mod recover;
mod segment;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use content::{Content, ReadAt};
use mail::ItemId;

pub use disk::{Disk, DiskFile, RealDisk};
pub use draft::Draft;
pub use error::SpoolError;
use index::Index;
use writer::{Command, Writer};

/// Proof that an item, a change of it or its removal is on the disk. Only the writer thread makes one, after
/// the `fdatasync` that covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    id: ItemId,
}

impl Receipt {
    /// The item.
    #[must_use]
    pub const fn id(&self) -> ItemId {
        self.id
    }
}

/// Called once, on the writer thread, when the operation is durable or has failed. It must not block.
pub type Done = Box<dyn FnOnce(Result<Receipt, SpoolError>) + Send>;

/// Limits of one spool.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most octets on the disk, drafts included; past it new items are refused with [`SpoolError::Full`].
    pub octets_max: u64,
    /// Octets after which a new segment file is begun.
    pub segment_octets: u64,
    /// How long a batch waits for more operations when the last one had several. It makes fewer and larger syncs, and who
    /// adds to it wakes nobody: the writer sleeps, it does not listen. A lone operation never waits.
    pub gather: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { octets_max: 10 << 30, segment_octets: 32 << 20, gather: GATHER }
    }
}

/// [`Options::gather`] where somebody waits for the receipt.
const GATHER: Duration = Duration::from_millis(1);

/// A directory of durable items. Cloning shares it; the writer thread ends with the last clone.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

/// What readers and the writer thread share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    index: Mutex<Index>,
}

impl Shared {
    /// The index. A panic elsewhere while it was held leaves it usable: every change is a single step.
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an item. It stays readable while this is held, also when the item is removed meanwhile.
#[derive(Clone)]
pub struct Body {
    file: Arc<dyn DiskFile>,
    offset: u64,
    octets: u64,
}

impl Body {
    /// The length of the body in octets.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// Reads up to `octets_max` octets from `at`; empty at the end.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the disk does not give them back.
    pub fn read(&self, at: u64, octets_max: usize) -> Result<Bytes, SpoolError> {
        let left = self.left(at, octets_max);
        if left == 0 {
            return Ok(Bytes::new());
        }
        let mut octets = vec![0; left];
        self.file
            .read_exact_at(&mut octets, self.offset + at)
            .map_err(|error| SpoolError::io("read an item", &error))?;
        Ok(octets.into())
    }

    /// How many of so many octets there are from `at` on.
    fn left(&self, at: u64, octets_max: usize) -> usize {
        usize::try_from(self.octets.saturating_sub(at)).unwrap_or(usize::MAX).min(octets_max)
    }
}

impl ReadAt for Body {
    fn octets(&self) -> u64 {
        self.octets
    }

    fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes> {
        self.read(at, octets_max).map_err(io::Error::other)
    }

    fn read_now(&self, at: u64, octets_max: usize) -> Option<Bytes> {
        match self.left(at, octets_max) {
            0 => Some(Bytes::new()),
            left => self.file.read_now(left, self.offset + at),
        }
    }
}

impl From<Body> for Content {
    fn from(body: Body) -> Self {
        Self::kept(body)
    }
}

/// What [`Spool::list`] says of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The item.
    pub id: ItemId,
    /// Octets of its body.
    pub octets: u64,
}

impl Spool {
    /// Opens or makes the spool in `dir` and rebuilds its index. Torn records at the end of the last segment
    /// were never acknowledged and are cut off; drafts left over are removed.
    ///
    /// # Errors
    /// [`SpoolError::Io`] naming the file, [`SpoolError::Damaged`] when a record that was acknowledged can't
    /// be read back.
    pub fn open(dir: &Path, options: Options, disk: Arc<dyn Disk>) -> Result<Self, SpoolError> {
        disk.create_dir(dir).map_err(|error| SpoolError::io("make the spool directory", &error))?;
        let index = recover::recover(dir, disk.as_ref())?;
        // Space comes back segment by segment: under a small cap they have to be small.
        let segment_octets = options.segment_octets.min(options.octets_max / 8).max(1);
        let options = Options { segment_octets, ..options };
        let shared = Arc::new(Shared { dir: dir.to_owned(), disk, options, index: Mutex::new(index) });
        let writer = Arc::new(Writer::start(Arc::clone(&shared))?);
        Ok(Self { shared, writer })
    }

    /// Adds an item. An id that is there already is left as it is and counts as done.
    pub fn append(&self, id: ItemId, meta: Vec<u8>, body: Vec<Bytes>, done: Done) {
        self.writer.send(Command::Append { id, meta, body, done });
    }

    /// Replaces an item's meta.
    pub fn update(&self, id: ItemId, meta: Vec<u8>, done: Done) {
        self.writer.send(Command::Update { id, meta, done });
    }

    /// Removes an item. One that is not there counts as removed.
    pub fn remove(&self, id: ItemId, done: Done) {
        self.writer.send(Command::Remove { id, done });
    }

    /// Begins an item too large for memory.
    ///
    /// # Errors
    /// [`SpoolError::Full`], or [`SpoolError::Io`].
    pub fn draft(&self, id: ItemId) -> Result<Draft, SpoolError> {
        Draft::create(Arc::clone(&self.shared), id)
    }

    /// Makes a draft durable and an item. Blocks for the draft's own `fdatasync`; `done` comes later.
    pub fn append_draft(&self, draft: Draft, meta: Vec<u8>, done: Done) {
        match draft.persist() {
            Ok(large) => self.writer.send(Command::AppendLarge { large, meta, done }),
            Err(error) => done(Err(error)),
        }
    }

    /// An item's meta.
    ///
    /// # Errors
    /// [`SpoolError::NoItem`], or [`SpoolError::Io`].
    pub fn meta(&self, id: ItemId) -> Result<Vec<u8>, SpoolError> {
        let (file, place) = self.shared.index().meta(id).ok_or(SpoolError::NoItem(id))?;
        let mut meta = vec![0; place.octets as usize];
        file.read_exact_at(&mut meta, place.offset)
            .map_err(|error| SpoolError::io("read an item's meta", &error))?;
        Ok(meta)
    }

    /// An item's body.
    ///
    /// # Errors
    /// [`SpoolError::NoItem`], or [`SpoolError::Io`] for a large item whose file can't be opened.
    pub fn body(&self, id: ItemId) -> Result<Body, SpoolError> {
        let found = self.shared.index().body(id).ok_or(SpoolError::NoItem(id))?;
        let (file, offset, octets) = match found {
            index::BodyPlace::InSegment { file, offset, octets } => (file, offset, octets),
            index::BodyPlace::OwnFile { octets } => {
                let path = self.shared.dir.join(draft::large_name(id));
                let file = self.shared.disk.open(&path);
                (file.map_err(|error| SpoolError::io("open a large item", &error))?, 0, octets)
            }
        };
        Ok(Body { file, offset, octets })
    }

    /// Whether the item is there.
    #[must_use]
    pub fn has(&self, id: ItemId) -> bool {
        self.shared.index().has(id)
    }

    /// Items in the order of their ids, which is the order of their age, after `after`, at most `most`.
    #[must_use]
    pub fn list(&self, after: Option<ItemId>, most: usize) -> Vec<Listed> {
        self.shared.index().list(after, most)
    }

    /// The number of items.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.index().count()
    }

    /// Octets on the disk, drafts and not yet reclaimed space included.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.shared.index().octets()
    }

    /// Octets of the items alone: none when there are none.
    #[must_use]
    pub fn item_octets(&self) -> u64 {
        self.shared.index().item_octets()
    }

    /// Whether an item of this size would be taken now.
    #[must_use]
    pub fn has_room_for(&self, octets: u64) -> bool {
        self.octets().saturating_add(octets) <= self.shared.options.octets_max
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;

    use super::*;

    fn id(n: u8) -> ItemId {
        ItemId::from_bytes([n; 16])
    }

    fn open(dir: &Path, options: Options) -> Spool {
        Spool::open(dir, options, Arc::new(RealDisk)).unwrap()
    }

    fn wait(call: impl FnOnce(Done)) -> Result<Receipt, SpoolError> {
        let (tx, rx) = mpsc::channel();
        call(Box::new(move |result| tx.send(result).unwrap()));
        rx.recv().unwrap()
    }

    fn add(spool: &Spool, n: u8, body: &[u8]) -> Result<Receipt, SpoolError> {
        let body = vec![Bytes::copy_from_slice(body)];
        wait(|done| spool.append(id(n), vec![n], body, done))
    }

    fn body_of(spool: &Spool, n: u8) -> Bytes {
        spool.body(id(n)).unwrap().read(0, usize::MAX).unwrap()
    }

    #[test]
    fn items_updates_and_removals_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path(), Options::default());
        for n in 1..=3 {
            assert_eq!(add(&spool, n, &[n; 100]).unwrap().id(), id(n));
        }
        wait(|done| spool.update(id(2), b"new".to_vec(), done)).unwrap();
        wait(|done| spool.remove(id(1), done)).unwrap();
        drop(spool);
        let spool = open(dir.path(), Options::default());
        assert_eq!(spool.count(), 2);
        assert_eq!(spool.meta(id(2)).unwrap(), b"new");
        assert_eq!(body_of(&spool, 2), vec![2; 100]);
        assert_eq!(spool.meta(id(3)).unwrap(), [3]);
        assert!(matches!(spool.meta(id(1)), Err(SpoolError::NoItem(_))));
    }

    #[test]
    fn items_are_listed_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path(), Options::default());
        for n in [3, 1, 2] {
            add(&spool, n, b"x").unwrap();
        }
        let ids: Vec<_> = spool.list(None, 2).into_iter().map(|listed| listed.id).collect();
        assert_eq!(ids, [id(1), id(2)]);
        assert_eq!(spool.list(Some(id(2)), 9), [Listed { id: id(3), octets: 1 }]);
    }

    #[test]
    fn an_id_that_is_there_is_not_added_again() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path(), Options::default());
        add(&spool, 1, b"first").unwrap();
        add(&spool, 1, b"second").unwrap();
        assert_eq!(body_of(&spool, 1), &b"first"[..]);
        assert_eq!(spool.count(), 1);
    }

    #[test]
    fn removed_items_give_their_space_back_segment_by_segment() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_octets: 4096, ..Options::default() };
        let spool = open(dir.path(), options);
        for n in 0..200 {
            add(&spool, n, &[n; 1000]).unwrap();
        }
        let full = spool.octets();
        assert!(spool.item_octets() > 200 * 1000 && spool.item_octets() <= full);
        for n in 0..200 {
            wait(|done| spool.remove(id(n), done)).unwrap();
        }
        // Symptom: `status` told of 4,433 octets sealed, of no item. Cause: space that is not reclaimed yet was counted.
        assert_eq!((spool.count(), spool.item_octets()), (0, 0));
        assert!(spool.octets() < full / 10, "{} of {full}", spool.octets());
        drop(spool);
        let spool = open(dir.path(), options);
        assert_eq!(spool.count(), 0);
    }

    #[test]
    fn one_old_item_does_not_pin_the_space_of_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_octets: 16 * 1024, ..Options::default() };
        let spool = open(dir.path(), options);
        for n in 0..160 {
            add(&spool, n, &[n; 1000]).unwrap();
        }
        for n in 0..160 {
            if n % 40 != 7 {
                wait(|done| spool.remove(id(n), done)).unwrap();
            }
        }
        assert!(spool.octets() < 60_000, "{}", spool.octets());
        drop(spool);
        let spool = open(dir.path(), options);
        assert_eq!(spool.count(), 4);
        for n in [7, 47, 87, 127] {
            assert_eq!(body_of(&spool, n), vec![n; 1000]);
            assert_eq!(spool.meta(id(n)).unwrap(), [n]);
        }
    }

    #[test]
    fn an_item_is_taken_at_the_cap_and_refused_past_it() {
        let dir = tempfile::tempdir().unwrap();
        let probe = open(dir.path(), Options::default());
        let before = probe.octets();
        add(&probe, 1, &[0; 500]).unwrap();
        let cost = probe.octets() - before;
        drop(probe);
        let dir = tempfile::tempdir().unwrap();
        let options = Options { octets_max: before + 2 * cost, ..Options::default() };
        let spool = open(dir.path(), options);
        add(&spool, 1, &[0; 500]).unwrap();
        add(&spool, 2, &[0; 500]).unwrap();
        assert!(matches!(add(&spool, 3, &[0; 1]), Err(SpoolError::Full { .. })));
        assert_eq!(spool.count(), 2);
    }

    #[test]
    fn a_draft_becomes_an_item_or_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path(), Options::default());
        let mut draft = spool.draft(id(1)).unwrap();
        draft.write_all(&[5; 200_000]).unwrap();
        wait(|done| spool.append_draft(draft, b"m".to_vec(), done)).unwrap();
        let mut dropped = spool.draft(id(2)).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        let mut left = spool.draft(id(3)).unwrap();
        left.write_all(b"half").unwrap();
        std::mem::forget(left);
        drop(spool);
        let spool = open(dir.path(), Options::default());
        assert_eq!(spool.count(), 1);
        assert_eq!(body_of(&spool, 1), vec![5; 200_000]);
        wait(|done| spool.remove(id(1), done)).unwrap();
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name.to_string_lossy().starts_with("segment-")), "{names:?}");
    }

    #[test]
    fn a_body_stays_readable_while_its_item_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path(), Options { segment_octets: 1, ..Options::default() });
        add(&spool, 1, b"still here").unwrap();
        let body = spool.body(id(1)).unwrap();
        wait(|done| spool.remove(id(1), done)).unwrap();
        add(&spool, 2, b"x").unwrap();
        assert_eq!(body.read(6, 100).unwrap(), &b"here"[..]);
        assert!(body.read(10, 100).unwrap().is_empty());
    }

    #[test]
    fn damage_in_acknowledged_records_is_reported_not_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_octets: 600, ..Options::default() };
        let spool = open(dir.path(), options);
        for n in 1..=3 {
            add(&spool, n, &[n; 500]).unwrap();
        }
        drop(spool);
        let first = dir.path().join("segment-00000001");
        let mut octets = std::fs::read(&first).unwrap();
        octets[40] ^= 1;
        std::fs::write(&first, octets).unwrap();
        let error = Spool::open(dir.path(), options, Arc::new(RealDisk)).err().unwrap();
        assert!(matches!(error, SpoolError::Damaged { .. }), "{error}");
    }

    /// Symptom: a program that is older than its spool took the last segment for a torn one and emptied it. Cause: what
    /// it did not know was no beginning and no record to it. Analysis: a whole one says that somebody else wrote it.
    #[test]
    fn a_spool_of_a_newer_version_is_refused_and_left_as_it_is() {
        let newer_segment = |octets: &mut Vec<u8>| octets[..16].copy_from_slice(b"postern spool 2\n");
        let newer_record = |octets: &mut Vec<u8>| {
            let mut header = [0; record::HEADER_OCTETS];
            header[0] = 5;
            let crc = crc32fast::hash(&header[..44]);
            header[44..].copy_from_slice(&crc.to_le_bytes());
            octets.extend_from_slice(&header);
        };
        for change in [&newer_segment as &dyn Fn(&mut Vec<u8>), &newer_record] {
            let dir = tempfile::tempdir().unwrap();
            let spool = open(dir.path(), Options::default());
            add(&spool, 1, b"here").unwrap();
            drop(spool);
            let segment = dir.path().join("segment-00000001");
            let mut octets = std::fs::read(&segment).unwrap();
            change(&mut octets);
            std::fs::write(&segment, &octets).unwrap();
            let draft = dir.path().join("draft-of-theirs");
            std::fs::write(&draft, b"x").unwrap();
            let error = Spool::open(dir.path(), Options::default(), Arc::new(RealDisk)).err().unwrap();
            assert!(error.to_string().contains("install that version again"), "{error}");
            assert_eq!(std::fs::read(&segment).unwrap(), octets);
            assert!(draft.exists());
        }
    }
}
