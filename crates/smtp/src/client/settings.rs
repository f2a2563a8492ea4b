//! What a client session is set up with.

use super::Login;
use crate::reply::ReplyLimits;

/// Whether to start TLS with STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsUse {
    /// If it is offered; if it is refused, go on without.
    Opportunistic,
    /// Nothing is sent without it.
    Required,
    /// TLS came first (implicit TLS).
    Established,
    /// Not even if offered; for the second try after a TLS failure.
    Never,
}

/// Whether to send bodies with `BDAT` (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chunking {
    /// Where the server offers CHUNKING: one chunk as large as the message, no dots, no waiting for 354.
    #[default]
    WhenOffered,
    /// Always `DATA`.
    Never,
}

/// The protocol that the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// SMTP: one reply to a message (RFC 5321).
    #[default]
    Smtp,
    /// LMTP, into mailboxes: LHLO, and one reply to a message for each recipient that was taken (RFC 2033 section 4.2).
    Lmtp,
}

/// What a client session is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our name in EHLO.
    pub ehlo_name: String,
    /// Whether to start TLS.
    pub tls: TlsUse,
    /// Whether to send in chunks.
    pub chunking: Chunking,
    /// Who to log in as before the first transaction (RFC 4954); only ever within TLS.
    pub login: Option<Login>,
    /// Which protocol is spoken.
    pub protocol: Protocol,
    /// Limits on what the server may reply.
    pub limits: ReplyLimits,
}

impl Settings {
    /// Settings with default limits that start TLS if it is offered.
    #[must_use]
    pub fn new(ehlo_name: impl Into<String>) -> Self {
        Self {
            ehlo_name: ehlo_name.into(),
            tls: TlsUse::Opportunistic,
            chunking: Chunking::default(),
            login: None,
            protocol: Protocol::default(),
            limits: ReplyLimits::default(),
        }
    }
}
