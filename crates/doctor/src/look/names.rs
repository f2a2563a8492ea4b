//! Questions to DNS that both halves have.

use std::net::{IpAddr, Ipv4Addr};

use daemon::system;
use mailauth::dns::{LookupError, Record, RecordType, Resolver, address_labels, address_name, texts};
use net::dns::Validation;
use tokio::time::Instant;

use super::deadline::{all, until};
use super::world::World;
use crate::facts::{Fact, ListSeen, NamesOf, Resolver as ResolverFacts};

/// Most names of one address that are followed.
const NAMES_MAX: usize = 5;
/// The entry of every list, and one of none (RFC 5782 section 5).
const TEST_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEVER_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

/// Records, of which there may be none.
pub(super) async fn some(world: &impl Resolver, name: &str, kind: RecordType) -> Fact<Vec<Record>> {
    match world.lookup(name, kind).await {
        Ok(records) => Ok(records.to_vec()),
        Err(LookupError::NoSuchName | LookupError::NoRecords) => Ok(Vec::new()),
        Err(LookupError::Temporary(cause)) => Err(cause),
    }
}

/// A host's addresses of both families, IPv4 first.
pub(super) async fn addresses(world: &impl Resolver, name: &str) -> Fact<Vec<IpAddr>> {
    let (four, six) = tokio::join!(some(world, name, RecordType::A), some(world, name, RecordType::Aaaa));
    let (four, six) = match (four, six) {
        // What one family has is enough: servers that know no AAAA are not rare.
        (Ok(four), Err(_)) if !four.is_empty() => (four, Vec::new()),
        (four, six) => (four?, six?),
    };
    let ip = |record: Record| match record {
        Record::A(ip) => Some(ip.into()),
        Record::Aaaa(ip) => Some(ip.into()),
        _ => None,
    };
    Ok(four.into_iter().chain(six).filter_map(ip).collect())
}

/// The texts at a name that begin so, as text.
pub(super) async fn texts_of(world: &impl Resolver, name: &str, begin: &str) -> Fact<Vec<String>> {
    match texts(world, name).await {
        Ok(found) => {
            let text = found.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned());
            let is_one = |text: &String| {
                text.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin))
            };
            Ok(text.filter(is_one).collect())
        }
        Err(LookupError::NoSuchName | LookupError::NoRecords) => Ok(Vec::new()),
        Err(LookupError::Temporary(cause)) => Err(cause),
    }
}

/// What the name servers do.
pub(super) async fn resolver(world: &impl World, deadline: Instant) -> ResolverFacts {
    // The root has name servers wherever there is DNS; that a name does not exist is an answer, too.
    let answers = async {
        match world.lookup("a.root-servers.net", RecordType::A).await {
            Err(LookupError::Temporary(cause)) => Err(cause),
            _ => Ok(()),
        }
    };
    let validation = async { Ok::<Validation, String>(world.validation().await) };
    let (answers, invents, validation) =
        tokio::join!(until(deadline, answers), until(deadline, invented(world)), until(deadline, validation));
    ResolverFacts { answers, invents, validation }
}

/// The addresses of names that can't exist: below a reserved one (RFC 6761), and one that nobody has registered.
async fn invented(world: &impl Resolver) -> Fact<Vec<String>> {
    let random = system::random_u64();
    let names = [format!("no-such-name-{random:016x}.invalid"), format!("no-such-name-{random:016x}.com")];
    let mut found = Vec::new();
    for addresses in all(names.iter().map(|name| addresses(world, name))).await {
        found.extend(addresses?.iter().map(ToString::to_string));
    }
    Ok(found)
}

/// The names of an address, and where they lead.
pub(super) async fn names_of(world: &impl World, address: IpAddr, deadline: Instant) -> NamesOf {
    let names = until(deadline, async {
        let records = some(world, &address_name(address), RecordType::Ptr).await?;
        let names = records.into_iter().filter_map(|record| match record {
            Record::Ptr(name) => Some(name),
            _ => None,
        });
        let names: Vec<String> = names.take(NAMES_MAX).collect();
        let led = all(names.iter().map(|name| until(deadline, addresses(world, name)))).await;
        Ok(names.into_iter().zip(led).collect())
    })
    .await;
    NamesOf { address, names }
}

/// What a list says of an address and of its own test entries.
pub(super) async fn on_list(world: &impl World, zone: &str, address: IpAddr, deadline: Instant) -> ListSeen {
    let (test, never): (IpAddr, IpAddr) = match address {
        IpAddr::V4(_) => (TEST_V4.into(), NEVER_V4.into()),
        IpAddr::V6(_) => (TEST_V4.to_ipv6_mapped().into(), NEVER_V4.to_ipv6_mapped().into()),
    };
    let asked = |ip| until(deadline, codes(world, zone, ip));
    let (codes, test_entry, never_entry) = tokio::join!(asked(address), asked(test), asked(never));
    ListSeen { zone: zone.to_owned(), address, codes, test_entry, never_entry }
}

async fn codes(world: &impl World, zone: &str, address: IpAddr) -> Fact<Vec<Ipv4Addr>> {
    let records = some(world, &format!("{}.{zone}", list_labels(address)), RecordType::A).await?;
    let code = |record: Record| match record {
        Record::A(code) => Some(code),
        _ => None,
    };
    Ok(records.into_iter().filter_map(code).collect())
}

/// The labels of an address on a list (RFC 5782 section 2.4). A mapped one stays IPv6: it is the test entry of lists of those.
fn list_labels(address: IpAddr) -> String {
    match address {
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev();
            nibbles.map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4)).collect::<Vec<_>>().join(".")
        }
        IpAddr::V4(_) => address_labels(address),
    }
}
