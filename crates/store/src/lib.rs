//! What Home keeps, and how it is asked for: the seam between those who need mailboxes and those who keep them.
//!
//! Types and traits. [`Mailboxes`] is all accounts of a Home, [`Reader`] reads one of them. What is told to be stored is
//! durable; what is not told may be there or not. Whoever keeps them implements these traits (`store-sqlite` does, and
//! `store-memory` for tests) and runs `store-conformance`. Protocols, users and passwords are not here, nor is SQL.

mod delivering;
mod delivery;
mod error;
mod head;
mod mailboxes;
pub mod name;
mod set_aside;
pub mod tables;
mod watch;

pub use delivering::Delivering;
pub use delivery::{Append, Delivery, Done, MAILBOXES_MAX, MESSAGE_OCTETS_MAX, Receipt};
pub use error::StoreError;
pub use head::Head;
/// The words that everything here is asked in.
pub use mailbox::{
    Changes, Copied, Expunge, FlagList, FlagMode, FlagUpdate, Flags, FlagsChanged, KEYWORD_LENGTH_MAX,
    KEYWORDS_MAX, Mailbox, MailboxId, Message, Subscription, Totals, Uids,
};
pub use mailboxes::{GONE_ENTRIES_MAX, Mailboxes, Reader, SPECIAL_MAILBOXES};
pub use name::{ACCOUNT_NAME_MAX, MAILBOX_DEPTH_MAX, MAILBOX_NAME_MAX};
pub use set_aside::{SetAside, date_after};
pub use watch::{Registration, Watch, Watches};
