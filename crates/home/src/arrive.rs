//! Mail that arrives, over a link or in a session: put together, resolved to accounts, committed, answered.
//!
//! Small messages stay in memory for the moment until they are committed; larger ones, and all when memory
//! is short, go through unnamed temporary files. The store drops an item id that an account already has, so
//! a message that comes twice is delivered once.

mod arrival;
mod arrivals;
mod buffer;
mod head;
mod letter;
mod plan;
mod repeats;
mod replies;
mod session;
mod take;
mod takings;
#[cfg(test)]
mod tests;
mod together;
mod unsealers;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use daemon::system;
use link::{Answer, Frame, Open, ReceiveWindow};
use mail::{ItemId, Reply, Verdict};
use net::link_session::{FrameSender, LinkFault};

use arrival::Arrival;
pub(crate) use arrivals::Arrivals;
use arrivals::not_now;
use buffer::Buffer;
pub(crate) use repeats::Repeats;
pub(crate) use session::SessionArrival;
use take::take;
use takings::Takings;
pub(crate) use unsealers::Unsealers;

/// Items that one link may have begun and not completed.
const ITEMS_MAX: usize = 4096;

/// Messages that come in over one link.
pub(crate) struct LinkArrivals {
    shared: Arc<Arrivals>,
    frames: FrameSender,
    edge: String,
    items: HashMap<ItemId, Arriving>,
    under_way: Takings,
}

struct Arriving {
    kind: Kind,
    buffer: Buffer,
    octets: u64,
    window: ReceiveWindow,
}

enum Kind {
    Live(Box<Open>),
    Sealed { octets: u64 },
}

impl LinkArrivals {
    /// The arrivals of a link to `edge`.
    pub(crate) fn new(shared: Arc<Arrivals>, frames: FrameSender, edge: String) -> Self {
        Self { shared, frames, edge, items: HashMap::new(), under_way: Takings::default() }
    }

    /// Begins a message; its pieces follow.
    pub(crate) fn open(&mut self, open: Box<Open>) -> Result<(), LinkFault> {
        if open.envelope.recipients.is_empty() || open.envelope.recipients.len() > 1000 {
            return Err(LinkFault::Protocol("an envelope without recipients, or with more than 1,000"));
        }
        self.begin(open.item, Kind::Live(open))
    }

    /// Begins a sealed item; its pieces follow.
    pub(crate) fn open_sealed(&mut self, open: &link::OpenSealed) -> Result<(), LinkFault> {
        self.begin(open.item, Kind::Sealed { octets: open.octets })
    }

    fn begin(&mut self, item: ItemId, kind: Kind) -> Result<(), LinkFault> {
        if self.items.len() >= ITEMS_MAX {
            return Err(LinkFault::Protocol("too many items begun at one time"));
        }
        let shared = Arc::clone(&self.shared);
        let buffer = match &kind {
            Kind::Live(_) => Buffer::new(shared),
            Kind::Sealed { .. } => Buffer::of_ciphertext(shared),
        };
        self.items.insert(item, Arriving { kind, buffer, octets: 0, window: ReceiveWindow::default() });
        Ok(())
    }

    /// A piece of an item. One for an item that was given up is dropped.
    pub(crate) fn body(&mut self, item: ItemId, piece: Bytes) -> Result<(), LinkFault> {
        let Some(arriving) = self.items.get_mut(&item) else { return Ok(()) };
        let octets = piece.len();
        let past = LinkFault::Protocol("an item's body ran past its window or its size");
        arriving
            .window
            .arrived(octets)
            .map_err(|_| LinkFault::Protocol("an item's body ran past its window"))?;
        arriving.octets += octets as u64;
        let complete = match arriving.kind {
            Kind::Live(_) if arriving.octets > self.shared.message_octets_max => {
                self.give_up(item, Reply::new(552, (5, 3, 4), "The message is too large"));
                return Ok(());
            }
            Kind::Live(_) => false,
            Kind::Sealed { octets } if arriving.octets > octets => return Err(past),
            Kind::Sealed { octets } => arriving.octets == octets,
        };
        if let Err(error) = arriving.buffer.push(piece) {
            tracing::error!(%item, %error, "a body could not be buffered; it stays with Edge");
            self.give_up(item, not_now());
            return Ok(());
        }
        if let Some(credit) = arriving.window.consumed(octets) {
            self.frames.send(Frame::Credit(item, credit));
        }
        if complete && let Some(arriving) = self.items.remove(&item) {
            self.unseal(item, arriving.buffer);
        }
        Ok(())
    }

    fn give_up(&mut self, item: ItemId, reply: Reply) {
        let recipients = match self.items.remove(&item).map(|arriving| arriving.kind) {
            Some(Kind::Live(open)) => open.envelope.recipients.len(),
            _ => 1,
        };
        self.frames.send(Frame::Answer(Answer { item, replies: vec![reply; recipients] }));
    }

    /// Ends a message: it is whole, and Edge has judged it.
    pub(crate) fn end(&mut self, item: ItemId, verdict: &Verdict) {
        let Some(arriving) = self.items.remove(&item) else { return };
        if let Kind::Live(open) = arriving.kind {
            let arrival = Arrival { open, edge: self.edge.clone(), sealed: false, verdict: verdict.clone() };
            // Filters take their time; a file is slow.
            if self.shared.filters.is_some() || arriving.buffer.file.is_some() {
                return take_in(&self.shared, arrival, arriving.buffer, self.frames.clone());
            }
            let (shared, recipients) = (Arc::clone(&self.shared), arrival.open.envelope.recipients.len());
            let taking = async move { take(&shared, arrival, arriving.buffer).await };
            self.under_way.push(item, recipients, taking);
        }
    }

    /// Waits until a message is taken in that is so in the link's own task; [`Self::answer`] is to be given it.
    pub(crate) async fn taken(&mut self) -> Answer {
        self.under_way.next().await
    }

    /// Sends the answer, and all others that are there.
    pub(crate) fn answer(&mut self, answer: Answer) {
        let mut next = Some(answer);
        while let Some(answer) = next {
            self.frames.send(Frame::Answer(answer));
            next = self.under_way.next_now();
        }
    }

    /// Nothing shows that the sender has read the 250 to an item.
    pub(crate) fn unheard(&self, item: ItemId) {
        self.shared.repeats.unheard(item, system::now());
    }

    /// The rest of an item will not come.
    pub(crate) fn abort(&mut self, item: ItemId) {
        self.items.remove(&item);
    }

    /// Opens a sealed item on a thread that may block, then delivers it.
    fn unseal(&self, item: ItemId, buffer: Buffer) {
        let (shared, frames, edge) = (Arc::clone(&self.shared), self.frames.clone(), self.edge.clone());
        let unsealers = self.shared.unsealers.clone();
        unsealers.run(Box::new(move || match open_sealed(&shared, &buffer) {
            Ok((open, verdict, message)) if open.item == item => {
                let arrival = Arrival { open: Box::new(open), edge, sealed: true, verdict };
                take_in(&shared, arrival, message, frames);
            }
            Ok(_) => refuse_sealed(item, &frames, "its id is not the one it was sealed under"),
            Err(error) => refuse_sealed(item, &frames, &error.to_string()),
        }));
    }
}

impl Drop for LinkArrivals {
    /// The link is gone. Nobody hears of what is under way, but it is half done.
    fn drop(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        if !under_way.is_empty() {
            self.shared.spawn(under_way.finish());
        }
    }
}

/// Takes a message in beside the link, which goes on, and answers.
fn take_in(shared: &Arc<Arrivals>, arrival: Arrival, buffer: Buffer, frames: FrameSender) {
    let taking = Arc::clone(shared);
    shared.spawn(async move {
        let item = arrival.open.item;
        let replies = take(&taking, arrival, buffer).await;
        frames.send(Frame::Answer(Answer { item, replies }));
    });
}

fn refuse_sealed(item: ItemId, frames: &FrameSender, cause: &str) {
    tracing::error!(%item, %cause, "a sealed item can't be opened; it stays with Edge");
    frames.send(Frame::Answer(Answer { item, replies: vec![not_now()] }));
}

fn open_sealed(shared: &Arc<Arrivals>, sealed: &Buffer) -> io::Result<(Open, Verdict, Buffer)> {
    let mut message = Buffer::new(Arc::clone(shared));
    let (open, verdict) = match &sealed.file {
        Some(file) => {
            let mut file: &std::fs::File = file;
            io::Seek::rewind(&mut file)?;
            message.fill(|out| shared.unseal.unseal_item(io::BufReader::new(file), out))?
        }
        None => {
            let octets: Vec<u8> = sealed.pieces.concat();
            let mut out = Vec::with_capacity(octets.len());
            let opened = shared.unseal.unseal_item(&octets[..], &mut out)?;
            message.push(out.into())?;
            opened
        }
    };
    Ok((open, verdict, message))
}
