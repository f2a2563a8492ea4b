//! What names a mailbox inside an account.

/// A mailbox of one account. It stays the same when the mailbox is renamed and is never given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId(pub i64);
