//! Mail authentication: who may send for a domain, who signed a message, and what the domain's owner wants
//! done about mail that is neither (SPF RFC 7208, DKIM RFC 6376, DMARC RFC 9989, ARC RFC 8617).
//!
//! Nothing here opens a socket or reads a clock: DNS is asked through [`dns::Resolver`], time is an
//! argument. All of what is read, records and headers alike, was written by strangers, so every parser is
//! bounded.

pub mod arc;
pub mod dkim;
pub mod dmarc;
pub mod dns;
pub mod message;
pub mod results;
pub mod spf;
