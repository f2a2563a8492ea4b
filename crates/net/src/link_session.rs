//! Frames over a link stream: one task writes what has piled up, the role's loop reads.

pub mod live;

use std::time::Duration;

use bytes::BytesMut;
use link::{Accepts, Decoder, Frame, FrameError, Hello, HelloError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Silence after which a side asks for a sign of life.
pub const PING_AFTER: Duration = Duration::from_secs(10);
/// Silence after which the link counts as lost.
pub const LOST_AFTER: Duration = Duration::from_secs(30);
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
}

/// A frame to be written, and the memory it holds until then.
pub struct Outgoing {
    frame: Frame,
    _held: Option<OwnedSemaphorePermit>,
}

/// The sending half of a link. Frames go out in the order given.
#[derive(Clone)]
pub struct FrameSender(mpsc::UnboundedSender<Outgoing>);

impl FrameSender {
    /// Queues a frame. What is queued on a link that ended is dropped: every exchange is repeated by its
    /// owner on the next link.
    pub fn send(&self, frame: Frame) {
        let _ = self.0.send(Outgoing { frame, _held: None });
    }

    /// Queues a frame with the memory it holds.
    pub fn send_holding(&self, frame: Frame, held: OwnedSemaphorePermit) {
        let _ = self.0.send(Outgoing { frame, _held: Some(held) });
    }
}

/// Makes the queue between the role and the writer task.
pub fn frame_queue() -> (FrameSender, mpsc::UnboundedReceiver<Outgoing>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (FrameSender(sender), receiver)
}

/// Writes queued frames until the queue closes or the transport breaks.
///
/// # Errors
/// [`LinkFault::Lost`] when the transport breaks.
pub async fn write_frames(
    mut writer: impl AsyncWrite + Unpin,
    mut frames: mpsc::UnboundedReceiver<Outgoing>,
) -> Result<(), LinkFault> {
    let lost = |error: std::io::Error| LinkFault::Lost(error.to_string());
    let mut buffer = BytesMut::new();
    let mut batch = Vec::with_capacity(BATCH_FRAMES);
    while frames.recv_many(&mut batch, BATCH_FRAMES).await > 0 {
        // Whoever is ready now adds his frames to the same write, and to the same packets.
        tokio::task::yield_now().await;
        while batch.len() < BATCH_FRAMES
            && let Ok(outgoing) = frames.try_recv()
        {
            batch.push(outgoing);
        }
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

    #[tokio::test]
    async fn silence_is_asked_about_and_then_ends_the_link() {
        let (frames, _queue) = frame_queue();
        let mut silence = Silence::default();
        assert!(silence.lasts(&frames).is_ok());
        assert!(silence.lasts(&frames).is_ok());
        assert!(matches!(silence.lasts(&frames), Err(LinkFault::Silent)));
    }
}
