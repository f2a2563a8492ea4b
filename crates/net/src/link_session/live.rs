//! A link that is up: items under way on it, their windows, and the answers they wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use link::{Answer, Frame, SendWindow};
use mail::ItemId;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use super::FrameSender;

/// The link is gone; what was under way on it is repeated or sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkDown;

/// Why nothing more of an item can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The link is gone.
    LinkDown,
    /// The other side is done with the item, whatever is still missing of it: its answer is there.
    Over,
}

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
    sending: Mutex<Sending>,
    changed: Notify,
}

/// What is known of the other side's readiness to take more.
#[derive(Default)]
struct Sending {
    open: SendWindow,
    is_over: bool,
}

impl Window {
    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits to send more is to wait no longer.
    fn end(&self) {
        self.sending().is_over = true;
        self.changed.notify_one();
    }
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
    ///
    /// # Errors
    /// [`LinkDown`]: there is no link any more.
    pub fn begin(self: &Arc<Self>, item: ItemId) -> Result<LiveItem, LinkDown> {
        let (sender, receiver) = oneshot::channel();
        let window = Arc::new(Window { sending: Mutex::default(), changed: Notify::new() });
        let pending = Pending { answer: sender, window: Arc::clone(&window) };
        self.items().as_mut().ok_or(LinkDown)?.insert(item, pending);
        Ok(LiveItem { live: Arc::clone(self), item, window, answer: Some(receiver) })
    }

    /// The other side answered, be the item whole or not. An answer to an item that is no longer waited for is dropped.
    pub fn answered(&self, answer: Answer) {
        let pending = self.items().as_mut().and_then(|items| items.remove(&answer.item));
        if let Some(pending) = pending {
            let _ = pending.answer.send(answer);
            pending.window.end();
        }
    }

    /// The other side is done with an item that it answers elsewhere.
    pub fn over(&self, item: ItemId) {
        let pending = self.items().as_mut().and_then(|items| items.remove(&item));
        if let Some(pending) = pending {
            pending.window.end();
        }
    }

    /// The other side can take more of an item.
    pub fn credited(&self, item: ItemId, octets: u32) {
        let window = self.items().as_ref().and_then(|items| Some(Arc::clone(&items.get(&item)?.window)));
        if let Some(window) = window {
            window.sending().open.credit(octets);
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
    ///
    /// # Errors
    /// When the link has ended, or the other side takes no more since it has answered.
    pub async fn body(&self, piece: Bytes, held: Option<OwnedSemaphorePermit>) -> Result<(), Stopped> {
        loop {
            let changed = self.window.changed.notified();
            if self.live.is_closed() {
                return Err(Stopped::LinkDown);
            }
            {
                let mut sending = self.window.sending();
                if sending.is_over {
                    return Err(Stopped::Over);
                }
                if sending.open.take(piece.len()).is_ok() {
                    break;
                }
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

    /// Waits until nothing more of it can be sent.
    pub async fn stopped(&self) -> Stopped {
        loop {
            let changed = self.window.changed.notified();
            if self.live.is_closed() {
                return Stopped::LinkDown;
            }
            if self.window.sending().is_over {
                return Stopped::Over;
            }
            changed.await;
        }
    }

    /// Sends another frame of the item.
    pub fn send(&self, frame: Frame) {
        self.live.frames.send(frame);
    }

    /// Waits for the other side's answer.
    ///
    /// # Errors
    /// [`LinkDown`]: the link went before the answer came. The other side may have the item.
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

#[cfg(test)]
mod tests {
    use link::WINDOW_OCTETS;
    use mail::{Reply, UnixTime};

    use super::*;
    use crate::link_session;

    fn an_id() -> ItemId {
        ItemId::new(UnixTime(1), [7; 10])
    }

    fn answer(item: ItemId) -> Answer {
        Answer { item, replies: vec![Reply::bare(451, "not now")] }
    }

    /// Fills the window and waits for more of it.
    async fn send_more_than_fits(item: LiveItem) -> (LiveItem, Stopped) {
        let piece = Bytes::from(vec![0; link::BODY_FRAME_MAX]);
        for _ in 0..WINDOW_OCTETS / link::BODY_FRAME_MAX as u64 {
            item.body(piece.clone(), None).await.unwrap();
        }
        let stopped = item.body(piece, None).await.unwrap_err();
        (item, stopped)
    }

    /// Symptom: sealed mail stayed on Edge for ever with the link up, and nothing else drained. Cause: Home, with a full
    /// disk, answered 451 in the middle of a body and gave no more credit; Edge waited for the credit and never looked
    /// at the answer. Analysis: each wait had one thing that ended it.
    #[tokio::test]
    async fn an_answer_ends_the_waiting_for_credit_and_is_heard() {
        let (frames, _queue) = link_session::frame_queue();
        let live = Live::new(frames);
        let id = an_id();
        let sending = tokio::spawn(send_more_than_fits(live.begin(id).unwrap()));
        tokio::task::yield_now().await;
        live.answered(answer(id));
        let (item, stopped) = sending.await.unwrap();
        assert_eq!(stopped, Stopped::Over);
        assert_eq!(item.stopped().await, Stopped::Over);
        assert_eq!(item.answer().await.unwrap(), answer(id));
    }

    /// The same with what Home sends: an attempt that Edge ended while its body was on the way held a task and a file
    /// for as long as the link was up.
    #[tokio::test]
    async fn what_is_over_or_without_a_link_is_sent_no_further() {
        for (end, why) in [
            (Live::over as fn(&Live, ItemId), Stopped::Over),
            (|live: &Live, _: ItemId| live.close(), Stopped::LinkDown),
        ] {
            let (frames, _queue) = link_session::frame_queue();
            let live = Live::new(frames);
            let id = an_id();
            let sending = tokio::spawn(send_more_than_fits(live.begin(id).unwrap()));
            tokio::task::yield_now().await;
            end(&live, id);
            let (item, stopped) = sending.await.unwrap();
            assert_eq!(stopped, why);
            assert!(item.answer().await.is_err());
        }
    }

    #[tokio::test]
    async fn credit_lets_the_rest_go() {
        let (frames, _queue) = link_session::frame_queue();
        let live = Live::new(frames);
        let id = an_id();
        let item = live.begin(id).unwrap();
        let piece = Bytes::from(vec![0; link::BODY_FRAME_MAX]);
        for _ in 0..WINDOW_OCTETS / link::BODY_FRAME_MAX as u64 {
            item.body(piece.clone(), None).await.unwrap();
        }
        let waiting = tokio::spawn(async move { item.body(piece, None).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the window is full");
        live.credited(id, u32::try_from(link::BODY_FRAME_MAX).unwrap());
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
}
