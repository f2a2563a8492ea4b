//! When the root's records were signed: a time that no host sets, for one that does not know whether its own clock is right.

use std::io;
use std::net::SocketAddr;

use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::{Edns, Message, Query};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::net::UdpSocket;

/// Octets of a datagram that passes every network (RFC 9715).
const PAYLOAD_OCTETS: u16 = 1400;

/// The time in which a signature of the root's SOA record is good, in seconds since 1970 (RFC 4034 section 3.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootSigned {
    /// From then on.
    pub from: u64,
    /// Until then: days to weeks later.
    pub until: u64,
}

/// Asks one of the servers, those of the system when there are none. The signature is not verified: it is looked at as one
/// witness among others. The caller bounds the time.
///
/// # Errors
/// In words: no server, no answer, or one without signatures.
pub async fn root_signed(servers: &[SocketAddr]) -> Result<RootSigned, String> {
    let server = match servers.first() {
        Some(server) => *server,
        None => system_server().ok_or("the system names no name server")?,
    };
    let words = |error: io::Error| error.to_string();
    let any = if server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).await.map_err(words)?;
    socket.connect(server).await.map_err(words)?;
    socket.send(&question().map_err(|error| error.to_string())?).await.map_err(words)?;
    let mut answer = [0; 4096];
    let octets = socket.recv(&mut answer).await.map_err(words)?;
    let answer =
        Message::from_vec(answer.get(..octets).unwrap_or_default()).map_err(|error| error.to_string())?;
    answer.answers.iter().find_map(signed).ok_or_else(|| "the name server gives no signatures".to_owned())
}

fn system_server() -> Option<SocketAddr> {
    let (config, _) = read_system_conf().ok()?;
    let server = config.name_servers().first()?;
    Some((server.ip, server.connections.first().map_or(53, |connection| connection.port)).into())
}

fn question() -> Result<Vec<u8>, hickory_resolver::proto::ProtoError> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = true;
    message.add_query(Query::query(Name::root(), RecordType::SOA));
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(PAYLOAD_OCTETS);
    message.set_edns(edns);
    message.to_vec()
}

fn signed(record: &Record) -> Option<RootSigned> {
    let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data else { return None };
    let input = signature.input();
    (input.type_covered == RecordType::SOA).then(|| RootSigned {
        from: input.sig_inception.get().into(),
        until: input.sig_expiration.get().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_without_signatures_is_told_and_the_question_asks_for_them() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let asking = tokio::spawn(async move { root_signed(&[address]).await });
        let mut question = [0; 512];
        let (octets, from) = server.recv_from(&mut question).await.unwrap();
        let asked = Message::from_vec(&question[..octets]).unwrap();
        assert!(asked.edns.as_ref().unwrap().flags().dnssec_ok);
        let answer = asked.into_response().to_vec().unwrap();
        server.send_to(&answer, from).await.unwrap();
        assert!(asking.await.unwrap().unwrap_err().contains("no signatures"));
    }
}
