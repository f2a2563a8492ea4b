//! A queue in a spool.

use std::io::{self, Write as _};

use bytes::Bytes;
use content::Content;
use mail::ItemId;
use spool::{Done, Spool, SpoolError};
use tokio::sync::oneshot;

use super::{Durable, Items, ItemsError, Receipt};

impl From<SpoolError> for ItemsError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Full { octets, octets_max } => Self::Full { octets, octets_max },
            SpoolError::NoItem(item) => Self::NoItem(item),
            SpoolError::Closed => Self::Closed,
            SpoolError::Io { .. } | SpoolError::Damaged { .. } | SpoolError::Newer { .. } => {
                Self::Disk(error.to_string())
            }
        }
    }
}

impl Items for Spool {
    fn append(&self, item: ItemId, record: Vec<u8>, octets: Vec<Bytes>) -> Durable {
        durable(|done| Self::append(self, item, record, octets, done))
    }

    fn append_long(
        &self,
        item: ItemId,
        record: Vec<u8>,
        header: &[u8],
        content: &Content,
    ) -> Result<Durable, ItemsError> {
        let mut draft = self.draft(item)?;
        let copied = draft.write_all(header).and_then(|()| content.copy_to(0, &mut draft));
        copied.map_err(|error| copy_error(&error, self))?;
        Ok(durable(|done| self.append_draft(draft, record, done)))
    }

    fn update(&self, item: ItemId, record: Vec<u8>) -> Durable {
        durable(|done| Self::update(self, item, record, done))
    }

    fn remove(&self, item: ItemId) -> Durable {
        durable(|done| Self::remove(self, item, done))
    }

    fn record(&self, item: ItemId) -> Result<Vec<u8>, ItemsError> {
        Ok(self.meta(item)?)
    }

    fn content(&self, item: ItemId) -> Result<Content, ItemsError> {
        Ok(self.body(item)?.into())
    }

    fn has(&self, item: ItemId) -> bool {
        Self::has(self, item)
    }

    fn ids(&self, after: Option<ItemId>, most: usize) -> Vec<ItemId> {
        self.list(after, most).into_iter().map(|listed| listed.id).collect()
    }

    fn count(&self) -> usize {
        Self::count(self)
    }

    fn has_room_for(&self, octets: u64) -> bool {
        Self::has_room_for(self, octets)
    }
}

fn durable(order: impl FnOnce(Done)) -> Durable {
    let (answer, answered) = oneshot::channel();
    order(Box::new(move |result: Result<spool::Receipt, SpoolError>| {
        // Who waited may have gone.
        let _ = answer.send(result);
    }));
    Box::pin(async move {
        let receipt: spool::Receipt = answered.await.map_err(|_| ItemsError::Closed)??;
        Ok(Receipt::of_what_is_durable(receipt.id()))
    })
}

/// A draft says that the spool is full in the words of the system.
fn copy_error(error: &io::Error, spool: &Spool) -> ItemsError {
    if error.kind() == io::ErrorKind::StorageFull {
        let octets = spool.octets();
        ItemsError::Full { octets, octets_max: octets }
    } else {
        ItemsError::Disk(format!("a message could not be copied into the queue: {error}"))
    }
}
