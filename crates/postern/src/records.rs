//! The DNS records that a home's domains need, and what is to become of those they had. Nothing is asked here:
//! [`ask`] does that.

pub(crate) mod ask;

use std::collections::BTreeSet;

use home::config::HomeConfig;
use home::dkim::{DomainRecords, Published, Stage};
use mail::UnixTime;
use serde::Serialize;

/// Octets of one string of a TXT record (RFC 1035 section 3.3).
const STRING_OCTETS_MAX: usize = 255;
/// For how long others may keep a record, in seconds.
const TTL_SECS: u32 = 3600;

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Kind {
    /// A host's address, IPv4 or IPv6. Home does not know which: the value is empty.
    A,
    /// A host that takes mail for the domain.
    Mx,
    /// Text.
    Txt,
}

/// The purpose of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// The host that takes the domain's mail.
    Mx,
    /// The edge's address.
    EdgeAddress,
    /// That the edge may send for the domain.
    Spf,
    /// That the edge may call itself by its name (RFC 7208 section 2.3).
    EdgeSpf,
    /// A DKIM key.
    Dkim,
    /// What receivers are to do with mail that nobody vouches for.
    Dmarc,
}

/// A DNS record that the operator is to publish or remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wanted {
    /// Its name, without the last dot.
    pub name: String,
    /// The type of the record.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What it says: `10 HOST`, or the text.
    pub value: String,
    /// The purpose of the record.
    pub purpose: Purpose,
    /// Of a key: what is to be done with its record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Of a key that is kept: until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
}

impl Wanted {
    fn new(name: impl Into<String>, kind: Kind, value: impl Into<String>, purpose: Purpose) -> Self {
        Self { name: name.into(), kind, value: value.into(), purpose, stage: None, until: None }
    }

    /// Whether the record is to be removed from DNS.
    pub(crate) fn is_to_go(&self) -> bool {
        self.stage == Some(Stage::Remove)
    }

    /// The step that the operator has to take, in words.
    pub(crate) fn action(&self) -> String {
        match (self.stage, self.until) {
            (Some(Stage::Next), _) => "publish, then 'postern dkim rotate'".to_owned(),
            (Some(Stage::Kept), Some(until)) => format!("keep until {until}"),
            (Some(Stage::Remove), _) => "remove".to_owned(),
            _ => "publish".to_owned(),
        }
    }

    /// As lines of a zone file (RFC 1035 section 5). What is to go, and what only the operator knows, is a comment.
    pub(crate) fn zone(&self) -> String {
        let Self { name, value, .. } = self;
        match self.kind {
            Kind::A => format!("; {name}. needs an A or AAAA record with the edge's address"),
            Kind::Mx => format!("{name}. {TTL_SECS} IN MX {value}."),
            Kind::Txt if self.is_to_go() => format!("; remove: {name}. TXT"),
            Kind::Txt => format!("{name}. {TTL_SECS} IN TXT {}", strings(value)),
        }
    }
}

/// A text as the strings of a TXT record. Ours have no quotes and no backslashes.
fn strings(text: &str) -> String {
    let parts: Vec<String> = text
        .as_bytes()
        .chunks(STRING_OCTETS_MAX)
        .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
        .collect();
    parts.join(" ")
}

/// All records of a home: of its edges first, then domain by domain. Which hosts send for a smarthost only its owner
/// knows: then no SPF record is made, since one that names the wrong hosts has mail refused.
pub(crate) fn wanted(config: &HomeConfig, keys: &[DomainRecords]) -> Vec<Wanted> {
    let edges: BTreeSet<&str> = config.edges.iter().map(|pin| pin.name.as_str()).collect();
    let mut all = Vec::new();
    for edge in &edges {
        all.push(Wanted::new(*edge, Kind::A, "", Purpose::EdgeAddress));
        all.push(Wanted::new(*edge, Kind::Txt, "v=spf1 a -all", Purpose::EdgeSpf));
    }
    let senders = Some(&edges).filter(|edges| !edges.is_empty() && config.smarthost.is_none());
    for domain in &config.domains {
        let domain = domain.as_str();
        let of_domain = keys.iter().find(|of| of.domain.eq_ignore_ascii_case(domain));
        all.extend(of_one(domain, (&edges, senders), of_domain.map_or(&[], |of| &of.keys)));
    }
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
    let dmarc = Wanted::new(format!("_dmarc.{domain}"), Kind::Txt, "v=DMARC1; p=quarantine", Purpose::Dmarc);
    mx.chain(spf).chain(dkim).chain([dmarc]).collect()
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
mod tests {
    use super::*;

    fn config() -> HomeConfig {
        let key = "0".repeat(64);
        toml::from_str(&format!(
            "domains = [\"example.org\"]\n\
             [[edge]]\nname = \"mx2.example.net\"\naddress = \"a:1\"\nkey = \"{key}\"\n\
             [[edge]]\nname = \"mx.example.org\"\naddress = \"b:1\"\nkey = \"{key}\"\n"
        ))
        .unwrap()
    }

    fn keys() -> Vec<DomainRecords> {
        let until = Some(UnixTime::from_secs(1_795_500_000));
        let key = |selector: &str, stage, until, record: &str| Published {
            selector: selector.to_owned(),
            stage,
            until,
            record: record.to_owned(),
        };
        let keys = vec![
            key("a", Stage::Signing, None, &"x".repeat(STRING_OCTETS_MAX + 1)),
            key("b", Stage::Next, None, "v=DKIM1; p=B"),
            key("c", Stage::Kept, until, "v=DKIM1; p=C"),
            key("d", Stage::Remove, None, "v=DKIM1; p=D"),
        ];
        vec![DomainRecords { domain: "example.org".to_owned(), keys }]
    }

    #[test]
    fn a_zone_has_every_record_and_comments_on_what_is_to_go() {
        let zone: Vec<String> = wanted(&config(), &keys()).iter().map(Wanted::zone).collect();
        let long =
            format!("a._domainkey.example.org. 3600 IN TXT \"{}\" \"x\"", "x".repeat(STRING_OCTETS_MAX));
        assert_eq!(
            zone,
            [
                "; mx.example.org. needs an A or AAAA record with the edge's address",
                "mx.example.org. 3600 IN TXT \"v=spf1 a -all\"",
                "; mx2.example.net. needs an A or AAAA record with the edge's address",
                "mx2.example.net. 3600 IN TXT \"v=spf1 a -all\"",
                "example.org. 3600 IN MX 10 mx.example.org.",
                "example.org. 3600 IN MX 10 mx2.example.net.",
                "example.org. 3600 IN TXT \"v=spf1 a:mx.example.org a:mx2.example.net -all\"",
                long.as_str(),
                "b._domainkey.example.org. 3600 IN TXT \"v=DKIM1; p=B\"",
                "c._domainkey.example.org. 3600 IN TXT \"v=DKIM1; p=C\"",
                "; remove: d._domainkey.example.org. TXT",
                "_dmarc.example.org. 3600 IN TXT \"v=DMARC1; p=quarantine\"",
            ]
        );
    }

    #[test]
    fn who_sends_is_only_said_when_it_is_known() {
        let smarthost = "address = \"relay.example.net:465\"\nuser = \"u\"\npassword_file = \"p\"\n";
        let alone: HomeConfig = toml::from_str("domains = [\"example.org\"]\n").unwrap();
        let behind = HomeConfig { smarthost: Some(toml::from_str(smarthost).unwrap()), ..config() };
        for (config, mx) in [(alone, 0), (behind, 2)] {
            let all = wanted(&config, &keys());
            let count = |purpose| all.iter().filter(|record| record.purpose == purpose).count();
            assert_eq!((count(Purpose::Spf), count(Purpose::Mx), count(Purpose::Dmarc)), (0, mx, 1));
        }
    }

    #[test]
    fn each_stage_of_a_key_says_what_to_do() {
        let actions: Vec<String> = wanted(&config(), &keys())
            .iter()
            .filter(|record| record.purpose == Purpose::Dkim)
            .map(Wanted::action)
            .collect();
        assert_eq!(
            actions,
            [
                "publish",
                "publish, then 'postern dkim rotate'",
                "keep until 2026-11-24T06:00:00.000Z",
                "remove"
            ]
        );
    }
}
