//! Frames: eight octets of header, then a payload of known length.
//!
//! ```text
//! kind:u8  zero:u8  zero:u16  length:u32 (big endian)  payload
//! ```
//! Control payloads are JSON, so that fields can be added without breaking an older peer; bodies are an item
//! id and raw octets, never parsed. Each kind has its own limit, checked before a payload is buffered.

use std::net::IpAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mail::{Envelope, ItemId, Recipient, Reply, UnixTime, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, AttemptState, Outcomes};
use crate::code::{PairingRequest, PairingResult};
use crate::errand::{Errand, ErrandResult};
use crate::hello::Hello;
use crate::served::ServedDomains;
use crate::snapshot::Snapshot;
use crate::trace::Event;

const HEADER_OCTETS: usize = 8;
const ID_OCTETS: usize = 16;

/// Most octets of body in one frame.
pub const BODY_FRAME_MAX: usize = 64 * 1024;
/// Most octets of a control payload; 1,000 recipients with long parameters fit.
pub const CONTROL_FRAME_MAX: usize = 1024 * 1024;
/// Most octets that the recipients of one envelope may take of a control payload, as [`recipient_octets`]
/// counts them; the rest is for what else is in it.
pub const RECIPIENTS_OCTETS_MAX: usize = CONTROL_FRAME_MAX - 64 * 1024;

/// Octets that a recipient takes of a control payload at the most: every octet of text may need an escape.
#[must_use]
pub fn recipient_octets(recipient: &Recipient) -> usize {
    const FRAME_OF_FIELDS: usize = 160;
    let orcpt = recipient.orcpt.as_ref().map_or(0, |orcpt| orcpt.kind.len() + orcpt.address.len());
    let address = recipient.address.local().len() + 1 + recipient.address.domain().as_str().len();
    FRAME_OF_FIELDS + 2 * (address + orcpt)
}

/// Most octets of a snapshot: about 700,000 recipient hashes.
pub const SNAPSHOT_FRAME_MAX: usize = 16 * 1024 * 1024;

/// A live message begins (Edge to Home). Its body follows in [`Frame::Body`], its verdict in [`Frame::End`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The item.
    pub item: ItemId,
    /// When Edge took it.
    pub accepted: UnixTime,
    /// Envelope and client.
    pub envelope: Envelope,
}

/// A sealed item begins (Edge to Home). The body is `age` ciphertext; the envelope is inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSealed {
    /// The item.
    pub item: ItemId,
    /// Octets of ciphertext.
    pub octets: u64,
}

/// Home's answer to an item: one reply per recipient, in the envelope's order. For a sealed item exactly one:
/// positive (Home has it, Edge may forget it) or 4xx (keep it, try later).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The item.
    pub item: ItemId,
    /// One reply for each recipient; for a sealed item exactly one.
    pub replies: Vec<Reply>,
}

/// Everything that is said on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First frame of each side; nothing else counts before both were read.
    Hello(Hello),
    /// Sent when idle; the other side answers [`Frame::Pong`].
    Ping,
    /// Answer to [`Frame::Ping`].
    Pong,
    /// The sender closes the link on purpose and says why.
    Goodbye(String),
    /// Home to Edge: domains, recipients, policy, sealing key.
    Snapshot(Box<Snapshot>),
    /// Edge to Home: the snapshot of this generation is on disk.
    SnapshotKept(u64),
    /// Edge to Home, under [`crate::SERVED_DOMAINS`] only: whose mail is that of the domains that Home claims.
    Served(ServedDomains),
    /// Edge to Home, under [`crate::SEEN_AT`] only: the address that the link comes from. Mail that names it is not to leave
    /// Home. Edge keeps it nowhere.
    SeenAt(IpAddr),
    /// Edge to Home: a live message begins.
    Open(Box<Open>),
    /// Edge to Home: a sealed item begins.
    OpenSealed(OpenSealed),
    /// Octets of the body of an item or attempt.
    Body(ItemId, Bytes),
    /// Edge to Home: the body is whole, here is the verdict.
    End(ItemId, Verdict),
    /// The body will not be completed; forget the item or attempt.
    Abort(ItemId),
    /// The receiver of a body can take this many octets more.
    Credit(ItemId, u32),
    /// Home to Edge: what became of an item.
    Answer(Answer),
    /// Edge to Home: nothing shows that the sender has read the 250 to this item; it may send the message again
    /// (RFC 1047). Under [`crate::UNHEARD`] only.
    Unheard(ItemId),
    /// Home to Edge: try this once. The body follows and needs no end mark: its length is stated.
    Attempt(Box<Attempt>),
    /// Edge to Home: what came of an attempt; repeated after a reconnect until [`Frame::Settled`].
    Outcomes(Outcomes),
    /// Edge to Home: outcomes that were journalled before a restart, sealed to Home's key.
    OutcomesSealed(ItemId, Bytes),
    /// Home to Edge: the outcomes of this attempt are durable here; forget them.
    Settled(ItemId),
    /// Home to Edge: what do you know of this attempt?
    Ask(ItemId),
    /// Edge to Home: the answer to [`Frame::Ask`] when there are no outcomes to send.
    Known(ItemId, AttemptState),
    /// Home to Edge: do this in the world, now. Under [`crate::TLS_REPORTS`] only.
    Errand(ItemId, Box<Errand>),
    /// Edge to Home: what came of an errand.
    ErrandDone(ItemId, ErrandResult),
    /// Edge to Home: events of Edge's trace, oldest first, the last one's sequence number.
    Trace(u64, Vec<Event>),
    /// Home to Edge: events up to this sequence number are in Home's journal.
    TraceKept(u64),
    /// Home to Edge, under [`crate::ALPN_PAIRING`] only.
    Pair(PairingRequest),
    /// Edge to Home, under [`crate::ALPN_PAIRING`] only.
    Paired(PairingResult),
}

/// Why a frame was refused. The peer is to blame; the link ends and the cause is logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The kind is not one of ours.
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    /// Reserved octets are not zero.
    #[error("a frame header with reserved octets set")]
    Header,
    /// The reader has no use for this kind.
    #[error("a {kind} frame, which has no place here")]
    Unexpected {
        /// Name of the kind.
        kind: &'static str,
    },
    /// Longer than its kind allows.
    #[error("a {kind} frame of {octets} octets, {limit} are allowed")]
    TooLong {
        /// Name of the kind.
        kind: &'static str,
        /// Octets announced.
        octets: u64,
        /// Octets allowed.
        limit: usize,
    },
    /// The payload is not what the kind demands.
    #[error("a malformed {kind} frame: {cause}")]
    Payload {
        /// Name of the kind.
        kind: &'static str,
        /// The fault of the payload, in words.
        cause: String,
    },
}

/// The kinds, their numbers on the wire, names in logs and limits in octets.
macro_rules! kinds {
    ($($name:ident = $number:literal, $limit:expr;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Kind { $($name = $number),* }
        impl Kind {
            fn of(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
            const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
            const fn limit(self) -> usize {
                match self { $(Self::$name => $limit),* }
            }
        }
    };
}

kinds! {
    Hello = 1, 16 * 1024;
    Ping = 2, 0;
    Pong = 3, 0;
    Goodbye = 4, 4096;
    Snapshot = 5, SNAPSHOT_FRAME_MAX;
    SnapshotKept = 6, 64;
    Served = 7, CONTROL_FRAME_MAX;
    SeenAt = 8, 64;
    Open = 16, CONTROL_FRAME_MAX;
    OpenSealed = 17, 4096;
    Body = 18, ID_OCTETS + BODY_FRAME_MAX;
    End = 19, ID_OCTETS + CONTROL_FRAME_MAX;
    Abort = 20, ID_OCTETS;
    Credit = 21, ID_OCTETS + 4;
    Answer = 22, CONTROL_FRAME_MAX;
    Unheard = 23, ID_OCTETS;
    Attempt = 32, CONTROL_FRAME_MAX;
    Outcomes = 33, CONTROL_FRAME_MAX;
    OutcomesSealed = 34, ID_OCTETS + CONTROL_FRAME_MAX;
    Settled = 35, ID_OCTETS;
    Ask = 36, ID_OCTETS;
    Known = 37, ID_OCTETS + 256;
    Errand = 40, ID_OCTETS + CONTROL_FRAME_MAX;
    ErrandDone = 41, ID_OCTETS + 64 * 1024;
    Trace = 48, CONTROL_FRAME_MAX;
    TraceKept = 49, 64;
    Pair = 64, 16 * 1024;
    Paired = 65, 16 * 1024;
}

impl Frame {
    /// Appends the frame as it goes on the wire.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the payload breaks the limit of its kind: our own fault, so nothing is
    /// written and the link can go on.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        let start = out.len();
        out.put_bytes(0, HEADER_OCTETS);
        let kind = self.encode_payload(out);
        let octets = out.len() - start - HEADER_OCTETS;
        let length = u32::try_from(octets).ok().filter(|_| octets <= kind.limit());
        let (Some(length), Some(header)) = (length, out.get_mut(start..start + HEADER_OCTETS)) else {
            out.truncate(start);
            return Err(FrameError::TooLong {
                kind: kind.name(),
                octets: octets as u64,
                limit: kind.limit(),
            });
        };
        header[0] = kind as u8;
        header[4..].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn encode_payload(&self, out: &mut BytesMut) -> Kind {
        match self {
            Self::Hello(hello) => json(out, hello, Kind::Hello),
            Self::Ping => Kind::Ping,
            Self::Pong => Kind::Pong,
            Self::Goodbye(reason) => json(out, reason, Kind::Goodbye),
            Self::Snapshot(snapshot) => json(out, snapshot, Kind::Snapshot),
            Self::SnapshotKept(generation) => json(out, generation, Kind::SnapshotKept),
            Self::Served(served) => json(out, served, Kind::Served),
            Self::SeenAt(ip) => json(out, ip, Kind::SeenAt),
            Self::Open(open) => json(out, open, Kind::Open),
            Self::OpenSealed(open) => json(out, open, Kind::OpenSealed),
            Self::Body(id, octets) => tail(out, id, octets, Kind::Body),
            Self::End(id, verdict) => {
                out.put_slice(id.as_bytes());
                json(out, verdict, Kind::End)
            }
            Self::Abort(id) => tail(out, id, &[], Kind::Abort),
            Self::Credit(id, octets) => tail(out, id, &octets.to_be_bytes(), Kind::Credit),
            Self::Answer(answer) => json(out, answer, Kind::Answer),
            Self::Unheard(id) => tail(out, id, &[], Kind::Unheard),
            Self::Attempt(attempt) => json(out, attempt, Kind::Attempt),
            Self::Outcomes(outcomes) => json(out, outcomes, Kind::Outcomes),
            Self::OutcomesSealed(id, octets) => tail(out, id, octets, Kind::OutcomesSealed),
            Self::Settled(id) => tail(out, id, &[], Kind::Settled),
            Self::Ask(id) => tail(out, id, &[], Kind::Ask),
            Self::Known(id, state) => {
                out.put_slice(id.as_bytes());
                json(out, state, Kind::Known)
            }
            Self::Errand(id, errand) => {
                out.put_slice(id.as_bytes());
                json(out, errand, Kind::Errand)
            }
            Self::ErrandDone(id, result) => {
                out.put_slice(id.as_bytes());
                json(out, result, Kind::ErrandDone)
            }
            Self::Trace(last, events) => json(out, &(last, events), Kind::Trace),
            Self::TraceKept(last) => json(out, last, Kind::TraceKept),
            Self::Pair(request) => json(out, request, Kind::Pair),
            Self::Paired(result) => json(out, result, Kind::Paired),
        }
    }

    fn decode(kind: Kind, mut payload: Bytes) -> Result<Self, FrameError> {
        Ok(match kind {
            Kind::Hello => Self::Hello(parse(kind, &payload)?),
            Kind::Ping => Self::Ping,
            Kind::Pong => Self::Pong,
            Kind::Goodbye => Self::Goodbye(parse(kind, &payload)?),
            Kind::Snapshot => Self::Snapshot(parse(kind, &payload)?),
            Kind::SnapshotKept => Self::SnapshotKept(parse(kind, &payload)?),
            Kind::Served => Self::Served(parse(kind, &payload)?),
            Kind::SeenAt => Self::SeenAt(parse(kind, &payload)?),
            Kind::Open => Self::Open(parse(kind, &payload)?),
            Kind::OpenSealed => Self::OpenSealed(parse(kind, &payload)?),
            Kind::Body => Self::Body(take_id(kind, &mut payload)?, payload),
            Kind::End => Self::End(take_id(kind, &mut payload)?, parse(kind, &payload)?),
            Kind::Abort => Self::Abort(take_id(kind, &mut payload)?),
            Kind::Credit => {
                let id = take_id(kind, &mut payload)?;
                let octets = payload.try_get_u32().map_err(|_| short(kind))?;
                Self::Credit(id, octets)
            }
            Kind::Answer => Self::Answer(parse(kind, &payload)?),
            Kind::Unheard => Self::Unheard(take_id(kind, &mut payload)?),
            Kind::Attempt => Self::Attempt(parse(kind, &payload)?),
            Kind::Outcomes => Self::Outcomes(parse(kind, &payload)?),
            Kind::OutcomesSealed => Self::OutcomesSealed(take_id(kind, &mut payload)?, payload),
            Kind::Settled => Self::Settled(take_id(kind, &mut payload)?),
            Kind::Ask => Self::Ask(take_id(kind, &mut payload)?),
            Kind::Known => Self::Known(take_id(kind, &mut payload)?, parse(kind, &payload)?),
            Kind::Errand => Self::Errand(take_id(kind, &mut payload)?, parse(kind, &payload)?),
            Kind::ErrandDone => Self::ErrandDone(take_id(kind, &mut payload)?, parse(kind, &payload)?),
            Kind::Trace => {
                let (last, events) = parse(kind, &payload)?;
                Self::Trace(last, events)
            }
            Kind::TraceKept => Self::TraceKept(parse(kind, &payload)?),
            Kind::Pair => Self::Pair(parse(kind, &payload)?),
            Kind::Paired => Self::Paired(parse(kind, &payload)?),
        })
    }
}

fn json(out: &mut BytesMut, value: &impl Serialize, kind: Kind) -> Kind {
    // Our own types have string keys only, and a buffer in memory takes every octet: this cannot fail.
    let _ = serde_json::to_writer(out.writer(), value);
    kind
}

fn tail(out: &mut BytesMut, id: &ItemId, octets: &[u8], kind: Kind) -> Kind {
    out.put_slice(id.as_bytes());
    out.put_slice(octets);
    kind
}

fn parse<T: DeserializeOwned>(kind: Kind, payload: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(payload)
        .map_err(|error| FrameError::Payload { kind: kind.name(), cause: error.to_string() })
}

fn take_id(kind: Kind, payload: &mut Bytes) -> Result<ItemId, FrameError> {
    let mut id = [0; ID_OCTETS];
    payload.try_copy_to_slice(&mut id).map_err(|_| short(kind))?;
    Ok(ItemId::from_bytes(id))
}

fn short(kind: Kind) -> FrameError {
    FrameError::Payload { kind: kind.name(), cause: "too short".to_owned() }
}

/// Finds frames in a byte stream. It holds no bytes of its own: what is not yet a whole frame stays in the
/// caller's buffer, which therefore never needs more than one frame's limit.
#[derive(Debug, Default)]
pub struct Decoder;

/// Which frames a reader has a use for. Any other ends the stream at its header, before its payload is buffered: a
/// peer that is not known yet chooses neither the kind nor, by that, the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// All: the peer's key is pinned.
    All,
    /// [`Frame::Pair`] only: Edge waits for a home to be paired.
    Pair,
    /// [`Frame::Paired`] only: Home waits for Edge's answer.
    Paired,
}

impl Accepts {
    fn takes(self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Pair => kind == Kind::Pair,
            Self::Paired => kind == Kind::Paired,
        }
    }
}

impl Decoder {
    /// Takes the next frame of any kind off `input`; `None` when more octets are needed.
    ///
    /// # Errors
    /// Any [`FrameError`]; the stream is then useless and the link must end.
    pub fn next(input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        Self::next_of(input, Accepts::All)
    }

    /// Takes the next frame off `input`, if it is one that the reader accepts; `None` when more octets are needed.
    ///
    /// # Errors
    /// Any [`FrameError`]; the stream is then useless and the connection must end.
    pub fn next_of(input: &mut BytesMut, accepts: Accepts) -> Result<Option<Frame>, FrameError> {
        let Some((header, _)) = input.split_first_chunk::<HEADER_OCTETS>() else {
            return Ok(None);
        };
        let [number, zero1, zero2, zero3, length @ ..] = *header;
        if (zero1, zero2, zero3) != (0, 0, 0) {
            return Err(FrameError::Header);
        }
        let kind = Kind::of(number).ok_or(FrameError::Kind(number))?;
        if !accepts.takes(kind) {
            return Err(FrameError::Unexpected { kind: kind.name() });
        }
        let octets = u32::from_be_bytes(length) as usize;
        if octets > kind.limit() {
            return Err(FrameError::TooLong {
                kind: kind.name(),
                octets: octets as u64,
                limit: kind.limit(),
            });
        }
        if input.len() < HEADER_OCTETS + octets {
            return Ok(None);
        }
        input.advance(HEADER_OCTETS);
        Frame::decode(kind, input.split_to(octets).freeze()).map(Some)
    }
}

#[cfg(test)]
mod tests;
