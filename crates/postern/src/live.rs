//! A link that is up: items under way on it, their windows, and the answers they wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::{Answer, Frame, SendWindow};
use mail::ItemId;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use bytes::Bytes;

use crate::wire::FrameSender;

/// The link is gone; what was under way on it is repeated or sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkDown;

/// One link. Items enter with [`Live::begin`] and leave with their answer; when the link ends, all of them
/// learn it at once.
pub struct Live {
    /// Frames to the other side.
    pub frames: FrameSender,
    ended: CancellationToken,
    /// `None` once the link has ended.
    items: Mutex<Option<HashMap<ItemId, Pending>>>,
}

struct Pending {
    answer: oneshot::Sender<Answer>,
    window: Arc<Window>,
}

struct Window {
    open: Mutex<SendWindow>,
    changed: Notify,
}

/// An item under way on a link.
pub struct LiveItem {
    live: Arc<Live>,
    item: ItemId,
    window: Arc<Window>,
    answer: Option<oneshot::Receiver<Answer>>,
}

impl Live {
    /// A link whose frames go to `frames`.
    pub fn new(frames: FrameSender) -> Arc<Self> {
        Arc::new(Self { frames, ended: CancellationToken::new(), items: Mutex::new(Some(HashMap::new())) })
    }

    fn items(&self) -> MutexGuard<'_, Option<HashMap<ItemId, Pending>>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an item.
    pub fn begin(self: &Arc<Self>, item: ItemId) -> Result<LiveItem, LinkDown> {
        let (sender, receiver) = oneshot::channel();
        let window = Arc::new(Window { open: Mutex::default(), changed: Notify::new() });
        let pending = Pending { answer: sender, window: Arc::clone(&window) };
        self.items().as_mut().ok_or(LinkDown)?.insert(item, pending);
        Ok(LiveItem { live: Arc::clone(self), item, window, answer: Some(receiver) })
    }

    /// The other side answered. An answer to an item that is no longer waited for is dropped.
    pub fn answered(&self, answer: Answer) {
        let pending = self.items().as_mut().and_then(|items| items.remove(&answer.item));
        if let Some(pending) = pending {
            let _ = pending.answer.send(answer);
        }
    }

    /// The other side can take more of an item.
    pub fn credited(&self, item: ItemId, octets: u32) {
        let window = self.items().as_ref().and_then(|items| Some(Arc::clone(&items.get(&item)?.window)));
        if let Some(window) = window {
            window.open.lock().unwrap_or_else(PoisonError::into_inner).credit(octets);
            window.changed.notify_one();
        }
    }

    /// The link ended: everything that waits learns it.
    pub fn close(&self) {
        self.ended.cancel();
        if let Some(items) = self.items().take() {
            for pending in items.into_values() {
                pending.window.changed.notify_one();
            }
        }
    }

    /// Waits until the link was closed, by whomever.
    pub async fn closed(&self) {
        self.ended.cancelled().await;
    }

    fn is_closed(&self) -> bool {
        self.items().is_none()
    }
}

impl LiveItem {
    /// Sends a piece of the body, at most [`link::BODY_FRAME_MAX`] octets, when the window lets it.
    pub async fn body(&self, piece: Bytes, held: Option<OwnedSemaphorePermit>) -> Result<(), LinkDown> {
        loop {
            let changed = self.window.changed.notified();
            if self.live.is_closed() {
                return Err(LinkDown);
            }
            if self.window.open.lock().unwrap_or_else(PoisonError::into_inner).take(piece.len()).is_ok() {
                break;
            }
            changed.await;
        }
        let frame = Frame::Body(self.item, piece);
        match held {
            Some(held) => self.live.frames.send_holding(frame, held),
            None => self.live.frames.send(frame),
        }
        Ok(())
    }

    /// Sends another frame of the item.
    pub fn send(&self, frame: Frame) {
        self.live.frames.send(frame);
    }

    /// The other side's answer.
    pub async fn answer(mut self) -> Result<Answer, LinkDown> {
        match self.answer.take() {
            Some(answer) => answer.await.map_err(|_| LinkDown),
            None => Err(LinkDown),
        }
    }
}

impl Drop for LiveItem {
    fn drop(&mut self) {
        if let Some(items) = self.live.items().as_mut() {
            items.remove(&self.item);
        }
    }
}
