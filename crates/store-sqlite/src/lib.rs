//! Mailboxes: one SQLite file per account, messages inside; large bodies are files beside it.
//!
//! Everything that changes an account goes through the writer thread it belongs to, which commits many
//! changes with one fsync and answers only after it. Reading goes beside it, through a small pool of
//! connections. What is told to be stored is durable; what is not told may be there or not. Protocols, users
//! and passwords are not here.

mod body;
mod change;
mod column;
mod error;
mod files;
mod large;
mod mailboxes;
mod messages;
mod name;
mod options;
mod queue;
mod reader;
mod schema;
mod set_aside;
mod store;
mod watch;
mod writer;

pub use body::Body;
pub use change::{Append, Delivery, MAILBOXES_MAX, MESSAGE_OCTETS_MAX, Receipt};
pub use error::StoreError;
/// The words that everything here is asked in.
pub use mailbox::{
    Changes, Copied, Expunge, FlagList, FlagMode, FlagUpdate, Flags, FlagsChanged, KEYWORD_LENGTH_MAX,
    KEYWORDS_MAX, Mailbox, MailboxId, Message, Subscription, Totals, Uids,
};
pub use name::{ACCOUNT_NAME_MAX, MAILBOX_DEPTH_MAX, MAILBOX_NAME_MAX};
pub use options::Options;
pub use reader::Reader;
pub use set_aside::SetAside;
pub use store::Store;
pub use watch::{Registration, Watch};
