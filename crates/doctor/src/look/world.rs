//! The world as the doctor asks it: a port, behind which a test puts a world of its own.

use std::net::SocketAddr;

use mailauth::dns::Resolver;
use net::dns::{RootSigned, Validation};
use tlspolicy::tlsa::Tlsa;

use crate::facts::{Certificate, Fact, MailPort};

/// What is asked of a mail port besides its greeting.
#[derive(Debug, Clone)]
pub struct MailQuestions {
    /// The name that its certificate is to be for.
    pub name: String,
    /// Somebody who does not exist at a domain of ours.
    pub nobody: Option<String>,
}

/// Who answers. Each question ends when its asker has no more patience; an implementation need not bound it.
pub trait World: Resolver {
    /// Whether the name servers give what DNSSEC takes.
    fn validation(&self) -> impl Future<Output = Validation> + Send;
    /// When the root was signed.
    fn root_signed(&self) -> impl Future<Output = Fact<RootSigned>> + Send;
    /// The TLSA records of a host's port 25, and whether DNSSEC vouches for them.
    fn tlsa(&self, host: &str) -> impl Future<Output = Fact<(Vec<Tlsa>, bool)>> + Send;
    /// Whether DNSSEC vouches for a domain's MX records.
    fn is_signed(&self, domain: &str) -> impl Future<Output = Fact<bool>> + Send;
    /// Where a mail host is: an address, the addresses of a name, or of the hosts that take the mail of a domain. Empty where
    /// there is nothing of that name.
    fn mail_hosts(&self, host: &str) -> impl Future<Output = Fact<Vec<SocketAddr>>> + Send;
    /// Whether one of these greets. More is not said to a stranger's host.
    fn greets(&self, places: &[SocketAddr]) -> impl Future<Output = Fact<()>> + Send;
    /// Whether a connection comes about.
    fn connects(&self, place: SocketAddr) -> impl Future<Output = Fact<()>> + Send;
    /// What a mail port of ours says.
    fn mail_port(
        &self,
        place: SocketAddr,
        questions: &MailQuestions,
    ) -> impl Future<Output = Fact<MailPort>> + Send;
    /// The certificate of a port that begins with TLS.
    fn tls_port(&self, place: SocketAddr, name: &str) -> impl Future<Output = Fact<Certificate>> + Send;
    /// A domain's MTA-STS policy file.
    fn policy(&self, domain: &str) -> impl Future<Output = Fact<Vec<u8>>> + Send;
}
