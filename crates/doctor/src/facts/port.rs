//! A mail port as somebody from outside sees it.

use net::probe::Reply;

use super::fact::Fact;

/// The certificate that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its certificates in DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// Whether it is for the host's name.
    pub names_host: bool,
    /// Whether public roots vouch for it; else why not.
    pub trusted: Result<(), String>,
    /// From when and until when it is good, in seconds since 1970.
    pub validity: Option<(u64, u64)>,
}

/// What port 25 says.
#[derive(Debug, Clone)]
pub struct MailPort {
    /// The greeting.
    pub greeting: Reply,
    /// Whether STARTTLS is offered.
    pub offers_starttls: bool,
    /// The certificate within TLS.
    pub certificate: Fact<Certificate>,
    /// Whether a version below TLS 1.2 is taken.
    pub old_versions: Fact<bool>,
    /// Whether a weak cipher is taken.
    pub weak_ciphers: Fact<bool>,
    /// What a stranger hears who wants mail passed on to a stranger.
    pub relay: Fact<Reply>,
    /// What he hears who writes to somebody who does not exist.
    pub nobody: Fact<Reply>,
}
