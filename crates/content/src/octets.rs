//! Octets that are there: in memory, in a file, or in whatever keeps them.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::io::ReadWriteFlags;

/// Octets that something else keeps: they stay readable while this is held, also when it lets them go meanwhile.
pub trait ReadAt: Send + Sync {
    /// The number of octets.
    fn octets(&self) -> u64;

    /// Reads up to `octets_max` octets from `at`; fewer only at the end, none past it. May block.
    ///
    /// # Errors
    /// The disk's error.
    fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes>;

    /// The same as far as no disk is waited for: `None` when one would be, or when that can't be told.
    fn read_now(&self, at: u64, octets_max: usize) -> Option<Bytes> {
        let _ = (at, octets_max);
        None
    }
}

/// What the system's cache has of a file: exactly so many octets from `at` on, or `None` when it would have to ask the
/// disk for any of them. Never blocks.
#[must_use]
pub fn read_now(file: &File, at: u64, octets: usize) -> Option<Bytes> {
    let mut read = vec![0; octets];
    let mut into = [IoSliceMut::new(&mut read)];
    // A file system that can't tell says that it does not support the question.
    let there = rustix::io::preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT).ok()?;
    (there == octets).then(|| read.into())
}

/// Octets that are copied at one time.
pub(crate) const PIECE_OCTETS: usize = 256 * 1024;

/// The octets of a message. Cloning shares them.
#[derive(Clone)]
pub struct Content(Lies);

#[derive(Clone)]
enum Lies {
    Memory(Arc<[Bytes]>, u64),
    File(FilePart),
    Kept(Arc<dyn ReadAt>),
}

impl std::fmt::Debug for Content {
    /// Never what a message says.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("octets", &self.octets()).finish_non_exhaustive()
    }
}

impl Content {
    /// Octets in memory, in the pieces in which they came.
    #[must_use]
    pub fn memory(pieces: Vec<Bytes>) -> Self {
        let octets = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self(Lies::Memory(pieces.into(), octets))
    }

    /// A file that nobody writes to any more, from octet `from` on, `octets` of them.
    #[must_use]
    pub fn file(file: impl Into<Arc<File>>, from: u64, octets: u64) -> Self {
        Self(Lies::File(FilePart { file: file.into(), from, octets }))
    }

    /// These from octet `from` on. Nothing is copied.
    #[must_use]
    pub fn rest(&self, from: u64) -> Self {
        let left = self.octets().saturating_sub(from);
        match &self.0 {
            Lies::Memory(pieces, _) => {
                let mut skip = usize::try_from(from).unwrap_or(usize::MAX);
                let rest = pieces.iter().map(|piece| {
                    let here = skip.min(piece.len());
                    skip -= here;
                    piece.slice(here..)
                });
                Self::memory(rest.filter(|piece| !piece.is_empty()).collect())
            }
            Lies::File(part) => Self::file(Arc::clone(&part.file), part.from + from.min(part.octets), left),
            Lies::Kept(_) => Self::kept(Rest { of: self.clone(), from: from.min(self.octets()) }),
        }
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
            Lies::File(part) => part.octets,
            Lies::Kept(kept) => kept.octets(),
        }
    }

    /// The pieces, when they are in memory.
    #[must_use]
    pub fn in_memory(&self) -> Option<&[Bytes]> {
        match &self.0 {
            Lies::Memory(pieces, _) => Some(pieces),
            Lies::File(_) | Lies::Kept(_) => None,
        }
    }

    /// The file in which they are, and from which octet on.
    #[must_use]
    pub const fn in_file(&self) -> Option<(&Arc<File>, u64)> {
        match &self.0 {
            Lies::File(part) => Some((&part.file, part.from)),
            Lies::Memory(..) | Lies::Kept(_) => None,
        }
    }

    /// What they take of memory: all of them, or nothing.
    #[must_use]
    pub const fn memory_octets(&self) -> u64 {
        match &self.0 {
            Lies::Memory(_, octets) => *octets,
            Lies::File(_) | Lies::Kept(_) => 0,
        }
    }

    /// The piece in memory from octet `at` on, uncopied; empty at the end. `None`: they are not in memory.
    #[must_use]
    pub fn piece(&self, at: u64) -> Option<Bytes> {
        let mut skip = usize::try_from(at).unwrap_or(usize::MAX);
        for piece in self.in_memory()? {
            match skip.checked_sub(piece.len()) {
                Some(left) => skip = left,
                None => return Some(piece.slice(skip..)),
            }
        }
        Some(Bytes::new())
    }

    /// Reads up to `octets_max` octets from `at`; fewer only at the end, none past it. May block, unless they are
    /// [`in_memory`](Self::in_memory).
    ///
    /// # Errors
    /// The disk's error; octets in memory have none.
    pub fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes> {
        match &self.0 {
            Lies::Memory(pieces, _) => Ok(of_pieces(pieces, at, octets_max)),
            Lies::File(part) => part.read_at(at, octets_max),
            Lies::Kept(kept) => kept.read_at(at, octets_max),
        }
    }

    /// The same as far as no disk is waited for: `None` when one would be, or when that can't be told. Never blocks.
    #[must_use]
    pub fn read_now(&self, at: u64, octets_max: usize) -> Option<Bytes> {
        match &self.0 {
            Lies::Memory(pieces, _) => Some(of_pieces(pieces, at, octets_max)),
            Lies::File(part) => part.read_now(at, octets_max),
            Lies::Kept(kept) => kept.read_now(at, octets_max),
        }
    }

    /// Fills `into` with what begins at `at`. May block as [`read_at`](Self::read_at) may.
    ///
    /// # Errors
    /// What the disk said; `UnexpectedEof` when there are fewer.
    pub fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        match &self.0 {
            Lies::File(part) if at.saturating_add(into.len() as u64) <= part.octets => {
                part.file.read_exact_at(into, part.from + at)
            }
            _ => self.reader(at).read_exact(into),
        }
    }

    /// Writes them from octet `from` on, and tells how many that are. May block as [`read_at`](Self::read_at) may.
    ///
    /// # Errors
    /// What the disk said, or `out`.
    pub fn copy_to(&self, from: u64, out: &mut dyn io::Write) -> io::Result<u64> {
        let mut at = from;
        while at < self.octets() {
            let piece = self.piece(at).map_or_else(|| self.read_at(at, PIECE_OCTETS), Ok)?;
            out.write_all(&piece)?;
            at += piece.len() as u64;
        }
        Ok(at.saturating_sub(from))
    }

    /// Reads it from `at` on. Blocks as [`read_at`](Self::read_at) does.
    #[must_use]
    pub const fn reader(&self, at: u64) -> Reader<'_> {
        Reader { content: self, at }
    }
}

impl From<Vec<u8>> for Content {
    fn from(octets: Vec<u8>) -> Self {
        Self::memory(vec![octets.into()])
    }
}

/// What is kept elsewhere, without its beginning.
struct Rest {
    of: Content,
    from: u64,
}

impl ReadAt for Rest {
    fn octets(&self) -> u64 {
        self.of.octets() - self.from
    }

    fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes> {
        self.of.read_at(self.from.saturating_add(at), octets_max)
    }

    fn read_now(&self, at: u64, octets_max: usize) -> Option<Bytes> {
        self.of.read_now(self.from.saturating_add(at), octets_max)
    }
}

/// A content as it is read, by whoever may block.
#[derive(Debug)]
pub struct Reader<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.content.read_at(self.at, into.len())?;
        into.iter_mut().zip(&piece).for_each(|(to, octet)| *to = *octet);
        self.at += piece.len() as u64;
        Ok(piece.len())
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

#[derive(Clone)]
struct FilePart {
    file: Arc<File>,
    from: u64,
    octets: u64,
}

impl FilePart {
    /// How many of so many octets there are from `at` on.
    fn left(&self, at: u64, octets_max: usize) -> usize {
        usize::try_from(self.octets.saturating_sub(at)).unwrap_or(usize::MAX).min(octets_max)
    }

    fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes> {
        let left = self.left(at, octets_max);
        if left == 0 {
            return Ok(Bytes::new());
        }
        let mut octets = vec![0; left];
        self.file.read_exact_at(&mut octets, self.from + at)?;
        Ok(octets.into())
    }

    fn read_now(&self, at: u64, octets_max: usize) -> Option<Bytes> {
        match self.left(at, octets_max) {
            0 => Some(Bytes::new()),
            left => read_now(&self.file, self.from + at, left),
        }
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
        let elsewhere = Content::kept(Rest { of: in_file.clone(), from: 0 });
        for content in [&memory, &in_file, &elsewhere] {
            assert_eq!(content.octets(), text.len() as u64);
            for step in [1, 2, 5, text.len(), usize::MAX] {
                assert_eq!(all(content, step), text, "{step}");
            }
            assert!(content.read_at(text.len() as u64, 10).unwrap().is_empty());
            assert!(content.read_at(u64::MAX, 10).unwrap().is_empty());
            assert!(content.read_now(text.len() as u64, 10).unwrap().is_empty());
            // Where the file system can tell, what was just written is in the cache.
            assert!(content.read_now(2, 5).is_none_or(|now| now == content.read_at(2, 5).unwrap()));
            let mut read = Vec::new();
            content.reader(3).read_to_end(&mut read).unwrap();
            assert_eq!(read, text[3..]);
            for from in 0..=text.len() + 1 {
                let mut copied = Vec::new();
                let octets = content.copy_to(from as u64, &mut copied).unwrap();
                assert_eq!(
                    (&copied[..], octets),
                    (text.get(from..).unwrap_or_default(), copied.len() as u64)
                );
                let rest = text.get(from..).unwrap_or_default();
                let part = content.rest(from as u64);
                assert_eq!((all(&part, 7), part.octets()), (rest.to_vec(), rest.len() as u64), "{from}");
                let mut exact = vec![0; rest.len()];
                content.read_exact_at(&mut exact, from as u64).unwrap();
                assert_eq!(exact, rest);
                assert!(content.read_exact_at(&mut vec![0; rest.len() + 1], from as u64).is_err());
            }
        }
        assert_eq!((memory.memory_octets(), in_file.memory_octets()), (text.len() as u64, 0));
        assert_eq!(
            (memory.piece(1).unwrap(), memory.piece(3).unwrap()),
            (pieces[0].slice(1..), pieces[2].clone())
        );
        assert!(memory.piece(99).unwrap().is_empty() && in_file.piece(0).is_none());
        assert_eq!(memory.read_now(0, 4).unwrap(), text[..4]);
        assert!(memory.in_memory().is_some() && in_file.in_memory().is_none());
    }
}
