//! Mailboxes in SQLite: one file per account, messages inside; large bodies are files beside it.
//!
//! Everything that changes an account goes through the writer thread it belongs to, which commits many
//! changes with one fsync and answers only after it. Reading goes beside it, through a small pool of
//! connections. What is promised is [`store::Mailboxes`]; nobody but who opens it knows that this is SQLite.

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
mod version;
mod writer;

pub use options::Options;
pub use sqlite_mailboxes::SqliteMailboxes;
