//! A queue in a spool.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use content::Content;
use mail::ItemId;
use spool::{Done, Spool, SpoolError};
use tokio::sync::oneshot;

use super::{Durable, Items, ItemsError, Receipt};

/// Octets copied at one time from a file into a draft.
const COPY_OCTETS: usize = 256 * 1024;

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

    fn append_file(
        &self,
        item: ItemId,
        header: &[u8],
        (file, from): (&File, u64),
        record_of: &mut dyn FnMut(u64) -> Result<Vec<u8>, ItemsError>,
    ) -> Result<Durable, ItemsError> {
        let mut draft = self.draft(item)?;
        let copied = draft.write_all(header).and_then(|()| copy(file, from, &mut draft));
        copied.map_err(|error| copy_error(&error, self))?;
        let record = record_of(draft.octets())?;
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

/// From the start, whatever others read of the same file meanwhile.
fn copy(from: &File, mut at: u64, to: &mut spool::Draft) -> io::Result<()> {
    let mut piece = vec![0; COPY_OCTETS];
    loop {
        let octets = from.read_at(&mut piece, at)?;
        match piece.get(..octets) {
            None | Some([]) => return Ok(()),
            Some(read) => to.write_all(read)?,
        }
        at += octets as u64;
    }
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
