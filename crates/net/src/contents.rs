//! The octets of a message for tasks, which may not block: what is there is given at once, what a disk has to give is read
//! on a thread that may wait for it.

use std::io;

use bytes::Bytes;
use content::Content;

use crate::smtp_client::{BodyLost, BodySource};

/// Octets that are read at one time.
const PIECE_OCTETS: usize = 64 * 1024;

/// Reads up to `octets_max` octets from `at`; fewer only at the end, none past it.
///
/// # Errors
/// What the disk said.
pub async fn read(content: &Content, at: u64, octets_max: usize) -> io::Result<Bytes> {
    if let Some(there) = content.read_now(at, octets_max) {
        return Ok(there);
    }
    let content = content.clone();
    let reading = tokio::task::spawn_blocking(move || content.read_at(at, octets_max));
    reading.await.map_err(io::Error::other)?
}

/// Gives a message piece by piece.
#[derive(Debug)]
pub struct Source {
    content: Content,
    begun_at: u64,
    at: u64,
}

impl Source {
    /// A message from this octet on.
    #[must_use]
    pub const fn new(content: Content, at: u64) -> Self {
        Self { content, begun_at: at, at }
    }

    /// The whole message.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// Whether a piece was given.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.at > self.begun_at
    }
}

impl BodySource for Source {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        let piece = match self.content.piece(self.at) {
            Some(piece) => piece,
            None => read(&self.content, self.at, PIECE_OCTETS).await.map_err(|error| {
                tracing::error!(%error, "a message can't be read: check the disk");
                BodyLost
            })?,
        };
        self.at += piece.len() as u64;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Mutex, PoisonError};

    use content::ReadAt;

    use super::*;

    /// Octets on a disk that gives nothing until it is told to.
    struct SlowDisk(Mutex<Receiver<()>>);

    impl ReadAt for SlowDisk {
        fn octets(&self) -> u64 {
            3
        }

        fn read_at(&self, at: u64, octets_max: usize) -> io::Result<Bytes> {
            let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
            Content::memory(vec![Bytes::from_static(b"abc")]).read_at(at, octets_max)
        }
    }

    /// Symptom: a slow disk stopped the link. Cause: the queue was read on the threads that run the tasks. Analysis: what a
    /// disk holds looked the same as what memory holds.
    #[tokio::test]
    async fn a_slow_disk_holds_up_nobody_but_who_reads_it() {
        let (disk, told) = channel();
        let content = Content::kept(SlowDisk(Mutex::new(told)));
        let reading = tokio::spawn(async move { read(&content, 1, 10).await });
        // The one thread of this test goes on: only so does the disk get to hear of it.
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        disk.send(()).unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), "bc");
    }

    #[tokio::test]
    async fn all_of_a_message_is_given_from_any_place_on() {
        let message: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &message).unwrap();
        let pieces = message.chunks(7000).map(Bytes::copy_from_slice).collect();
        for content in [Content::memory(pieces), Content::file(file, 0, message.len() as u64)] {
            for at in [0, 1, 65_536, 299_999, 300_000] {
                let mut source = Source::new(content.clone(), at);
                assert!(!source.has_begun());
                let mut all = Vec::new();
                while let Some(piece) = source.next().await.unwrap() {
                    all.extend_from_slice(&piece);
                    assert!(source.has_begun());
                }
                assert_eq!(all, message[usize::try_from(at).unwrap()..]);
            }
        }
    }
}
