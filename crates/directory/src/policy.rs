//! What the configuration says of people and of what they may do, as far as it can change while Home runs.

use link::Away;
use mail::{Address, Domain};
use serde::Deserialize;

/// The part of the configuration that is in force now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The domains whose mail lives here, the first one first.
    pub domains: Vec<Domain>,
    /// Who gets what nobody else can; else the first account.
    pub postmaster: Option<Address>,
    /// Characters that start a sub-address (`bob+lists`).
    pub subaddress_separators: String,
    /// Host names of the edges.
    pub edges: Vec<String>,
    /// What edges do with mail while Home is away.
    pub away: Away,
    /// Most octets of one message.
    pub message_octets_max: u64,
    /// Whether mail is sent to the world.
    pub sends: bool,
    /// Most recipients abroad that one account may send to.
    pub sending: SendingLimits,
    /// Which reverse-paths are signed.
    pub return_path: ReturnPathPolicy,
    /// The time zone in which dates leave.
    pub date_zone: DateZone,
    /// What is done with a message that tells too much.
    pub on_leak: OnLeak,
    /// Reports on TLS.
    pub tls_reports: TlsReportsPolicy,
}

impl Policy {
    /// Of a Home with these domains that keeps to what goes without saying, and sends nothing.
    #[cfg(test)]
    pub(crate) fn of(domains: Vec<Domain>) -> Self {
        Self {
            domains,
            postmaster: None,
            subaddress_separators: "+".to_owned(),
            edges: Vec::new(),
            away: Away::default(),
            message_octets_max: 50 << 20,
            sends: false,
            sending: SendingLimits { recipients_per_hour: 200, recipients_per_day: 1000 },
            return_path: ReturnPathPolicy::default(),
            date_zone: DateZone::default(),
            on_leak: OnLeak::default(),
            tls_reports: TlsReportsPolicy::default(),
        }
    }
}

/// Recipients abroad to which one account may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingLimits {
    /// Recipients in an hour.
    pub recipients_per_hour: u32,
    /// Recipients in a day.
    pub recipients_per_day: u32,
}

/// Signed reverse-paths of what users send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReturnPathPolicy {
    /// Whether reverse-paths are signed.
    pub sign: bool,
    /// Addresses whose reverse-paths are not.
    pub unsigned: Vec<Address>,
}

/// Reports on TLS (RFC 8460) that are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsReportsPolicy {
    /// Whether reports are sent.
    pub send: bool,
    /// The organization in whose name they are sent; else the first domain.
    pub organization: Option<String>,
    /// Whom their readers may ask; else the postmaster.
    pub contact: Option<Address>,
}

/// What becomes of the zone of dates: `"utc"` or `"keep"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DateZone {
    /// Dates leave as the same instant in UTC, written `-0000` (RFC 5322 section 3.3).
    #[default]
    Utc,
    /// Dates leave as they were written.
    Keep,
}

/// What becomes of a message that tells too much: `"refuse"` or `"log"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLeak {
    /// It is not taken, and the log says so.
    #[default]
    Refuse,
    /// It is sent, and the log says so.
    Log,
}

impl OnLeak {
    /// The value's word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Log => "log",
        }
    }
}
