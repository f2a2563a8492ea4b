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
mod spilling;
mod take;
mod takings;
#[cfg(test)]
mod tests;
mod together;
mod unsealers;

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use content::Content;
use link::{Answer, Frame, Open, ReceiveWindow};
use mail::{ItemId, Reply, Verdict};
use net::link_session::{FrameSender, LinkFault};

use arrival::Arrival;
pub(crate) use arrivals::Arrivals;
use arrivals::not_now;
use buffer::{Buffer, Whole};
pub(crate) use repeats::Repeats;
pub(crate) use session::SessionArrival;
pub(crate) use spilling::WAITING_OCTETS_MAX;
use spilling::{Refused, Spilling};
use take::take;
use takings::Takings;
pub(crate) use unsealers::Unsealers;

/// Items that one link may have begun and not completed.
const ITEMS_MAX: usize = 4096;
/// Octets of a sealed item that are read at one time.
const READ_OCTETS: usize = 64 * 1024;

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
    octets: u64,
    gathered: Gathered,
}

/// What has come of an item.
enum Gathered {
    /// All of it is in memory.
    Here(Buffer, ReceiveWindow),
    /// It is being written beside the link.
    Beside(Spilling),
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
        let buffer = match &kind {
            Kind::Live(_) => Buffer::new(&self.shared),
            Kind::Sealed { .. } => Buffer::of_ciphertext(&self.shared),
        };
        let gathered = Gathered::Here(buffer, ReceiveWindow::default());
        self.items.insert(item, Arriving { kind, octets: 0, gathered });
        Ok(())
    }

    /// A piece of an item. One for an item that was given up is dropped. Never waits for a disk.
    pub(crate) fn body(&mut self, item: ItemId, piece: Bytes) -> Result<(), LinkFault> {
        let Some(arriving) = self.items.get_mut(&item) else { return Ok(()) };
        arriving.octets += piece.len() as u64;
        let complete = match arriving.kind {
            Kind::Live(_) if arriving.octets > self.shared.message_octets_max => {
                self.give_up(item, Reply::new(552, (5, 3, 4), "The message is too large"));
                return Ok(());
            }
            Kind::Live(_) => false,
            Kind::Sealed { octets } if arriving.octets > octets => {
                return Err(LinkFault::Protocol("an item's body ran past its window or its size"));
            }
            Kind::Sealed { octets } => arriving.octets == octets,
        };
        // What has no octet is bounded by no window.
        let taken =
            if piece.is_empty() { Ok(()) } else { arriving.take(&self.shared, &self.frames, item, piece) };
        match taken {
            Ok(()) => {}
            Err(Refused::PastWindow) => {
                return Err(LinkFault::Protocol("an item's body ran past its window"));
            }
            Err(Refused::NoRoom) => {
                tracing::error!(%item, "the disk does not keep up with what comes; a message stays with Edge");
                self.give_up(item, not_now());
                return Ok(());
            }
            Err(Refused::GivenUp) => {
                self.items.remove(&item);
                return Ok(());
            }
        }
        if complete && let Some(arriving) = self.items.remove(&item) {
            self.unseal(item, arriving.gathered);
        }
        Ok(())
    }

    fn give_up(&mut self, item: ItemId, reply: Reply) {
        if let Some(arriving) = self.items.remove(&item) {
            spilling::give_up(&self.frames, item, arriving.kind.recipients(), reply);
        }
    }

    /// Ends a message: it is whole, and Edge has judged it.
    pub(crate) fn end(&mut self, item: ItemId, verdict: &Verdict) {
        let Some(arriving) = self.items.remove(&item) else { return };
        if let Kind::Live(open) = arriving.kind {
            let arrival = Arrival { open, edge: self.edge.clone(), sealed: false, verdict: verdict.clone() };
            match arriving.gathered {
                Gathered::Here(buffer, _) if self.shared.filters.is_none() => {
                    let (shared, recipients) =
                        (Arc::clone(&self.shared), arrival.open.envelope.recipients.len());
                    let taking = async move { take(&shared, arrival, buffer.whole()).await };
                    self.under_way.push(item, recipients, taking);
                }
                // Filters take their time; a file is slow.
                gathered => {
                    let (shared, frames) = (Arc::clone(&self.shared), self.frames.clone());
                    gathered.whole(move |message| take_in(&shared, arrival, message, frames));
                }
            }
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
        self.shared.repeats.unheard(item, self.shared.clock.now());
    }

    /// The rest of an item will not come.
    pub(crate) fn abort(&mut self, item: ItemId) {
        self.items.remove(&item);
    }

    /// Opens a sealed item on a thread that may block, then delivers it.
    fn unseal(&self, item: ItemId, gathered: Gathered) {
        let (shared, frames, edge) = (Arc::clone(&self.shared), self.frames.clone(), self.edge.clone());
        gathered.whole(move |sealed| {
            let (unsealers, later) = (shared.unsealers.clone(), frames.clone());
            let begun = unsealers.run(Box::new(move || match opened(&shared, &sealed.content) {
                Ok((open, verdict, message)) if open.item == item => {
                    let arrival = Arrival { open: Box::new(open), edge, sealed: true, verdict };
                    take_in(&shared, arrival, message.whole(), frames);
                }
                Ok(_) => refuse_sealed(item, &frames, "its id is not the one it was sealed under"),
                Err(error) => refuse_sealed(item, &frames, &error.to_string()),
            }));
            if !begun {
                refuse_sealed(item, &later, "too many wait to be opened");
            }
        });
    }
}

impl Kind {
    /// How many replies it is owed.
    fn recipients(&self) -> usize {
        match self {
            Self::Live(open) => open.envelope.recipients.len(),
            Self::Sealed { .. } => 1,
        }
    }
}

impl Arriving {
    /// Takes a piece, in memory as long as it has room there.
    fn take(
        &mut self,
        shared: &Arrivals,
        frames: &FrameSender,
        item: ItemId,
        piece: Bytes,
    ) -> Result<(), Refused> {
        let (buffer, window) = match &mut self.gathered {
            Gathered::Here(buffer, window) => (buffer, window),
            Gathered::Beside(spilling) => return spilling.arrived(piece),
        };
        let octets = piece.len();
        window.arrived(octets).map_err(|_| Refused::PastWindow)?;
        let Err(piece) = buffer.hold(piece) else {
            if let Some(credit) = window.consumed(octets) {
                frames.send(Frame::Credit(item, credit));
            }
            return Ok(());
        };
        let held = std::mem::replace(buffer, Buffer::of_ciphertext(shared));
        let known = (item, self.kind.recipients());
        let spilling = Spilling::begin(shared, frames.clone(), known, held, window.clone());
        let taken = spilling.write(piece);
        self.gathered = Gathered::Beside(spilling);
        taken
    }
}

impl Gathered {
    /// Goes on with all of it, when it is where it belongs.
    fn whole(self, then: impl FnOnce(Whole) + Send + 'static) {
        match self {
            Self::Here(buffer, _) => then(buffer.whole()),
            Self::Beside(spilling) => spilling.whole(Box::new(then)),
        }
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
fn take_in(shared: &Arc<Arrivals>, arrival: Arrival, message: Whole, frames: FrameSender) {
    let taking = Arc::clone(shared);
    shared.spawn(async move {
        let item = arrival.open.item;
        let recipients = if arrival.sealed { 1 } else { arrival.open.envelope.recipients.len() };
        let replies = takings::caught(item, recipients, take(&taking, arrival, message)).await;
        frames.send(Frame::Answer(Answer { item, replies }));
    });
}

fn refuse_sealed(item: ItemId, frames: &FrameSender, cause: &str) {
    tracing::error!(%item, %cause, "a sealed item can't be opened; it stays with Edge");
    frames.send(Frame::Answer(Answer { item, replies: vec![not_now()] }));
}

/// As [`open_sealed`]; a fault of ours is an error as well, for its edge waits for an answer.
fn opened(shared: &Arrivals, sealed: &Content) -> io::Result<(Open, Verdict, Buffer)> {
    catch_unwind(AssertUnwindSafe(|| open_sealed(shared, sealed)))
        .unwrap_or_else(|_| Err(io::Error::other("a fault in Postern")))
}

fn open_sealed(shared: &Arrivals, sealed: &Content) -> io::Result<(Open, Verdict, Buffer)> {
    let mut message = Buffer::new(shared);
    let opened = match sealed.in_memory() {
        None => {
            let sealed = io::BufReader::with_capacity(READ_OCTETS, sealed.reader(0));
            shared.unseal.unseal_item(sealed, &mut message)?
        }
        Some(pieces) => {
            let octets: Vec<u8> = pieces.concat();
            let mut out = Vec::with_capacity(octets.len());
            let opened = shared.unseal.unseal_item(&octets[..], &mut out)?;
            if let Err(out) = message.hold(out.into()) {
                io::Write::write_all(&mut message, &out)?;
            }
            opened
        }
    };
    Ok((opened.0, opened.1, message))
}
