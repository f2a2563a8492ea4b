//! Outbound: single attempts that Home orders and Edge carries out.

use mail::{Domain, Envelope, ItemId, Outcome};
use serde::{Deserialize, Serialize};

/// One attempt: one message, the recipients of one domain, one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Made new for each attempt; Edge never carries out one id twice.
    pub attempt: ItemId,
    /// The message, for the trace.
    pub item: ItemId,
    /// Where to: the domain whose MX is asked.
    pub domain: Domain,
    /// Reverse-path, parameters, and only the recipients of this attempt.
    pub envelope: Envelope,
    /// Octets of the message.
    pub octets: u64,
    /// Whether octets above 127 occur in it (RFC 6152).
    pub eight_bit: bool,
    /// Whether they occur in its header, which needs SMTPUTF8 (RFC 6531).
    pub utf8_header: bool,
}

/// What came of an attempt, one outcome per recipient in the attempt's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// The attempt.
    pub attempt: ItemId,
    /// One per recipient.
    pub outcomes: Vec<Outcome>,
}

/// What Edge knows of an attempt that has no outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptState {
    /// It is being carried out; outcomes will follow.
    Running,
    /// Never heard of it, or Edge died before it had an outcome.
    Unknown,
}
