//! Mailboxes as lists show them.

use crate::Flags;

/// A mailbox of one account. It stays the same when the mailbox is renamed and is never given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId(pub i64);

/// A mailbox as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Its id.
    pub id: MailboxId,
    /// Its full name, levels separated by `/`.
    pub name: String,
    /// Changes when uids of the name's former mailbox mean nothing any more.
    pub uidvalidity: u32,
    /// The next message gets this uid or a later one.
    pub uidnext: u32,
    /// The mod-sequence of its latest change (RFC 7162).
    pub modseq: u64,
    /// Its special use with the backslash (RFC 6154).
    pub special_use: Option<String>,
}

/// What a mailbox holds (`STATUS`, RFC 9051 section 6.3.11), kept with each change so that nobody has to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// The number of messages.
    pub messages: u64,
    /// Messages without `\Seen`, counted.
    pub unseen: u64,
    /// Messages with `\Deleted`, counted.
    pub deleted: u64,
    /// Octets of all messages.
    pub octets: u64,
}

impl Totals {
    /// A message of so many octets came.
    pub const fn add(&mut self, flags: Flags, octets: u64) {
        self.messages += 1;
        self.octets += octets;
        self.unseen += !flags.contains(Flags::SEEN) as u64;
        self.deleted += flags.contains(Flags::DELETED) as u64;
    }

    /// A message of so many octets that was counted went.
    pub const fn remove(&mut self, flags: Flags, octets: u64) {
        self.messages = self.messages.saturating_sub(1);
        self.octets = self.octets.saturating_sub(octets);
        self.unseen = self.unseen.saturating_sub(!flags.contains(Flags::SEEN) as u64);
        self.deleted = self.deleted.saturating_sub(flags.contains(Flags::DELETED) as u64);
    }
}

/// Whether a name is to be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// Add it.
    On,
    /// Take it off.
    Off,
}
