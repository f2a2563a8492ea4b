//! Messages that are gone from here, forwarded or handed over, so that one that Edge hands in again is known.

use std::path::Path;
use std::sync::Arc;

use daemon::problem::Problem;
use mail::{ItemId, UnixTime};
use store::{StoreError, tables};

use crate::databases;
use crate::reaping::REMEMBERED_SECS;

/// The ids that a file of remembered messages holds. Cloning shares it.
#[derive(Clone)]
pub(super) struct Departed(Arc<dyn tables::Remembered>);

impl Departed {
    /// Opens or makes the file of this name.
    pub(super) fn open(data: &Path, name: &str) -> Result<Self, Problem> {
        databases::open_remembered(data, name).map(Self)
    }

    /// Whether a message has left the queue. Blocks.
    pub(super) fn has(&self, id: ItemId) -> Result<bool, StoreError> {
        self.0.has(id)
    }

    /// Remembers one, durably, and forgets those of long ago. Blocks.
    pub(super) fn insert(&self, id: ItemId, now: UnixTime) -> Result<(), StoreError> {
        let oldest = UnixTime::from_secs(now.as_secs().saturating_sub(REMEMBERED_SECS));
        self.0.insert(id, now, oldest)
    }
}

#[cfg(test)]
mod tests {
    use store_memory::MemoryRemembered;

    use super::*;

    #[test]
    fn what_was_forwarded_is_known_for_ninety_days() {
        let at = |secs| UnixTime::from_secs(1_000_000 + secs);
        let (one, two, three) =
            (ItemId::from_bytes([1; 16]), ItemId::from_bytes([2; 16]), ItemId::from_bytes([3; 16]));
        let remembered = Departed(Arc::new(MemoryRemembered::default()));
        assert!(!remembered.has(one).unwrap());
        remembered.insert(one, at(0)).unwrap();
        remembered.insert(two, at(REMEMBERED_SECS)).unwrap();
        assert!(remembered.has(one).unwrap() && remembered.has(two).unwrap());
        remembered.insert(three, at(REMEMBERED_SECS + 1)).unwrap();
        assert!(!remembered.has(one).unwrap() && remembered.has(two).unwrap());
    }
}
