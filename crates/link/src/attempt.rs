//! Outbound: single attempts that Home orders and Edge carries out.

use mail::{Domain, Envelope, ItemId, Outcome};
use serde::{Deserialize, Serialize};
use tlspolicy::report::Results;

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
    /// The length of the message, in octets.
    pub octets: u64,
    /// Whether octets above 127 occur in it (RFC 6152).
    pub eight_bit: bool,
    /// Whether they occur in its header.
    pub utf8_header: bool,
    /// Whether the message is to arrive even where what its domain demands of TLS can't be met: it says
    /// `TLS-Required: No` (RFC 8689 section 5). Its sessions are not reported on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls_optional: bool,
}

impl Attempt {
    /// Whether the message can be sent with SMTPUTF8 only (RFC 6531), whatever its addresses are like: its header says so
    /// and whoever handed it in did, too. Raw octets that came without it are an old program's: nobody knows that they are
    /// UTF-8, and 8BITMIME carried them here.
    #[must_use]
    pub const fn needs_smtputf8(&self) -> bool {
        self.utf8_header && self.envelope.smtputf8
    }
}

/// What came of an attempt, one outcome per recipient in the attempt's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// The attempt.
    pub attempt: ItemId,
    /// One per recipient.
    pub outcomes: Vec<Outcome>,
    /// The TLS sessions that were begun for it (RFC 8460). None when a connection was there already.
    #[serde(default, skip_serializing_if = "Results::is_empty")]
    pub tls: Results,
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

#[cfg(test)]
mod tests {
    use tlspolicy::report::{AppliedPolicy, PolicyType};

    use super::*;

    /// Symptom: mail of a program that writes its header in Latin-1, or in UTF-8 without saying so, came back with 5.6.7.
    /// Cause: any octet above 127 in a header was taken to need SMTPUTF8, which its next host did not offer.
    #[test]
    fn a_header_beyond_ascii_needs_smtputf8_only_if_it_came_with_it() {
        let needs = |utf8_header: bool, smtputf8: bool| {
            let envelope = serde_json::json!({ "reverse_path": "", "recipients": [], "smtputf8": smtputf8 });
            let id = "00000000000000000000000001";
            let attempt: Attempt = serde_json::from_value(serde_json::json!({
                "attempt": id, "item": id, "domain": "a.test", "envelope": envelope, "octets": 1,
                "eight_bit": utf8_header, "utf8_header": utf8_header,
            }))
            .unwrap();
            attempt.needs_smtputf8()
        };
        assert!(needs(true, true));
        assert!(!needs(true, false) && !needs(false, true) && !needs(false, false));
    }

    #[test]
    fn outcomes_of_an_older_edge_are_read_and_newer_fields_are_passed_over() {
        let written = r#"{"attempt":"00000000000000000000000001","outcomes":[]}"#;
        let mut outcomes: Outcomes = serde_json::from_str(written).unwrap();
        assert!(outcomes.tls.is_empty());
        assert_eq!(serde_json::to_string(&outcomes).unwrap(), written, "an older home sees nothing new");
        outcomes.tls.success(AppliedPolicy::without_content(PolicyType::Sts, "a.example"));
        let more = serde_json::to_string(&outcomes).unwrap().replace("\"tls\"", "\"future\":1,\"tls\"");
        assert_eq!(serde_json::from_str::<Outcomes>(&more).unwrap(), outcomes);
    }
}
