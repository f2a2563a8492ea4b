//! A message while it comes: in memory as long as it is small and memory is there, else in a file without a name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::budget::Room;
use crate::octets::{Content, PIECE_OCTETS};

/// Octets of a message that stay in memory while it is small; a larger one goes through a file.
pub const MEMORY_OCTETS_MAX: u64 = 256 * 1024;

/// So many octets of what can be read, to be held: in memory while they are few, else in a file of their own in `dir`.
/// Blocks.
///
/// # Errors
/// What was said by where they come from, or by the disk; `UnexpectedEof` when there are fewer.
pub fn gather(octets: u64, from: impl Read, dir: &Path) -> io::Result<Content> {
    let mut from = from.take(octets);
    let (content, read) = if octets <= MEMORY_OCTETS_MAX {
        let mut memory = Vec::with_capacity(usize::try_from(octets).unwrap_or(0));
        let read = from.read_to_end(&mut memory)? as u64;
        (memory.into(), read)
    } else {
        let mut file = tempfile::tempfile_in(dir)?;
        let read = io::copy(&mut io::BufReader::with_capacity(PIECE_OCTETS, from), &mut file)?;
        (Content::file(file, 0, read), read)
    };
    if read == octets { Ok(content) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Octets that come, in their order. What memory does not take has to be written, which blocks: whoever may not block
/// has that done elsewhere.
#[derive(Debug)]
pub struct Gathering {
    /// Where files are made.
    dir: Arc<Path>,
    room: Room,
    pieces: Vec<Bytes>,
    /// All of it, once it is not in memory.
    file: Option<File>,
    octets: u64,
}

impl Gathering {
    /// An empty one. `room` is what memory it may take; its file, should it need one, is made in `dir`.
    #[must_use]
    pub const fn new(dir: Arc<Path>, room: Room) -> Self {
        Self { dir, room, pieces: Vec::new(), file: None, octets: 0 }
    }

    /// Octets that came.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// Takes a piece into memory, where it then is. Never blocks.
    ///
    /// # Errors
    /// The piece, when its place is in the file: then it is to be given to [`write`](Self::write), and all that follow it.
    pub fn hold(&mut self, piece: Bytes) -> Result<&Bytes, Bytes> {
        let more = piece.len() as u64;
        if self.file.is_some() || self.octets + more > MEMORY_OCTETS_MAX || !self.room.take(more) {
            return Err(piece);
        }
        self.octets += more;
        Ok(self.pieces.push_mut(piece))
    }

    /// Writes a piece into the file, after what memory had so far. Blocks.
    ///
    /// # Errors
    /// What the disk said: part of it may be missing then, so nothing may be made of it any more.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file()?.write_all(piece)?;
        self.octets += piece.len() as u64;
        Ok(())
    }

    /// The file, with all that came so far.
    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = tempfile::tempfile_in(&self.dir)?;
                self.pieces.iter().try_for_each(|piece| file.write_all(piece))?;
                self.pieces = Vec::new();
                self.room.clear();
                file
            }
        };
        Ok(self.file.insert(file))
    }

    /// All that came, and the memory that it takes, which is given back with it.
    #[must_use]
    pub fn whole(self) -> (Content, Room) {
        let content = match self.file {
            Some(file) => Content::file(file, 0, self.octets),
            None => Content::memory(self.pieces),
        };
        (content, self.room)
    }
}

/// For what writes as it reads: everything goes into the file. Blocks.
impl Write for Gathering {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Self::write(self, octets).map(|()| octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    fn empty(budget: &Budget) -> (tempfile::TempDir, Gathering) {
        let dir = tempfile::tempdir().unwrap();
        let gathering = Gathering::new(dir.path().into(), budget.room());
        (dir, gathering)
    }

    fn text(gathering: Gathering) -> Vec<u8> {
        gathering.whole().0.read_at(0, usize::MAX).unwrap().to_vec()
    }

    #[test]
    fn a_message_stays_in_memory_up_to_its_limit_and_goes_to_a_file_past_it() {
        let budget = Budget::of_octets(1 << 20);
        let (_dir, mut gathering) = empty(&budget);
        let all = vec![b'x'; usize::try_from(MEMORY_OCTETS_MAX).unwrap()];
        assert!(gathering.hold(all.clone().into()).is_ok());
        assert_eq!(budget.taken(), MEMORY_OCTETS_MAX);
        let past = gathering.hold(Bytes::from_static(b"y")).unwrap_err();
        gathering.write(&past).unwrap();
        assert_eq!(budget.taken(), 0);
        assert!(gathering.hold(Bytes::from_static(b"z")).is_err(), "all that follows goes there as well");
        assert_eq!(text(gathering), [&all[..], b"y"].concat());
    }

    #[test]
    fn without_memory_it_goes_to_a_file_from_the_first_octet_past_the_budget_on() {
        let budget = Budget::of_octets(10);
        let (_dir, mut gathering) = empty(&budget);
        gathering.hold(Bytes::from_static(b"0123456789")).unwrap();
        assert_eq!(budget.taken(), 10);
        let past = gathering.hold(Bytes::from_static(b"a")).unwrap_err();
        gathering.write(&past).unwrap();
        assert_eq!((text(gathering), budget.taken()), (b"0123456789a".to_vec(), 0));
    }

    #[test]
    fn what_is_gathered_at_once_is_in_memory_up_to_its_limit_and_in_a_file_past_it() {
        let dir = tempfile::tempdir().unwrap();
        for (octets, in_memory) in [(0, true), (MEMORY_OCTETS_MAX, true), (MEMORY_OCTETS_MAX + 1, false)] {
            let all = vec![b'x'; usize::try_from(octets).unwrap() + 3];
            let content = gather(octets, &all[..], dir.path()).unwrap();
            assert_eq!((content.octets(), content.in_memory().is_some()), (octets, in_memory));
            assert!(content.read_at(0, usize::MAX).unwrap().iter().all(|octet| *octet == b'x'));
            assert!(gather(octets + 4, &all[..], dir.path()).is_err(), "there are fewer");
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_says_so() {
        let budget = Budget::of_octets(0);
        let mut gathering = Gathering::new(Path::new("/nonexistent").into(), budget.room());
        let piece = gathering.hold(Bytes::from_static(b"a")).unwrap_err();
        assert!(gathering.write(&piece).is_err());
    }
}
