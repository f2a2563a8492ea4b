//! IMAP4rev1 (RFC 3501) with the extensions that make most of IMAP4rev2 (RFC 9051), as a server, without
//! sockets, files or a clock.
//!
//! [`Session`] turns octets of a client into octets for it. Mailboxes are behind [`mailbox::Account`], which
//! the program implements. What a message is made of is read here (`mime`), to the octet, and never changed.

mod command;
mod cursor;
mod date;
mod decode;
mod envelope;
mod fields;
mod frame;
mod item;
mod key;
mod mime;
mod name;
mod part;
mod session;
mod set;
mod write;

pub use envelope::envelope_of;
pub use session::{
    BAD_COMMANDS_MAX, COMMAND_MAX, COMMAND_MAX_BEFORE_LOGIN, Credentials, FAILED_LOGINS_MAX, OUTPUT_FULL,
    Options, Session, Step,
};
