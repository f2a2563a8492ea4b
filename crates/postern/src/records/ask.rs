//! Whether the records are in DNS. A record may be written otherwise than it is shown, as long as it does the
//! same: SPF is evaluated for the edge's addresses, and keys are compared as keys.

use std::future::Future;
use std::net::IpAddr;

use daemon::clock::{Clock as _, SystemClock};
use mailauth::dkim::sign;
use mailauth::dns::{LookupError, Record, RecordType, Resolver, address_name};
use mailauth::spf::{self, SpfResult};
use net::dns::{Data, DataKind, Questions, ZoneServer};
use serde::Serialize;

use super::{Kind, Need, Purpose, Wanted, line};

/// What is said of a host that SPF names and DNS does not know.
const NO_ADDRESS: &str = " has no address";
/// Records at one name that are shown.
const SHOWN_MAX: usize = 10;

/// Who is asked: a resolver, or a server of the zone.
pub(crate) trait Source: Resolver {
    /// The records of a kind, as they stand in the zone.
    fn data(&self, name: &str, kind: DataKind)
    -> impl Future<Output = Result<Vec<Data>, LookupError>> + Send;
}

impl Source for Questions {
    async fn data(&self, name: &str, kind: DataKind) -> Result<Vec<Data>, LookupError> {
        self.data(name, kind).await
    }
}

impl Source for ZoneServer {
    async fn data(&self, name: &str, kind: DataKind) -> Result<Vec<Data>, LookupError> {
        self.data(name, kind).await
    }
}

/// The state of a record in DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it is to be: there, or gone.
    Good,
    /// It can't be there yet, and nobody was asked.
    Later,
    /// It is still there and is to go. No fault.
    Remove,
    /// No such record is there.
    Missing,
    /// Another record is there.
    Wrong,
    /// DNS gives no answer now.
    Unknown,
}

impl State {
    /// The state as a word for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Later => "later",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
            Self::Remove => "remove",
            Self::Unknown => "unknown",
        }
    }
}

/// A record and what DNS says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    /// The record.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// The state of the record in DNS.
    pub state: State,
    /// What is there, or why it is wrong; strangers' words, escaped.
    pub found: Vec<String>,
    /// The line that is to be there where another one, or none, is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub should_be: Option<String>,
}

impl Found {
    /// A record of which nothing is known, for this cause.
    pub(crate) fn unknown(wanted: Wanted, cause: impl Into<String>) -> Self {
        Self { wanted, state: State::Unknown, found: vec![cause.into()], should_be: None }
    }

    /// Whether a script has something to do. A record that may be left out is a fault only where it does harm.
    pub(crate) fn is_fault(&self) -> bool {
        let amiss = matches!(self.state, State::Missing | State::Wrong | State::Unknown);
        amiss
            && match self.wanted.need {
                Need::Required => true,
                Need::Optional => self.wanted.purpose == Purpose::Tlsa && self.state == State::Wrong,
                Need::Later => false,
            }
    }

    /// The state as a word for people: what may be left out and is not there is a notice.
    pub(crate) fn word(&self) -> &'static str {
        let amiss = matches!(self.state, State::Missing | State::Wrong | State::Unknown);
        if amiss && !self.is_fault() { "notice" } else { self.state.as_str() }
    }
}

/// Asks for one record.
pub(crate) async fn ask(source: &impl Source, wanted: Wanted) -> Found {
    let (state, found) = match wanted.purpose {
        _ if wanted.need == Need::Later => (State::Later, Vec::new()),
        Purpose::EdgeAddress => address(source, &wanted.name).await,
        Purpose::Ptr => pointers(source, &wanted).await,
        Purpose::Mx => {
            judged(source.lookup(&wanted.name, RecordType::Mx).await, |records| is_mx(records, &wanted))
        }
        Purpose::Spf | Purpose::EdgeSpf => spf(source, &wanted).await,
        Purpose::Dkim => key(source, &wanted).await,
        Purpose::Dmarc => texts(source, &wanted.name, |texts| is_one(texts, b"v=DMARC1")).await,
        Purpose::TlsReports => texts(source, &wanted.name, |texts| is_one(texts, b"v=TLSRPTv1")).await,
        Purpose::Tlsa | Purpose::Caa => data(source, &wanted, |text| text == wanted.value).await,
        Purpose::Programs | Purpose::NotOffered => service(source, &wanted).await,
        Purpose::MtaSts | Purpose::MtaStsHost | Purpose::ProgramsUnnamed => (State::Later, Vec::new()),
    };
    let should_be = matches!(state, State::Missing | State::Wrong | State::Remove)
        .then(|| should_be(&wanted, state, &found));
    Found { wanted, state, found, should_be }
}

/// Mail goes to any host that a domain's MX records name: beside one that is not ours, ours are not good.
pub(crate) fn beside_strangers(found: &mut [Found]) {
    let host =
        |text: &str| text.rsplit(' ').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let of = |found: &Found| (found.wanted.name.clone(), host(&found.wanted.value));
    let ours: Vec<(String, String)> =
        found.iter().filter(|one| one.wanted.purpose == Purpose::Mx).map(of).collect();
    let good = found.iter_mut().filter(|one| one.wanted.purpose == Purpose::Mx && one.state == State::Good);
    for one in good {
        let name = &one.wanted.name;
        let strange = |text: &&String| !ours.contains(&(name.clone(), host(text)));
        let strangers: Vec<String> = one.found.iter().filter(strange).cloned().collect();
        if !strangers.is_empty() {
            one.state = State::Wrong;
            one.should_be = Some(format!("{}, and not {}", one.wanted.zone(), strangers.join(", ")));
        }
    }
}

/// The line to be written, where there is another or none.
fn should_be(wanted: &Wanted, state: State, found: &[String]) -> String {
    let name = &wanted.name;
    match wanted.purpose {
        Purpose::EdgeAddress => format!("{name}. A or AAAA, with the edge's address"),
        Purpose::Ptr => format!("PTR {name}. at the name of each address, set by their provider"),
        _ if wanted.is_to_go() => "no record".to_owned(),
        Purpose::Spf | Purpose::EdgeSpf if found.iter().any(|line| line.ends_with(NO_ADDRESS)) => {
            let edge = edges_of(wanted).first().copied().unwrap_or_default().to_owned();
            format!("as it is, and {edge}. A or AAAA, with the edge's address")
        }
        Purpose::Spf if state == State::Wrong => {
            // What can't be evaluated is not built upon.
            let broken = found.iter().any(|line| line.contains(": permerror"));
            let existing = found.iter().find_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
            let existing = existing.filter(|_| !broken);
            let value = existing.and_then(|existing| with_hosts_of(existing, &wanted.value));
            line::of(name, Kind::Txt, value.as_deref().unwrap_or(&wanted.value))
        }
        _ => wanted.zone(),
    }
}

/// Somebody's SPF record with our hosts named first, so that what it allows besides stays allowed (RFC 7208 section 4.6).
fn with_hosts_of(existing: &str, ours: &str) -> Option<String> {
    let rest = existing.strip_prefix("v=spf1").filter(|rest| rest.is_empty() || rest.starts_with(' '))?;
    let hosts = ours.split(' ').filter(|term| term.starts_with("a:"));
    let hosts: String = hosts
        .filter(|term| !rest.split(' ').any(|other| other == *term))
        .map(|term| format!(" {term}"))
        .collect();
    (!hosts.is_empty()).then(|| format!("v=spf1{hosts}{rest}"))
}

type Said = (State, Vec<String>);

fn judged(answer: mailauth::dns::Answer, is_good: impl FnOnce(&[Record]) -> bool) -> Said {
    match answer {
        Ok(records) => {
            let state = if is_good(&records) { State::Good } else { State::Wrong };
            (state, records.iter().take(SHOWN_MAX).map(|record| printable(&record.to_string())).collect())
        }
        Err(error) => nothing(error),
    }
}

fn nothing(error: LookupError) -> Said {
    match error {
        LookupError::Temporary(cause) => (State::Unknown, vec![printable(&cause)]),
        LookupError::NoSuchName | LookupError::NoRecords => (State::Missing, Vec::new()),
    }
}

/// Judges records that are compared as they are written: one that is good is enough.
async fn data(source: &impl Source, wanted: &Wanted, is_good: impl Fn(&str) -> bool) -> Said {
    match source.data(&wanted.name, wanted.kind.data()).await {
        Ok(records) => {
            let texts: Vec<String> = records.iter().map(Data::text).collect();
            let state = if texts.iter().any(|text| is_good(text)) { State::Good } else { State::Wrong };
            (state, texts.iter().take(SHOWN_MAX).map(|text| printable(text)).collect())
        }
        Err(error) => nothing(error),
    }
}

/// Priority and weight are the operator's own; port and host are what is promised.
async fn service(source: &impl Source, wanted: &Wanted) -> Said {
    let promised = |text: &str| text.split(' ').skip(2).map(str::to_owned).collect::<Vec<_>>();
    data(source, wanted, |text| promised(text) == promised(&wanted.value)).await
}

/// Whether each public address of the host has its name, which leads back to it as it came from there.
async fn pointers(source: &impl Source, wanted: &Wanted) -> Said {
    let addresses = match addresses(source, &wanted.name).await {
        Ok(addresses) if addresses.is_empty() => {
            return (State::Missing, vec![format!("{} has no address", wanted.name)]);
        }
        Ok(addresses) => addresses,
        Err(cause) => return (State::Unknown, vec![printable(&cause)]),
    };
    let (mut state, mut said) = (State::Good, Vec::new());
    for ip in addresses.into_iter().filter(|ip| is_public(*ip)) {
        let (of_one, word) = pointer(source, ip, &wanted.value).await;
        state = state.max(of_one);
        said.push(printable(&format!("{}. PTR {word}", address_name(ip))));
    }
    (state, said)
}

async fn pointer(source: &impl Source, ip: IpAddr, host: &str) -> (State, String) {
    match source.lookup(&address_name(ip), RecordType::Ptr).await {
        Ok(records) => {
            let names: Vec<String> = records.iter().map(Record::to_string).take(SHOWN_MAX).collect();
            let good = names.iter().any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host));
            (if good { State::Good } else { State::Wrong }, names.join(", "))
        }
        Err(LookupError::Temporary(cause)) => (State::Unknown, format!("(not known: {cause})")),
        Err(_) => (State::Missing, "(none)".to_owned()),
    }
}

/// Whether the world can ask for the name of an address: not in a network of one's own.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn is_mx(records: &[Record], wanted: &Wanted) -> bool {
    let host = wanted.value.rsplit(' ').next().unwrap_or_default();
    records.iter().any(|record| matches!(record, Record::Mx(_, name) if name.eq_ignore_ascii_case(host)))
}

/// Judges the texts at a name.
async fn texts(source: &impl Source, name: &str, is_good: impl Fn(&[&[u8]]) -> bool) -> Said {
    judged(source.lookup(name, RecordType::Txt).await, |records| {
        let texts = records.iter().filter_map(|record| match record {
            Record::Txt(text) => Some(text.as_slice()),
            _ => None,
        });
        is_good(&texts.collect::<Vec<_>>())
    })
}

/// A key stands alone at its name: which of several counts is left open (RFC 6376 section 3.6.2.2).
async fn key(source: &impl Source, wanted: &Wanted) -> Said {
    let alone = |texts: &[&[u8]]| matches!(texts, [text] if sign::publishes(text, &wanted.value));
    let (state, found) = texts(source, &wanted.name, alone).await;
    let state = match (wanted.is_to_go(), state) {
        (true, State::Missing) => State::Good,
        (true, State::Good | State::Wrong) => State::Remove,
        (_, state) => state,
    };
    (state, found)
}

/// What it says is the operator's own; two are none (RFC 9989 section 4.10, RFC 8460 section 3).
fn is_one(texts: &[&[u8]], version: &[u8]) -> bool {
    texts.iter().filter(|text| text.starts_with(version)).count() == 1
}

async fn address(source: &impl Source, name: &str) -> Said {
    match addresses(source, name).await {
        Ok(addresses) if addresses.is_empty() => (State::Missing, Vec::new()),
        Ok(addresses) => (State::Good, addresses.iter().map(IpAddr::to_string).collect()),
        Err(cause) => (State::Unknown, vec![printable(&cause)]),
    }
}

async fn addresses(source: &impl Source, name: &str) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::new();
    for kind in [RecordType::A, RecordType::Aaaa] {
        match source.lookup(name, kind).await {
            Ok(records) => addresses.extend(records.iter().filter_map(|record| match record {
                Record::A(ip) => Some(IpAddr::from(*ip)),
                Record::Aaaa(ip) => Some(IpAddr::from(*ip)),
                _ => None,
            })),
            Err(LookupError::Temporary(cause)) => return Err(cause),
            Err(LookupError::NoSuchName | LookupError::NoRecords) => {}
        }
    }
    Ok(addresses)
}

/// The hosts that a record of ours names.
fn edges_of(wanted: &Wanted) -> Vec<&str> {
    if wanted.purpose == Purpose::EdgeSpf {
        return vec![&wanted.name];
    }
    wanted.value.split(' ').filter_map(|term| term.strip_prefix("a:")).collect()
}

/// Whether each address of each edge passes.
async fn spf(source: &impl Source, wanted: &Wanted) -> Said {
    let (mut state, mut said) = (State::Good, Vec::new());
    for edge in edges_of(wanted) {
        let addresses = match addresses(source, edge).await {
            Ok(addresses) => addresses,
            Err(cause) => return (State::Unknown, vec![printable(&cause)]),
        };
        if addresses.is_empty() {
            state = State::Wrong;
            said.push(format!("{edge}{NO_ADDRESS}"));
        }
        for ip in addresses {
            let own = wanted.purpose == Purpose::EdgeSpf;
            let query = spf::Query {
                ip,
                helo: edge,
                mail_from: if own { "" } else { &wanted.name },
                receiver: "unknown",
                now: SystemClock.now().as_secs(),
            };
            let spf = spf::check(source, &query).await;
            match spf.result {
                SpfResult::Pass => continue,
                SpfResult::None => return (State::Missing, Vec::new()),
                SpfResult::TempError => state = State::Unknown,
                _ => state = State::Wrong,
            }
            said.push(printable(&format!("{ip}: {} {}", spf.result.as_str(), spf.reason)));
        }
    }
    if state == State::Wrong {
        let texts = mailauth::dns::texts(source, &wanted.name).await.unwrap_or_default();
        let policies = texts.iter().filter(|text| text.starts_with(b"v=spf1")).take(SHOWN_MAX);
        let policies = policies.map(|text| format!("\"{}\"", printable(&String::from_utf8_lossy(text))));
        said = policies.chain(said).collect();
    }
    (state, said)
}

#[cfg(test)]
mod tests;
