//! Forwarding: mail to an alias that leads to an address elsewhere goes out again, under a reverse-path of ours.
//!
//! It is queued while its sender waits, under an id that follows from its own: in the queue, or remembered as gone,
//! it is not queued twice however often Edge hands it in. What is signed stays as it came, so that the author's DKIM
//! signature holds; a trace field, `Delivered-To` and an ARC set come above it. Whether it is tried, and when, is the
//! dispatcher's; what is told when it fails is in `report`.

mod fields;
mod report;
mod srs;
#[cfg(test)]
pub(super) mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use content::Content;
use daemon::clock::Clock;
use daemon::problem::Problem;
use daemon::trace::Trace;
use directory::Directory;
use directory::{Allowance, Exceeded};
use link::TraceStep;
use mail::UnixTime;
use mail::require_tls;
use mail::{Address, Envelope, ItemId, Recipient, Verdict};
use mailauth::dkim::FinishedHashes;
use mailauth::dkim::sign;
use outbound::queue::{Forwarded, Queue, QueueState, derived_id, readdressed};
use tokio::runtime::Handle;

use super::dkim::DomainKeys;
use super::filters;
use super::outgoing_header;
use super::remembered::Departed;
use crate::reports::Notices;

pub(crate) use fields::loops;
pub(crate) use srs::Srs;

/// Characters of a `Message-ID` that are traced.
const TRACED_CHARS_MAX: usize = 256;

/// A message that arrived for an alias.
pub(crate) struct Forwarding {
    /// The message's id.
    pub item: ItemId,
    /// The recipient, with its parameters, that leads elsewhere.
    pub recipient: Recipient,
    /// Addresses that it is forwarded to.
    pub targets: Vec<Address>,
    /// The envelope as it came.
    pub envelope: Envelope,
    /// The verdict that Edge gave.
    pub verdict: Verdict,
    /// The trace field of the hop that brought it, with its line end.
    pub received: String,
    /// The message.
    pub content: Content,
}

/// Forwards messages that arrived for aliases.
pub(crate) struct Forwarder {
    parts: Parts,
    remembered: Departed,
    allowance: Allowance,
    under_way: Mutex<HashSet<ItemId>>,
    runtime: Handle,
}

/// The parts that a [`Forwarder`] works with.
pub(crate) struct Parts {
    /// The outbound queue.
    pub queue: Queue,
    /// Accounts, aliases, policy.
    pub directory: Directory,
    /// The DKIM keys: they seal (ARC), and sign reports.
    pub keys: DomainKeys,
    /// The rewriting of reverse-paths.
    pub srs: Srs,
    /// Notices to the operator.
    pub notices: Notices,
    /// The trace.
    pub trace: Trace,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// What the message is like, and what goes above it.
struct Composed {
    head: Vec<u8>,
    /// Octets of the message that `head` replaces: none, or the header section.
    replaced: u64,
    eight_bit: bool,
    utf8_header: bool,
    tls_optional: bool,
    /// The `Message-ID`, for the trace.
    message_id: String,
}

impl Forwarder {
    /// Opens or makes `forwarded.db`. Has to be called on the runtime.
    pub(crate) fn open(data: &Path, parts: Parts) -> Result<Arc<Self>, Problem> {
        Ok(Arc::new(Self {
            parts,
            remembered: Departed::open(data, "forwarded.db")?,
            allowance: Allowance::default(),
            under_way: Mutex::default(),
            runtime: Handle::current(),
        }))
    }

    /// Whom a rewritten reverse-path stands for; `None` when it is none, or none that is good.
    pub(crate) fn original_of(&self, address: &Address) -> Option<Address> {
        self.parts.srs.open_path(address, self.parts.clock.now())?.ok()
    }

    /// Queues a message for where its alias leads. It goes on when nobody waits any more.
    ///
    /// # Errors
    /// Why not, for the log. It is temporary: nothing is queued, and the same message may come again.
    pub(crate) async fn forward(self: &Arc<Self>, forwarding: Forwarding) -> Result<(), String> {
        let forwarder = Arc::clone(self);
        let work = self.runtime.spawn(async move {
            let id =
                derived_id(&format!("postern forward {}", forwarding.recipient.address), forwarding.item);
            match forwarder.enter(id) {
                Some(_under_way) => forwarder.take(id, forwarding).await,
                None => Err("the same message is being forwarded just now".to_owned()),
            }
        });
        work.await.map_err(|error| error.to_string())?
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<ItemId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, id: ItemId) -> Option<UnderWay<'_>> {
        let is_first = self.under_way().insert(id);
        // Not `then_some`: what is made for a second one would be dropped, and take the first one's name off.
        is_first.then(|| UnderWay { forwarder: self, id })
    }

    async fn take(&self, id: ItemId, forwarding: Forwarding) -> Result<(), String> {
        let (item, alias) = (forwarding.item, forwarding.recipient.address.clone());
        if self.is_known(id).await? {
            let detail = format!("{alias}: it is queued, or was sent, as {id}");
            self.parts.trace.event(Some(item), TraceStep::AlreadyHere, detail);
            return Ok(());
        }
        if !self.parts.directory.policy().sends {
            return Err(format!(
                "{alias} leads elsewhere, and sending is off: set outbound = \"on\" in home.toml"
            ));
        }
        let many = u32::try_from(forwarding.targets.len()).unwrap_or(u32::MAX);
        let limits = self.parts.directory.policy();
        if let Err(exceeded) =
            self.allowance.spend(&limits.sending, &alias.canonical(), many, self.parts.clock.now())
        {
            return Err(self.too_much(&alias, &exceeded).await);
        }
        let queued = self.queue(id, forwarding).await;
        match &queued {
            Ok(detail) => {
                self.parts.trace.event(Some(item), TraceStep::Forwarded, format!("{alias} as {id} {detail}"));
            }
            Err(_) => self.allowance.give_back(&alias.canonical(), many),
        }
        queued.map(drop)
    }

    /// In the queue, or gone from it. In this order: what leaves the queue is remembered before.
    async fn is_known(&self, id: ItemId) -> Result<bool, String> {
        if self.parts.queue.has(id) {
            return Ok(true);
        }
        let remembered = self.remembered.clone();
        let known = tokio::task::spawn_blocking(move || remembered.has(id)).await;
        known.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Queues the message; tells in words what was queued, for the trace.
    async fn queue(&self, id: ItemId, forwarding: Forwarding) -> Result<String, String> {
        let (alias, now) = (forwarding.recipient.address.clone(), self.parts.clock.now());
        let sender = forwarding.envelope.reverse_path.clone();
        let proven = sender.address().is_some_and(|path| fields::is_proven(path, &forwarding.verdict));
        let reverse_path = self.parts.srs.rewrite(&sender, proven, alias.domain(), now);
        let recipients = forwarding.targets.iter();
        let envelope = Envelope {
            recipients: recipients.map(|to| readdressed(&forwarding.recipient, to)).collect(),
            reverse_path: reverse_path.clone(),
            client: None,
            ..forwarding.envelope.clone()
        };
        let mut state = QueueState::new(id, String::new(), envelope, now);
        let targets: Vec<String> = forwarding.targets.iter().map(ToString::to_string).collect();
        let content = forwarding.content.clone();
        let keys = self.parts.keys.clone();
        let composing = tokio::task::spawn_blocking(move || compose(&keys, &forwarding, now));
        let composed =
            composing.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let content = content.rest(composed.replaced);
        state.eight_bit = composed.eight_bit;
        state.utf8_header = composed.utf8_header;
        state.tls_optional = composed.tls_optional && !state.envelope.require_tls;
        state.forwarded = Some(Forwarded { alias, sender, proven });
        self.parts.queue.append(state, composed.head, content).await.map_err(|error| error.to_string())?;
        let message_id = composed.message_id;
        Ok(format!("to {} under <{reverse_path}>, message-id {message_id}", targets.join(", ")))
    }

    async fn too_much(&self, alias: &Address, exceeded: &Exceeded) -> String {
        let Exceeded { limit, hours, until, news } = exceeded;
        let until = until.rfc5322();
        let span = if *hours == 1 { "an hour".to_owned() } else { format!("{hours} hours") };
        let what = format!("mail for {alias} was forwarded to {limit} addresses in {span}");
        if *news {
            let text = format!(
                "{what}, which is the limit.\nWhat comes for it now is put off: its senders keep it and come again. It \
                 goes on at {until}.\n\nIf so much mail is right: raise [sending] in home.toml and send SIGHUP.\nIf \
                 not, look with 'postern trace {alias}' at who sends it."
            );
            self.parts.notices.tell(&format!("{alias} reached the forwarding limit"), &text).await;
        }
        format!("{what}: the next ones from {until} on")
    }
}

/// A message whose forwarding has begun.
struct UnderWay<'a> {
    forwarder: &'a Forwarder,
    id: ItemId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.forwarder.under_way().remove(&self.id);
    }
}

/// Reads the message once and makes what goes above it. Blocks.
fn compose(keys: &DomainKeys, forwarding: &Forwarding, now: UnixTime) -> std::io::Result<Composed> {
    let header = filters::header_of(&forwarding.content)?;
    let (hashes, eight_bit_body) = hash_body(&forwarding.content, header.len() as u64)?;
    let utf8_header = !header.is_ascii();
    let eight_bit = utf8_header || eight_bit_body;
    let message_id =
        mail::header::find(&header, "Message-ID").map(|field| field.unfolded()).unwrap_or_default();
    let message_id = message_id.chars().filter(|c| !c.is_control()).take(TRACED_CHARS_MAX).collect();
    let tls_optional = outgoing_header::is_tls_optional(&header);
    let mut head = require_tls::above(&forwarding.envelope).to_vec();
    head.extend(fields::above(keys, forwarding, &header, &hashes, now));
    let mut replaced = 0;
    if require_tls::is_in(&header) {
        head.extend_from_slice(&require_tls::without(&header));
        replaced = header.len() as u64;
    }
    Ok(Composed { head, replaced, eight_bit, utf8_header, tls_optional, message_id })
}

fn hash_body(content: &Content, mut at: u64) -> std::io::Result<(FinishedHashes, bool)> {
    let mut hashes = sign::body_hashes();
    let mut eight_bit = false;
    loop {
        let piece: Bytes = filters::read(content, at)?;
        if piece.is_empty() {
            return Ok((hashes.finish(), eight_bit));
        }
        eight_bit |= !piece.is_ascii();
        hashes.update(&piece);
        at += piece.len() as u64;
    }
}
