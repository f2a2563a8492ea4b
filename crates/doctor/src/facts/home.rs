//! Home, its domains, and its edges as it sees them.

use std::net::IpAddr;

use mail::UnixTime;
use mailauth::spf::SpfResult;
use tlspolicy::tlsa::Tlsa;

use super::fact::Fact;
use super::host::HostFacts;
use super::port::{Certificate, MailPort};
use super::round_trip::RoundTrip;
use crate::told::HalfTold;

/// Everything that Home's half is judged by.
#[derive(Debug, Clone)]
pub struct HomeFacts {
    /// The machine.
    pub host: HostFacts,
    /// Whether the daemon runs.
    pub runs: Fact<()>,
    /// Whether users may send.
    pub outbound: bool,
    /// Whether mail goes out through a smarthost.
    pub smarthost: bool,
    /// The domains.
    pub domains: Vec<DomainFacts>,
    /// The edges that it is paired with.
    pub edges: Vec<EdgeSeen>,
    /// Home's own ports.
    pub ports: OwnPorts,
    /// The certificate for mail programs.
    pub certificate: Fact<Certificate>,
    /// The number of accounts.
    pub accounts: Fact<usize>,
    /// The outbound queue.
    pub queue: Fact<QueueSeen>,
    /// Messages in quarantine.
    pub quarantine: Fact<usize>,
    /// Each filter's name, and whether it answers.
    pub filters: Vec<(String, Fact<()>)>,
    /// When the last backup was made, if one is known.
    pub backup: Option<UnixTime>,
    /// Whether the first domain takes mail for everybody, as an alias `*@domain` does.
    pub takes_everybody: Fact<bool>,
    /// A message that was sent round.
    pub round_trip: Option<RoundTrip>,
}

/// One domain.
#[derive(Debug, Clone)]
pub struct DomainFacts {
    /// Its name.
    pub name: String,
    /// Preference and host of its MX records.
    pub mx: Fact<Vec<(u16, String)>>,
    /// Texts that are SPF records.
    pub spf: Fact<Vec<String>>,
    /// What SPF says of each address of the edges.
    pub spf_of: Vec<(IpAddr, SpfResult)>,
    /// The keys.
    pub dkim: Vec<DkimKey>,
    /// Texts that are DMARC records.
    pub dmarc: Fact<Vec<String>>,
    /// MTA-STS, if the domain has a record.
    pub mta_sts: Fact<Option<DomainPolicyFacts>>,
    /// Texts that are TLSRPT records.
    pub tls_rpt: Fact<Vec<String>>,
    /// Whether DNSSEC vouches for its MX records.
    pub signed: Fact<bool>,
    /// Whether mail to its postmaster reaches somebody.
    pub postmaster: Fact<bool>,
    /// Whether mail to its abuse address does.
    pub abuse: Fact<bool>,
}

/// The policy file of MTA-STS.
#[derive(Debug, Clone)]
pub struct DomainPolicyFacts {
    /// The file, or why there is none.
    pub file: Fact<Vec<u8>>,
}

/// A DKIM key that signs or will sign.
#[derive(Debug, Clone)]
pub struct DkimKey {
    /// The selector.
    pub selector: String,
    /// Whether it signs now.
    pub signs: bool,
    /// The record that is to be published.
    pub record: String,
    /// Whether it is published as it is to be.
    pub published: Fact<bool>,
    /// When it was made, if its selector tells.
    pub made: Option<UnixTime>,
}

/// An edge as Home sees it.
#[derive(Debug, Clone)]
pub struct EdgeSeen {
    /// Its name.
    pub name: String,
    /// The addresses of its name; an alias has the name that it leads to as the second.
    pub addresses: Fact<Vec<IpAddr>>,
    /// The TLSA records of its port 25, and whether DNSSEC vouches for them.
    pub tlsa: Fact<(Vec<Tlsa>, bool)>,
    /// Its port 25.
    pub port_25: Fact<MailPort>,
    /// The link.
    pub link: Fact<LinkSeen>,
    /// What it said of itself.
    pub half: Fact<HalfTold>,
    /// What it serves of this home's domains; `None` when it has not said so.
    pub served: Option<Vec<(String, Served)>>,
}

/// Whether an edge takes a domain's mail for this home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// It does.
    Here,
    /// It does not, for this reason.
    No(String),
}

/// A link that is up.
#[derive(Debug, Clone)]
pub struct LinkSeen {
    /// `quic` or `tcp`.
    pub transport: &'static str,
    /// For how long it is up, in seconds.
    pub up_secs: u64,
    /// How often it broke within the last day.
    pub breaks: usize,
    /// Whether the other transport would work too.
    pub other: Fact<()>,
    /// Home's clock when Edge's was asked, for the difference.
    pub asked_at: UnixTime,
}

/// Own ports.
#[derive(Debug, Clone)]
pub struct OwnPorts {
    /// Submission.
    pub submission: Fact<()>,
    /// IMAP; `None` where mailboxes are another program's.
    pub imap: Option<Fact<()>>,
    /// Whether something listens on port 25 of this host.
    pub smtp: Fact<bool>,
}

/// The queue.
#[derive(Debug, Clone)]
pub struct QueueSeen {
    /// Messages that wait.
    pub waiting: usize,
    /// When the oldest was handed in.
    pub oldest: Option<UnixTime>,
    /// Messages that are held by hand.
    pub held: usize,
}
