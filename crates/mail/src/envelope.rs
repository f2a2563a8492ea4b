//! What travels beside the message: who sends, to whom, and under which SMTP parameters.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Address, ReversePath};

/// The envelope of one transaction (RFC 5321 section 2.3.1) with every parameter a relay must pass on, and
/// the client that Edge saw. It crosses the link and rests, sealed, with the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// `RCPT TO`, in the order given, at least one.
    pub recipients: Vec<Recipient>,
    /// `BODY=` (RFC 6152).
    #[serde(default)]
    pub body: BodyType,
    /// `SMTPUTF8` (RFC 6531).
    #[serde(default)]
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689): no hop without TLS whose certificate was verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_tls: bool,
    /// `RET=` (RFC 3461 section 4.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// `ENVID=` (RFC 3461 section 4.4), as the xtext that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// Who handed the message over. Absent on mail that Postern wrote itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
}

/// One recipient and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The forward-path.
    pub address: Address,
    /// `NOTIFY=` (RFC 3461 section 4.1); absent means that the client said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461 section 4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<Orcpt>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self { address, notify: None, orcpt: None }
    }
}

/// `BODY=` of RFC 6152. `BINARYMIME` is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyType {
    /// Seven-bit text, or nothing said.
    #[default]
    SevenBit,
    /// Octets above 127 occur.
    EightBitMime,
}

/// `RET=`: how much of the message a failure notice carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header only.
    Hdrs,
}

/// `NOTIFY=`: when the sender wants to hear of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notify {
    /// On delivery. All three false is `NEVER`.
    pub success: bool,
    /// On permanent failure.
    pub failure: bool,
    /// When delivery takes long.
    pub delay: bool,
}

impl Notify {
    /// `NOTIFY=NEVER`.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    /// The parameter's value as SMTP writes it.
    #[must_use]
    pub fn to_smtp(self) -> String {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let said: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
        if said.is_empty() { "NEVER".to_owned() } else { said.join(",") }
    }
}

/// `ORCPT=`: the recipient as the original sender wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orcpt {
    /// `rfc822`, `utf-8` and so on.
    pub kind: String,
    /// The address, as the xtext that came.
    pub address: String,
}

/// The SMTP client that handed a message over, as the role that met it saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The client's address.
    pub ip: IpAddr,
    /// What it called itself in EHLO or HELO.
    pub helo: String,
    /// Whether the client spoke EHLO.
    pub esmtp: bool,
    /// TLS version and cipher suite, when the session was encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The account that logged in (submission only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

impl Client {
    /// The `with` word of a Received field (RFC 3848, RFC 6531 section 4.3).
    #[must_use]
    pub fn protocol(&self, smtputf8: bool) -> &'static str {
        match (self.esmtp, smtputf8, self.tls.is_some(), self.login.is_some()) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_survives_json_and_old_records_without_newer_fields_are_read() {
        let json = r#"{"reverse_path":"","recipients":[{"address":"bob@example.org"}]}"#;
        let envelope: Envelope = serde_json::from_str(json).unwrap();
        assert_eq!(envelope.reverse_path, ReversePath::Null);
        assert_eq!(envelope.body, BodyType::SevenBit);
        let again: Envelope = serde_json::from_str(&serde_json::to_string(&envelope).unwrap()).unwrap();
        assert_eq!(again, envelope);
    }

    #[test]
    fn notify_is_written_as_smtp_writes_it() {
        assert_eq!(Notify::NEVER.to_smtp(), "NEVER");
        assert_eq!(Notify { success: true, failure: true, delay: false }.to_smtp(), "SUCCESS,FAILURE");
    }
}
