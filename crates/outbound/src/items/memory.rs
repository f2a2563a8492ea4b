//! Items in memory, for tests: nothing waits, so a simulated clock stands still while something is written.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use content::Content;
use mail::ItemId;

use super::{Durable, Items, ItemsError, Receipt};

/// Items in memory, for tests. Cloning shares them.
#[derive(Clone)]
pub struct MemoryItems(Arc<Mutex<Shelf>>);

impl std::fmt::Debug for MemoryItems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryItems").field("count", &self.count_of_items()).finish()
    }
}

struct Shelf {
    items: BTreeMap<ItemId, (Vec<u8>, Content)>,
    octets_max: u64,
    /// Changes so far: what each costs a disk is one durable step.
    steps: u64,
    /// The end of the next removal.
    next_removal: Removal,
    /// Updates that go well before one fails; `None`: all do.
    updates_before_fault: Option<u32>,
}

/// The end of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The item is gone.
    Done,
    /// The disk fails, and the item stays.
    Fails,
    /// The disk fails after the item has gone.
    FailsWhenItIsGone,
}

impl MemoryItems {
    /// None yet, and room for so many octets.
    #[must_use]
    pub fn new(octets_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            items: BTreeMap::new(),
            octets_max,
            steps: 0,
            next_removal: Removal::Done,
            updates_before_fault: None,
        })))
    }

    /// Durable steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.kept().steps
    }

    /// The number of items.
    #[must_use]
    pub fn count_of_items(&self) -> usize {
        self.kept().items.len()
    }

    /// After so many updates that go well one fails; those after it go well.
    pub fn update_fails_after(&self, well: u32) {
        self.kept().updates_before_fault = Some(well);
    }

    /// What the next removal meets; those after it go well.
    pub fn next_removal(&self, removal: Removal) {
        self.kept().next_removal = removal;
    }

    fn kept(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn octets(&self) -> u64 {
        self.items.values().map(|(record, content)| record.len() as u64 + content.octets()).sum()
    }

    fn add(&mut self, item: ItemId, record: Vec<u8>, content: Content) -> Result<Receipt, ItemsError> {
        let octets = self.octets() + record.len() as u64 + content.octets();
        if octets > self.octets_max {
            return Err(ItemsError::Full { octets, octets_max: self.octets_max });
        }
        self.steps += 1;
        self.items.entry(item).or_insert((record, content));
        Ok(Receipt::of_what_is_durable(item))
    }
}

fn done(result: Result<Receipt, ItemsError>) -> Durable {
    Box::pin(std::future::ready(result))
}

impl Items for MemoryItems {
    fn append(&self, item: ItemId, record: Vec<u8>, octets: Vec<Bytes>) -> Durable {
        done(self.kept().add(item, record, Content::memory(octets)))
    }

    fn append_long(
        &self,
        item: ItemId,
        record: Vec<u8>,
        header: &[u8],
        content: &Content,
    ) -> Result<Durable, ItemsError> {
        let mut octets = header.to_vec();
        let read = content.reader(0).read_to_end(&mut octets);
        read.map_err(|error| ItemsError::Disk(error.to_string()))?;
        Ok(done(self.kept().add(item, record, octets.into())))
    }

    fn update(&self, item: ItemId, record: Vec<u8>) -> Durable {
        let mut kept = self.kept();
        kept.updates_before_fault = match kept.updates_before_fault {
            Some(0) => {
                kept.updates_before_fault = None;
                return done(Err(ItemsError::Disk("no space left on device".to_owned())));
            }
            left => left.map(|left| left - 1),
        };
        let Some((before, _)) = kept.items.get_mut(&item) else {
            return done(Err(ItemsError::NoItem(item)));
        };
        *before = record;
        kept.steps += 1;
        done(Ok(Receipt::of_what_is_durable(item)))
    }

    fn remove(&self, item: ItemId) -> Durable {
        let mut kept = self.kept();
        let removal = std::mem::replace(&mut kept.next_removal, Removal::Done);
        if removal != Removal::Fails {
            kept.items.remove(&item);
        }
        if removal != Removal::Done {
            return done(Err(ItemsError::Disk("no space left on device".to_owned())));
        }
        kept.steps += 1;
        done(Ok(Receipt::of_what_is_durable(item)))
    }

    fn record(&self, item: ItemId) -> Result<Vec<u8>, ItemsError> {
        self.kept().items.get(&item).map(|(record, _)| record.clone()).ok_or(ItemsError::NoItem(item))
    }

    fn content(&self, item: ItemId) -> Result<Content, ItemsError> {
        self.kept().items.get(&item).map(|(_, content)| content.clone()).ok_or(ItemsError::NoItem(item))
    }

    fn has(&self, item: ItemId) -> bool {
        self.kept().items.contains_key(&item)
    }

    fn ids(&self, after: Option<ItemId>, most: usize) -> Vec<ItemId> {
        let kept = self.kept();
        let ids = kept.items.keys().filter(|id| after.is_none_or(|after| **id > after));
        ids.take(most).copied().collect()
    }

    fn count(&self) -> usize {
        self.kept().items.len()
    }

    fn has_room_for(&self, octets: u64) -> bool {
        let kept = self.kept();
        kept.octets() + octets <= kept.octets_max
    }
}
