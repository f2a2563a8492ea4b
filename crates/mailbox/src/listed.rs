//! Mailboxes as lists show them.

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

/// What a mailbox holds. Counting reads every message's entry, though not its body.
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

/// Whether a name is to be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscription {
    /// Add it.
    On,
    /// Take it off.
    Off,
}
