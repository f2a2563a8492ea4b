//! What became of one recipient.

use serde::{Deserialize, Serialize};

use crate::{EnhancedCode, Reply};

/// Too many recipients (RFC 3463 section 3.6, detail 3).
const TOO_MANY_RECIPIENTS: EnhancedCode = EnhancedCode(4, 5, 3);

/// The result of one attempt for one recipient. What is not known is `Deferred`: the unknown is temporary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The next hop took responsibility.
    Delivered(Why),
    /// Not now; try again later.
    Deferred(Why),
    /// Never; tell the sender.
    Failed(Why),
}

impl Outcome {
    /// The reason given, whatever the result.
    #[must_use]
    pub const fn why(&self) -> &Why {
        match self {
            Self::Delivered(why) | Self::Deferred(why) | Self::Failed(why) => why,
        }
    }

    /// The outcome that an SMTP reply states: 2xx delivered, 5xx failed, all else deferred.
    #[must_use]
    pub fn from_reply(mta: Option<String>, reply: &Reply) -> Self {
        let why = Why {
            mta,
            status: reply.status(),
            reply: Some(reply.clone()),
            cause: String::new(),
            reports: false,
        };
        match reply.code {
            200..=299 => Self::Delivered(why),
            500..=599 => Self::Failed(why),
            _ => Self::Deferred(why),
        }
    }

    /// The host takes no more recipients in one transaction, as it says or has said before: this one was not tried, and
    /// has its turn in the next transaction (RFC 5321 section 4.5.3.1.10).
    #[must_use]
    pub fn left_over(mta: Option<String>) -> Self {
        let cause = "the host takes no more recipients at one time".to_owned();
        Self::Deferred(Why { mta, status: TOO_MANY_RECIPIENTS, reply: None, cause, reports: false })
    }

    /// Whether it is one of [`Outcome::left_over`], or a reply that says the same.
    #[must_use]
    pub fn is_left_over(&self) -> bool {
        let Self::Deferred(why) = self else { return false };
        why.status == TOO_MANY_RECIPIENTS && why.reply.as_ref().is_none_or(|reply| reply.code == 452)
    }

    /// Not now, for a cause of our own (no reply from a peer).
    #[must_use]
    pub fn deferred(status: EnhancedCode, cause: impl Into<String>) -> Self {
        Self::Deferred(Why { mta: None, status, reply: None, cause: cause.into(), reports: false })
    }

    /// Never, for a cause of our own (no reply from a peer).
    #[must_use]
    pub fn failed(status: EnhancedCode, cause: impl Into<String>) -> Self {
        Self::Failed(Why { mta: None, status, reply: None, cause: cause.into(), reports: false })
    }
}

/// Why an outcome is what it is, in the words a DSN needs (RFC 3464 section 2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The host that answered, for `Remote-MTA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mta: Option<String>,
    /// `Status` (RFC 3463).
    pub status: EnhancedCode,
    /// The peer's reply, for `Diagnostic-Code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// Our own words, where no reply says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Whether the next hop was told what the sender wants to hear of, and reports it itself (DSN, RFC 3461 section
    /// 5.2.1). If not, what it took is ours to report (section 5.2.2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reports: bool,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reply {
            Some(reply) => write!(f, "{reply}"),
            None => write!(f, "{} {}", self.status, self.cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_that_are_left_over_are_told_from_others_that_wait() {
        let reply = |code, status| Outcome::from_reply(None, &Reply::new(code, status, "x"));
        assert!(Outcome::left_over(None).is_left_over() && reply(452, (4, 5, 3)).is_left_over());
        for other in [
            reply(452, (4, 3, 1)),
            reply(451, (4, 5, 3)),
            reply(552, (5, 5, 3)),
            reply(250, (2, 1, 5)),
            Outcome::deferred(EnhancedCode(4, 4, 1), "x"),
        ] {
            assert!(!other.is_left_over(), "{other:?}");
        }
    }
}
