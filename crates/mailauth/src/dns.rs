//! The questions that mail authentication asks of DNS, and who answers them.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, Serializer};

use crate::dkim::join::join_all;

/// A type of resource records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// An IPv4 address (RFC 1035).
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// A host that takes mail (RFC 1035).
    Mx,
    /// Text (RFC 1035).
    Txt,
    /// The name of an address (RFC 1035).
    Ptr,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Txt => "TXT",
            Self::Ptr => "PTR",
        })
    }
}

/// One record of an answer. Names are without the last dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Preference and host.
    Mx(u16, String),
    /// The strings of one TXT record, joined without space (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2).
    Txt(Vec<u8>),
    /// A host's name.
    Ptr(String),
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(ip) => ip.fmt(f),
            Self::Aaaa(ip) => ip.fmt(f),
            Self::Mx(preference, host) => write!(f, "{preference} {host}"),
            Self::Txt(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Self::Ptr(name) => name.fmt(f),
        }
    }
}

/// Why a question has no records for an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such name, nor any below it (NXDOMAIN).
    #[error("no such name")]
    NoSuchName,
    /// The name is there, without records of this type.
    #[error("no records of this type")]
    NoRecords,
    /// No answer could be had now: a server failed or is silent, or DNSSEC says that the answer is false.
    #[error("no answer: {0}")]
    Temporary(String),
}

impl LookupError {
    /// An answer without records ("void lookup", RFC 7208 section 4.6.4), rather than no answer.
    #[must_use]
    pub const fn is_void(&self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoRecords)
    }
}

/// The records of an answer, at least one, all of the type asked for. Aliases (CNAME) have been followed.
pub type Answer = Result<Arc<[Record]>, LookupError>;

/// Who is asked. An implementation bounds its time and its memory.
pub trait Resolver: Send + Sync {
    /// The records of `kind` at `name`, which is absolute, with or without its last dot.
    fn lookup(&self, name: &str, kind: RecordType) -> impl Future<Output = Answer> + Send;
}

impl<R: Resolver> Resolver for &R {
    fn lookup(&self, name: &str, kind: RecordType) -> impl Future<Output = Answer> + Send {
        (**self).lookup(name, kind)
    }
}

/// The labels that stand for an address in DNS, the last part first: of IPv4 the numbers, of IPv6 the digits
/// (RFC 1035 section 3.5, RFC 3596 section 2.5; lists of addresses use the same, RFC 5782 section 2).
#[must_use]
pub fn address_labels(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets.reverse();
            octets.map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4)).join(".")
        }
    }
}

/// The name that holds an address's names.
#[must_use]
pub fn address_name(ip: IpAddr) -> String {
    let tree = if ip.to_canonical().is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    format!("{}.{tree}", address_labels(ip))
}

/// The texts at `name`.
///
/// # Errors
/// The resolver's error.
pub async fn texts(resolver: &impl Resolver, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
    let answer = resolver.lookup(name, RecordType::Txt).await?;
    let texts = answer.iter().filter_map(|record| match record {
        Record::Txt(text) => Some(text.clone()),
        _ => None,
    });
    Ok(texts.collect())
}

/// Answers to questions for TXT records, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Vec<(String, Answer)>);

impl Answers {
    /// Asks for all names, side by side, each once.
    pub(crate) async fn ask(mut names: Vec<String>, resolver: &impl Resolver) -> Self {
        names.sort_unstable();
        names.dedup();
        let answers = join_all(names.iter().map(|name| resolver.lookup(name, RecordType::Txt))).await;
        Self(names.into_iter().zip(answers).collect())
    }

    /// What came back for a name that was asked for.
    pub(crate) fn of(&self, name: &str) -> Option<&Answer> {
        let place = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        self.0.get(place).map(|(_, answer)| answer)
    }
}

/// A question and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The name that was asked for.
    pub name: String,
    /// The type of record that was asked for.
    #[serde(rename = "type", serialize_with = "as_text")]
    pub kind: RecordType,
    /// The records as text, or why there are none.
    pub answer: Vec<String>,
}

fn as_text<S: Serializer>(kind: &RecordType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(kind)
}

/// A resolver that keeps what it was asked, for people who want to see the path to a verdict.
#[derive(Debug)]
pub struct Journal<R> {
    resolver: R,
    asked: Mutex<Vec<Asked>>,
}

impl<R: Resolver> Journal<R> {
    /// A journal of the questions to `resolver`.
    pub const fn new(resolver: R) -> Self {
        Self { resolver, asked: Mutex::new(Vec::new()) }
    }

    /// All that was asked so far, in the order of the answers.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<R: Resolver> Resolver for Journal<R> {
    async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        let answer = self.resolver.lookup(name, kind).await;
        let text = match &answer {
            Ok(records) => records.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        let asked = Asked { name: name.to_owned(), kind, answer: text };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        answer
    }
}

/// A small DNS for tests: names in lower case.
#[cfg(test)]
pub(crate) mod zone {
    use std::collections::HashMap;

    use super::*;

    /// What the names have. A name that is not here does not exist, unless one below it does.
    #[derive(Debug, Default)]
    pub(crate) struct Zone {
        records: HashMap<(String, RecordType), Vec<Record>>,
        silent: Vec<String>,
    }

    impl Zone {
        pub(crate) fn with(mut self, name: &str, record: Record) -> Self {
            let kind = match record {
                Record::A(_) => RecordType::A,
                Record::Aaaa(_) => RecordType::Aaaa,
                Record::Mx(..) => RecordType::Mx,
                Record::Txt(_) => RecordType::Txt,
                Record::Ptr(_) => RecordType::Ptr,
            };
            self.records.entry((name.to_ascii_lowercase(), kind)).or_default().push(record);
            self
        }

        pub(crate) fn txt(self, name: &str, text: &str) -> Self {
            self.with(name, Record::Txt(text.as_bytes().to_vec()))
        }

        /// A name whose servers do not answer.
        pub(crate) fn silent(mut self, name: &str) -> Self {
            self.silent.push(name.to_ascii_lowercase());
            self
        }
    }

    impl Resolver for Zone {
        async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            if self.silent.contains(&name) {
                return Err(LookupError::Temporary("timed out".to_owned()));
            }
            if let Some(records) = self.records.get(&(name.clone(), kind)) {
                return Ok(records.as_slice().into());
            }
            let below = format!(".{name}");
            let exists = self.records.keys().any(|(known, _)| *known == name || known.ends_with(&below));
            Err(if exists { LookupError::NoRecords } else { LookupError::NoSuchName })
        }
    }
}
