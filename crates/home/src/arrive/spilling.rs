//! An item that memory does not take, while it comes: its pieces are written beside the link, which goes on. A slow disk
//! holds up what is for it, by credit that is not given, and nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use content::Room;
use link::{Answer, Frame, ReceiveWindow};
use mail::{ItemId, Reply};
use net::link_session::FrameSender;
use tokio::sync::mpsc;

use super::arrivals::{Arrivals, not_now};
use super::buffer::{Buffer, Whole};

/// Octets of all links that may wait for the disk; past it an item is given up, and stays with Edge.
pub(crate) const WAITING_OCTETS_MAX: u64 = 32 * 1024 * 1024;
/// Pieces that are written with one step.
const BATCH_PIECES: usize = 64;

/// What is done with an item that is whole.
pub(super) type Then = Box<dyn FnOnce(Whole) + Send>;

/// The end of an item's pieces that the link has. The item is let go with it, unless it was whole.
pub(super) struct Spilling {
    /// Bounded by the item's window: each piece has an octet at least.
    steps: mpsc::UnboundedSender<Come>,
    window: Arc<Mutex<ReceiveWindow>>,
    waiting: content::Budget,
}

/// What has come of an item.
enum Come {
    /// A piece, and its place among what waits.
    Piece(Bytes, Room),
    Whole(Then),
}

/// Why an item takes nothing more.
pub(super) enum Refused {
    /// It ran past its window.
    PastWindow,
    /// Too much waits for the disk.
    NoRoom,
    /// It was given up, and answered so.
    GivenUp,
}

impl Spilling {
    /// Goes on with an item in a file. Its answer, when the disk fails, is for so many recipients.
    pub(super) fn begin(
        shared: &Arrivals,
        frames: FrameSender,
        (item, recipients): (ItemId, usize),
        buffer: Buffer,
        window: ReceiveWindow,
    ) -> Self {
        let (steps, taken) = mpsc::unbounded_channel();
        let window = Arc::new(Mutex::new(window));
        let writing = Writing { frames, item, recipients, window: Arc::clone(&window) };
        shared.spawn(writing.run(buffer, taken));
        Self { steps, window, waiting: shared.waiting.clone() }
    }

    /// Takes a piece that just came.
    pub(super) fn arrived(&self, piece: Bytes) -> Result<(), Refused> {
        let arrived = self.window.lock().unwrap_or_else(PoisonError::into_inner).arrived(piece.len());
        arrived.map_err(|_| Refused::PastWindow)?;
        self.write(piece)
    }

    /// Takes a piece for which the window has room.
    pub(super) fn write(&self, piece: Bytes) -> Result<(), Refused> {
        let mut room = self.waiting.room();
        if !room.take(piece.len() as u64) {
            return Err(Refused::NoRoom);
        }
        self.steps.send(Come::Piece(piece, room)).map_err(|_| Refused::GivenUp)
    }

    /// All pieces have come. One that was given up is answered already.
    pub(super) fn whole(self, then: Then) {
        let _ = self.steps.send(Come::Whole(then));
    }
}

struct Writing {
    frames: FrameSender,
    item: ItemId,
    recipients: usize,
    window: Arc<Mutex<ReceiveWindow>>,
}

impl Writing {
    async fn run(self, mut buffer: Buffer, mut steps: mpsc::UnboundedReceiver<Come>) {
        let mut batch = Vec::new();
        while steps.recv_many(&mut batch, BATCH_PIECES).await > 0 {
            let (mut pieces, mut rooms, mut then) = (Vec::new(), Vec::new(), None);
            for step in batch.drain(..) {
                match step {
                    Come::Piece(piece, room) => {
                        pieces.push(piece);
                        rooms.push(room);
                    }
                    Come::Whole(what) => then = Some(what),
                }
            }
            let octets = pieces.iter().map(Bytes::len).sum();
            buffer = match buffer.written(pieces).await {
                Ok(buffer) => buffer,
                Err(error) => {
                    let item = self.item;
                    tracing::error!(%item, %error, "a body could not be buffered; it stays with Edge");
                    return give_up(&self.frames, item, self.recipients, not_now());
                }
            };
            drop(rooms);
            let credit = self.window.lock().unwrap_or_else(PoisonError::into_inner).consumed(octets);
            if let Some(credit) = credit {
                self.frames.send(Frame::Credit(self.item, credit));
            }
            if let Some(then) = then {
                return then(buffer.whole());
            }
        }
    }
}

/// Nothing more is taken of an item, and this is its answer.
pub(super) fn give_up(frames: &FrameSender, item: ItemId, recipients: usize, reply: Reply) {
    frames.send(Frame::Answer(Answer { item, replies: vec![reply; recipients] }));
}
