//! What the seam promises, over files in a directory of their own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::sync::Arc;

use store_conformance::Home;
use store_sqlite::{Options, SqliteMailboxes};

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteMailboxes::open(directory.path(), Options::default()).unwrap();
    Home::new(Arc::new(store), directory)
}

store_conformance::mailboxes!(home);
