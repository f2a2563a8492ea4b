//! Messages in a mailbox, and what is done with them.

use std::ops::RangeInclusive;

use mail::UnixTime;

use crate::{FlagList, Flags};

/// Ranges of uids, both ends included.
pub type Uids = [RangeInclusive<u32>];

/// A message's entry in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its uid.
    pub uid: u32,
    /// Its flags.
    pub flags: Flags,
    /// Its latest change (RFC 7162).
    pub modseq: u64,
    /// Its octets, trace header included.
    pub octets: u64,
    /// When it came.
    pub internal_date: UnixTime,
}

/// A change of flags.
#[derive(Debug, Clone)]
pub struct FlagUpdate {
    /// Whether the flags are added, taken away or all that stay.
    pub mode: FlagMode,
    /// The flags.
    pub flags: FlagList,
    /// Messages that changed after this mod-sequence are left alone (RFC 7162's UNCHANGEDSINCE).
    pub unchanged_since: Option<u64>,
}

/// What a change of flags does with those that a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagMode {
    /// Adds to them.
    Add,
    /// Takes away from them.
    Remove,
    /// Replaces them.
    Replace,
}

/// What a change of flags did, by uid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagsChanged {
    /// Uid and new flags of each message that has other flags now.
    pub changed: Vec<(u32, Flags)>,
    /// Uids of messages left alone because they had changed meanwhile.
    pub conflicts: Vec<u32>,
    /// The mod-sequence of the change; 0 when nothing changed.
    pub modseq: u64,
}

/// Where messages went: pairs of the old uid and the new one, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// The target's uidvalidity.
    pub uidvalidity: u32,
    /// Uids before and after.
    pub uids: Vec<(u32, u32)>,
}

/// Which messages an expunge takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunge {
    /// Those with `\Deleted`.
    Deleted,
    /// All messages of the mailbox.
    All,
}

/// What changed in a mailbox after a mod-sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The mailbox's mod-sequence now.
    pub modseq: u64,
    /// The next uid now.
    pub uidnext: u32,
    /// Messages that came or have other flags now, by uid.
    pub messages: Vec<Message>,
    /// Ranges of uids that are gone: first and last. They may tell of more than went after it, and of none that is there.
    pub vanished: Vec<(u32, u32)>,
}
