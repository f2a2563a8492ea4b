//! What the queue lies in: items with a record and octets, each change durable before it is answered. The spool is one;
//! whoever keeps a queue elsewhere implements [`Items`] and passes the same tests.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod spooled;

use std::pin::Pin;

use bytes::Bytes;
use content::Content;
use mail::ItemId;

/// Proof that an item, a change of it or its removal is durable. A 250 is made from one.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt(ItemId);

impl Receipt {
    /// For who implements [`Items`], after the sync that covers it, and for nobody else.
    #[must_use]
    pub const fn of_what_is_durable(item: ItemId) -> Self {
        Self(item)
    }

    /// The item that is durable.
    #[must_use]
    pub const fn item(&self) -> ItemId {
        self.0
    }
}

/// The reasons why a step on the items was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemsError {
    /// The cap is reached: the operator raises it or waits until items leave.
    #[error("the queue is full: {octets} of {octets_max} octets")]
    Full {
        /// Octets that the items have.
        octets: u64,
        /// Octets that they may have.
        octets_max: u64,
    },
    /// No such item.
    #[error("no item {0}")]
    NoItem(ItemId),
    /// The disk failed, or gives back what was not written. The operation counts as not done.
    #[error("{0}")]
    Disk(String),
    /// The program ends.
    #[error("the queue is closed")]
    Closed,
}

/// A change on its way to the disk. The order is given when this is made, in the order of the calls; it is carried out
/// whether or not anybody waits.
pub type Durable = Pin<Box<dyn Future<Output = Result<Receipt, ItemsError>> + Send>>;

/// Items, each with a record and octets. What is asked for reads a disk and may block; what changes something does not.
pub trait Items: Send + Sync + 'static {
    /// Adds an item whose octets are these pieces. One that is there already stays as it is.
    fn append(&self, item: ItemId, record: Vec<u8>, octets: Vec<Bytes>) -> Durable;

    /// The same for one whose octets, `header` and then `content`, are too many for memory. Blocks until all is copied.
    ///
    /// # Errors
    /// [`ItemsError`]; nothing was added.
    fn append_long(
        &self,
        item: ItemId,
        record: Vec<u8>,
        header: &[u8],
        content: &Content,
    ) -> Result<Durable, ItemsError>;

    /// Puts another record in the place of an item's.
    fn update(&self, item: ItemId, record: Vec<u8>) -> Durable;

    /// Removes an item; one that is gone is no error. Contents that somebody holds stay readable.
    fn remove(&self, item: ItemId) -> Durable;

    /// An item's record.
    ///
    /// # Errors
    /// [`ItemsError::NoItem`], or the disk's word.
    fn record(&self, item: ItemId) -> Result<Vec<u8>, ItemsError>;

    /// An item's octets.
    ///
    /// # Errors
    /// As [`Self::record`].
    fn content(&self, item: ItemId) -> Result<Content, ItemsError>;

    /// Whether the item is there.
    fn has(&self, item: ItemId) -> bool;

    /// Ids in order of age, after `after`, at most `most`.
    fn ids(&self, after: Option<ItemId>, most: usize) -> Vec<ItemId>;

    /// The number of items.
    fn count(&self) -> usize;

    /// Whether an item of so many octets would be taken now.
    fn has_room_for(&self, octets: u64) -> bool;
}
