//! Items whose 250 nobody may have read. Home is to know such a message again when its sender sends it again (RFC 1047),
//! over this edge or another one. In memory only: what gets lost with an edge or a link is delivered again, as always.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use link::Frame;
use mail::ItemId;
use net::link_session::FrameSender;

/// Items that wait for a home that is away; the oldest are forgotten.
const WAITING_MAX: usize = 4096;

/// Items of one home whose senders may not have read the 250: the home is told of them.
#[derive(Default)]
pub struct Unheard(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<ItemId>,
    /// Where it hears it: a link that is up, of a home that knows the frame.
    link: Option<FrameSender>,
}

impl Unheard {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing shows that the sender of this item has read the 250.
    pub fn tell(&self, item: ItemId) {
        self.with(|state| match &state.link {
            Some(frames) => frames.send(Frame::Unheard(item)),
            None => {
                if state.waiting.len() >= WAITING_MAX {
                    state.waiting.pop_front();
                }
                state.waiting.push_back(item);
            }
        });
    }

    /// The home is linked and hears it all, before anything that was sealed meanwhile.
    pub fn linked(&self, frames: FrameSender) {
        self.with(|state| {
            state.waiting.drain(..).for_each(|item| frames.send(Frame::Unheard(item)));
            state.link = Some(frames);
        });
    }

    /// The link is gone: items wait for the next one.
    pub fn unlinked(&self) {
        self.with(|state| state.link = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::link_session::{self, FrameReader, PING_AFTER};

    fn item(n: u16) -> ItemId {
        let [high, low] = n.to_be_bytes();
        let mut id = [0; 16];
        (id[14], id[15]) = (high, low);
        ItemId::from_bytes(id)
    }

    /// What went over the link, until this item.
    async fn heard(queue: link_session::FrameQueue, last: ItemId) -> Vec<ItemId> {
        let (near, far) = tokio::io::duplex(1 << 20);
        let writing = tokio::spawn(link_session::write_frames(near, queue));
        let mut reader = FrameReader::new(far);
        let mut items = Vec::new();
        while items.last() != Some(&last) {
            if let Some(Frame::Unheard(item)) = reader.next(PING_AFTER).await.unwrap() {
                items.push(item);
            }
        }
        writing.abort();
        items
    }

    #[tokio::test]
    async fn a_home_that_is_away_hears_it_when_it_is_back_and_the_oldest_are_forgotten() {
        let unheard = Unheard::default();
        let most = u16::try_from(WAITING_MAX).unwrap();
        for n in 0..=most {
            unheard.tell(item(n));
        }
        let (frames, queue) = link_session::frame_queue();
        unheard.linked(frames);
        unheard.tell(item(most + 1));
        let items = heard(queue, item(most + 1)).await;
        assert_eq!((items.len(), items[0]), (WAITING_MAX + 1, item(1)));
        // A link that is gone takes nothing with it that comes later.
        unheard.unlinked();
        unheard.tell(item(9));
        let (frames, queue) = link_session::frame_queue();
        unheard.linked(frames);
        assert_eq!(heard(queue, item(9)).await, [item(9)]);
    }
}
