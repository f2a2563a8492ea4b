//! A name server for tests: a few names, over UDP and TCP, and nothing else exists.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const TYPE_A: u16 = 1;
const TYPE_MX: u16 = 15;
const TYPE_TXT: u16 = 16;
const HEADER_OCTETS: usize = 12;

/// One record of a name.
#[derive(Debug, Clone)]
pub enum Record {
    /// An address.
    A(Ipv4Addr),
    /// A mail exchanger; its preference.
    Mx(u16, String),
    /// A text.
    Txt(String),
}

/// A name server on loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

type Zone = Vec<(String, Record)>;

impl NameServer {
    /// Answers for these names on a free port.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start(zone: &[(&str, Record)]) -> Self {
        Self::start_at(crate::ports::free(), zone)
    }

    /// Answers for these names at an address.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start_at(address: SocketAddr, zone: &[(&str, Record)]) -> Self {
        let zone: Zone = zone.iter().map(|(name, record)| (name.to_lowercase(), record.clone())).collect();
        let zone = Arc::new(zone);
        let stop = Arc::new(AtomicBool::new(false));
        let udp = UdpSocket::bind(address).expect("UDP");
        let tcp = TcpListener::bind(address).expect("TCP");
        udp.set_read_timeout(Some(Duration::from_millis(100))).expect("a time limit");
        tcp.set_nonblocking(true).expect("non-blocking");
        let (zone2, stop2, stop3) = (Arc::clone(&zone), Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            std::thread::spawn(move || serve_udp(&udp, &zone, &stop2)),
            std::thread::spawn(move || serve_tcp(&tcp, &zone2, &stop3)),
        ];
        Self { address, stop, threads }
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_udp(socket: &UdpSocket, zone: &Zone, stop: &AtomicBool) {
    let mut query = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((octets, from)) = socket.recv_from(&mut query)
            && let Some(answer) = answer(&query[..octets], zone)
        {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Zone, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                break;
            }
            let Some(answer) = answer(&query, zone) else { break };
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes();
            if stream.write_all(&[&length, &answer[..]].concat()).is_err() {
                break;
            }
        }
    }
}

/// The answer to a query with one question. `None` when it is not one.
fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let (name, question_end) = question_name(query)?;
    let kind = u16::from_be_bytes(query.get(question_end..question_end + 2)?.try_into().ok()?);
    let question = query.get(HEADER_OCTETS..question_end + 4)?;
    let of_name: Vec<_> = zone.iter().filter(|(owner, _)| *owner == name).map(|(_, record)| record).collect();
    let exists = zone.iter().any(|(owner, _)| *owner == name || owner.ends_with(&format!(".{name}")));
    let records: Vec<Vec<u8>> = of_name.iter().filter_map(|record| encode(record, kind)).collect();
    let mut out = query.get(..2)?.to_vec();
    // A response with authority, recursion as asked and available.
    out.extend([0x84 | (query[2] & 1), 0x80 | if exists { 0 } else { 3 }]);
    out.extend([0, 1]);
    out.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    let denial = if records.is_empty() { denial() } else { Vec::new() };
    out.extend([0, u8::from(!denial.is_empty()), 0, 0]);
    out.extend_from_slice(question);
    records.iter().for_each(|record| out.extend_from_slice(record));
    out.extend_from_slice(&denial);
    Some(out)
}

/// The root's SOA record: for how long it may be remembered that there is nothing (RFC 2308 section 3).
fn denial() -> Vec<u8> {
    const TYPE_SOA: u8 = 6;
    const SECONDS: u32 = 60;
    let mut data = vec![0, 0];
    [1, 3600, 600, 86_400, SECONDS].iter().for_each(|number: &u32| data.extend(number.to_be_bytes()));
    let length = u8::try_from(data.len()).unwrap_or(0);
    [&[0, 0, TYPE_SOA, 0, 1][..], &SECONDS.to_be_bytes(), &[0, length], &data].concat()
}

fn question_name(query: &[u8]) -> Option<(String, usize)> {
    let mut at = HEADER_OCTETS;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
}

/// The record after a pointer to the question's name, when it is of that type.
fn encode(record: &Record, kind: u16) -> Option<Vec<u8>> {
    let (own_kind, data) = match record {
        Record::A(address) => (TYPE_A, address.octets().to_vec()),
        Record::Mx(preference, host) => {
            (TYPE_MX, [&preference.to_be_bytes()[..], &encode_name(host)].concat())
        }
        Record::Txt(text) => {
            // Strings of a record have at most 255 octets.
            let strings = text.as_bytes().chunks(255);
            let strings = strings.map(|part| [&[u8::try_from(part.len()).unwrap_or(255)][..], part].concat());
            (TYPE_TXT, strings.collect::<Vec<_>>().concat())
        }
    };
    let length = u16::try_from(data.len()).ok()?;
    let head = [0xc0, 12, 0, u8::try_from(own_kind).ok()?, 0, 1, 0, 0, 0, 60];
    (own_kind == kind).then(|| [&head[..], &length.to_be_bytes(), &data].concat())
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).expect("a short label"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
