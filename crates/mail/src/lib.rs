//! The words of mail: addresses, envelopes, replies, outcomes, headers, delivery status notifications.
//!
//! Everything here is a value. Nothing opens a file, asks the clock or knows a socket; every other crate
//! of Postern speaks in these types, so that an address is parsed once, where its bytes come in, and the
//! type is the proof from there on.

mod address;
pub mod address_list;
mod date;
pub mod dsn;
mod envelope;
pub mod header;
pub mod header_section;
mod item_id;
mod outcome;
pub mod received;
mod reply;
pub mod require_tls;
mod verdict;

pub use address::{
    Address, AddressError, DOMAIN_MAX, Domain, LOCAL_PART_MAX, REVERSE_LOCAL_PART_MAX, ReversePath,
};
pub use date::UnixTime;
pub use envelope::{BodyType, Client, Envelope, Notify, Orcpt, Recipient, Ret};
pub use item_id::{ItemId, NoItemId};
pub use outcome::{Outcome, Why};
pub use reply::{EnhancedCode, NoEnhancedCode, Reply};
pub use verdict::{Finding, Place, Sign, Verdict, explain_signs, sum_of_signs};
