//! Whom to ask: each name server of the zones that the records are to stand in, past every cache, so that what was
//! published a moment ago is seen, and servers that do not have the same are found out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use net::dns::{Dns, Questions, Zone, ZoneServer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::ask::{Found, Source, ask, beside_strangers};
use super::{Purpose, Wanted};

/// Where name servers answer.
const PORT: u16 = 53;
/// Questions that are under way at one time: many domains must not flood a name server.
const AT_ONE_TIME: usize = 32;
/// Servers of one zone that are asked, by address.
const ADDRESSES_MAX: usize = 8;
/// How long an operator waits for all answers together, and of it for the servers to be found.
const PATIENCE: Duration = Duration::from_secs(8);
const FINDING_PATIENCE: Duration = Duration::from_secs(5);

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Each name server of the zones. They see from which address they are asked: the house's.
    Servers,
    /// The resolver alone.
    Resolver,
}

/// What was found, and what is to be said of the servers.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The records, in the order in which they were asked for.
    pub found: Vec<Found>,
    /// Servers that do not answer, zones whose servers are not known.
    pub notes: Vec<String>,
}

impl Checked {
    /// The records that are not as they have to be.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.is_fault())
    }
}

/// A zone's servers that answer, by name and address.
#[derive(Clone, Default)]
struct Servers(Vec<(String, ZoneServer)>);

/// Asks for all records: with a name server that is dead the operator waits once, however many there are.
pub(crate) async fn check(dns: &Dns, wanted: Vec<Wanted>, whom: Whom) -> Checked {
    let until = Instant::now() + PATIENCE;
    let questions = dns.questions();
    let (zones, notes) = match whom {
        Whom::Servers => find(dns, &questions, &wanted).await,
        Whom::Resolver => (BTreeMap::new(), Vec::new()),
    };
    let zones = Arc::new(zones);
    let places = Arc::new(Semaphore::new(AT_ONE_TIME));
    let asked = wanted.into_iter().map(|record| {
        let (questions, zones, places) = (questions.clone(), Arc::clone(&zones), Arc::clone(&places));
        tokio::spawn(async move {
            let answered = timeout_at(until, async {
                let _place = places.acquire().await;
                of_all(&questions, servers_of(&zones, &record), record.clone()).await
            });
            let late = "the name servers did not answer in time";
            answered.await.unwrap_or_else(|_| Found::unknown(record, late))
        })
    });
    let asked: Vec<_> = asked.collect();
    let mut found = Vec::with_capacity(asked.len());
    for answer in asked {
        found.extend(answer.await);
    }
    beside_strangers(&mut found);
    Checked { found, notes }
}

/// The zones that the records stand in, each once.
///
/// # Errors
/// When one is not known.
pub(crate) async fn zones_of(dns: &Dns, wanted: &[Wanted]) -> Result<Vec<Zone>, String> {
    let mut all: Vec<Zone> = Vec::new();
    for (name, zone) in zones(dns, wanted, Instant::now() + FINDING_PATIENCE).await {
        let zone = zone.map_err(|cause| format!("the zone of {name} is not known: {cause}"))?;
        if !all.iter().any(|known| known.name == zone.name) {
            all.push(zone);
        }
    }
    Ok(all)
}

/// A server of a zone that answers for it, if one does: what it has is what a change begins with, not what a resolver
/// remembers.
pub(crate) async fn server_of(dns: &Dns, zone: &Zone) -> Option<ZoneServer> {
    let (servers, _) = reach(zone, &dns.questions(), Instant::now() + FINDING_PATIENCE).await;
    servers.0.into_iter().next().map(|(_, server)| server)
}

/// The servers that have a record's name. The provider of an address has its PTR record: whoever knows is asked.
fn servers_of<'z>(zones: &'z BTreeMap<String, Servers>, record: &Wanted) -> &'z [(String, ZoneServer)] {
    let is_in = |zone: &str| record.name == zone || record.name.ends_with(&format!(".{zone}"));
    let nearest = zones.iter().filter(|(zone, _)| is_in(zone)).max_by_key(|(zone, _)| zone.len());
    match nearest {
        Some((_, Servers(servers))) if record.purpose != Purpose::Ptr => servers,
        _ => &[],
    }
}

/// The zones of all records and their servers that answer.
async fn find(
    dns: &Dns,
    questions: &Questions,
    wanted: &[Wanted],
) -> (BTreeMap<String, Servers>, Vec<String>) {
    let until = Instant::now() + FINDING_PATIENCE;
    let (mut servers, mut notes) = (BTreeMap::new(), Vec::new());
    for (name, zone) in zones(dns, wanted, until).await {
        let zone = match zone {
            Ok(zone) => zone,
            Err(cause) => {
                notes.push(format!(
                    "the name servers of {name} are not known ({cause}): this is what the resolver says"
                ));
                continue;
            }
        };
        if servers.contains_key(&zone.name) {
            continue;
        }
        let (of_zone, silent) = reach(&zone, questions, until).await;
        notes.extend(silent);
        if of_zone.0.is_empty() {
            notes.push(format!("no name server of {} answers: this is what the resolver says", zone.name));
        }
        servers.insert(zone.name, of_zone);
    }
    (servers, notes)
}

/// The zones that records stand in, by the names that they begin with: a domain's or an edge's own.
async fn zones(dns: &Dns, wanted: &[Wanted], until: Instant) -> Vec<(String, Result<Zone, String>)> {
    let at_apex = |record: &&Wanted| matches!(record.purpose, Purpose::Mx | Purpose::EdgeAddress);
    let mut names: Vec<String> = wanted.iter().filter(at_apex).map(|record| record.name.clone()).collect();
    // Where no MX record is wanted, as without an edge, the policy's name is below the domain's.
    names.extend(wanted.iter().filter_map(|record| Some(record.name.strip_prefix("_dmarc.")?.to_owned())));
    names.sort();
    names.dedup();
    let places = Arc::new(Semaphore::new(AT_ONE_TIME));
    let asked: Vec<_> = names
        .into_iter()
        .map(|name| {
            let (dns, places) = (dns.clone(), Arc::clone(&places));
            tokio::spawn(async move {
                let zone = timeout_at(until, async {
                    let _place = places.acquire().await;
                    dns.zone_of(&name).await.map_err(|error| error.cause)
                });
                let late = || Err("no answer in time".to_owned());
                let zone = zone.await.unwrap_or_else(|_| late());
                (name, zone)
            })
        })
        .collect();
    let mut all = Vec::with_capacity(asked.len());
    for zone in asked {
        all.extend(zone.await);
    }
    all
}

/// The servers of a zone that answer for it, and what is to be said of the others.
async fn reach(zone: &Zone, questions: &Questions, until: Instant) -> (Servers, Vec<String>) {
    let all = zone.servers.iter().flat_map(|(name, ips)| ips.iter().map(move |ip| (name.clone(), *ip)));
    let asked: Vec<_> = all
        .take(ADDRESSES_MAX)
        .filter_map(|(name, ip)| {
            let server = ZoneServer::new(SocketAddr::new(ip, PORT), &zone.name, questions.clone())?;
            Some(tokio::spawn(async move {
                let said = timeout_at(until, server.has_its_zone()).await;
                let said = said.map_or_else(
                    |_| Err("it does not answer".to_owned()),
                    |said| said.map_err(|e| e.to_string()),
                );
                (format!("{name} ({ip})"), server, said)
            }))
        })
        .collect();
    let (mut servers, mut notes) = (Servers::default(), Vec::new());
    for server in asked {
        match server.await {
            Ok((name, server, Ok(()))) => servers.0.push((name, server)),
            Ok((name, _, Err(cause))) => {
                notes.push(format!("{name}, a name server of {}: {cause}", zone.name))
            }
            Err(_) => {}
        }
    }
    (servers, notes)
}

/// Asks every server of a record's zone, or the resolver where none is known.
async fn of_all(questions: &Questions, servers: &[(String, ZoneServer)], record: Wanted) -> Found {
    if servers.is_empty() {
        return ask(questions, record).await;
    }
    let mut said = Vec::with_capacity(servers.len());
    for (name, server) in servers {
        said.push((name.clone(), ask_sorted(server, record.clone()).await));
    }
    agreed(record, &said)
}

/// The order of the records in an answer says nothing.
async fn ask_sorted(source: &impl Source, record: Wanted) -> Found {
    let mut found = ask(source, record).await;
    found.found.sort();
    found
}

/// What servers say together: where they differ, the worst of it, and who says what.
fn agreed(record: Wanted, said: &[(String, Found)]) -> Found {
    let Some((_, worst)) = said.iter().max_by_key(|(_, found)| found.state).cloned() else {
        return Found::unknown(record, "no name server was asked");
    };
    if said.iter().all(|(_, found)| found.state == worst.state && found.found == worst.found) {
        return worst;
    }
    let told = said.iter().map(|(name, found)| {
        let there =
            if found.found.is_empty() { String::new() } else { format!(": {}", found.found.join(", ")) };
        format!("{name} says {}{there}", found.state.as_str())
    });
    Found { found: told.collect(), ..worst }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ask::State;
    use crate::records::{Kind, Told, wanted};
    use home::config::HomeConfig;

    /// Symptom: `dns --check` took minutes when the name server was dead. Cause: one record was asked for after the
    /// other, each with all its tries.
    #[tokio::test(start_paused = true)]
    async fn a_dead_name_server_is_waited_for_once_however_many_records_there_are() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns = Dns::new(&[silent.local_addr().unwrap()]).unwrap();
        let domains: Vec<String> = (0..AT_ONE_TIME * 3).map(|n| format!("\"d{n}.example\"")).collect();
        let config: HomeConfig = toml::from_str(&format!("domains = [{}]", domains.join(", "))).unwrap();
        let wanted = wanted(&config, &[], &Told::default());
        assert!(wanted.len() > AT_ONE_TIME * 2);
        let begun = Instant::now();
        let checked = check(&dns, wanted.clone(), Whom::Servers).await;
        // The clock is simulated.
        assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
        let asked: Vec<Wanted> = checked.found.iter().map(|found| found.wanted.clone()).collect();
        assert_eq!(asked, wanted);
        let was_asked = |found: &&Found| found.state != State::Later;
        assert!(checked.found.iter().filter(was_asked).all(|found| found.state == State::Unknown));
        assert_eq!(checked.notes.len(), domains.len(), "{:?}", checked.notes);
    }

    #[test]
    fn servers_that_disagree_are_told_and_the_worst_of_them_counts() {
        let record = Wanted::new("a.test", Kind::Mx, "10 mx.test", Purpose::Mx);
        let said = |state, there: &[&str]| Found {
            wanted: record.clone(),
            state,
            found: there.iter().map(|line| (*line).to_owned()).collect(),
            should_be: None,
        };
        let of = |name: &str, found| (name.to_owned(), found);
        let good = said(State::Good, &["10 mx.test"]);
        let same = agreed(record.clone(), &[of("ns1", good.clone()), of("ns2", good.clone())]);
        assert_eq!(same, good);
        let missing = said(State::Missing, &[]);
        let found = agreed(record.clone(), &[of("ns1", good), of("ns2", missing)]);
        assert_eq!(found.state, State::Missing);
        assert_eq!(found.found, ["ns1 says good: 10 mx.test", "ns2 says missing"]);
        assert_eq!(agreed(record, &[]).state, State::Unknown);
    }
}
