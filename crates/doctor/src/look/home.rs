//! Home's facts.

use std::net::{IpAddr, SocketAddr};

use mail::UnixTime;
use mailauth::dkim::sign::publishes;
use mailauth::dns::{LookupError, Record, RecordType, texts};
use mailauth::spf::{Query, Spf, SpfResult, check};
use tokio::time::Instant;

use super::deadline::{all, until};
use super::host::{HostKnows, host};
use super::names;
use super::world::{MailQuestions, World};
use crate::facts::{
    DkimKey, DomainFacts, DomainPolicyFacts, EdgeSeen, Fact, HomeFacts, LinkSeen, OwnPorts, QueueSeen,
    RoundTrip, Served,
};

/// A name that no account has.
pub const NOBODY: &str = "no-such-user-4b1d7e";

/// What stands in place of an edge's word until somebody has it.
const NOT_ASKED: &str = "it was not asked";

/// What Home has to say for its facts.
#[derive(Debug, Clone)]
pub struct HomeKnows {
    /// Of the machine.
    pub host: HostKnows,
    /// Whether its daemon runs.
    pub runs: Fact<()>,
    /// Whether users may send.
    pub outbound: bool,
    /// Whether mail goes out through a smarthost.
    pub smarthost: bool,
    /// The domains.
    pub domains: Vec<DomainKnows>,
    /// The edges.
    pub edges: Vec<EdgePlace>,
    /// Where submission listens on this host, and under which name.
    pub submission: SocketAddr,
    /// Where IMAP does; `None` where mailboxes are another program's.
    pub imap: Option<SocketAddr>,
    /// The name in the certificate for mail programs.
    pub hostname: String,
    /// The number of accounts.
    pub accounts: Fact<usize>,
    /// The queue.
    pub queue: Fact<QueueSeen>,
    /// Messages in quarantine.
    pub quarantine: Fact<usize>,
    /// Each filter's name, and whether it answers.
    pub filters: Vec<(String, Fact<()>)>,
    /// When the last backup was made.
    pub backup: Option<UnixTime>,
    /// Whether the first domain takes mail for everybody.
    pub takes_everybody: Fact<bool>,
    /// A message that was sent round.
    pub round_trip: Option<RoundTrip>,
}

/// A domain as Home knows it.
#[derive(Debug, Clone)]
pub struct DomainKnows {
    /// Its name.
    pub name: String,
    /// Its keys: selector, whether it signs, record, when it was made.
    pub keys: Vec<(String, bool, String, Option<UnixTime>)>,
    /// Whether its postmaster reaches somebody.
    pub postmaster: Fact<bool>,
    /// Whether its abuse address does.
    pub abuse: Fact<bool>,
}

/// An edge as Home knows it.
#[derive(Debug, Clone)]
pub struct EdgePlace {
    /// Its name.
    pub name: String,
    /// The port of SMTP there. Anything but 25 is for tests.
    pub smtp_port: u16,
    /// The link.
    pub link: Fact<LinkSeen>,
    /// What it serves.
    pub served: Option<Vec<(String, Served)>>,
}

/// Gathers Home's facts until then. What the edges say of themselves is not asked here: the daemon has the links.
pub async fn home(world: &impl World, knows: HomeKnows, deadline: Instant) -> HomeFacts {
    let places = all(knows.edges.iter().map(|edge| until(deadline, names::addresses(world, &edge.name))));
    let outside = async {
        let places = places.await;
        let senders: Vec<IpAddr> = places.iter().flatten().flatten().copied().collect();
        let seen = knows.edges.iter().zip(places);
        tokio::join!(
            all(seen.map(|(edge, addresses)| edge_seen(world, edge, addresses, (&knows, deadline)))),
            all(knows.domains.iter().map(|domain| domain_facts(world, domain, &senders, (&knows, deadline)))),
        )
    };
    let (host, (edges, domains), ports, certificate) = tokio::join!(
        host(world, &knows.host, deadline),
        outside,
        own_ports(world, &knows, deadline),
        until(deadline, world.tls_port(knows.submission, &knows.hostname)),
    );
    HomeFacts {
        host,
        runs: knows.runs,
        outbound: knows.outbound,
        smarthost: knows.smarthost,
        domains,
        edges,
        ports,
        certificate,
        accounts: knows.accounts,
        queue: knows.queue,
        quarantine: knows.quarantine,
        filters: knows.filters,
        backup: knows.backup,
        takes_everybody: knows.takes_everybody,
        round_trip: knows.round_trip,
    }
}

async fn own_ports(world: &impl World, knows: &HomeKnows, deadline: Instant) -> OwnPorts {
    let tls = async |place| until(deadline, world.tls_port(place, &knows.hostname)).await.map(drop);
    let imap = async {
        match knows.imap {
            Some(place) => Some(tls(place).await),
            None => None,
        }
    };
    let loopback: SocketAddr = ([127, 0, 0, 1], 25).into();
    let (submission, imap, smtp) = tokio::join!(
        tls(knows.submission),
        imap,
        until(deadline, async {
            // Nobody there is what is hoped for, and no failure of looking.
            Ok(world.connects(loopback).await.is_ok())
        })
    );
    OwnPorts { submission, imap, smtp }
}

async fn edge_seen(
    world: &impl World,
    edge: &EdgePlace,
    addresses: Fact<Vec<IpAddr>>,
    (knows, deadline): (&HomeKnows, Instant),
) -> EdgeSeen {
    let nobody = knows.domains.first().map(|domain| format!("{NOBODY}@{}", domain.name));
    let questions = MailQuestions { name: edge.name.clone(), nobody };
    let port = async {
        let ip = addresses.as_ref().map_err(Clone::clone)?.first().copied();
        let ip = ip.ok_or_else(|| format!("{} has no address", edge.name))?;
        world.mail_port((ip, edge.smtp_port).into(), &questions).await
    };
    let (port_25, tlsa) = tokio::join!(until(deadline, port), until(deadline, world.tlsa(&edge.name)));
    EdgeSeen {
        name: edge.name.clone(),
        addresses,
        tlsa,
        port_25,
        link: edge.link.clone(),
        half: Err(NOT_ASKED.to_owned()),
        served: edge.served.clone(),
    }
}

async fn domain_facts(
    world: &impl World,
    domain: &DomainKnows,
    senders: &[IpAddr],
    (knows, deadline): (&HomeKnows, Instant),
) -> DomainFacts {
    let name = &domain.name;
    let (dmarc, tls_rpt) = (format!("_dmarc.{name}"), format!("_smtp._tls.{name}"));
    let senders = if knows.smarthost { &[] } else { senders };
    let (mx, spf, spf_of, dkim, dmarc, mta_sts, tls_rpt, signed) = tokio::join!(
        until(deadline, mx(world, name)),
        until(deadline, names::texts_of(world, name, "v=spf1")),
        all(senders.iter().map(|ip| spf_of(world, name, *ip, (knows, deadline)))),
        all(domain.keys.iter().map(|key| dkim(world, name, key, deadline))),
        until(deadline, names::texts_of(world, &dmarc, "v=DMARC1")),
        until(deadline, mta_sts(world, name, deadline)),
        until(deadline, names::texts_of(world, &tls_rpt, "v=TLSRPTv1")),
        until(deadline, world.is_signed(name)),
    );
    DomainFacts {
        name: name.clone(),
        mx,
        spf,
        spf_of,
        dkim,
        dmarc,
        mta_sts,
        tls_rpt,
        signed,
        postmaster: domain.postmaster.clone(),
        abuse: domain.abuse.clone(),
    }
}

async fn mx(world: &impl World, name: &str) -> Fact<Vec<(u16, String)>> {
    let records = names::some(world, name, RecordType::Mx).await?;
    let mut hosts: Vec<(u16, String)> = records
        .into_iter()
        .filter_map(|record| match record {
            Record::Mx(preference, host) => {
                Some((preference, host.trim_end_matches('.').to_ascii_lowercase()))
            }
            _ => None,
        })
        .collect();
    hosts.sort_unstable();
    Ok(hosts)
}

async fn spf_of(
    world: &impl World,
    name: &str,
    ip: IpAddr,
    (knows, deadline): (&HomeKnows, Instant),
) -> (IpAddr, SpfResult) {
    let mail_from = format!("postmaster@{name}");
    let query =
        Query { ip, helo: name, mail_from: &mail_from, receiver: name, now: knows.host.now.as_secs() };
    let checked = tokio::time::timeout_at(deadline, check(world, &query)).await;
    (ip, checked.unwrap_or_else(|_| Spf::unanswered(&query)).result)
}

async fn dkim(
    world: &impl World,
    domain: &str,
    (selector, signs, record, made): &(String, bool, String, Option<UnixTime>),
    deadline: Instant,
) -> DkimKey {
    let name = format!("{selector}._domainkey.{domain}");
    let published = until(deadline, async {
        match texts(world, &name).await {
            // A key stands alone at its name: which of several counts is left open (RFC 6376 section 3.6.2.2).
            Ok(found) => Ok(matches!(found.as_slice(), [text] if publishes(text, record))),
            Err(LookupError::NoSuchName | LookupError::NoRecords) => Ok(false),
            Err(LookupError::Temporary(cause)) => Err(cause),
        }
    });
    let published = published.await;
    DkimKey { selector: selector.clone(), signs: *signs, record: record.clone(), published, made: *made }
}

async fn mta_sts(world: &impl World, name: &str, deadline: Instant) -> Fact<Option<DomainPolicyFacts>> {
    let records = names::texts_of(world, &format!("_mta-sts.{name}"), "v=STSv1").await?;
    if records.is_empty() {
        return Ok(None);
    }
    Ok(Some(DomainPolicyFacts { file: until(deadline, world.policy(name)).await }))
}
