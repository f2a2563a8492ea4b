//! Mail that arrives over a link: put together, resolved to accounts, committed, answered.
//!
//! Small messages stay in memory for the moment until they are committed; larger ones, and all when memory
//! is short, go through unnamed temporary files. The store drops an item id that an account already has, so
//! a message that comes twice is delivered once.

mod buffer;
#[cfg(test)]
mod tests;
mod unsealers;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use link::{Answer, Frame, Open, ReceiveWindow};
use mail::{Address, ItemId, Reply, ReversePath, Verdict};
use store::{Delivery, FlagList, Receipt, Store, StoreError};

use buffer::Buffer;
pub use unsealers::Unsealers;

use super::directory::{AccountId, Directory};
use crate::sealed::UnsealWith;
use crate::system;
use crate::trace::Trace;
use crate::wire::{FrameSender, LinkFault};

/// Items that one link may have begun and not completed.
const ITEMS_MAX: usize = 4096;
/// Where mail goes that was accepted and that nobody can have: it is kept for the operator.
pub const QUARANTINE: &str = "Quarantine";

/// What arrivals of all links share.
pub struct Arrivals {
    /// The mailboxes.
    pub store: Arc<Store>,
    /// Who there is.
    pub directory: Directory,
    /// What happened.
    pub trace: Trace,
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
}

/// Arrivals of one link.
pub struct LinkArrivals {
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
    Reply::new(451, (4, 3, 0), "The message could not be stored now; try again later")
}

fn unknown() -> Reply {
    Reply::new(550, (5, 1, 1), "There is no such recipient here")
}

impl LinkArrivals {
    /// For a link to `edge`.
    pub fn new(shared: Arc<Arrivals>, frames: FrameSender, edge: String) -> Self {
        Self { shared, frames, edge, items: HashMap::new() }
    }

    /// A message begins.
    pub fn open(&mut self, open: Box<Open>) -> Result<(), LinkFault> {
        if open.envelope.recipients.is_empty() || open.envelope.recipients.len() > 1000 {
            return Err(LinkFault::Protocol("an envelope without recipients, or with more than 1,000"));
        }
        self.begin(open.item, Kind::Live(open))
    }

    /// A sealed item begins.
    pub fn open_sealed(&mut self, open: &link::OpenSealed) -> Result<(), LinkFault> {
        self.begin(open.item, Kind::Sealed { octets: open.octets })
    }

    fn begin(&mut self, item: ItemId, kind: Kind) -> Result<(), LinkFault> {
        if self.items.len() >= ITEMS_MAX {
            return Err(LinkFault::Protocol("too many items begun at one time"));
        }
        let buffer = Buffer::new(Arc::clone(&self.shared));
        self.items.insert(item, Arriving { kind, buffer, octets: 0, window: ReceiveWindow::default() });
        Ok(())
    }

    /// A piece of an item. One for an item that was given up is dropped.
    pub fn body(&mut self, item: ItemId, piece: Bytes) -> Result<(), LinkFault> {
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
    pub fn end(&mut self, item: ItemId, verdict: &Verdict) {
        let Some(arriving) = self.items.remove(&item) else { return };
        if let Kind::Live(open) = arriving.kind {
            let arrival = Arrival { open, edge: self.edge.clone(), sealed: false, hops: verdict.hops };
            deliver(&self.shared, arrival, arriving.buffer, self.frames.clone());
        }
    }

    /// The rest of an item will not come.
    pub fn abort(&mut self, item: ItemId) {
        self.items.remove(&item);
    }

    /// Opens a sealed item on a thread that may block, then delivers it.
    fn unseal(&self, item: ItemId, buffer: Buffer) {
        let (shared, frames, edge) = (Arc::clone(&self.shared), self.frames.clone(), self.edge.clone());
        let unsealers = self.shared.unsealers.clone();
        unsealers.run(Box::new(move || match open_sealed(&shared, buffer) {
            Ok((open, verdict, message)) if open.item == item => {
                let arrival = Arrival { open: Box::new(open), edge, sealed: true, hops: verdict.hops };
                deliver(&shared, arrival, message, frames);
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
            let mut out = tempfile::tempfile_in(&shared.drafts)?;
            let opened = shared.unseal.unseal_item(io::BufReader::new(file), &mut out)?;
            message.file = Some(out);
            opened
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

/// A message that is whole, and how it came.
struct Arrival {
    open: Box<Open>,
    edge: String,
    sealed: bool,
    hops: u32,
}

/// What each recipient gets: its own account's mailbox, or the operator's quarantine.
struct Plan {
    /// For each account: the mailbox, the recipient it is for, the recipients' places in the envelope.
    deliveries: Vec<Planned>,
    /// Recipients that are refused.
    refused: Vec<usize>,
}

struct Planned {
    account: AccountId,
    mailbox: &'static str,
    recipient: Address,
    places: Vec<usize>,
}

fn plan(directory: &Directory, arrival: &Arrival) -> Plan {
    let mut plan = Plan { deliveries: Vec::new(), refused: Vec::new() };
    let mut unknown = Vec::new();
    for (place, recipient) in arrival.open.envelope.recipients.iter().enumerate() {
        match directory.resolve(&recipient.address) {
            Some(accounts) => {
                accounts
                    .into_iter()
                    .for_each(|account| plan.add(account, "INBOX", &recipient.address, place));
            }
            None => unknown.push((place, &recipient.address)),
        }
    }
    let keep = arrival.sealed || !plan.deliveries.is_empty();
    for (place, address) in unknown {
        // What was accepted already is never bounced and never dropped: the operator gets it.
        match directory.postmaster().filter(|_| keep) {
            Some(postmaster) => plan.add(postmaster, QUARANTINE, address, place),
            None => plan.refused.push(place),
        }
    }
    plan
}

impl Plan {
    fn add(&mut self, account: AccountId, mailbox: &'static str, recipient: &Address, place: usize) {
        match self.deliveries.iter_mut().find(|planned| planned.account == account) {
            Some(planned) => planned.places.push(place),
            None => self.deliveries.push(Planned {
                account,
                mailbox,
                recipient: recipient.clone(),
                places: vec![place],
            }),
        }
    }
}

/// Replies that are collected until every account has answered; the last one sends them.
struct Answering {
    arrival: Arrival,
    frames: FrameSender,
    trace: Trace,
    /// For the trace; empty when the message has none.
    message_id: String,
    replies: Mutex<(usize, Vec<Option<Reply>>)>,
    /// Keeps the body's share of the memory until all is committed.
    _buffer: Buffer,
}

/// Delivers to every account; the answer goes out when all have committed.
fn deliver(shared: &Arc<Arrivals>, arrival: Arrival, mut buffer: Buffer, frames: FrameSender) {
    let plan = plan(&shared.directory, &arrival);
    let mut replies = vec![None; arrival.open.envelope.recipients.len()];
    for place in &plan.refused {
        if let Some(reply) = replies.get_mut(*place) {
            *reply = Some(if arrival.sealed { not_now() } else { unknown() });
        }
    }
    let pieces = std::mem::take(&mut buffer.pieces);
    let file = buffer.file.take();
    let waiting = plan.deliveries.len();
    let (trace, item) = (shared.trace.clone(), arrival.open.item);
    let message_id = message_id(pieces.first(), file.as_ref());
    let answering = Arc::new(Answering {
        arrival,
        frames,
        trace,
        message_id,
        replies: Mutex::new((waiting, replies)),
        _buffer: buffer,
    });
    if waiting == 0 {
        return answering.send();
    }
    for planned in plan.deliveries {
        let body = match &file {
            Some(file) => match file.try_clone().and_then(|file| Ok((file.metadata()?.len(), file))) {
                Ok((octets, file)) => store::Body::File(file, octets),
                Err(error) => {
                    answering.settle(&planned, Err(&error.to_string()));
                    continue;
                }
            },
            None => store::Body::Memory(pieces.clone()),
        };
        let delivery = Delivery {
            item: Some(item),
            mailbox: planned.mailbox.to_owned(),
            head: head(&answering.arrival, &planned),
            body,
            flags: FlagList::default(),
            internal_date: system::now(),
        };
        let account = planned.account.clone();
        let answering = Arc::clone(&answering);
        shared.store.deliver(account.as_str(), delivery, move |result: Result<Receipt, StoreError>| {
            match &result {
                Ok(receipt) => answering.settle(&planned, Ok(receipt)),
                Err(error) => answering.settle(&planned, Err(&error.to_string())),
            }
        });
    }
}

impl Answering {
    fn settle(&self, planned: &Planned, result: Result<&Receipt, &str>) {
        let reply = match result {
            Ok(receipt) => {
                self.tell(planned, receipt);
                Reply::new(250, (2, 0, 0), format!("Delivered as {}", self.arrival.open.item))
            }
            Err(cause) => {
                tracing::error!(item = %self.arrival.open.item, account = %planned.account, %cause,
                    "a message could not be stored; its sender or Edge keeps it");
                not_now()
            }
        };
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        for place in &planned.places {
            // An alias may lead to several accounts: one that failed makes the recipient's reply.
            if let Some(slot) =
                replies.1.get_mut(*place).filter(|s| s.as_ref().is_none_or(Reply::is_positive))
            {
                *slot = Some(reply.clone());
            }
        }
        replies.0 = replies.0.saturating_sub(1);
        let last = replies.0 == 0;
        drop(replies);
        if last {
            self.send();
        }
    }

    fn tell(&self, planned: &Planned, receipt: &Receipt) {
        let open = &self.arrival.open;
        let step = if receipt.duplicate { "already-here" } else { "delivered" };
        let detail = format!(
            "from <{}> to <{}>: {} of {}, message {} ({} of {}, {} hops), message-id {}",
            open.envelope.reverse_path,
            planned.recipient,
            planned.mailbox,
            planned.account,
            receipt.uid,
            if self.arrival.sealed { "sealed mail" } else { "live mail" },
            self.arrival.edge,
            self.arrival.hops,
            self.message_id,
        );
        self.trace.event(Some(open.item), step, detail);
    }

    fn send(&self) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let replies: Vec<Reply> = replies.1.drain(..).map(|reply| reply.unwrap_or_else(not_now)).collect();
        let replies = if self.arrival.sealed { vec![worst(replies)] } else { replies };
        self.frames.send(Frame::Answer(Answer { item: self.arrival.open.item, replies }));
    }
}

/// The Message-ID, if it stands in the first piece of the message; cut to what a line of the trace bears.
fn message_id(piece: Option<&Bytes>, file: Option<&File>) -> String {
    use std::os::unix::fs::FileExt as _;
    let mut start = [0; 16 * 1024];
    let start = match (piece, file) {
        (Some(piece), _) => &piece[..],
        (None, Some(file)) => {
            let octets = file.read_at(&mut start, 0).unwrap_or(0);
            start.get(..octets).unwrap_or_default()
        }
        (None, None) => &[],
    };
    let field = mail::header::find(start, "Message-ID");
    field.map_or_else(String::new, |field| {
        field.unfolded().chars().filter(|c| !c.is_control()).take(256).collect()
    })
}

/// A sealed item is done when every recipient is; else it stays with Edge and comes again.
fn worst(replies: Vec<Reply>) -> Reply {
    let failed = replies.iter().position(|reply| !reply.is_positive());
    let at = failed.unwrap_or(0);
    replies.into_iter().nth(at).unwrap_or_else(not_now)
}

/// The trace fields that go before the message: `Return-Path` and `Received` (RFC 5321 section 4.4) and
/// `Delivered-To` (RFC 9228).
fn head(arrival: &Arrival, planned: &Planned) -> Vec<u8> {
    let envelope = &arrival.open.envelope;
    let path = match &envelope.reverse_path {
        ReversePath::Null => String::new(),
        ReversePath::Address(address) => address.to_string(),
    };
    let client = envelope.client.as_ref();
    let from = client.map_or_else(
        || "unknown".to_owned(),
        |client| {
            let helo: String = client.helo.chars().map(|c| if is_helo_char(c) { c } else { '?' }).collect();
            format!("{} ([{}])", if helo.is_empty() { "unknown" } else { &helo }, client.ip)
        },
    );
    let with = client.map_or("SMTP", |client| client.protocol(envelope.smtputf8));
    let tls = client.and_then(|client| client.tls.as_deref());
    let tls = tls.map_or_else(String::new, |tls| format!(" ({tls})"));
    let one = (envelope.recipients.len() == 1).then(|| format!("\r\n\tfor <{}>", planned.recipient));
    format!(
        "Return-Path: <{path}>\r\nDelivered-To: {to}\r\nReceived: from {from}\r\n\tby {edge} (Postern) with {with}{tls}\r\n\tid {id}{one};\r\n\t{date}\r\n",
        to = planned.recipient,
        edge = arrival.edge,
        id = arrival.open.item,
        one = one.unwrap_or_default(),
        date = arrival.open.accepted.rfc5322(),
    )
    .into_bytes()
}

fn is_helo_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".-_:[]".contains(c)
}
