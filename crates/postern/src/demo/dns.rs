//! The pretend internet's name server: a few names, asked over UDP (RFC 1035).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

const TYPE_A: u16 = 1;
const TYPE_MX: u16 = 15;
const NO_SUCH_NAME: u16 = 3;

/// Answers for one domain: its MX is `mx.<domain>`, whose address is 127.0.0.1. All else does not exist.
pub(super) struct NameServer {
    socket: UdpSocket,
    domain: String,
}

impl NameServer {
    /// Opens the name server on a free port.
    pub(super) async fn bind(domain: &str) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self { socket, domain: domain.to_owned() })
    }

    /// The address that it listens on.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until it is dropped.
    pub(super) async fn run(self) {
        let mut query = [0; 512];
        while let Ok((octets, from)) = self.socket.recv_from(&mut query).await {
            if let Some(answer) = query.get(..octets).and_then(|query| self.answer(query)) {
                let _ = self.socket.send_to(&answer, from).await;
            }
        }
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, after) = read_name(query, 12)?;
        let kind = u16::from_be_bytes(query.get(after..after + 2)?.try_into().ok()?);
        let question = query.get(12..after + 4)?;
        let host = format!("mx.{}", self.domain);
        let data = match kind {
            TYPE_MX if name == self.domain => Some([&[0, 10][..], &wire_name(&host)].concat()),
            TYPE_A if name == host => Some(Ipv4Addr::LOCALHOST.octets().to_vec()),
            _ => None,
        };
        let known = name == self.domain || name == host;
        let code = if known { 0 } else { NO_SUCH_NAME };
        let mut out = query.get(..2)?.to_vec();
        out.extend_from_slice(&(0x8580_u16 | code).to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
        out.extend_from_slice(question);
        if let Some(data) = data {
            // The name is the question's; class IN, 60 seconds.
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
            out.extend_from_slice(&data);
        }
        Some(out)
    }
}

fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let octets = usize::from(*message.get(at)?);
        at += 1;
        if octets == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + octets).filter(|_| octets < 64)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += octets;
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
