//! How an edge is doing, for the home that asks: numbers, and nothing of other homes or of anybody's mail.

use mail::UnixTime;
use serde::{Deserialize, Serialize};

/// The ability to say how it is doing: [`crate::Errand::Status`].
pub const STATUS: &str = "status";

/// Messages that passed a role, one way, since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Taken over by who was to have them.
    pub taken: u64,
    /// Put off or refused.
    pub not_taken: u64,
    /// When the last one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<UnixTime>,
}

/// How an edge is doing. Fields that are added have defaults; those that are not known are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeStatus {
    /// `postern` and its version.
    pub software: String,
    /// When it began.
    pub begun: UnixTime,
    /// SMTP sessions now.
    pub sessions: u64,
    /// As many as there may be.
    pub sessions_max: u64,
    /// Mail from the world, of all homes.
    #[serde(rename = "in")]
    pub incoming: Passed,
    /// Attempts to send, of all homes.
    #[serde(rename = "out")]
    pub outgoing: Passed,
    /// Messages that it has sealed for the home that asks.
    pub sealed: u64,
    /// Their octets.
    pub sealed_octets: u64,
    /// The TLSA record that its certificate needs now: `3 1 1` and digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tlsa: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_says_is_read_as_far_as_it_is_known() {
        let read: EdgeStatus =
            serde_json::from_str(r#"{"sessions":3,"in":{"taken":1,"not_taken":2},"of-tomorrow":[]}"#)
                .unwrap();
        let incoming = Passed { taken: 1, not_taken: 2, last: None };
        assert_eq!(read, EdgeStatus { sessions: 3, incoming, ..EdgeStatus::default() });
    }
}
