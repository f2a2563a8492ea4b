//! One name server that is asked by its address, past every cache: what the zone really holds, said by who holds it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType as Kind};
use mailauth::dns::{Answer, LookupError, Record, RecordType, Resolver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::data::{Data, DataKind};
use super::questions::{RECORDS_MAX, translate, wire_type};
use super::{Questions, name};

/// Patience with one try over UDP, and tries.
const TRY_PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 2;
/// Octets of an answer over UDP. Without EDNS a server sends 512 at most.
const DATAGRAM_OCTETS_MAX: usize = 4096;
/// Most aliases that are followed.
const ALIASES_MAX: usize = 8;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nothing was heard in time.
    #[error("it does not answer")]
    Silent,
    /// It can't be connected to.
    #[error("it can't be reached: {0}")]
    Unreachable(io::ErrorKind),
    /// What it sent is no answer.
    #[error("its answer can't be read")]
    Unreadable,
    /// It answers with this error (RFC 1035 section 4.1.1).
    #[error("it answers {0}")]
    Code(String),
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error.kind())
    }
}

/// A name server of a zone. What lies outside the zone, or in a zone below it, is asked of a resolver.
#[derive(Clone)]
pub struct ZoneServer {
    address: SocketAddr,
    zone: Name,
    beyond: Questions,
}

/// What a server says of a name and a kind.
enum Said {
    Records(Vec<RData>),
    Alias(Name),
    NoRecords,
    NoSuchName,
    /// Others have it.
    Elsewhere,
}

impl ZoneServer {
    /// The server at this address; `zone` is what it has, `beyond` is asked for everything else.
    ///
    /// # Errors
    /// When `zone` is no name.
    pub fn new(address: SocketAddr, zone: &str, beyond: Questions) -> Option<Self> {
        Some(Self { address, zone: name::to_wire(zone)?, beyond })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it answers for its zone at all.
    ///
    /// # Errors
    /// [`ServerError`]; also when it has no such zone.
    pub async fn has_its_zone(&self) -> Result<(), ServerError> {
        let answer = ask(self.address, &self.zone, Kind::SOA).await?;
        match answer.response_code {
            ResponseCode::NoError if answer.authoritative => Ok(()),
            ResponseCode::NoError => Err(ServerError::Code("for others: the zone is not its own".to_owned())),
            other => Err(ServerError::Code(other.to_str().to_owned())),
        }
    }

    /// The records of one kind at a name that the zone itself holds; an alias there counts as none.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn held(&self, name: &str, kind: DataKind) -> Result<Vec<Data>, ServerError> {
        let Some(asked) = name::to_wire(name) else { return Ok(Vec::new()) };
        Ok(match self.say(&asked, kind.wire()).await? {
            Said::Records(records) => records.into_iter().map(Data).collect(),
            _ => Vec::new(),
        })
    }

    async fn say(&self, asked: &Name, kind: Kind) -> Result<Said, ServerError> {
        let answer = ask(self.address, asked, kind).await?;
        let of = |wanted: Kind| {
            let answers = answer.answers.iter().filter(move |record| record.record_type() == wanted);
            answers.filter(|record| record.name == *asked).map(|record| record.data.clone())
        };
        let alias = of(Kind::CNAME).find_map(|data| match data {
            RData::CNAME(to) => Some(to.0),
            _ => None,
        });
        let records: Vec<RData> = of(kind).take(RECORDS_MAX).collect();
        Ok(match (answer.response_code, alias) {
            (ResponseCode::NoError, _) if !records.is_empty() => Said::Records(records),
            (_, Some(alias)) => Said::Alias(alias),
            (ResponseCode::NoError, None) if !answer.authoritative => Said::Elsewhere,
            (ResponseCode::NoError, None) => Said::NoRecords,
            (ResponseCode::NXDomain, None) => Said::NoSuchName,
            (other, None) => return Err(ServerError::Code(other.to_str().to_owned())),
        })
    }

    /// The records of a kind, aliases followed, as they are on the wire.
    async fn records(&self, asked: &str, kind: Kind) -> Result<Option<Vec<RData>>, LookupError> {
        let mut asked = name::to_wire(asked).ok_or(LookupError::NoSuchName)?;
        for _ in 0..=ALIASES_MAX {
            if !self.zone.zone_of(&asked) {
                return Ok(None);
            }
            match self.say(&asked, kind).await {
                Ok(Said::Records(records)) => return Ok(Some(records)),
                Ok(Said::Alias(to)) => asked = to,
                Ok(Said::NoRecords) => return Err(LookupError::NoRecords),
                Ok(Said::NoSuchName) => return Err(LookupError::NoSuchName),
                Ok(Said::Elsewhere) => return Ok(None),
                Err(error) => {
                    return Err(LookupError::Temporary(format!("{}: {error}", self.address.ip())));
                }
            }
        }
        Err(LookupError::Temporary("too many aliases".to_owned()))
    }

    /// The records of a kind, aliases followed.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn data(&self, name: &str, kind: DataKind) -> Result<Vec<Data>, LookupError> {
        match self.records(name, kind.wire()).await? {
            Some(records) => Ok(records.into_iter().map(Data).collect()),
            None => self.beyond.data(name, kind).await,
        }
    }
}

impl Resolver for ZoneServer {
    async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        match self.records(name, wire_type(kind)).await? {
            Some(records) => {
                let records: Vec<Record> = records.iter().filter_map(|data| translate(data, kind)).collect();
                if records.is_empty() { Err(LookupError::NoRecords) } else { Ok(records.into()) }
            }
            None => self.beyond.lookup(name, kind).await,
        }
    }
}

/// Asks one server one question: over UDP, and over TCP where the answer does not fit.
async fn ask(server: SocketAddr, asked: &Name, kind: Kind) -> Result<Message, ServerError> {
    let mut question = Message::query();
    question.add_query(Query::query(asked.clone(), kind));
    let octets = question.to_vec().map_err(|_| ServerError::Unreadable)?;
    let mut last = ServerError::Silent;
    for _ in 0..TRIES {
        match timeout(TRY_PATIENCE, by_datagram(server, &octets, &question)).await {
            Ok(Ok(answer)) if answer.truncation => {
                let octets = timeout(TRY_PATIENCE, by_stream(server, &octets)).await;
                let octets = octets.map_err(|_| ServerError::Silent)??;
                return read(&octets, &question).ok_or(ServerError::Unreadable);
            }
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = ServerError::Silent,
        }
    }
    Err(last)
}

/// An answer is the one to this question; whatever else comes is passed over.
fn read(octets: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(octets).ok()?;
    (answer.id == question.id && answer.queries == question.queries).then_some(answer)
}

async fn by_datagram(server: SocketAddr, octets: &[u8], question: &Message) -> io::Result<Message> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(octets).await?;
    let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = buffer.get(..length).and_then(|octets| read(octets, question)) {
            return Ok(answer);
        }
    }
}

/// One question and its answer over TCP (RFC 7766): at most 65,535 octets, by the form of it.
pub(super) async fn by_stream(server: SocketAddr, octets: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(octets.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes()[..], octets].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
