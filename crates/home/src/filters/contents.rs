//! A message's octets, as often as they are asked for, without holding more of them than one piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use net::smtp_client::{BodyLost, BodySource};

/// Octets that are read at one time.
const PIECE_OCTETS: u64 = 128 * 1024;
/// Octets of a header section that are looked at; a longer one is not taken apart.
const HEADER_OCTETS_MAX: u64 = 1024 * 1024;

/// A message: in memory, or in a file that nobody changes any more.
#[derive(Debug, Clone)]
pub(crate) enum Contents {
    /// Pieces that follow each other.
    Memory(Vec<Bytes>),
    /// The first octets of a file, so many.
    File(Arc<File>, u64),
}

impl Contents {
    /// The length in octets.
    pub(crate) fn octets(&self) -> u64 {
        match self {
            Self::Memory(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::File(_, octets) => *octets,
        }
    }

    /// The header section with the empty line that ends it. Blocks.
    ///
    /// # Errors
    /// When the file can't be read, or no header ends within 1 MiB.
    pub(crate) fn header(&self) -> io::Result<Vec<u8>> {
        let mut start = Vec::new();
        loop {
            let body = mail::header::body_offset(&start);
            let at = start.len() as u64;
            if body < start.len() || at == self.octets() {
                start.truncate(body);
                return Ok(start);
            }
            if at >= HEADER_OCTETS_MAX {
                return Err(io::Error::other("its header is longer than 1 MiB"));
            }
            start.extend_from_slice(&self.read(at)?);
        }
    }

    /// The octets from here on, as many as are read at one time; empty at the end. Blocks.
    pub(crate) fn read(&self, at: u64) -> io::Result<Bytes> {
        match self {
            Self::Memory(pieces) => {
                let mut skip = usize::try_from(at).unwrap_or(usize::MAX);
                for piece in pieces {
                    match skip.checked_sub(piece.len()) {
                        Some(left) => skip = left,
                        None => return Ok(piece.slice(skip..)),
                    }
                }
                Ok(Bytes::new())
            }
            Self::File(file, octets) => {
                let wanted = octets.saturating_sub(at).min(PIECE_OCTETS);
                let mut piece = vec![0; usize::try_from(wanted).unwrap_or(0)];
                file.read_exact_at(&mut piece, at)?;
                Ok(piece.into())
            }
        }
    }

    /// The octets from here on, for whoever sends them.
    pub(crate) fn source(&self, at: u64) -> Source {
        Source { contents: self.clone(), at }
    }
}

/// Gives a message piece by piece.
pub(crate) struct Source {
    contents: Contents,
    at: u64,
}

impl BodySource for Source {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        let at = self.at;
        let piece = match &self.contents {
            Contents::Memory(_) => self.contents.read(at).map_err(|_| BodyLost)?,
            Contents::File(..) => {
                let contents = self.contents.clone();
                let reading = tokio::task::spawn_blocking(move || contents.read(at));
                reading.await.map_err(|_| BodyLost)?.map_err(|error| {
                    tracing::error!(%error, "a message can't be read for a filter: check the disk");
                    BodyLost
                })?
            }
        };
        self.at += piece.len() as u64;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn both(octets: &[u8], piece: usize) -> [Contents; 2] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(octets).unwrap();
        let pieces = octets.chunks(piece).map(Bytes::copy_from_slice).collect();
        [Contents::Memory(pieces), Contents::File(Arc::new(file), octets.len() as u64)]
    }

    #[test]
    fn a_header_is_found_wherever_pieces_end() {
        let message = [b"A: b\r\n\r\n", &vec![b'x'; 400_000][..]].concat();
        for contents in [1, 5, 7, 100_000].into_iter().flat_map(|piece| both(&message, piece)) {
            assert_eq!(contents.header().unwrap(), b"A: b\r\n\r\n");
        }
        for contents in both(b"A: b\r\n", 4) {
            assert_eq!(contents.header().unwrap(), b"A: b\r\n");
        }
    }

    #[test]
    fn a_header_that_does_not_end_is_given_up() {
        for contents in both(&b"A: b\r\n".repeat(400_000), 4096) {
            assert!(contents.header().is_err());
        }
    }

    #[tokio::test]
    async fn all_of_a_message_is_given_from_any_place_on() {
        let message: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        for contents in both(&message, 7000) {
            for at in [0, 1, 131_072, 299_999, 300_000] {
                let mut source = contents.source(at);
                let mut all = Vec::new();
                while let Some(piece) = source.next().await.unwrap() {
                    all.extend_from_slice(&piece);
                }
                assert_eq!(all, message[usize::try_from(at).unwrap()..]);
            }
        }
    }
}
