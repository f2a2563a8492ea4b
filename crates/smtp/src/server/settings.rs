//! What a server session is set up with.

use crate::body::BodyLimits;

/// Which service the port gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Mail from other MTAs for domains that are ours (RFC 5321).
    Mx,
    /// The same, from MTAs that the role knows: by a certificate that they showed in TLS, or by a login. It is the role
    /// that lets nobody else say MAIL.
    Relay(Login),
    /// Mail from users, after a login under TLS (RFC 6409, RFC 8314).
    Submission,
}

/// Whether clients may log in (RFC 4954).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Clients may log in under TLS.
    Offered,
    /// Clients can't log in.
    NotOffered,
}

impl Mode {
    /// Whether AUTH is offered, under TLS.
    pub(super) const fn offers_login(self) -> bool {
        matches!(self, Self::Submission | Self::Relay(Login::Offered))
    }
}

/// Settings that all sessions of a port share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in the greeting and the EHLO reply.
    pub hostname: String,
    /// The service that the port gives.
    pub mode: Mode,
    /// Whether TLS can be started: a certificate is there.
    pub starttls: bool,
    /// Limits on what a client may send.
    pub limits: Limits,
}

/// Limits on what a client may send. The RFC's figures are minima; these are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line, CRLF included. Default 4,096 (RFC 5321 section 4.5.3.1.4 asks for 512, each
    /// extension for some more). `AUTH` may have 12,288 octets of base64 (RFC 4954 section 4.3).
    pub command_octets: usize,
    /// Octets of a message, offered as `SIZE` (RFC 1870). Default 52,428,800 (50 MiB).
    pub message_octets: u64,
    /// Recipients of one transaction. Default 1,000 (RFC 5321 section 4.5.3.1.8 asks for 100).
    pub recipients: usize,
    /// Protocol errors that are answered; the next one ends the session with 421 4.7.0. Default 20.
    pub errors: u32,
    /// Octets of a line of text, CRLF included. Default 1,048,576 (RFC 5321 section 4.5.3.1.6 asks for
    /// 1,000; real mail has longer ones).
    pub text_line_octets: usize,
    /// Octets of a refused body that are read and thrown away so that the client hears why; past it the
    /// session ends. Default 268,435,456 (256 MiB).
    pub swallow_octets: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_octets: 4096,
            message_octets: 50 * 1024 * 1024,
            recipients: 1000,
            errors: 20,
            text_line_octets: 1024 * 1024,
            swallow_octets: 256 * 1024 * 1024,
        }
    }
}

impl Limits {
    pub(super) const fn body(&self) -> BodyLimits {
        BodyLimits {
            message_octets: self.message_octets,
            line_octets: self.text_line_octets,
            swallow_octets: self.swallow_octets,
        }
    }
}
