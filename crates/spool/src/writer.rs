//! The writer thread: one batch, one write, one `fdatasync`, then the receipts.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use mail::ItemId;

use crate::disk::DiskFile;
use crate::draft::{Large, large_name};
use crate::record::{HEADER_OCTETS, Header, Kind, MAGIC};
use crate::{Done, Receipt, Shared, SpoolError, segment};

/// Most operations that share one `fdatasync`.
const BATCH_OPERATIONS_MAX: usize = 1024;
/// Octets after which a batch is closed.
const BATCH_OCTETS_MAX: usize = 8 << 20;

pub(crate) enum Command {
    Append { id: ItemId, meta: Vec<u8>, body: Vec<Bytes>, done: Done },
    AppendLarge { large: Large, meta: Vec<u8>, done: Done },
    Update { id: ItemId, meta: Vec<u8>, done: Done },
    Remove { id: ItemId, done: Done },
}

/// The handle of the thread. Dropping it lets the thread finish what is queued and waits for it.
pub(crate) struct Writer {
    // Bounded by who appends: each waits for its receipt, and holds its message in memory that is counted there.
    commands: Mutex<Option<Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, SpoolError> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("spool-writer".to_owned())
            .spawn(move || Log::new(shared).run(&receiver))
            .map_err(|error| SpoolError::io("start the spool's writer", &error))?;
        Ok(Self { commands: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn send(&self, command: Command) {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match commands.as_ref() {
            Some(sender) => sender.send(command).err().map(|error| error.0),
            None => Some(command),
        };
        drop(commands);
        if let Some(command) = refused {
            command.into_done()(Err(SpoolError::Closed));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last clone may be dropped by a callback on the writer thread itself; it then just ends.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Command {
    fn into_done(self) -> Done {
        match self {
            Self::Append { done, .. }
            | Self::AppendLarge { done, .. }
            | Self::Update { done, .. }
            | Self::Remove { done, .. } => done,
        }
    }
}

/// An operation whose record is in the batch.
struct Pending {
    header: Header,
    offset: u64,
    done: Option<Done>,
}

/// The active segment and the batch that is being put together.
struct Log {
    shared: Arc<Shared>,
    active: Option<(u32, Arc<dyn DiskFile>)>,
    /// Where the next octet goes; everything before it is durable or in the batch.
    end: u64,
    buffer: Vec<u8>,
    batch: Vec<Pending>,
    /// Whether the batch leaves an item that it touches there.
    in_batch: HashMap<ItemId, bool>,
    /// Operations that need no record: answered with the batch, so that an id that is in the same batch is
    /// not acknowledged before it is durable.
    settled: Vec<(ItemId, Done)>,
    /// Whether segments were removed since the directory was last synced.
    removals_unsynced: bool,
}

impl Log {
    fn new(shared: Arc<Shared>) -> Self {
        let active = shared
            .index()
            .segments
            .last_key_value()
            .map(|(number, segment)| (*number, Arc::clone(&segment.file), segment.octets));
        let end = active.as_ref().map_or(0, |(_, _, octets)| *octets);
        let active = active.map(|(number, file, _)| (number, file));
        Self {
            shared,
            active,
            end,
            buffer: Vec::new(),
            batch: Vec::new(),
            in_batch: HashMap::new(),
            settled: Vec::new(),
            removals_unsynced: false,
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        let mut operations = 0;
        while let Ok(first) = commands.recv() {
            self.take(first);
            if operations > 1 {
                std::thread::sleep(self.shared.options.gather);
            }
            while self.batch.len() < BATCH_OPERATIONS_MAX && self.buffer.len() < BATCH_OCTETS_MAX {
                match commands.try_recv() {
                    Ok(command) => self.take(command),
                    Err(_) => break,
                }
            }
            operations = self.batch.len();
            self.commit();
            self.reclaim();
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Append { id, meta, body, done } => self.take_append(id, &meta, &body, done),
            Command::AppendLarge { large, meta, done } => {
                self.push(Kind::Large, large.id, &meta, &[], large.octets, Some(done));
            }
            Command::Update { id, meta, done } if self.knows(id) => {
                self.push(Kind::Update, id, &meta, &[], 0, Some(done));
            }
            Command::Update { id, done, .. } => done(Err(SpoolError::NoItem(id))),
            Command::Remove { id, done } if self.knows(id) => {
                self.push(Kind::Remove, id, &[], &[], 0, Some(done));
            }
            Command::Remove { id, done } => self.settled.push((id, done)),
        }
    }

    fn take_append(&mut self, id: ItemId, meta: &[u8], body: &[Bytes], done: Done) {
        if self.knows(id) {
            self.settled.push((id, done));
            return;
        }
        let body_octets = body.iter().map(|part| part.len() as u64).sum::<u64>();
        let more = body_octets + meta.len() as u64 + (HEADER_OCTETS + self.buffer.len()) as u64;
        let octets = self.shared.index().octets().max(MAGIC.len() as u64);
        let octets_max = self.shared.options.octets_max;
        if octets + more > octets_max {
            done(Err(SpoolError::Full { octets, octets_max }));
            return;
        }
        self.push(Kind::Item, id, meta, body, body_octets, Some(done));
    }

    /// Whether the item will be there once the batch is written.
    fn knows(&self, id: ItemId) -> bool {
        self.in_batch.get(&id).copied().unwrap_or_else(|| self.shared.index().has(id))
    }

    fn push(
        &mut self,
        kind: Kind,
        id: ItemId,
        meta: &[u8],
        body: &[Bytes],
        body_octets: u64,
        done: Option<Done>,
    ) {
        let mut crc = crc32fast::Hasher::new();
        crc.update(meta);
        body.iter().for_each(|part| crc.update(part));
        let Ok(meta_octets) = u32::try_from(meta.len()) else {
            if let Some(done) = done {
                let cause = "its meta is too long".to_owned();
                done(Err(SpoolError::Io { what: "keep an item".to_owned(), cause }));
            }
            return;
        };
        let header = Header { kind, id, meta_octets, body_octets, content_crc: crc.finalize() };
        let offset = self.buffer.len() as u64;
        self.buffer.extend_from_slice(&header.encode());
        self.buffer.extend_from_slice(meta);
        body.iter().for_each(|part| self.buffer.extend_from_slice(part));
        self.in_batch.insert(id, kind != Kind::Remove);
        self.batch.push(Pending { header, offset, done });
    }

    /// Makes the batch durable and answers for it. When the disk fails, nothing of the batch counts: it is
    /// cut off again and the segment is left behind, because after a failed `fdatasync` nobody knows what a
    /// file holds.
    fn commit(&mut self) {
        let written = if self.batch.is_empty() { Ok(()) } else { self.write_batch() };
        let mut batch = std::mem::take(&mut self.batch);
        let settled = std::mem::take(&mut self.settled);
        self.in_batch.clear();
        self.buffer.clear();
        self.buffer.shrink_to(BATCH_OCTETS_MAX / 8);
        let orphans = match written {
            Ok(()) => self.apply(&batch),
            Err(_) => Vec::new(),
        };
        let result = |id| match &written {
            Ok(()) => Ok(Receipt { id }),
            Err(error) => Err(SpoolError::io("write to the spool", error)),
        };
        for pending in &mut batch {
            if let Some(done) = pending.done.take() {
                done(result(pending.header.id));
            }
        }
        for (id, done) in settled {
            done(result(id));
        }
        self.remove_files(&orphans);
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let (_, file) = self.writable_segment()?;
        let written = file.write_all_at(&self.buffer, self.end).and_then(|()| file.sync_data());
        if written.is_err() {
            let _ = file.set_len(self.end).and_then(|()| file.sync_data());
            self.active = None;
        }
        written
    }

    fn writable_segment(&mut self) -> io::Result<(u32, Arc<dyn DiskFile>)> {
        if let Some((number, file)) =
            self.active.as_ref().filter(|_| self.end < self.shared.options.segment_octets)
        {
            return Ok((*number, Arc::clone(file)));
        }
        let number = self.shared.index().segments.last_key_value().map_or(1, |(last, _)| last + 1);
        let file = match segment::create(self.shared.disk.as_ref(), &self.shared.dir, number) {
            Ok(file) => file,
            Err(error) => {
                // A half-made segment must not stand in the way of the next try.
                let _ = self.shared.disk.remove(&self.shared.dir.join(segment::name_of(number)));
                return Err(error);
            }
        };
        self.end = MAGIC.len() as u64;
        self.shared.index().add_segment(number, Arc::clone(&file), self.end);
        self.active = Some((number, Arc::clone(&file)));
        Ok((number, file))
    }

    /// Puts the batch into force. Returns large items whose files are to go.
    fn apply(&mut self, batch: &[Pending]) -> Vec<(ItemId, u64)> {
        let Some((number, _)) = self.active else { return Vec::new() };
        let mut index = self.shared.index();
        let mut orphans = Vec::new();
        for pending in batch {
            let applied = index.apply(number, self.end + pending.offset, &pending.header);
            orphans.extend(applied.orphan_file);
        }
        self.end += batch.iter().map(|pending| pending.header.record_octets()).sum::<u64>();
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.octets = self.end;
        }
        orphans
    }

    fn remove_files(&self, orphans: &[(ItemId, u64)]) {
        for (id, octets) in orphans {
            // The removal is durable in the log; a file that stays now goes at the next start.
            if self.shared.disk.remove(&self.shared.dir.join(large_name(*id))).is_ok() {
                let mut index = self.shared.index();
                index.file_octets = index.file_octets.saturating_sub(*octets);
            }
        }
    }

    /// Removes segments that nothing needs, and copies the rest of one that is mostly dead.
    fn reclaim(&mut self) {
        self.leave_empty_segment();
        let Some((active, _)) = self.active else { return };
        self.remove_dead(active);
        let sparse = self.shared.index().sparse_segment(active);
        if let Some(number) = sparse.filter(|_| self.end < self.shared.options.segment_octets) {
            self.copy_live(number);
            self.remove_dead(active);
        }
    }

    /// An active segment in which nothing is in force any more is left behind and removed, once it is large
    /// enough to be worth a new file.
    fn leave_empty_segment(&mut self) {
        let worth = (self.shared.options.segment_octets / 8).max(MAGIC.len() as u64 + 1);
        let Some((active, _)) = self.active.as_ref().filter(|_| self.end >= worth) else { return };
        let active = *active;
        let is_empty =
            self.shared.index().segments.get(&active).is_some_and(|segment| segment.live.is_empty());
        if is_empty {
            self.active = None;
            self.remove_dead(active + 1);
        }
    }

    fn remove_dead(&mut self, active: u32) {
        loop {
            let dead = self.shared.index().dead_segments(active);
            if dead.is_empty() {
                return;
            }
            // A segment that removes another one's items goes only when that other one is gone for good:
            // names that are not synced may come back in any order.
            if self.removals_unsynced && self.shared.disk.sync_dir(&self.shared.dir).is_err() {
                return;
            }
            self.removals_unsynced = true;
            for number in dead {
                if self.shared.disk.remove(&self.shared.dir.join(segment::name_of(number))).is_err() {
                    return;
                }
                self.shared.index().segments.remove(&number);
            }
        }
    }

    /// Writes what is in force in a segment again at the end of the log, as one batch of its own.
    fn copy_live(&mut self, number: u32) {
        let live: Vec<ItemId> = match self.shared.index().segments.get(&number) {
            Some(segment) => segment.live.iter().copied().collect(),
            None => return,
        };
        for id in live {
            let Some((file, place)) = self.shared.index().meta(id) else { continue };
            let mut meta = vec![0; place.octets as usize];
            if file.read_exact_at(&mut meta, place.offset).is_err() {
                self.abandon_batch();
                return;
            }
            if !self.copy_item(id, &meta, number) {
                self.abandon_batch();
                return;
            }
        }
        self.commit();
    }

    fn copy_item(&mut self, id: ItemId, meta: &[u8], from: u32) -> bool {
        let place = self.shared.index().body(id);
        match place {
            Some(crate::index::BodyPlace::OwnFile { octets }) => {
                self.push(Kind::Large, id, meta, &[], octets, None);
                true
            }
            Some(crate::index::BodyPlace::InSegment { file, offset, octets }) => {
                let in_segment = self.shared.index().segments.get(&from).map(|s| Arc::clone(&s.file));
                if in_segment.is_some_and(|segment| !Arc::ptr_eq(&segment, &file)) {
                    // Only its newest meta is in the sparse segment; the body stays where it is.
                    self.push(Kind::Update, id, meta, &[], 0, None);
                    return true;
                }
                let mut body = vec![0; usize::try_from(octets).unwrap_or(0)];
                if file.read_exact_at(&mut body, offset).is_err() {
                    return false;
                }
                self.push(Kind::Item, id, meta, &[body.into()], octets, None);
                true
            }
            None => true,
        }
    }

    fn abandon_batch(&mut self) {
        self.batch.clear();
        self.in_batch.clear();
        self.buffer.clear();
    }
}
