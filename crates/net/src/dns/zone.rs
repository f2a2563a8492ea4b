//! Which zone a name lies in, and who serves it.

use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError as Said, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::name;

/// Name servers of a zone that are asked; more is no service.
const SERVERS_MAX: usize = 8;

/// A zone and its name servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name, without the last dot.
    pub name: String,
    /// The server that changes are sent to: the first name of its SOA record (RFC 2136 section 4.3).
    pub primary: String,
    /// Names and addresses of those that the NS records name, sorted, at most 8. Servers without an address have none.
    pub servers: Vec<(String, Vec<IpAddr>)>,
}

/// The names of a zone's servers, of its NS records.
pub(super) fn servers(records: &[RData]) -> Vec<String> {
    let mut servers: Vec<String> = records
        .iter()
        .filter_map(|data| match data {
            RData::NS(server) => Some(name::to_text(&server.0).to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    servers.sort();
    servers.truncate(SERVERS_MAX);
    servers
}

/// The SOA record above a name: where its zone begins, and the zone's primary server.
pub(super) async fn start_of(resolver: &TokioResolver, mut asked: Name) -> Result<(Name, String), String> {
    loop {
        let (owner, soa) = match resolver.lookup(asked.clone(), RecordType::SOA).await {
            Ok(answer) => answer.answers().iter().find_map(start).unzip(),
            Err(NetError::Dns(Said::NoRecordsFound(nothing))) => {
                let soa = nothing.soa.map(|soa| (soa.name.clone(), soa.data.mname.clone()));
                soa.unzip()
            }
            Err(error) => return Err(super::words::of(&error)),
        };
        match (owner, soa) {
            // An alias leads elsewhere; the zone is where the name itself lies.
            (Some(owner), Some(primary)) if owner.zone_of(&asked) && !owner.is_root() => {
                return Ok((owner, name::to_text(&primary).to_ascii_lowercase()));
            }
            _ if asked.num_labels() <= 1 => {
                return Err("the name servers know no zone that it lies in".to_owned());
            }
            _ => asked = asked.base_name(),
        }
    }
}

fn start(record: &hickory_resolver::proto::rr::Record) -> Option<(Name, Name)> {
    match &record.data {
        RData::SOA(soa) => Some((record.name.clone(), soa.mname.clone())),
        _ => None,
    }
}
