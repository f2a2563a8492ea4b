//! A message while it comes in: its header section in memory, its body in memory or in a file.
//!
//! All sessions share one budget of memory, in KiB. A body that is large, or for which no memory is left,
//! goes to a file without a name, which vanishes with the session.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use mail::Reply;
use mailauth::dkim::sign;
use mailauth::dkim::{BodyHashes, FinishedHashes};
use outbound::queue::NewContent;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest header section in octets.
pub(super) const HEADER_OCTETS_MAX: usize = 1024 * 1024;
/// Octets of body up to which it stays in memory.
pub(super) const MEMORY_OCTETS_MAX: usize = 256 * 1024;

/// A message that is complete.
#[derive(Debug)]
pub(super) struct Finished {
    /// The header section with its empty line, if it had one.
    pub(super) header: Vec<u8>,
    /// The octets after the header section.
    pub(super) content: NewContent,
    /// Whether octets above 127 occur in the body.
    pub(super) eight_bit: bool,
    /// What its signatures say of the body.
    pub(super) hashes: FinishedHashes,
    /// The memory that the octets hold, given back on drop.
    _memory: Vec<OwnedSemaphorePermit>,
}

/// A message that comes in.
pub(super) struct Message {
    scratch: PathBuf,
    budget: Arc<Semaphore>,
    memory: Vec<OwnedSemaphorePermit>,
    header: Vec<u8>,
    header_complete: bool,
    body: Body,
    /// Behind a pointer: the futures of a session hold a message several times.
    hashes: Box<BodyHashes>,
    eight_bit: bool,
    /// The reply it gets in the end, whatever else comes.
    refusal: Option<Reply>,
}

enum Body {
    Memory { pieces: Vec<Bytes>, octets: usize },
    File(File),
}

impl Message {
    /// An empty message. Files are made in `scratch`; `budget` counts KiB.
    pub(super) fn new(scratch: PathBuf, budget: Arc<Semaphore>) -> Self {
        Self {
            scratch,
            budget,
            memory: Vec::new(),
            header: Vec::new(),
            header_complete: false,
            body: Body::Memory { pieces: Vec::new(), octets: 0 },
            hashes: Box::new(sign::body_hashes()),
            eight_bit: false,
            refusal: None,
        }
    }

    /// Takes the next piece. What is wrong is said by [`Message::finish`].
    pub(super) async fn push(&mut self, piece: Bytes) {
        if self.refusal.is_none()
            && let Err(refusal) = self.try_push(piece).await
        {
            self.refusal = Some(refusal);
            self.header = Vec::new();
            self.body = Body::Memory { pieces: Vec::new(), octets: 0 };
            self.memory.clear();
        }
    }

    async fn try_push(&mut self, piece: Bytes) -> Result<(), Reply> {
        if self.header_complete { self.push_body(piece).await } else { self.push_header(piece).await }
    }

    async fn push_header(&mut self, mut piece: Bytes) -> Result<(), Reply> {
        let before = self.header.len();
        if !self.reserve(piece.len()) {
            return Err(Reply::new(452, (4, 3, 1), "too much mail comes in at one time; try again later"));
        }
        self.header.extend_from_slice(&piece);
        let Some(end) = header_end(&self.header, before) else {
            return check_header_length(self.header.len());
        };
        self.header_complete = true;
        self.header.truncate(end);
        check_header_length(end)?;
        self.push_body(piece.split_off(end.saturating_sub(before))).await
    }

    async fn push_body(&mut self, piece: Bytes) -> Result<(), Reply> {
        if piece.is_empty() {
            return Ok(());
        }
        self.eight_bit |= !piece.is_ascii();
        self.hashes.update(&piece);
        let fits = match &self.body {
            Body::Memory { octets, .. } => {
                octets + piece.len() <= MEMORY_OCTETS_MAX && self.reserve(piece.len())
            }
            Body::File(_) => false,
        };
        match &mut self.body {
            Body::Memory { pieces, octets } if fits => {
                *octets += piece.len();
                pieces.push(piece);
                Ok(())
            }
            Body::Memory { .. } => self.spill(piece).await,
            Body::File(file) => file.write_all(&piece).await.map_err(|error| disk_failed(&error)),
        }
    }

    /// Moves the body from memory to a file.
    async fn spill(&mut self, piece: Bytes) -> Result<(), Reply> {
        let scratch = self.scratch.clone();
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(scratch)).await;
        let file = made.map_err(std::io::Error::other).and_then(|made| made);
        let mut file = File::from_std(file.map_err(|error| disk_failed(&error))?);
        if let Body::Memory { pieces, .. } = &self.body {
            for kept in pieces.iter().chain([&piece]) {
                file.write_all(kept).await.map_err(|error| disk_failed(&error))?;
            }
        }
        self.body = Body::File(file);
        // What is left in memory is the header.
        self.memory.clear();
        let header = self.header.len();
        self.reserve(header);
        Ok(())
    }

    /// Takes memory from the budget, if there is any left.
    fn reserve(&mut self, octets: usize) -> bool {
        let kib = u32::try_from(octets.div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.budget).try_acquire_many_owned(kib) else { return false };
        match self.memory.first_mut() {
            Some(held) => held.merge(permit),
            None => self.memory.push(permit),
        }
        true
    }

    /// The message, once its last piece was given.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(super) async fn finish(self) -> Result<Finished, Reply> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let content = match self.body {
            Body::Memory { pieces, .. } => NewContent::Memory(pieces),
            Body::File(mut file) => {
                file.flush().await.map_err(|error| disk_failed(&error))?;
                NewContent::File(file.into_std().await, 0)
            }
        };
        Ok(Finished {
            header: self.header,
            content,
            eight_bit: self.eight_bit,
            hashes: self.hashes.finish(),
            _memory: self.memory,
        })
    }
}

/// Where the header section ends, its empty line included; `searched` octets have been looked at before.
fn header_end(header: &[u8], searched: usize) -> Option<usize> {
    if header.starts_with(b"\r\n") {
        return Some(2);
    }
    // The empty line may be cut in two.
    let from = searched.saturating_sub(3);
    let found = header.get(from..)?.windows(4).position(|window| window == b"\r\n\r\n");
    found.map(|at| from + at + 4)
}

fn check_header_length(octets: usize) -> Result<(), Reply> {
    if octets <= HEADER_OCTETS_MAX {
        Ok(())
    } else {
        Err(Reply::new(554, (5, 6, 0), "the message's header section is longer than 1 MiB"))
    }
}

fn disk_failed(error: &std::io::Error) -> Reply {
    tracing::error!(%error, "a body could not be written to a temporary file");
    Reply::new(452, (4, 3, 1), "there is no room for the message; try again later")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    async fn taken(pieces: &[&[u8]], budget_kib: usize) -> Result<(Vec<u8>, Vec<u8>, bool, bool), Reply> {
        let dir = tempfile::tempdir().unwrap();
        let budget = Arc::new(Semaphore::new(budget_kib));
        let mut message = Message::new(dir.path().to_owned(), Arc::clone(&budget));
        for piece in pieces {
            message.push(Bytes::copy_from_slice(piece)).await;
        }
        let Finished { header, content, eight_bit, hashes: _, _memory } = message.finish().await?;
        let (body, in_file) = match content {
            NewContent::Memory(pieces) => (pieces.concat(), false),
            NewContent::File(mut file, _) => {
                let mut body = Vec::new();
                file.rewind().unwrap();
                file.read_to_end(&mut body).unwrap();
                (body, true)
            }
        };
        drop(_memory);
        assert_eq!(budget.available_permits(), budget_kib, "the memory was not given back");
        Ok((header, body, eight_bit, in_file))
    }

    #[tokio::test]
    async fn the_header_ends_at_the_empty_line_however_the_message_is_cut() {
        for (message, split) in [
            (&b"A: b\r\nC: d\r\n\r\nbody\r\n\r\nx"[..], 14),
            (b"\r\nbody", 2),
            (b"A: b\r\n\r\n", 8),
            (b"A: b\r\n", 6),
        ] {
            for cut in 0..message.len() {
                let (one, two) = message.split_at(cut);
                let (header, body, ..) = taken(&[one, two], 100).await.unwrap();
                assert_eq!((&header[..], &body[..]), message.split_at(split), "cut at {cut}");
            }
            let octets: Vec<&[u8]> = message.chunks(1).collect();
            let (header, body, ..) = taken(&octets, 100).await.unwrap();
            assert_eq!((&header[..], &body[..]), message.split_at(split));
        }
    }

    #[tokio::test]
    async fn a_body_stays_in_memory_up_to_its_limit_and_goes_to_a_file_past_it() {
        let body = vec![b'x'; MEMORY_OCTETS_MAX + 1];
        let (_, kept, eight_bit, in_file) =
            taken(&[b"A: b\r\n\r\n", &body[..MEMORY_OCTETS_MAX]], 1024).await.unwrap();
        assert_eq!((kept.len(), eight_bit, in_file), (MEMORY_OCTETS_MAX, false, false));
        let (_, kept, _, in_file) =
            taken(&[b"A: b\r\n\r\n", &body[1..], &body[..1], b"\xc3\xa4"], 1024).await.unwrap();
        assert_eq!((kept.len(), in_file), (MEMORY_OCTETS_MAX + 3, true));
    }

    #[tokio::test]
    async fn without_memory_a_body_goes_to_a_file_and_a_header_is_refused_for_now() {
        let body = vec![b'x'; 10_000];
        let (_, kept, _, in_file) = taken(&[b"A: b\r\n\r\n", &body, b"\xff"], 5).await.unwrap();
        assert_eq!((kept.len(), in_file), (10_001, true));
        assert_eq!(taken(&[&body], 5).await.unwrap_err().code, 452);
    }

    #[tokio::test]
    async fn a_header_is_taken_at_its_limit_and_refused_past_it() {
        let mut header = vec![b'a'; HEADER_OCTETS_MAX - 4];
        header.extend_from_slice(b"\r\n\r\n");
        assert!(taken(&[&header, b"body"], 4096).await.is_ok());
        header.insert(0, b'a');
        assert_eq!(taken(&[&header, b"body"], 4096).await.unwrap_err().code, 554);
    }
}
