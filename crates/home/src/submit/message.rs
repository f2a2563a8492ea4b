//! A message while it comes in: its header section in memory, its body in memory or in a file.
//!
//! All sessions share one budget of memory. A body that is large, or for which no memory is left,
//! goes to a file without a name, which vanishes with the session.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use content::{Budget, Content, Gathering, Room};
use mail::Reply;
use mailauth::dkim::sign;
use mailauth::dkim::{BodyHashes, FinishedHashes};

/// Longest header section in octets.
pub(super) const HEADER_OCTETS_MAX: usize = 1024 * 1024;

/// A message that is complete.
#[derive(Debug)]
pub(super) struct Finished {
    /// The header section with its empty line, if it had one.
    pub(super) header: Vec<u8>,
    /// The octets after the header section.
    pub(super) content: Content,
    /// Whether octets above 127 occur in the body.
    pub(super) eight_bit: bool,
    /// What its signatures say of the body.
    pub(super) hashes: FinishedHashes,
    /// The memory that the octets hold, given back on drop.
    _memory: [Room; 2],
}

/// A message that comes in.
pub(super) struct Message {
    scratch: Arc<Path>,
    budget: Budget,
    /// What the header section takes of it.
    memory: Room,
    header: Vec<u8>,
    header_complete: bool,
    body: Gathering,
    /// Behind a pointer: the futures of a session hold a message several times.
    hashes: Box<BodyHashes>,
    eight_bit: bool,
    /// The reply it gets in the end, whatever else comes.
    refusal: Option<Reply>,
}

impl Message {
    /// An empty message. Files are made in `scratch`.
    pub(super) fn new(scratch: Arc<Path>, budget: Budget) -> Self {
        Self {
            memory: budget.room(),
            header: Vec::new(),
            header_complete: false,
            body: Gathering::new(Arc::clone(&scratch), budget.room()),
            scratch,
            budget,
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
            drop(self.take_body());
            self.memory.clear();
        }
    }

    async fn try_push(&mut self, piece: Bytes) -> Result<(), Reply> {
        if self.header_complete { self.push_body(piece).await } else { self.push_header(piece).await }
    }

    async fn push_header(&mut self, mut piece: Bytes) -> Result<(), Reply> {
        let before = self.header.len();
        if !self.memory.take(piece.len() as u64) {
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
        let Err(piece) = self.body.hold(piece) else { return Ok(()) };
        let mut body = self.take_body();
        let writing = tokio::task::spawn_blocking(move || body.write(&piece).map(|()| body));
        let written = writing.await.map_err(std::io::Error::other).flatten();
        self.body = written.map_err(|error| disk_failed(&error))?;
        Ok(())
    }

    /// The body so far, with an empty one in its place.
    fn take_body(&mut self) -> Gathering {
        let empty = Gathering::new(Arc::clone(&self.scratch), self.budget.room());
        std::mem::replace(&mut self.body, empty)
    }

    /// The message, once its last piece was given.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(super) fn finish(self) -> Result<Finished, Reply> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let (content, room) = self.body.whole();
        Ok(Finished {
            header: self.header,
            content,
            eight_bit: self.eight_bit,
            hashes: self.hashes.finish(),
            _memory: [self.memory, room],
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
    use super::*;

    const MEMORY_OCTETS_MAX: usize = 256 * 1024;

    async fn taken(pieces: &[&[u8]], budget_kib: u64) -> Result<(Vec<u8>, Vec<u8>, bool, bool), Reply> {
        let dir = tempfile::tempdir().unwrap();
        let budget = Budget::of_octets(budget_kib * 1024);
        let mut message = Message::new(dir.path().into(), budget.clone());
        for piece in pieces {
            message.push(Bytes::copy_from_slice(piece)).await;
        }
        let Finished { header, content, eight_bit, hashes: _, _memory } = message.finish()?;
        let body = content.read_at(0, usize::MAX).unwrap().to_vec();
        drop(_memory);
        assert_eq!(budget.taken(), 0, "the memory was not given back");
        Ok((header, body, eight_bit, content.in_memory().is_none()))
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
