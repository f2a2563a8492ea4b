//! Mailboxes in SQLite: one file per account, messages inside; large bodies are files beside it.
//!
//! Everything that changes an account goes through the writer thread it belongs to, which commits many
//! changes with one fsync and answers only after it. Reading goes beside it, through a small pool of
//! connections. Home's small tables are files of their own (`tables`). What is promised is the traits of [`store`]; nobody but who opens it knows that this is SQLite.

mod body;
mod change;
mod column;
mod fault;
mod files;
mod large;
mod options;
mod queue;
mod reader;
mod schema;
mod set_aside;
mod sqlite_mailboxes;
mod tables;
mod version;
mod writer;

pub use options::Options;
pub use sqlite_mailboxes::SqliteMailboxes;
pub use tables::{SqlitePeople, SqliteQuarantine, SqliteRemembered, SqliteReports};
