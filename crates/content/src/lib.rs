//! The octets of a message, wherever they lie: in memory, in a file, or in whatever keeps them.
//!
//! Reading may ask a disk, so it is for threads that may block, or for pieces that are small.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Octets that something else keeps: they stay readable while this is held, also when it lets them go meanwhile.
pub trait ReadAt: Send + Sync {
    /// The number of octets.
    fn octets(&self) -> u64;

    /// Reads up to `octets_max` octets from `at`; fewer only at the end, none past it. May block.
    ///
    /// # Errors
    /// The disk's error.
    fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes>;
}

/// The octets of a message. Cloning shares them.
#[derive(Clone)]
pub struct Content(Lies);

#[derive(Clone)]
enum Lies {
    Memory(Arc<[Bytes]>, u64),
    Kept(Arc<dyn ReadAt>),
}

impl Content {
    /// Octets in memory, in the pieces in which they came.
    #[must_use]
    pub fn memory(pieces: Vec<Bytes>) -> Self {
        let octets = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self(Lies::Memory(pieces.into(), octets))
    }

    /// A file, from octet `from` on, `octets` of them.
    #[must_use]
    pub fn file(file: File, from: u64, octets: u64) -> Self {
        Self::kept(FilePart { file, from, octets })
    }

    /// Octets that something else keeps.
    pub fn kept(kept: impl ReadAt + 'static) -> Self {
        Self(Lies::Kept(Arc::new(kept)))
    }

    /// The number of octets.
    #[must_use]
    pub fn octets(&self) -> u64 {
        match &self.0 {
            Lies::Memory(_, octets) => *octets,
            Lies::Kept(kept) => kept.octets(),
        }
    }

    /// The pieces, when they are in memory.
    #[must_use]
    pub fn in_memory(&self) -> Option<&[Bytes]> {
        match &self.0 {
            Lies::Memory(pieces, _) => Some(pieces),
            Lies::Kept(_) => None,
        }
    }

    /// Reads up to `octets_max` octets from `at`; fewer only at the end, none past it. May block, unless they are
    /// [`in_memory`](Self::in_memory).
    ///
    /// # Errors
    /// The disk's error; octets in memory have none.
    pub fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes> {
        match &self.0 {
            Lies::Memory(pieces, _) => Ok(of_pieces(pieces, at, octets_max)),
            Lies::Kept(kept) => kept.read_at(at, octets_max),
        }
    }
}

/// As one piece if one has them all.
fn of_pieces(pieces: &[Bytes], at: u64, octets_max: usize) -> Bytes {
    let mut skip = usize::try_from(at).unwrap_or(usize::MAX);
    let mut left = octets_max;
    let mut read: Vec<Bytes> = Vec::new();
    for piece in pieces {
        let from = skip.min(piece.len());
        skip -= from;
        let taken = (piece.len() - from).min(left);
        if taken > 0 {
            read.push(piece.slice(from..from + taken));
            left -= taken;
        }
        if left == 0 {
            break;
        }
    }
    match &mut read[..] {
        [] => Bytes::new(),
        [one] => std::mem::take(one),
        many => {
            let mut joined = BytesMut::with_capacity(octets_max - left);
            many.iter().for_each(|piece| joined.extend_from_slice(piece));
            joined.freeze()
        }
    }
}

struct FilePart {
    file: File,
    from: u64,
    octets: u64,
}

impl ReadAt for FilePart {
    fn octets(&self) -> u64 {
        self.octets
    }

    fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes> {
        let left = self.octets.saturating_sub(at).min(octets_max as u64);
        if left == 0 {
            return Ok(Bytes::new());
        }
        let mut octets = vec![0; usize::try_from(left).unwrap_or(0)];
        self.file.read_exact_at(&mut octets, self.from + at)?;
        Ok(octets.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn all(content: &Content, step: usize) -> Vec<u8> {
        let mut octets = Vec::new();
        loop {
            let piece = content.read_at(octets.len() as u64, step).unwrap();
            if piece.is_empty() {
                return octets;
            }
            octets.extend_from_slice(&piece);
        }
    }

    #[test]
    fn octets_are_the_same_wherever_they_lie_and_however_they_are_read() {
        let text = b"From: a\r\n\r\nbody\r\n";
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(text).unwrap();
        file.write_all(b"after").unwrap();
        let pieces = [&text[..3], b"", &text[3..4], &text[4..]].map(Bytes::from_static);
        let memory = Content::memory(pieces.to_vec());
        let in_file = Content::file(file, 6, text.len() as u64);
        for content in [&memory, &in_file] {
            assert_eq!(content.octets(), text.len() as u64);
            for step in [1, 2, 5, text.len(), usize::MAX] {
                assert_eq!(all(content, step), text, "{step}");
            }
            assert!(content.read_at(text.len() as u64, 10).unwrap().is_empty());
            assert!(content.read_at(u64::MAX, 10).unwrap().is_empty());
        }
        assert!(memory.in_memory().is_some() && in_file.in_memory().is_none());
    }
}
