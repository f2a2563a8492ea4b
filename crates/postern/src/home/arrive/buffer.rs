//! A message that is being put together: in memory while it is small and memory is there, else in a file.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Arrivals;
use crate::home::filters::Contents;

/// Octets of a message that stay in memory.
const MEMORY_OCTETS_MAX: usize = 256 * 1024;

/// A body that is being put together. Gives its memory back when it goes.
pub struct Buffer {
    shared: Arc<Arrivals>,
    /// What is in memory.
    pub pieces: Vec<Bytes>,
    held: u64,
    /// What is not: all of it, in a file without a name.
    pub file: Option<File>,
}

impl Buffer {
    /// An empty one.
    pub const fn new(shared: Arc<Arrivals>) -> Self {
        Self { shared, pieces: Vec::new(), held: 0, file: None }
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            return file.write_all(&piece);
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
    pub fn contents(&self) -> io::Result<Contents> {
        match &self.file {
            Some(file) => Ok(Contents::File(Arc::new(file.try_clone()?), file.metadata()?.len())),
            None => Ok(Contents::Memory(self.pieces.clone())),
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut file = tempfile::tempfile_in(&self.shared.drafts)?;
        for piece in self.pieces.drain(..) {
            file.write_all(&piece)?;
        }
        self.file = Some(file);
        self.release();
        Ok(())
    }

    fn release(&mut self) {
        self.shared.memory_octets.fetch_sub(std::mem::take(&mut self.held), Ordering::Relaxed);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}
