//! The world as it is.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use daemon::problem::io_words;
use daemon::system;
use mail::Domain;
use mailauth::dns::{Answer, RecordType, Resolver};
use net::dns::{Dns, MailHosts, Questions, RootSigned, Validation, root_signed};
use net::http_client::{Get, get};
use net::mta_tls::{RootCertStore, public_roots, verifying_connector};
use net::probe::Dialogue;
use tlspolicy::mta_sts::POLICY_OCTETS_MAX;
use tlspolicy::tlsa::Tlsa;
use tokio::net::TcpStream;

use super::port;
use super::world::{MailQuestions, World};
use crate::facts::{Certificate, Fact, MailPort};

/// Name servers, sockets, public roots.
pub struct RealWorld {
    dns: Dns,
    /// Believes what it is told, for name servers that pass no signatures on.
    plain: Dns,
    questions: Questions,
    servers: Vec<SocketAddr>,
    roots: Arc<RootCertStore>,
    mail_port: u16,
    policy_port: u16,
}

/// Hosts of a domain that are tried at most.
const HOSTS_MAX: usize = 3;

impl RealWorld {
    /// One that asks these name servers, those of the system when there are none, and believes the public roots and those of
    /// the file. `anchors` are DNSKEY records that are trusted in place of the root's own.
    ///
    /// # Errors
    /// When the system names no servers, or a file can't be read.
    pub fn new(servers: &[SocketAddr], anchors: Option<&Path>, more_roots: Option<&Path>) -> Fact<Self> {
        let plain = Dns::new(servers).map_err(|error| error.to_string())?;
        let questions = plain.questions();
        let dns = Dns::validating(servers, anchors).map_err(|error| error.to_string())?;
        let roots = public_roots(more_roots).map_err(|error| error.to_string())?;
        Ok(Self { dns, plain, questions, servers: servers.to_vec(), roots, mail_port: 25, policy_port: 443 })
    }

    /// The same where others' ports are not the usual ones, for tests.
    #[must_use]
    pub fn with_ports(self, mail_port: u16, policy_port: u16) -> Self {
        Self { mail_port, policy_port, ..self }
    }

    /// Where a host is: IPv4 first, since IPv6 is missing more often than it works.
    async fn places(&self, host: &str, port: u16) -> Fact<Vec<SocketAddr>> {
        let found = self.plain.addresses(host).await.map_err(|error| error.to_string())?;
        let mut all: Vec<IpAddr> = found.value;
        all.sort_by_key(IpAddr::is_ipv6);
        if all.is_empty() {
            return Err(format!("{host} has no address"));
        }
        Ok(all.into_iter().map(|ip| (ip, port).into()).collect())
    }
}

impl Resolver for RealWorld {
    fn lookup(&self, name: &str, kind: RecordType) -> impl Future<Output = Answer> + Send {
        self.questions.lookup(name, kind)
    }
}

impl World for RealWorld {
    async fn validation(&self) -> Validation {
        self.dns.validation().await
    }

    async fn root_signed(&self) -> Fact<RootSigned> {
        root_signed(&self.servers).await
    }

    async fn tlsa(&self, host: &str) -> Fact<(Vec<Tlsa>, bool)> {
        let found = match self.dns.tlsa(host, 25).await {
            Ok(found) => found,
            // Whether they are signed is not known then; what they say is.
            Err(_) => self.plain.tlsa(host, 25).await.map_err(|error| error.to_string())?,
        };
        Ok((found.value, found.secure))
    }

    async fn is_signed(&self, domain: &str) -> Fact<bool> {
        let domain = Domain::parse(domain).map_err(|error| error.to_string())?;
        let hosts = self.dns.mail_hosts(&domain, |_| system::random_u64()).await;
        let hosts = hosts.map_err(|error| error.to_string())?;
        Ok(hosts.secure && hosts.value != MailHosts::NoSuchDomain)
    }

    async fn mail_hosts(&self, host: &str) -> Fact<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, self.mail_port).into()]);
        }
        let domain = Domain::parse(host).map_err(|error| error.to_string())?;
        let found = self.plain.mail_hosts(&domain, |_| system::random_u64()).await;
        let MailHosts::Hosts(hosts) = found.map_err(|error| error.to_string())?.value else {
            return Ok(Vec::new());
        };
        let mut places = Vec::new();
        for host in hosts.iter().take(HOSTS_MAX) {
            places.extend(self.places(host.name.as_str(), self.mail_port).await.unwrap_or_default());
        }
        Ok(places)
    }

    async fn greets(&self, places: &[SocketAddr]) -> Fact<()> {
        let mut why = String::new();
        for place in places {
            match TcpStream::connect(*place).await {
                Ok(stream) => {
                    let mut dialogue = Dialogue::new(stream);
                    // That a greeting comes is enough, whatever it says: something there speaks SMTP.
                    dialogue.reply().await.map_err(|error| io_words(&error))?;
                    let _ = dialogue.say("QUIT").await;
                    return Ok(());
                }
                Err(error) => why = io_words(&error),
            }
        }
        Err(why)
    }

    async fn connects(&self, place: SocketAddr) -> Fact<()> {
        TcpStream::connect(place).await.map(drop).map_err(|error| io_words(&error))
    }

    async fn mail_port(&self, place: SocketAddr, questions: &MailQuestions) -> Fact<MailPort> {
        port::mail(place, questions, &self.roots).await
    }

    async fn tls_port(&self, place: SocketAddr, name: &str) -> Fact<Certificate> {
        port::tls(place, name, &self.roots).await
    }

    async fn policy(&self, domain: &str) -> Fact<Vec<u8>> {
        let host = format!("mta-sts.{domain}");
        let addresses = self.places(&host, self.policy_port).await?;
        let request = Get {
            host: &host,
            addresses: &addresses,
            path: "/.well-known/mta-sts.txt",
            answer_octets_max: POLICY_OCTETS_MAX,
        };
        let connector = verifying_connector(Arc::clone(&self.roots)).map_err(|error| error.to_string())?;
        let answer = get(&connector, &request).await.map_err(|error| error.to_string())?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("{host} answered {status}")),
        }
    }
}
