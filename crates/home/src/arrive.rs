//! Mail that arrives, over a link or in a session: put together, resolved to accounts, committed, answered.
//!
//! Small messages stay in memory for the moment until they are committed; larger ones, and all when memory
//! is short, go through unnamed temporary files. The store drops an item id that an account already has, so
//! a message that comes twice is delivered once.

mod answering;
mod buffer;
mod deliver;
mod head;
mod plan;
mod repeats;
mod session;
#[cfg(test)]
mod tests;
mod unsealers;
mod waiting;

use std::collections::HashMap;
use std::io::{self, Seek as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use buffer::Buffer;
use bytes::Bytes;
use deliver::Arrival;
use link::{Answer, Frame, Open, ReceiveWindow};
use mail::{ItemId, Reply, Verdict};
pub(crate) use repeats::Repeats;
pub(crate) use session::SessionArrival;
pub(crate) use unsealers::Unsealers;
use waiting::Waiting;

use super::filters::Filters;
use super::forward::Forwarder;
use super::keeper::Keeper;
use super::quarantine::Quarantine;
use daemon::system;
use daemon::trace::Trace;
use directory::Directory;
use net::link_session::{FrameSender, LinkFault};
use seal::UnsealWith;

/// Items that one link may have begun and not completed.
const ITEMS_MAX: usize = 4096;

/// What arrivals of all links share.
pub(crate) struct Arrivals {
    /// Where it goes.
    pub keeper: Keeper,
    /// Who there is.
    pub directory: Directory,
    /// What happened.
    pub trace: Trace,
    /// Who is asked about the content of messages, if anybody.
    pub filters: Option<Arc<Filters>>,
    /// What the operator keeps.
    pub quarantine: Quarantine,
    /// What is for elsewhere.
    pub forwarder: Arc<Forwarder>,
    /// Opens sealed items.
    pub unseal: UnsealWith,
    /// The threads on which they are opened.
    pub unsealers: Unsealers,
    /// Where temporary files are made.
    pub drafts: PathBuf,
    /// Memory for bodies in flight, in octets.
    pub memory_octets_max: u64,
    /// Memory used now.
    pub memory_octets: AtomicU64,
    /// Octets of one message.
    pub message_octets_max: u64,
    /// What senders may send again, since they may not have heard the 250.
    pub repeats: Repeats,
}

/// Arrivals of one link.
pub(crate) struct LinkArrivals {
    shared: Arc<Arrivals>,
    frames: FrameSender,
    edge: String,
    items: HashMap<ItemId, Arriving>,
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

fn not_now() -> Reply {
    Reply::new(451, (4, 3, 0), "The message could not be kept; try again later")
}

fn unknown() -> Reply {
    Reply::new(550, (5, 1, 1), "There is no such recipient here")
}

impl LinkArrivals {
    /// For a link to `edge`.
    pub(crate) fn new(shared: Arc<Arrivals>, frames: FrameSender, edge: String) -> Self {
        Self { shared, frames, edge, items: HashMap::new() }
    }

    /// A message begins.
    pub(crate) fn open(&mut self, open: Box<Open>) -> Result<(), LinkFault> {
        if open.envelope.recipients.is_empty() || open.envelope.recipients.len() > 1000 {
            return Err(LinkFault::Protocol("an envelope without recipients, or with more than 1,000"));
        }
        self.begin(open.item, Kind::Live(open))
    }

    /// A sealed item begins.
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

    /// A message is whole.
    pub(crate) fn end(&mut self, item: ItemId, verdict: &Verdict) {
        let Some(arriving) = self.items.remove(&item) else { return };
        if let Kind::Live(open) = arriving.kind {
            let arrival = Arrival { open, edge: self.edge.clone(), sealed: false, verdict: verdict.clone() };
            deliver::arrived(&self.shared, arrival, arriving.buffer, Waiting::Edge(self.frames.clone()));
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
        unsealers.run(Box::new(move || match open_sealed(&shared, buffer) {
            Ok((open, verdict, message)) if open.item == item => {
                let arrival = Arrival { open: Box::new(open), edge, sealed: true, verdict };
                deliver::arrived(&shared, arrival, message, Waiting::Edge(frames));
            }
            Ok(_) => refuse_sealed(item, &frames, "its id is not the one it was sealed under"),
            Err(error) => refuse_sealed(item, &frames, &error.to_string()),
        }));
    }
}

fn refuse_sealed(item: ItemId, frames: &FrameSender, cause: &str) {
    tracing::error!(%item, %cause, "a sealed item can't be opened; it stays with Edge");
    frames.send(Frame::Answer(Answer { item, replies: vec![not_now()] }));
}

fn open_sealed(shared: &Arc<Arrivals>, mut sealed: Buffer) -> io::Result<(Open, Verdict, Buffer)> {
    let mut message = Buffer::new(Arc::clone(shared));
    let (open, verdict) = match &mut sealed.file {
        Some(file) => {
            file.rewind()?;
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
