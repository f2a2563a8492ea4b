//! A message that is being put together: in memory while it is small and memory is there, else in a file.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mail::Envelope;

use super::arrivals::Arrivals;
use super::repeats::{Digest, Passing};
use crate::filters::Contents;

/// Octets of a message that stay in memory.
const MEMORY_OCTETS_MAX: usize = 256 * 1024;

/// A body that is being put together. Gives its memory back when it goes.
pub(super) struct Buffer {
    shared: Arc<Arrivals>,
    /// Pieces in memory, as long as there is no file.
    pub pieces: Vec<Bytes>,
    held: u64,
    /// The file without a name that holds all octets once they are too many for memory.
    pub file: Option<Arc<File>>,
    /// All octets that came, in their order; of a message only, not of what it is sealed in.
    passing: Option<Box<Passing>>,
}

impl Buffer {
    /// An empty one, for a message.
    pub(super) fn new(shared: Arc<Arrivals>) -> Self {
        let passing = Some(Box::new(shared.repeats.passing()));
        Self { shared, pieces: Vec::new(), held: 0, file: None, passing }
    }

    /// An empty one, for what a message is sealed in.
    pub(super) const fn of_ciphertext(shared: Arc<Arrivals>) -> Self {
        Self { shared, pieces: Vec::new(), held: 0, file: None, passing: None }
    }

    /// The message as it came, in this envelope and for this place; `None` when it is none.
    pub(super) fn digest(&self, envelope: &Envelope, placement: &[String]) -> Option<Digest> {
        self.passing.as_ref().map(|passing| passing.digest(envelope, placement))
    }

    /// Adds a piece.
    pub(super) fn push(&mut self, piece: Bytes) -> io::Result<()> {
        if let Some(passing) = &mut self.passing {
            passing.update(&piece);
        }
        if let Some(file) = &self.file {
            return (&**file).write_all(&piece);
        }
        let more = piece.len() as u64;
        let used = self.shared.memory_octets.fetch_add(more, Ordering::Relaxed) + more;
        self.held += more;
        self.pieces.push(piece);
        if self.held > MEMORY_OCTETS_MAX as u64 || used > self.shared.memory_octets_max {
            self.spill()?;
        }
        Ok(())
    }

    /// All of it, to be read as often as needed while nothing is added.
    pub(super) fn contents(&self) -> io::Result<Contents> {
        match &self.file {
            Some(file) => Ok(Contents::File(Arc::clone(file), file.metadata()?.len())),
            None => Ok(Contents::Memory(self.pieces.clone())),
        }
    }

    /// Puts something else in its place, of about the same size: it counts as what came.
    pub(super) fn replace(&mut self, contents: Contents) {
        match contents {
            Contents::Memory(pieces) => self.pieces = pieces,
            Contents::File(file, _) => self.file = Some(file),
        }
    }

    /// Fills it from what writes it as it reads, into a file.
    ///
    /// # Errors
    /// As the disk or the writer says.
    pub(super) fn fill<T>(
        &mut self,
        fill: impl FnOnce(&mut dyn io::Write) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut file = tempfile::tempfile_in(&self.shared.drafts)?;
        let done = fill(&mut Both { file: &mut file, passing: self.passing.as_deref_mut() })?;
        self.file = Some(Arc::new(file));
        Ok(done)
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut file = tempfile::tempfile_in(&self.shared.drafts)?;
        for piece in self.pieces.drain(..) {
            file.write_all(&piece)?;
        }
        self.file = Some(Arc::new(file));
        self.release();
        Ok(())
    }

    fn release(&mut self) {
        self.shared.memory_octets.fetch_sub(std::mem::take(&mut self.held), Ordering::Relaxed);
    }
}

/// What is written goes into the file, and passes.
struct Both<'a> {
    file: &'a mut File,
    passing: Option<&'a mut Passing>,
}

impl io::Write for Both<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.file.write(octets)?;
        if let Some(passing) = &mut self.passing {
            passing.update(octets.get(..written).unwrap_or_default());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}
