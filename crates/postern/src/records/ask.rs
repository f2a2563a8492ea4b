//! Whether the records are in DNS. A record may be written otherwise than it is shown, as long as it does the
//! same: SPF is evaluated for the edge's addresses, and keys are compared as keys.

use std::net::IpAddr;

use daemon::clock::{Clock as _, SystemClock};
use mailauth::dkim::sign;
use mailauth::dns::{LookupError, Record, RecordType, Resolver};
use mailauth::spf::{self, SpfResult};
use serde::Serialize;

use super::{Purpose, Wanted};

/// Records at one name that are shown.
const SHOWN_MAX: usize = 10;

/// The state of a record in DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it is to be: there, or gone.
    Good,
    /// Another record is there.
    Wrong,
    /// No such record is there.
    Missing,
    /// It is still there and is to go. No fault.
    Remove,
    /// DNS gives no answer now.
    Unknown,
}

impl State {
    /// Whether a script has something to do.
    pub(crate) const fn is_fault(self) -> bool {
        !matches!(self, Self::Good | Self::Remove)
    }

    /// The state as a word for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
            Self::Remove => "remove",
            Self::Unknown => "unknown",
        }
    }
}

/// A record and what DNS says of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Found {
    /// The record.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// The state of the record in DNS.
    pub state: State,
    /// What is there, or why it is wrong; strangers' words, escaped.
    pub found: Vec<String>,
}

/// Asks for one record.
pub(crate) async fn ask(resolver: &impl Resolver, wanted: Wanted) -> Found {
    let (state, found) = match wanted.purpose {
        Purpose::EdgeAddress => address(resolver, &wanted.name).await,
        Purpose::Mx => {
            judged(resolver.lookup(&wanted.name, RecordType::Mx).await, |records| is_mx(records, &wanted))
        }
        Purpose::Spf | Purpose::EdgeSpf => spf(resolver, &wanted).await,
        Purpose::Dkim => key(resolver, &wanted).await,
        Purpose::Dmarc => texts(resolver, &wanted.name, is_dmarc).await,
    };
    Found { wanted, state, found }
}

type Said = (State, Vec<String>);

fn judged(answer: mailauth::dns::Answer, is_good: impl FnOnce(&[Record]) -> bool) -> Said {
    match answer {
        Ok(records) => {
            let state = if is_good(&records) { State::Good } else { State::Wrong };
            (state, records.iter().take(SHOWN_MAX).map(|record| printable(&record.to_string())).collect())
        }
        Err(LookupError::Temporary(cause)) => (State::Unknown, vec![printable(&cause)]),
        Err(LookupError::NoSuchName | LookupError::NoRecords) => (State::Missing, Vec::new()),
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
async fn texts(resolver: &impl Resolver, name: &str, is_good: impl Fn(&[&[u8]]) -> bool) -> Said {
    judged(resolver.lookup(name, RecordType::Txt).await, |records| {
        let texts = records.iter().filter_map(|record| match record {
            Record::Txt(text) => Some(text.as_slice()),
            _ => None,
        });
        is_good(&texts.collect::<Vec<_>>())
    })
}

/// A key stands alone at its name: which of several counts is left open (RFC 6376 section 3.6.2.2).
async fn key(resolver: &impl Resolver, wanted: &Wanted) -> Said {
    let alone = |texts: &[&[u8]]| matches!(texts, [text] if sign::publishes(text, &wanted.value));
    let (state, found) = texts(resolver, &wanted.name, alone).await;
    let state = match (wanted.is_to_go(), state) {
        (true, State::Missing) => State::Good,
        (true, State::Good | State::Wrong) => State::Remove,
        (_, state) => state,
    };
    (state, found)
}

/// Any policy is the operator's own; two are none (RFC 9989 section 4.10).
fn is_dmarc(texts: &[&[u8]]) -> bool {
    texts.iter().filter(|text| text.starts_with(b"v=DMARC1")).count() == 1
}

async fn address(resolver: &impl Resolver, name: &str) -> Said {
    match addresses(resolver, name).await {
        Ok(addresses) if addresses.is_empty() => (State::Missing, Vec::new()),
        Ok(addresses) => (State::Good, addresses.iter().map(IpAddr::to_string).collect()),
        Err(cause) => (State::Unknown, vec![printable(&cause)]),
    }
}

async fn addresses(resolver: &impl Resolver, name: &str) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::new();
    for kind in [RecordType::A, RecordType::Aaaa] {
        match resolver.lookup(name, kind).await {
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
async fn spf(resolver: &impl Resolver, wanted: &Wanted) -> Said {
    let (mut state, mut said) = (State::Good, Vec::new());
    for edge in edges_of(wanted) {
        let addresses = match addresses(resolver, edge).await {
            Ok(addresses) => addresses,
            Err(cause) => return (State::Unknown, vec![printable(&cause)]),
        };
        if addresses.is_empty() {
            state = State::Wrong;
            said.push(format!("{edge} has no address"));
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
            let spf = spf::check(resolver, &query).await;
            match spf.result {
                SpfResult::Pass => continue,
                SpfResult::None => return (State::Missing, Vec::new()),
                SpfResult::TempError => state = State::Unknown,
                _ => state = State::Wrong,
            }
            said.push(printable(&format!("{ip}: {} {}", spf.result.as_str(), spf.reason)));
        }
    }
    (state, said)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mailauth::dns::Answer;

    use super::*;
    use crate::records::Kind;
    use home::dkim::Stage;

    const KEY: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    /// A DNS of a few records. `?` as a text: no answer.
    #[derive(Default)]
    struct Zone(HashMap<String, Vec<Record>>);

    impl Zone {
        fn with(mut self, name: &str, record: Record) -> Self {
            self.0.entry(name.to_owned()).or_default().push(record);
            self
        }

        fn text(self, name: &str, text: &str) -> Self {
            self.with(name, Record::Txt(text.as_bytes().to_vec()))
        }
    }

    impl Resolver for Zone {
        async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
            let records = self.0.get(name).ok_or(LookupError::NoSuchName)?;
            if records.contains(&Record::Txt(b"?".to_vec())) {
                return Err(LookupError::Temporary("timeout".to_owned()));
            }
            let is_kind = |record: &&Record| match record {
                Record::A(_) => kind == RecordType::A,
                Record::Mx(..) => kind == RecordType::Mx,
                Record::Txt(_) => kind == RecordType::Txt,
                _ => false,
            };
            let of_kind: Vec<Record> = records.iter().filter(is_kind).cloned().collect();
            if of_kind.is_empty() { Err(LookupError::NoRecords) } else { Ok(of_kind.into()) }
        }
    }

    fn state(zone: &Zone, wanted: Wanted) -> State {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ask(zone, wanted)).state
    }

    fn edge() -> Record {
        Record::A([192, 0, 2, 1].into())
    }

    #[test]
    fn a_key_is_there_alone_or_it_is_wrong() {
        let wanted = |stage| Wanted {
            stage: Some(stage),
            ..Wanted::new("s._domainkey.example.org", Kind::Txt, KEY, Purpose::Dkim)
        };
        let name = "s._domainkey.example.org";
        let there = Zone::default().text(name, KEY);
        let other = KEY.replace("11q", "22q");
        for stage in [Stage::Signing, Stage::Next, Stage::Kept] {
            assert_eq!(state(&there, wanted(stage)), State::Good);
            assert_eq!(state(&Zone::default(), wanted(stage)), State::Missing);
            assert_eq!(state(&Zone::default().text(name, "?"), wanted(stage)), State::Unknown);
            assert_eq!(state(&Zone::default().text(name, &other), wanted(stage)), State::Wrong);
            assert_eq!(
                state(&Zone::default().text(name, KEY).text(name, &other), wanted(stage)),
                State::Wrong
            );
        }
        assert_eq!(state(&there, wanted(Stage::Remove)), State::Remove);
        assert_eq!(state(&Zone::default(), wanted(Stage::Remove)), State::Good);
        assert!(!State::Remove.is_fault() && State::Unknown.is_fault());
    }

    #[test]
    fn spf_is_good_when_each_edge_passes_however_it_is_written() {
        let wanted = || Wanted::new("example.org", Kind::Txt, "v=spf1 a:mx.example.org -all", Purpose::Spf);
        let with = |text: &str| Zone::default().with("mx.example.org", edge()).text("example.org", text);
        for good in ["v=spf1 a:mx.example.org -all", "v=spf1 ip4:192.0.2.0/24 ~all"] {
            assert_eq!(state(&with(good), wanted()), State::Good, "{good}");
        }
        for wrong in ["v=spf1 -all", "v=spf1 ip4:192.0.2.2 ~all", "v=spf1 nonsense:"] {
            assert_eq!(state(&with(wrong), wanted()), State::Wrong, "{wrong}");
        }
        assert_eq!(state(&with("other text"), wanted()), State::Missing);
        assert_eq!(state(&with("?"), wanted()), State::Unknown);
        let without_edge = Zone::default().text("example.org", "v=spf1 a:mx.example.org -all");
        assert_eq!(state(&without_edge, wanted()), State::Wrong);
        let own = Wanted::new("mx.example.org", Kind::Txt, "v=spf1 a -all", Purpose::EdgeSpf);
        let zone = Zone::default().with("mx.example.org", edge()).text("mx.example.org", "v=spf1 a -all");
        assert_eq!(state(&zone, own.clone()), State::Good);
        assert_eq!(state(&Zone::default().with("mx.example.org", edge()), own), State::Missing);
    }

    #[test]
    fn other_records_are_good_when_ours_is_among_them() {
        let mx = || Wanted::new("example.org", Kind::Mx, "10 mx.example.org", Purpose::Mx);
        let of = |host: &str| Zone::default().with("example.org", Record::Mx(5, host.to_owned()));
        assert_eq!(state(&of("MX.example.org"), mx()), State::Good);
        assert_eq!(state(&of("mx.example.net"), mx()), State::Wrong);
        assert_eq!(state(&Zone::default(), mx()), State::Missing);
        let dmarc = || Wanted::new("_dmarc.example.org", Kind::Txt, "v=DMARC1; p=quarantine", Purpose::Dmarc);
        let zone = || Zone::default().text("_dmarc.example.org", "v=DMARC1; p=reject");
        assert_eq!(state(&zone().text("_dmarc.example.org", "note"), dmarc()), State::Good);
        assert_eq!(state(&zone().text("_dmarc.example.org", "v=DMARC1; p=none"), dmarc()), State::Wrong);
        let address = || Wanted::new("mx.example.org", Kind::A, "", Purpose::EdgeAddress);
        assert_eq!(state(&Zone::default().with("mx.example.org", edge()), address()), State::Good);
        assert_eq!(state(&Zone::default(), address()), State::Missing);
    }
}
