//! The milter protocol, version 6, from the MTA's side: a message that is whole is shown to a filter, step by
//! step, and the filter says what is to become of it.
//!
//! No I/O: [`Session`] takes octets in and gives octets out. There is no RFC for this protocol; what is here
//! follows what sendmail's libmilter puts on the wire. A filter is not trusted: each packet, list and text that
//! it sends has a limit. Changes of recipients, sender and body are not offered to it.

mod error;
mod flags;
mod packet;
mod reply;
mod session;

pub use error::Error;
pub use flags::{Actions, Steps};
pub use reply::{HeaderChange, PACKET_OCTETS_MAX, Reply, TEXT_OCTETS_MAX};
pub use session::{
    CHANGE_OCTETS_MAX, CHANGES_MAX, Client, Disposition, HeaderField, Login, Session, Step, Tls, Transaction,
    Verdict,
};

/// Most octets of the message in one packet.
pub const CHUNK_OCTETS_MAX: usize = 65_535;
