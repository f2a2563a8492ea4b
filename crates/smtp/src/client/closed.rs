//! Why a client session ended, and what that means for recipients that had no reply of their own.

use mail::{EnhancedCode, Outcome, Reply};

use crate::reply::ReplyError;

/// The reasons why the session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// QUIT was said, or [`Closed`] was reported before.
    #[error("the session is over")]
    Done,
    /// The server refused the session, not a recipient: greeting, EHLO or HELO, or a 421 at any time.
    /// Another host of the same domain may be more willing.
    #[error("the server refused the session: {0}")]
    Refused(Reply),
    /// TLS is required and STARTTLS is not offered.
    #[error("the server does not offer TLS")]
    TlsNotOffered,
    /// TLS is required and STARTTLS was refused.
    #[error("the server refused to start TLS: {0}")]
    TlsRefused(Reply),
    /// The TLS handshake failed, or plain text followed the reply to STARTTLS.
    #[error("TLS could not be started")]
    TlsFailed,
    /// A login is wanted, and the server does not offer the mechanism, or there is no TLS.
    #[error("the server offers no way to log in")]
    LoginNotOffered,
    /// The server refused the login. A 5xx will not change by itself: the operator has to look at it.
    #[error("the server refused the login: {0}")]
    LoginRefused(Reply),
    /// The server sent octets that are no reply.
    #[error("the server broke the protocol: {0}")]
    Malformed(ReplyError),
    /// A reply that nothing asked for, or that does not fit the command.
    #[error("the server sent a reply that does not fit: {0}")]
    Unexpected(Reply),
    /// The connection was lost.
    #[error("the connection was lost")]
    Dropped,
    /// The server was silent for too long.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The body that the caller gave is not canonical, not of the size announced, or was abandoned.
    #[error("the message could not be sent as it is")]
    BadBody,
    /// A call that does not fit the session's state.
    #[error("the session was not ready")]
    Misused,
}

impl Closed {
    /// What this means for a recipient that has no reply of its own. `mta` is the host's name. A
    /// [`Closed::Refused`] with 5xx is `Failed`: the caller should first try the domain's other hosts.
    /// All else is temporary.
    #[must_use]
    pub fn outcome(&self, mta: Option<&str>) -> Outcome {
        let status = match self {
            Self::Refused(reply) => return Outcome::from_reply(mta.map(str::to_owned), reply),
            Self::Done | Self::Dropped | Self::TimedOut => EnhancedCode(4, 4, 2),
            Self::TlsNotOffered | Self::TlsRefused(_) => EnhancedCode(4, 7, 10),
            Self::TlsFailed => EnhancedCode(4, 7, 5),
            Self::LoginNotOffered => EnhancedCode(4, 7, 4),
            Self::LoginRefused(_) => EnhancedCode(4, 7, 8),
            Self::Malformed(_) | Self::Unexpected(_) => EnhancedCode(4, 5, 0),
            Self::BadBody | Self::Misused => EnhancedCode(4, 3, 0),
        };
        let mut outcome = Outcome::deferred(status, self.to_string());
        if let Outcome::Deferred(why) = &mut outcome {
            why.mta = mta.map(str::to_owned);
            if let Self::TlsRefused(reply) | Self::LoginRefused(reply) | Self::Unexpected(reply) = self {
                why.reply = Some(reply.clone());
            }
        }
        outcome
    }
}
