//! Messages in a mailbox, and what is done with them.

use std::ops::RangeInclusive;

use mail::UnixTime;

use crate::{FlagList, Flags};

/// Ranges of uids, both ends included, in any order; a uid that is in several of them is meant once.
pub type Uids = [RangeInclusive<u32>];

/// A message's entry in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its unique identifier (RFC 3501 section 2.3.1.1).
    pub uid: u32,
    /// Its flags.
    pub flags: Flags,
    /// The mod-sequence of its latest change (RFC 7162).
    pub modseq: u64,
    /// Its octets, trace header included.
    pub octets: u64,
    /// Its internal date (RFC 3501 section 2.3.3): when it came.
    pub internal_date: UnixTime,
}

/// A change of flags that is asked for.
#[derive(Debug, Clone)]
pub struct FlagUpdate {
    /// Whether the flags are added, taken away or all that stay.
    pub mode: FlagMode,
    /// The flags.
    pub flags: FlagList,
    /// Messages that changed after this mod-sequence are left alone (UNCHANGEDSINCE, RFC 7162 section 3.1.3).
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

/// Where messages went: what COPYUID tells (RFC 4315 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// The target's uidvalidity.
    pub uidvalidity: u32,
    /// Pairs of the old uid and the new one, in order.
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
