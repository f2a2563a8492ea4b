//! What is known of messages in quarantine, beside the messages themselves.

use mail::{ItemId, UnixTime};

use crate::StoreError;

/// A message in quarantine.
#[derive(Debug, Clone, PartialEq)]
pub struct QuarantineEntry {
    /// The message's id.
    pub item: ItemId,
    /// When it came into quarantine.
    pub at: UnixTime,
    /// The account that has it.
    pub account: String,
    /// Its mailbox's uidvalidity.
    pub uidvalidity: u32,
    /// Its uid in the quarantine mailbox.
    pub uid: u32,
    /// The reverse-path, without its brackets.
    pub reverse_path: String,
    /// Forward-paths of the message.
    pub recipients: Vec<String>,
    /// The reason why it was quarantined.
    pub reason: String,
    /// The filter's score, if that is why.
    pub score: Option<f64>,
}

/// The entries of all messages in quarantine.
pub trait QuarantineEntries: Send + Sync {
    /// Adds one. One that is known already stays as it is.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn insert(&self, entry: &QuarantineEntry) -> Result<(), StoreError>;

    /// Removes one, if it is there.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn remove(&self, item: ItemId) -> Result<(), StoreError>;

    /// All entries, the oldest first.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn entries(&self) -> Result<Vec<QuarantineEntry>, StoreError>;

    /// How many entries there are.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn count(&self) -> Result<u64, StoreError>;

    /// The entry of one message; `None` when there is none.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn entry(&self, item: ItemId) -> Result<Option<QuarantineEntry>, StoreError>;
}
