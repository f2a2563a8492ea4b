//! What may be asked of a running daemon, as values: the commands say it, the roles answer it, and whoever else speaks
//! through the control socket uses the same words.

use mail::ItemId;
use serde::{Deserialize, Serialize};

/// A request. A role that has no such thing refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", content = "arguments", rename_all = "kebab-case")]
pub enum Request {
    /// How it is.
    Status,
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
}

/// `postern queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueRequest {
    /// What is in it.
    List,
    /// All that is known of a message.
    Show(ItemId),
    /// Try one message now, or all.
    Retry(Option<ItemId>),
    /// Keep one back.
    Hold(ItemId),
    /// Let one go again.
    Release(ItemId),
    /// Remove one; nobody is told.
    Remove(ItemId),
}

/// `postern quarantine`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineRequest {
    /// What is in it.
    List,
    /// Header and reason of a message.
    Show(ItemId),
    /// Deliver one.
    Release {
        /// Which.
        item: ItemId,
        /// To whom, if not to those whom it was for.
        to: Option<String>,
    },
    /// Delete one.
    Delete(ItemId),
}

/// `postern user` and `postern alias`. Addresses are as somebody typed them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeopleRequest {
    /// Who there is.
    ListUsers,
    /// Whose mailboxes are set aside.
    ListRemoved,
    /// An account more.
    AddUser {
        /// Its address.
        address: String,
        /// Its password.
        password: String,
        /// The date of the mailbox that it gets back, or that it is the newest.
        restore: Option<String>,
    },
    /// Another password.
    SetPassword {
        /// Whose.
        address: String,
        /// Which.
        password: String,
    },
    /// An account less.
    RemoveUser {
        /// Which.
        address: String,
    },
    /// The aliases.
    ListAliases,
    /// An alias more, or more targets of one.
    AddAlias {
        /// `name@domain` or `*@domain`.
        alias: String,
        /// Where it leads; one at least.
        targets: Vec<String>,
    },
    /// An alias less.
    RemoveAlias {
        /// Which.
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
    /// Which keys there are.
    Status,
    /// The next step of a change of keys.
    Rotate {
        /// Of this domain.
        domain: String,
    },
}

/// `postern tls-report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsReportRequest {
    /// Which days are known.
    List,
    /// The reports on a domain as they would be sent.
    Show {
        /// Which.
        domain: String,
    },
    /// Send what there is now.
    Send,
}

/// `postern edge homes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HomesRequest {
    /// Those that are paired.
    List,
    /// One takes the place of another.
    Replace {
        /// Name, or first digits, of the one that has the domains.
        old: String,
        /// Of the one that gets them.
        new: String,
        /// Which of them; none: all.
        domains: Vec<String>,
    },
    /// Ends a pairing.
    Remove {
        /// Name, or first digits.
        home: String,
    },
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
