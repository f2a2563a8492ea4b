//! The DNS records that a home's domains need, why, and what is to become of those they had. Nothing is asked here:
//! [`ask`] does that, [`authority`] says whom.

pub(crate) mod ask;
pub(crate) mod authority;
pub(crate) mod hook;
mod kind;
mod line;
pub(crate) mod plan;
mod purpose;

use std::collections::BTreeSet;

use home::config::{HomeConfig, Switch};
use home::dkim::{DomainRecords, Published, Stage};
use mail::{Domain, UnixTime};
use serde::Serialize;

pub(crate) use kind::{Kind, TTL_SECS};
pub(crate) use purpose::{Need, Purpose};

/// Services of mail programs that Home does not offer: a target of "." says so (RFC 6186 section 3.4, RFC 8314 section
/// 5.1). A program that knows this asks nobody for them, and nobody else can offer them in the domain's name.
const NOT_OFFERED: [&str; 4] = ["_imap", "_submission", "_pop3", "_pop3s"];
/// Those that it offers, and their ports.
const OFFERED: [(&str, u16); 2] = [("_imaps", 993), ("_submissions", 465)];

/// A DNS record that the operator is to publish or remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wanted {
    /// Its name, without the last dot. Of a PTR record the host whose addresses have it: they are not known here.
    pub name: String,
    /// The type of the record.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What it says: `10 HOST`, or the text.
    pub value: String,
    /// The purpose of the record.
    pub purpose: Purpose,
    /// Whether mail needs it.
    pub need: Need,
    /// What it is good for, in a sentence.
    pub why: &'static str,
    /// Of a key: what is to be done with its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Of a key that is kept: until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
}

impl Wanted {
    fn new(name: impl Into<String>, kind: Kind, value: impl Into<String>, purpose: Purpose) -> Self {
        let (name, value) = (name.into(), value.into());
        let (need, why) = (purpose.need(), purpose.why());
        Self { name, kind, value, purpose, need, why, stage: None, until: None }
    }

    /// Whether the record is to be removed from DNS.
    pub(crate) fn is_to_go(&self) -> bool {
        self.stage == Some(Stage::Remove)
    }

    /// The step that the operator has to take, in words.
    pub(crate) fn action(&self) -> String {
        match (self.stage, self.until) {
            _ if self.need == Need::Later => "not yet".to_owned(),
            _ if self.kind == Kind::Ptr => "ask the provider of the edge's addresses for it".to_owned(),
            (Some(Stage::Next), _) => "publish, then 'postern dkim rotate'".to_owned(),
            (Some(Stage::Kept), Some(until)) => format!("keep until {until}"),
            (Some(Stage::Remove), _) => "remove".to_owned(),
            _ if self.need == Need::Optional => "publish if you like".to_owned(),
            _ => "publish".to_owned(),
        }
    }

    /// As a line of a zone file (RFC 1035 section 5). What is to go or to wait, and what only the operator knows, is a
    /// comment.
    pub(crate) fn zone(&self) -> String {
        let Self { name, kind, value, .. } = self;
        match kind {
            _ if self.need == Need::Later => format!("; later: {name}. {}: {}", kind.as_str(), self.why),
            Kind::A => format!("; {name}. needs an A or AAAA record with the edge's address"),
            Kind::Ptr => format!("; the provider of each address of {name}. sets its PTR record to {value}."),
            _ if self.is_to_go() => format!("; remove: {name}. {}", kind.as_str()),
            _ => line::of(name, *kind, value),
        }
    }
}

/// What only the operator can tell, and without which some records can't be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// The name under which mail programs reach Home. It stands in public DNS then.
    pub mail_host: Option<Domain>,
    /// Who issues the edges' certificates.
    pub authorities: Vec<Domain>,
    /// TLSA records of edges' certificates: the edge, and what the record says.
    pub certificates: Vec<(String, String)>,
}

/// All records of a home: of its edges first, then domain by domain. Which hosts send for a smarthost only its owner
/// knows: then no SPF record is made, since one that names the wrong hosts has mail refused.
pub(crate) fn wanted(config: &HomeConfig, keys: &[DomainRecords], told: &Told) -> Vec<Wanted> {
    let edges: BTreeSet<&str> = config.edges.iter().map(|pin| pin.name.as_str()).collect();
    let senders = Some(&edges).filter(|edges| !edges.is_empty() && config.smarthost.is_none());
    let mut all: Vec<Wanted> = edges.iter().flat_map(|edge| of_edge(edge, config, told)).collect();
    // An edge that is called as a domain is has that domain's record: two at one name are none (RFC 7208 section 4.5).
    let has_one = |name: &str| config.domains.iter().any(|domain| domain.as_str().eq_ignore_ascii_case(name));
    all.retain(|record| record.purpose != Purpose::EdgeSpf || senders.is_none() || !has_one(&record.name));
    for domain in &config.domains {
        let domain = domain.as_str();
        let of_domain = keys.iter().find(|of| of.domain.eq_ignore_ascii_case(domain));
        all.extend(of_one(domain, (&edges, senders), of_domain.map_or(&[], |of| &of.keys)));
        all.extend(of_programs(domain, told.mail_host.as_ref()));
    }
    all
}

/// Of one edge.
fn of_edge(edge: &str, config: &HomeConfig, told: &Told) -> Vec<Wanted> {
    // Who only receives is called by no name.
    let sends = config.outbound == Switch::On && config.smarthost.is_none();
    let need = if sends { Need::Required } else { Need::Optional };
    let mut all = vec![
        Wanted::new(edge, Kind::A, "", Purpose::EdgeAddress),
        Wanted { need, ..Wanted::new(edge, Kind::Ptr, edge, Purpose::Ptr) },
        Wanted::new(edge, Kind::Txt, "v=spf1 a -all", Purpose::EdgeSpf),
    ];
    let certificates = told.certificates.iter().filter(|(of, _)| of == edge);
    all.extend(
        certificates
            .map(|(_, record)| Wanted::new(format!("_25._tcp.{edge}"), Kind::Tlsa, record, Purpose::Tlsa)),
    );
    all.extend(
        told.authorities
            .iter()
            .map(|authority| Wanted::new(edge, Kind::Caa, format!("0 issue \"{authority}\""), Purpose::Caa)),
    );
    all
}

/// Of one domain, whose mail `edges` take and `senders` send, if that is known.
fn of_one(
    domain: &str,
    (edges, senders): (&BTreeSet<&str>, Option<&BTreeSet<&str>>),
    keys: &[Published],
) -> Vec<Wanted> {
    let mx = edges.iter().map(|edge| Wanted::new(domain, Kind::Mx, format!("10 {edge}"), Purpose::Mx));
    let spf = senders.map(|senders| {
        let mechanisms: String = senders.iter().map(|edge| format!(" a:{edge}")).collect();
        Wanted::new(domain, Kind::Txt, format!("v=spf1{mechanisms} -all"), Purpose::Spf)
    });
    let dkim = keys.iter().map(|key| Wanted {
        stage: Some(key.stage),
        until: key.until,
        ..Wanted::new(key_name(domain, key), Kind::Txt, &*key.record, Purpose::Dkim)
    });
    let below = |label: &str| format!("{label}.{domain}");
    let rest = [
        Wanted::new(below("_dmarc"), Kind::Txt, "v=DMARC1; p=quarantine", Purpose::Dmarc),
        Wanted::new(
            below("_smtp._tls"),
            Kind::Txt,
            format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}"),
            Purpose::TlsReports,
        ),
        Wanted::new(below("_mta-sts"), Kind::Txt, "v=STSv1; id=1", Purpose::MtaSts),
        Wanted::new(below("mta-sts"), Kind::A, "", Purpose::MtaStsHost),
    ];
    mx.chain(spf).chain(dkim).chain(rest).collect()
}

/// What mail programs look for that set themselves up (RFC 6186, RFC 8314). Where Home is stands there only when its
/// operator named it: it is the house.
fn of_programs(domain: &str, host: Option<&Domain>) -> Vec<Wanted> {
    let offered = OFFERED.iter().map(|(service, port)| {
        let name = format!("{service}._tcp.{domain}");
        match host {
            Some(host) => Wanted::new(name, Kind::Srv, format!("0 1 {port} {host}"), Purpose::Programs),
            None => Wanted::new(name, Kind::Srv, "", Purpose::ProgramsUnnamed),
        }
    });
    let others = NOT_OFFERED.iter().map(|service| {
        Wanted::new(format!("{service}._tcp.{domain}"), Kind::Srv, "0 0 0 .", Purpose::NotOffered)
    });
    offered.chain(others).collect()
}

/// The records that are to be there before the domain's next keys sign.
pub(crate) fn next_keys(of: &DomainRecords) -> Vec<Wanted> {
    let all = of_one(&of.domain, (&BTreeSet::new(), None), &of.keys);
    all.into_iter().filter(|record| record.stage == Some(Stage::Next)).collect()
}

fn key_name(domain: &str, key: &Published) -> String {
    format!("{}._domainkey.{domain}", key.selector)
}

#[cfg(test)]
mod tests;
