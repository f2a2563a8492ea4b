//! What may be asked of a running daemon, as values: the commands say it, the roles answer it, and whoever else speaks
//! through the control socket uses the same words.

use mail::ItemId;
use serde::{Deserialize, Serialize};

/// A request. A role that has no such thing refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", content = "arguments", rename_all = "kebab-case")]
pub enum Request {
    /// The state of the running role.
    Status,
    /// Read configuration and certificate again.
    Reload,
    /// Send a message to an edge's test address, which sends it back. Home.
    RoundTrip,
    /// Send a message of the first account's to this address. Home.
    TestMail(String),
    /// About the outbound queue. Home.
    Queue(QueueRequest),
    /// About the quarantine. Home.
    Quarantine(QuarantineRequest),
    /// About accounts and aliases. Home.
    People(PeopleRequest),
    /// About the keys that sign. Home.
    Dkim(DkimRequest),
    /// About reports on TLS. Home.
    TlsReport(TlsReportRequest),
    /// About the homes that are paired. Edge.
    Homes(HomesRequest),
    /// To look whether all is well.
    Doctor(DoctorRequest),
}

/// What came of [`Request::Reload`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What of the configuration has changed and takes effect only after a restart; empty when all of it is in force.
    pub after_restart: Vec<String>,
}

/// `postern queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueRequest {
    /// Lists the queued messages.
    List,
    /// All that is known of a message.
    Show(ItemId),
    /// Try one message now, or all.
    Retry(Option<ItemId>),
    /// Keep one message back.
    Hold(ItemId),
    /// Let one message go again.
    Release(ItemId),
    /// Remove one; nobody is told.
    Remove(ItemId),
}

/// `postern quarantine`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineRequest {
    /// Lists the messages in quarantine.
    List,
    /// Header and reason of a message.
    Show(ItemId),
    /// Deliver one message.
    Release {
        /// The message.
        item: ItemId,
        /// The address that gets it; `None` for the recipients that it was for.
        to: Option<String>,
    },
    /// Delete one message.
    Delete(ItemId),
}

/// `postern user` and `postern alias`. Addresses are as somebody typed them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeopleRequest {
    /// Lists accounts.
    ListUsers,
    /// Lists mailboxes that are set aside.
    ListRemoved,
    /// Adds an account.
    AddUser {
        /// The account's address.
        address: String,
        /// The account's password.
        password: String,
        /// The date of the mailbox that it gets back, or that it is the newest.
        restore: Option<String>,
    },
    /// Sets another password.
    SetPassword {
        /// The account's address.
        address: String,
        /// The new password.
        password: String,
    },
    /// Removes an account.
    RemoveUser {
        /// The account's address.
        address: String,
    },
    /// Lists aliases.
    ListAliases,
    /// An alias more, or more targets of one.
    AddAlias {
        /// `name@domain` or `*@domain`.
        alias: String,
        /// Addresses that it leads to, at least one.
        targets: Vec<String>,
    },
    /// Removes an alias.
    RemoveAlias {
        /// `name@domain` or `*@domain`.
        alias: String,
    },
}

/// Nothing that is logged has a password in it.
impl std::fmt::Debug for PeopleRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeopleRequest(…)")
    }
}

/// `postern dkim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DkimRequest {
    /// Lists keys and what is to be done with them.
    Status,
    /// The next step of a change of keys.
    Rotate {
        /// The domain whose keys are changed.
        domain: String,
    },
}

/// `postern tls-report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsReportRequest {
    /// Lists the reports that are known.
    List,
    /// The reports on a domain as they would be sent.
    Show {
        /// The recipients' domain.
        domain: String,
    },
    /// Sends all reports that there are now.
    Send,
}

/// `postern edge homes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HomesRequest {
    /// Lists the homes that are paired.
    List,
    /// One takes the place of another.
    Replace {
        /// Name, or first digits, of the one that has the domains.
        old: String,
        /// The same of the one that gets them.
        new: String,
        /// The domains that change hands; empty for all.
        domains: Vec<String>,
    },
    /// Ends a pairing.
    Remove {
        /// The home's name at Edge, or its first digits.
        home: String,
    },
}

/// `postern doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DoctorRequest {
    /// A host whose port 25 is tried from Edge.
    pub probe: Option<String>,
    /// Whether our rules are loaded on this host, where the command could look: the daemon may not.
    pub firewall: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_were_written_and_say_what_they_are() {
        let item = ItemId::from_bytes([1; 16]);
        let add = PeopleRequest::AddUser {
            address: "a@b.example".to_owned(),
            password: "secret".to_owned(),
            restore: None,
        };
        let all = [
            Request::Status,
            Request::Queue(QueueRequest::Retry(None)),
            Request::Queue(QueueRequest::Hold(item)),
            Request::Quarantine(QuarantineRequest::Release { item, to: Some("a@b.example".to_owned()) }),
            Request::People(add),
            Request::Dkim(DkimRequest::Status),
            Request::TlsReport(TlsReportRequest::Show { domain: "b.example".to_owned() }),
            Request::Doctor(DoctorRequest { probe: Some("a.example".to_owned()), firewall: None }),
            Request::Homes(HomesRequest::Remove { home: "0101".to_owned() }),
        ];
        for request in all {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
            assert!(!format!("{request:?}").contains("secret"));
        }
        assert_eq!(serde_json::to_string(&Request::Status).unwrap(), r#"{"command":"status"}"#);
        // What an earlier version's command says is none of these.
        assert!(serde_json::from_str::<Request>(r#"{"command":"queue list","arguments":[]}"#).is_err());
    }
}
