//! The words of mailboxes: what one is called, what is in it, what changes in it; and [`Account`], which a session asks.
//!
//! Values and one trait. Whoever keeps mailboxes and whoever shows them to a client both speak these words, so neither
//! knows the other. No file, socket or clock.

mod account;
mod flags;
mod listed;
mod message;

pub use account::{Account, AccountError, Appended, NewMessage, Wake};
pub use flags::{FlagList, Flags, KEYWORD_LENGTH_MAX, KEYWORDS_MAX};
pub use listed::{Mailbox, MailboxId, Subscription, Totals};
pub use message::{Changes, Copied, Expunge, FlagMode, FlagUpdate, FlagsChanged, Message, Uids};
