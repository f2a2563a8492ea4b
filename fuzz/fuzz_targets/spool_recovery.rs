//! Whatever happened to a spool's files while nobody looked: it opens or says that it is damaged, and never panics. Where only the
//! end of the one segment is gone or broken, what it has is what it had at some moment before; and what is added then is there
//! after the next start.
//!
//! The input is a script: an octet that says whether there is one segment or many, then operations of two octets each,
//! see [`Run::operate`]. The disk is in memory.
#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mail::ItemId;
use spool::{Disk, DiskFile, Done, Options, Receipt, Spool, SpoolError};

/// More makes the runs slow.
const OPERATIONS_MAX: usize = 200;

fuzz_target!(|script: &[u8]| {
    let Some((segments, script)) = script.split_first() else { return };
    let Some(mut run) = Run::new(segments & 1 == 0) else { return };
    for operation in script.chunks_exact(2).take(OPERATIONS_MAX) {
        if !run.operate(operation[0], operation[1]) {
            return;
        }
    }
    run.restart();
});

/// Items with their meta and body.
type Items = BTreeMap<ItemId, (Vec<u8>, Vec<u8>)>;

struct Run {
    disk: Memory,
    options: Options,
    spool: Option<Spool>,
    /// All that there was, one change after the other. Nothing when the past can't be known any more.
    past: Option<Vec<Items>>,
}

impl Run {
    fn new(one_segment: bool) -> Option<Self> {
        let segment_octets = if one_segment { 1 << 20 } else { 200 };
        let options = Options { octets_max: 1 << 24, segment_octets, ..Options::default() };
        let mut run = Self {
            disk: Memory::default(),
            options,
            spool: None,
            past: one_segment.then(|| vec![Items::new()]),
        };
        run.open().then_some(run)
    }

    /// False when there is nothing more to be done with this spool.
    fn operate(&mut self, operation: u8, argument: u8) -> bool {
        match operation {
            b'a' => self.append(argument),
            b'u' => self.update(argument),
            b'r' => self.remove(argument),
            b'l' => self.append_large(argument),
            b'o' => return self.restart(),
            damage => {
                self.spool = None;
                self.damage(damage, argument);
                return self.open() && self.is_of_the_past();
            }
        }
        true
    }

    /// What happens to files: the last segment loses its end, an octet of it is another one, something is
    /// written behind it; else to all others.
    fn damage(&mut self, damage: u8, argument: u8) {
        let mut files = self.disk.files.lock().unwrap();
        let segments = files.iter().filter(|(path, _)| path.to_string_lossy().contains("segment-"));
        let paths: Vec<PathBuf> = segments.map(|(path, _)| path.clone()).collect();
        let Some(last) = paths.last() else { return };
        let octets = files.get_mut(last).unwrap().clone();
        let mut octets = octets.lock().unwrap();
        let (length, argument) = (octets.len(), usize::from(argument));
        match damage {
            b'c' => octets.truncate(length.saturating_sub(argument)),
            b'C' => octets.truncate(length * argument / 256),
            b'f' => {
                if let Some(octet) = octets.get_mut(length * argument / 256) {
                    *octet ^= 1;
                }
            }
            b'g' => octets.extend(std::iter::repeat_n(argument as u8, argument)),
            b'z' => octets.clear(),
            _ => {
                // Older segments and large bodies: acknowledged long ago, so that nobody promises anything.
                self.past = None;
                drop(octets);
                let others: Vec<PathBuf> = files.keys().cloned().collect();
                let other = &others[argument % others.len()];
                let file = files[other].clone();
                let mut octets = file.lock().unwrap();
                let length = octets.len();
                octets.truncate(length * usize::from(damage) / 256);
            }
        }
    }

    fn open(&mut self) -> bool {
        match Spool::open(Path::new("/spool"), self.options, Arc::new(self.disk.clone())) {
            Ok(spool) => self.spool = Some(spool),
            Err(SpoolError::Damaged { .. }) => {
                assert!(self.past.is_none(), "the end of the last segment is no damage");
                return false;
            }
            Err(error) => panic!("{error}"),
        }
        true
    }

    /// Whether it is the same after another start.
    fn restart(&mut self) -> bool {
        let before = self.items();
        self.spool = None;
        if !self.open() {
            return false;
        }
        // Of a large item whose body is gone or another one, only the index knows.
        if self.past.is_some() {
            assert_eq!(self.items(), before, "a start changed what there is");
        }
        true
    }

    /// Holds what there is against all that there was, and forgets what came later.
    fn is_of_the_past(&mut self) -> bool {
        let Some(mut past) = self.past.take() else { return true };
        let items = self.items();
        let moment = past.iter().rposition(|then| *then == items);
        past.truncate(moment.expect("what there is was never there before") + 1);
        self.past = Some(past);
        true
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().expect("it is open")
    }

    fn items(&self) -> Items {
        let spool = self.spool();
        let listed = spool.list(None, usize::MAX);
        assert_eq!(listed.len(), spool.count());
        let item = |listed: spool::Listed| {
            let meta = spool.meta(listed.id).unwrap_or_default();
            let body = spool.body(listed.id).and_then(|body| {
                assert_eq!(body.octets(), listed.octets);
                body.read(0, 1 << 20)
            });
            (listed.id, (meta, body.map(|body| body.to_vec()).unwrap_or_default()))
        };
        listed.into_iter().map(item).collect()
    }

    /// What is durable is there, and is one more moment of the past.
    fn note(&mut self, change: impl FnOnce(&mut Items)) {
        let Some(past) = &mut self.past else { return };
        let mut items = past.last().cloned().unwrap_or_default();
        change(&mut items);
        past.push(items);
        let expected = self.past.as_ref().and_then(|past| past.last());
        assert_eq!(expected, Some(&self.items()));
    }

    fn append(&mut self, argument: u8) {
        let (id, body) = (id(argument), vec![argument; usize::from(argument) * 3]);
        let pieces = body.chunks(100).map(Bytes::copy_from_slice).collect();
        let done = wait(|done| self.spool().append(id, vec![argument], pieces, done));
        assert_eq!(done.map(|receipt| receipt.id()).ok(), Some(id));
        self.note(|items| {
            items.entry(id).or_insert((vec![argument], body));
        });
    }

    fn append_large(&mut self, argument: u8) {
        let id = id(argument);
        let mut draft = self.spool().draft(id).expect("there is room");
        let body = vec![argument; 2000];
        io::Write::write_all(&mut draft, &body).expect("memory takes all");
        wait(|done| self.spool().append_draft(draft, b"large".to_vec(), done)).expect("there is room");
        // Its body is a file of its own, and there may have been another of its id.
        self.past = None;
    }

    fn update(&mut self, argument: u8) {
        let (id, meta) = (id(argument), vec![argument; 40]);
        let done = wait(|done| self.spool().update(id, meta.clone(), done));
        match done {
            Ok(_) => self
                .note(|items| items.entry(id).and_modify(|item| item.0 = meta).or_default().0.truncate(40)),
            Err(SpoolError::NoItem(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn remove(&mut self, argument: u8) {
        let id = id(argument);
        wait(|done| self.spool().remove(id, done)).expect("what is not there counts as removed");
        self.note(|items| drop(items.remove(&id)));
    }
}

/// A few ids, so that they meet again.
fn id(argument: u8) -> ItemId {
    ItemId::from_bytes([argument % 8; 16])
}

fn wait(call: impl FnOnce(Done)) -> Result<Receipt, SpoolError> {
    let (told, hear) = mpsc::channel();
    call(Box::new(move |result| drop(told.send(result))));
    hear.recv().expect("each operation is answered")
}

/// A disk in memory, whose files stay when the spool ends.
#[derive(Clone, Default)]
struct Memory {
    files: Arc<Mutex<BTreeMap<PathBuf, Arc<Mutex<Vec<u8>>>>>>,
}

struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl Disk for Memory {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<(String, u64)>> {
        let files = self.files.lock().unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(files.iter().map(|(path, file)| (name(path), file.lock().unwrap().len() as u64)).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock().unwrap();
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::default();
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(Arc::new(MemoryFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let files = self.files.lock().unwrap();
        let file = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile(Arc::clone(file))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().unwrap().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        let (mut file, offset) = (self.0.lock().unwrap(), offset as usize);
        let end = offset + octets.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset..end].copy_from_slice(octets);
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (file, offset) = (self.0.lock().unwrap(), offset as usize);
        let from = offset.checked_add(buffer.len()).and_then(|end| file.get(offset..end));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, octets: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(octets as usize, 0);
        Ok(())
    }
}
