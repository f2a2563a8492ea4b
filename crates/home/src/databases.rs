//! In what Home keeps: the one place that knows it is SQLite. Everybody else sees the traits of `store`.

use std::path::Path;
use std::sync::Arc;

use store::{Mailboxes, StoreError};
use store_sqlite::{Options, SqliteMailboxes};

/// Opens the mailboxes in a directory, which is made when missing. Blocks.
pub(crate) fn open_mailboxes(directory: &Path) -> Result<Arc<dyn Mailboxes>, StoreError> {
    Ok(Arc::new(SqliteMailboxes::open(directory, Options::default())?))
}
