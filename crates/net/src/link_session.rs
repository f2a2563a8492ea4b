//! Frames over a link stream: one task writes what has piled up, the role's loop reads.

pub mod live;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use link::{Accepts, Decoder, Frame, FrameError, Hello, HelloError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

/// Silence after which a side asks for a sign of life.
pub const PING_AFTER: Duration = Duration::from_secs(10);
/// Silence after which the link counts as lost.
pub const LOST_AFTER: Duration = Duration::from_secs(30);
/// Frames that may wait on one link, many times what all messages make that may be under way on it. What they hold is
/// bounded by the window of each item, or is as short as a control frame.
pub const FRAMES_MAX: usize = 65_536;
/// The time that the other side has for its hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Frames that are written with one call.
const BATCH_FRAMES: usize = 256;
/// Octets after which a batch is written.
const BATCH_OCTETS: usize = 256 * 1024;
const READ_OCTETS: usize = 64 * 1024;
/// Octets of one read from somebody who is not known yet.
const PAIRING_READ_OCTETS: usize = 2 * 1024;

/// The reasons why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkFault {
    /// The transport broke or the peer closed it.
    #[error("the connection ended: {0}")]
    Lost(String),
    /// Nothing was heard for [`LOST_AFTER`].
    #[error("nothing was heard for {} s", LOST_AFTER.as_secs())]
    Silent,
    /// [`FRAMES_MAX`] frames wait for a peer that does not read them.
    #[error("the other side does not read what it is sent")]
    Deaf,
    /// The peer sent what is no frame.
    #[error("the other side sent {0}")]
    Frame(#[from] FrameError),
    /// The peer sent a frame that has no place here.
    #[error("the other side broke the protocol: {0}")]
    Protocol(&'static str),
    /// The two sides have no version in common.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The peer closed the link on purpose.
    #[error("the other side said goodbye: {0}")]
    Goodbye(String),
    /// What served it panicked.
    #[error("a fault in Postern, which the log has above; what was under way is not lost")]
    Ours,
}

/// What serves a link, whose panic is an end of the link like another: who holds the link still takes it down, and a new one
/// comes up.
///
/// # Errors
/// Those of `serving`, and [`LinkFault::Ours`].
pub async fn unharmed(serving: impl Future<Output = Result<(), LinkFault>>) -> Result<(), LinkFault> {
    let mut serving = pin!(serving);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(context)));
        polled.unwrap_or(std::task::Poll::Ready(Err(LinkFault::Ours)))
    })
    .await
}

/// A frame to be written, and the memory it holds until then.
struct Outgoing {
    frame: Frame,
    _held: Option<OwnedSemaphorePermit>,
}

/// The sending half of a link. Frames go out in the order given.
#[derive(Clone)]
pub struct FrameSender {
    // Bounded by FRAMES_MAX: nobody who sends can wait, so the link ends in its stead.
    frames: mpsc::UnboundedSender<Outgoing>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    frames: AtomicUsize,
    overfull: Notify,
}

impl FrameSender {
    /// Queues a frame. What is queued on a link that ended is dropped: every exchange is repeated by its
    /// owner on the next link. A link on which [`FRAMES_MAX`] frames wait ends.
    pub fn send(&self, frame: Frame) {
        self.queue(Outgoing { frame, _held: None });
    }

    /// Queues a frame with the memory it holds.
    pub fn send_holding(&self, frame: Frame, held: OwnedSemaphorePermit) {
        self.queue(Outgoing { frame, _held: Some(held) });
    }

    fn queue(&self, outgoing: Outgoing) {
        if self.waiting.frames.fetch_add(1, Ordering::Relaxed) < FRAMES_MAX {
            let _ = self.frames.send(outgoing);
        } else {
            self.waiting.frames.fetch_sub(1, Ordering::Relaxed);
            self.waiting.overfull.notify_one();
        }
    }
}

/// The frames that wait for the writer task.
pub struct FrameQueue {
    frames: mpsc::UnboundedReceiver<Outgoing>,
    waiting: Arc<Waiting>,
}

impl FrameQueue {
    async fn take_many(&mut self, batch: &mut Vec<Outgoing>) -> usize {
        let taken = self.frames.recv_many(batch, BATCH_FRAMES).await;
        self.waiting.frames.fetch_sub(taken, Ordering::Relaxed);
        taken
    }

    /// Adds those that are there by now.
    fn take_more(&mut self, batch: &mut Vec<Outgoing>) {
        let before = batch.len();
        while batch.len() < BATCH_FRAMES
            && let Ok(outgoing) = self.frames.try_recv()
        {
            batch.push(outgoing);
        }
        self.waiting.frames.fetch_sub(batch.len() - before, Ordering::Relaxed);
    }
}

/// Makes the queue between the role and the writer task.
pub fn frame_queue() -> (FrameSender, FrameQueue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::<Waiting>::default();
    (FrameSender { frames: sender, waiting: Arc::clone(&waiting) }, FrameQueue { frames: receiver, waiting })
}

/// Writes queued frames until the queue closes or the transport breaks.
///
/// # Errors
/// [`LinkFault::Lost`] when the transport breaks, [`LinkFault::Deaf`] when too many wait.
pub async fn write_frames(writer: impl AsyncWrite + Unpin, frames: FrameQueue) -> Result<(), LinkFault> {
    let waiting = Arc::clone(&frames.waiting);
    tokio::select! {
        biased;
        written = write_all(writer, frames) => written,
        () = waiting.overfull.notified() => Err(LinkFault::Deaf),
    }
}

async fn write_all(mut writer: impl AsyncWrite + Unpin, mut frames: FrameQueue) -> Result<(), LinkFault> {
    let lost = |error: std::io::Error| LinkFault::Lost(error.to_string());
    let mut buffer = BytesMut::new();
    let mut batch = Vec::with_capacity(BATCH_FRAMES);
    while frames.take_many(&mut batch).await > 0 {
        // Whoever is ready now adds his frames to the same write, and to the same packets.
        tokio::task::yield_now().await;
        frames.take_more(&mut batch);
        for outgoing in batch.drain(..) {
            // A frame that breaks its own limit is our fault. It is left out and said; the link goes on.
            if let Err(error) = outgoing.frame.encode(&mut buffer) {
                tracing::error!(%error, "a frame could not be sent");
            }
            if buffer.len() >= BATCH_OCTETS {
                writer.write_all(&buffer).await.map_err(lost)?;
                buffer.clear();
            }
        }
        writer.write_all(&buffer).await.map_err(lost)?;
        writer.flush().await.map_err(lost)?;
        buffer.clear();
        if buffer.capacity() > BATCH_OCTETS * 2 {
            buffer = BytesMut::new();
        }
    }
    let _ = writer.shutdown().await;
    Ok(())
}

/// The receiving half of a link.
pub struct FrameReader<R> {
    reader: R,
    input: BytesMut,
    accepts: Accepts,
    read_octets: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads all kinds of frames from `reader`, whose peer is known.
    pub fn new(reader: R) -> Self {
        Self { reader, input: BytesMut::new(), accepts: Accepts::All, read_octets: READ_OCTETS }
    }

    /// Reads the one kind of a pairing exchange, and holds little.
    pub fn for_pairing(reader: R, accepts: Accepts) -> Self {
        Self { reader, input: BytesMut::new(), accepts, read_octets: PAIRING_READ_OCTETS }
    }

    /// The next frame. `None` after [`PING_AFTER`] of silence: time to ping.
    ///
    /// # Errors
    /// [`LinkFault`]: the connection is gone, or what came is no frame or one that is not taken here.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<Frame>, LinkFault> {
        loop {
            if let Some(frame) = Decoder::next_of(&mut self.input, self.accepts)? {
                return Ok(Some(frame));
            }
            self.input.reserve(self.read_octets);
            match tokio::time::timeout(patience, self.reader.read_buf(&mut self.input)).await {
                Ok(Ok(0)) => return Err(LinkFault::Lost("closed by the other side".to_owned())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(LinkFault::Lost(error.to_string())),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Reads the peer's hello and checks that there is a common version.
    ///
    /// # Errors
    /// [`LinkFault`]: no hello in time, none that has a version in common, or a goodbye.
    pub async fn expect_hello(&mut self, ours: &Hello) -> Result<Hello, LinkFault> {
        match self.next(HELLO_PATIENCE).await? {
            Some(Frame::Hello(theirs)) => {
                ours.agree(&theirs)?;
                Ok(theirs)
            }
            Some(Frame::Goodbye(reason)) => Err(LinkFault::Goodbye(reason)),
            Some(_) => Err(LinkFault::Protocol("the first frame was no hello")),
            None => Err(LinkFault::Silent),
        }
    }
}

/// Keeps count of silence and says when to ping and when to give up.
#[derive(Debug, Default)]
pub struct Silence {
    quiet: Duration,
}

impl Silence {
    /// Begins the silence anew: a frame was heard.
    pub const fn broken(&mut self) {
        self.quiet = Duration::ZERO;
    }

    /// [`PING_AFTER`] passed without a frame.
    ///
    /// # Errors
    /// [`LinkFault::Silent`] once nothing came for [`LOST_AFTER`].
    pub fn lasts(&mut self, frames: &FrameSender) -> Result<(), LinkFault> {
        self.quiet += PING_AFTER;
        if self.quiet >= LOST_AFTER {
            return Err(LinkFault::Silent);
        }
        frames.send(Frame::Ping);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(bytes: &[u8]) -> LinkFault {
        let mut reader = FrameReader::new(bytes);
        loop {
            if let Err(fault) = reader.next(PING_AFTER).await {
                return fault;
            }
        }
    }

    /// Symptom: after a fault in Home's code the link did not come up again before a restart. Cause: the panic ended the task
    /// that keeps the link up. Analysis: read, as a brother of the unsealer's thread.
    #[tokio::test]
    async fn a_panic_in_what_serves_a_link_is_an_end_of_the_link() {
        let serving = async {
            tokio::task::yield_now().await;
            std::panic::resume_unwind(Box::new("a fault that the test makes"));
        };
        assert!(matches!(unharmed(serving).await, Err(LinkFault::Ours)));
        assert!(matches!(unharmed(async { Err(LinkFault::Silent) }).await, Err(LinkFault::Silent)));
        assert!(unharmed(async { Ok(()) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_malformed_frame_ends_the_link_with_its_cause() {
        let fault = heard(&[99, 0, 0, 0, 0, 0, 0, 0]).await;
        assert_eq!(fault.to_string(), "the other side sent a frame of unknown kind 99");
        let fault = heard(&[18, 0, 0, 0, 255, 255, 255, 255]).await;
        assert!(fault.to_string().contains("are allowed"), "{fault}");
        assert!(matches!(heard(&[2, 0, 0, 0, 0, 0, 0, 0, 2]).await, LinkFault::Lost(_)));
    }

    #[tokio::test]
    async fn somebody_unknown_is_not_read_from_past_the_header_of_a_frame_that_has_no_place() {
        let mut wire: Vec<u8> = vec![5, 0, 0, 0, 1, 0, 0, 0];
        wire.resize(1 << 20, b'x');
        let mut rest = &wire[..];
        let mut reader = FrameReader::for_pairing(&mut rest, Accepts::Pair);
        let fault = reader.next(PING_AFTER).await.unwrap_err();
        assert!(fault.to_string().contains("no place here"), "{fault}");
        let left = rest.len();
        assert!(wire.len() - left <= 2 * PAIRING_READ_OCTETS, "{left}");
    }

    #[tokio::test]
    async fn the_link_is_up_only_after_a_hello() {
        let (frames, queue) = frame_queue();
        frames.send(Frame::Ping);
        drop(frames);
        let mut wire = Vec::new();
        write_frames(&mut wire, queue).await.unwrap();
        let fault = FrameReader::new(&wire[..]).expect_hello(&Hello::ours(None)).await.unwrap_err();
        assert!(matches!(fault, LinkFault::Protocol(_)), "{fault}");
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_for_its_kind_is_left_out_and_the_link_goes_on() {
        let (frames, queue) = frame_queue();
        frames.send(Frame::Goodbye("x".repeat(5000)));
        frames.send(Frame::Pong);
        drop(frames);
        let mut wire = Vec::new();
        write_frames(&mut wire, queue).await.unwrap();
        assert_eq!(FrameReader::new(&wire[..]).next(PING_AFTER).await.unwrap(), Some(Frame::Pong));
    }

    /// A peer that asks and asks and reads no answer costs so many frames, and the link then.
    #[tokio::test]
    async fn as_many_frames_may_wait_as_there_is_room_for_and_one_more_ends_the_link() {
        for (more, ends) in [(0, false), (1, true)] {
            let (frames, queue) = frame_queue();
            let (near, far) = tokio::io::duplex(1);
            let waiting = FRAMES_MAX + more;
            (0..waiting).for_each(|_| frames.send(Frame::Pong));
            assert_eq!(frames.waiting.frames.load(Ordering::Relaxed), FRAMES_MAX);
            let writing = tokio::spawn(write_frames(near, queue));
            if ends {
                assert!(matches!(writing.await.unwrap(), Err(LinkFault::Deaf)));
            } else {
                tokio::task::yield_now().await;
                assert!(!writing.is_finished());
                drop(far);
                assert!(matches!(writing.await.unwrap(), Err(LinkFault::Lost(_))));
            }
        }
    }

    #[tokio::test]
    async fn silence_is_asked_about_and_then_ends_the_link() {
        let (frames, _queue) = frame_queue();
        let mut silence = Silence::default();
        assert!(silence.lasts(&frames).is_ok());
        assert!(silence.lasts(&frames).is_ok());
        assert!(matches!(silence.lasts(&frames), Err(LinkFault::Silent)));
    }
}
