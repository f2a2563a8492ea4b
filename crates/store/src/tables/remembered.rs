//! Ids of messages that are gone from here, so that one that is handed in again is known.

use mail::{ItemId, UnixTime};

use crate::StoreError;

/// Ids, each with the second at which it was noted.
pub trait Remembered: Send + Sync {
    /// Whether an id is remembered.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn has(&self, id: ItemId) -> Result<bool, StoreError>;

    /// Notes one, durably, and forgets those that were noted before `oldest`. One that is known is noted anew.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn insert(&self, id: ItemId, now: UnixTime, oldest: UnixTime) -> Result<(), StoreError>;
}
