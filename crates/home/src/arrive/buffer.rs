//! A message that is being put together, and what it is known by.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use content::{Content, Gathering, Room};
use mail::Envelope;

use super::arrivals::Arrivals;
use super::repeats::{Digest, Passing};

/// A body that is being put together. Gives its memory back when it goes.
pub(super) struct Buffer {
    /// What came so far.
    gathering: Gathering,
    /// All octets that came, in their order; of a message only, not of what it is sealed in.
    passing: Option<Box<Passing>>,
}

impl Buffer {
    /// An empty one, for a message.
    pub(super) fn new(shared: &Arrivals) -> Self {
        Self { passing: Some(Box::new(shared.repeats.passing())), ..Self::of_ciphertext(shared) }
    }

    /// An empty one, for what a message is sealed in.
    pub(super) fn of_ciphertext(shared: &Arrivals) -> Self {
        let gathering = Gathering::new(Arc::clone(&shared.drafts), shared.memory.room());
        Self { gathering, passing: None }
    }

    /// Adds a piece to what is in memory. Never blocks.
    ///
    /// # Errors
    /// The piece, when it and all that follow have to be written.
    pub(super) fn hold(&mut self, piece: Bytes) -> Result<(), Bytes> {
        let held = self.gathering.hold(piece)?;
        if let Some(passing) = &mut self.passing {
            passing.update(held);
        }
        Ok(())
    }

    /// Adds pieces where a disk is waited for.
    ///
    /// # Errors
    /// What the disk said; the message is lost then.
    pub(super) async fn written(mut self, pieces: Vec<Bytes>) -> io::Result<Self> {
        let writing = tokio::task::spawn_blocking(move || {
            for piece in pieces {
                self.passes(&piece);
                self.gathering.write(&piece)?;
            }
            Ok(self)
        });
        writing.await.map_err(io::Error::other)?
    }

    fn passes(&mut self, piece: &[u8]) {
        if let Some(passing) = &mut self.passing {
            passing.update(piece);
        }
    }

    /// It is whole.
    pub(super) fn whole(self) -> Whole {
        let (content, _memory) = self.gathering.whole();
        Whole { content, passing: self.passing, _memory }
    }
}

/// A message that is whole, and may have been changed since.
pub(super) struct Whole {
    /// Its octets.
    pub(super) content: Content,
    passing: Option<Box<Passing>>,
    /// What it takes of memory, as it came: what stands in its place has about the same size.
    _memory: Room,
}

impl Whole {
    /// The message as it came, in this envelope and for this place; `None` when it is none.
    pub(super) fn digest(&self, envelope: &Envelope, placement: &[String]) -> Option<Digest> {
        self.passing.as_ref().map(|passing| passing.digest(envelope, placement))
    }
}

/// For what writes as it reads: everything goes into a file. Blocks.
impl io::Write for Buffer {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.gathering.write(octets)?;
        self.passes(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
