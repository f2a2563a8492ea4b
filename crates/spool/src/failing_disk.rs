//! A disk in memory for tests: it knows what is durable and what is not, and one chosen step of it fails.
//!
//! What was written and not synced may be there after the power went, wholly, in part or not at all, each
//! write for itself; so may each name that was made, changed or removed and not synced. That is what POSIX
//! promises, and less than most file systems keep. A failed sync leaves the unsynced writes unknown and
//! forgotten, as Linux does: syncing again does not bring them back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, DiskFile};

const SECTOR_OCTETS: usize = 512;

/// The fault at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The step fails once; a write may be half done.
    Error,
    /// The power goes: everything after it fails, and [`FailingDisk::restart`] gives back what was durable.
    PowerLoss,
    /// The process dies: everything after it fails, and nothing that was written is lost, until the power goes.
    Kill,
}

/// The disk. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct FailingDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    steps: u64,
    fault: Option<(u64, Fault)>,
    /// The step has come; after a loss of power or a kill nothing works any more.
    fired: bool,
    dead: bool,
    random: Random,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
}

#[derive(Default)]
struct Inode {
    octets: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, octets: Vec<u8> },
    Cut { octets: usize },
}

enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// What a step does after it was counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Works,
    /// Fails, the first half of it done.
    Half,
}

impl FailingDisk {
    /// An empty disk whose losses follow from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.lock().random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        disk
    }

    /// Lets the step that many steps from now fail.
    pub(crate) fn fail_at(&self, steps_from_now: u64, fault: Fault) {
        let mut state = self.lock();
        state.fired = false;
        state.fault = Some((state.steps + steps_from_now, fault));
    }

    /// Whether the chosen step has come.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().fired
    }

    /// Whether nothing works any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Starts the machine or the process again after the fault.
    pub(crate) fn restart(&self) {
        let mut state = self.lock();
        let power_was_lost = matches!(state.fault, Some((_, Fault::PowerLoss))) && state.dead;
        if power_was_lost {
            state.lose_power();
        }
        state.fault = None;
        state.dead = false;
    }

    /// The power goes now, between two steps, and comes back.
    pub(crate) fn lose_power(&self) {
        self.lock().lose_power();
    }

    /// The names of the files that are there.
    pub(crate) fn file_names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        self.lock().names.keys().map(name).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn file(&self, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(FailingFile { disk: self.clone(), inode })
    }
}

impl State {
    /// Counts a step and says whether it works.
    fn step(&mut self) -> io::Result<Step> {
        if self.dead {
            return Err(dead());
        }
        self.steps += 1;
        match self.fault {
            Some((at, fault)) if at == self.steps => {
                self.fired = true;
                self.dead = fault != Fault::Error;
                Ok(Step::Half)
            }
            _ => Ok(Step::Works),
        }
    }

    /// As [`Self::step`], for a step that is done wholly or not at all.
    fn whole_step(&mut self) -> io::Result<()> {
        match self.step()? {
            Step::Works => Ok(()),
            Step::Half => Err(io::Error::other("the chosen step fails")),
        }
    }

    fn lose_power(&mut self) {
        let random = &mut self.random;
        for inode in &mut self.inodes {
            inode.settle(random);
            inode.octets.clone_from(&inode.durable);
        }
        for change in std::mem::take(&mut self.pending_names) {
            if self.random.chance(2) {
                change.apply(&mut self.durable_names);
            }
        }
        self.names.clone_from(&self.durable_names);
    }
}

impl Inode {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.octets);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.octets);
        self.pending.clear();
    }

    /// Lets chance decide which of the unsynced changes are durable.
    fn settle(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            match random.below(3) {
                0 => change.apply(&mut self.durable),
                1 => change.apply_torn(&mut self.durable, random),
                _ => {}
            }
        }
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, octets } => {
                let end = offset + octets.len();
                file.resize(file.len().max(end), 0);
                file[*offset..end].copy_from_slice(octets);
            }
            Self::Cut { octets } => file.resize(*octets, 0),
        }
    }

    /// The length is there, but only some of the sectors.
    fn apply_torn(&self, file: &mut Vec<u8>, random: &mut Random) {
        let Self::Write { offset, octets } = self else { return };
        file.resize(file.len().max(offset + octets.len()), 0);
        for (n, sector) in octets.chunks(SECTOR_OCTETS).enumerate() {
            if random.chance(2) {
                let at = offset + n * SECTOR_OCTETS;
                file[at..at + sector.len()].copy_from_slice(sector);
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Disk for FailingDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.lock().whole_step()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.lock();
        state.whole_step()?;
        let in_dir = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, inode): (&PathBuf, &usize)| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, state.inodes[*inode].octets.len() as u64)
        };
        Ok(in_dir.map(entry).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.whole_step()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.rename_step(NameChange::Create(path.to_owned(), inode));
        Ok(self.file(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.whole_step()?;
        let inode = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.whole_step()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_step(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.whole_step()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_step(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.whole_step()?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }
}

impl State {
    fn rename_step(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

struct FailingFile {
    disk: FailingDisk,
    inode: usize,
}

impl DiskFile for FailingFile {
    fn write_all_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let step = state.step()?;
        let octets = if step == Step::Works { octets } else { &octets[..octets.len() / 2] };
        let offset = usize::try_from(offset).unwrap();
        state.inodes[self.inode].change(Change::Write { offset, octets: octets.to_vec() });
        if step == Step::Half { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.whole_step()?;
        let start = usize::try_from(offset).unwrap();
        let from = state.inodes[self.inode].octets.get(start..start + buffer.len());
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let step = state.step()?;
        let state = &mut *state;
        let inode = &mut state.inodes[self.inode];
        if step == Step::Half {
            if !state.dead {
                inode.settle(&mut state.random);
            }
            return Err(io::Error::other("the chosen sync fails"));
        }
        inode.sync();
        Ok(())
    }

    fn set_len(&self, octets: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.whole_step()?;
        let octets = usize::try_from(octets).unwrap();
        state.inodes[self.inode].change(Change::Cut { octets });
        Ok(())
    }
}

fn dead() -> io::Error {
    io::Error::other("the machine is off")
}

/// xorshift64*: enough to spread losses, and the same on every run.
#[derive(Default)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}
