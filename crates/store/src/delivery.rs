//! Messages that are to be kept, and the proof that one is.

use content::Content;
use mail::{ItemId, UnixTime};
use mailbox::FlagList;

use crate::{Head, StoreError};

/// Largest message in octets, its trace header included.
pub const MESSAGE_OCTETS_MAX: u64 = 256 * 1024 * 1024;
/// Most mailboxes of one account.
pub const MAILBOXES_MAX: u64 = 10_000;

/// A message that is to be delivered.
#[derive(Debug)]
pub struct Delivery {
    /// What makes the delivery idempotent: an account takes an item once. None for what has no id.
    pub item: Option<ItemId>,
    /// The mailbox's name; it is made when it does not exist.
    pub mailbox: String,
    /// What is stored above the body.
    pub head: Head,
    /// The message as it came. A large one in a file may be kept as it is: the file must have no name, and nobody may
    /// write to it any more.
    pub body: Content,
    /// Its first flags.
    pub flags: FlagList,
    /// When it came; also when the item counts as arrived.
    pub internal_date: UnixTime,
}

/// A message that a client puts into a mailbox that exists (IMAP's APPEND).
#[derive(Debug)]
pub struct Append {
    /// The mailbox's name.
    pub mailbox: String,
    /// The message; of a file the same holds as in [`Delivery`].
    pub body: Content,
    /// Its first flags.
    pub flags: FlagList,
    /// The date the client gave, or now.
    pub internal_date: UnixTime,
}

/// Proof that a message is in the account, durably: it is only made after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The message's uid in its mailbox.
    pub uid: u32,
    /// The mailbox's uidvalidity; 0 when the mailbox of a duplicate is gone.
    pub uidvalidity: u32,
    /// The item had arrived before: nothing was stored now.
    pub duplicate: bool,
}

/// What is called when a delivery has been committed or has failed; on any thread, so it must be short and must not wait.
pub type Done = Box<dyn FnOnce(Result<Receipt, StoreError>) + Send>;
