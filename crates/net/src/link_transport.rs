//! The link's transports: QUIC on UDP, and TLS 1.3 on TCP where UDP does not get through.
//!
//! Both end as the same thing, one ordered byte stream to a peer whose key is known. QUIC goes first because
//! it survives a changed address; which one is used is decided anew at each dial.

mod dial;
mod listen;
mod reception;
mod reset;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};

use self::reception::Reception;

pub use self::dial::Dialer;
pub use self::listen::LinkListener;

/// How long QUIC may take before TCP is tried.
pub const QUIC_PATIENCE: Duration = Duration::from_secs(3);
/// How long TCP and its handshake may take.
pub const TCP_PATIENCE: Duration = Duration::from_secs(10);
/// A QUIC peer that was not heard for this long is gone.
pub const IDLE_MAX: Duration = Duration::from_secs(30);
/// How often QUIC is kept alive, also through a NAT.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Octets that may be under way on the link in one direction.
const STREAM_WINDOW_OCTETS: u32 = 4 << 20;
/// The same for a peer that is not known yet, who has little to say.
const STRANGER_WINDOW_OCTETS: u32 = 16 * 1024;
/// Octets of a QUIC handshake that may wait for those before them.
const CRYPTO_OCTETS_MAX: usize = 8 * 1024;
/// Packets of the other side after which it is to be told that they arrived. QUIC's own is two.
const ACK_AFTER_PACKETS: u32 = 10;

/// Which transport carries a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// QUIC on UDP.
    Quic,
    /// TLS 1.3 on TCP.
    Tcp,
}

impl Transport {
    /// The word for logs and `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// A byte stream to a peer that has proved its key.
pub struct LinkStream {
    /// Octets from the peer.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// Octets to the peer.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// The peer's raw public key.
    pub peer_spki: Vec<u8>,
    /// The ALPN protocol that the two sides agreed on (RFC 7301).
    pub alpn: Vec<u8>,
    /// The peer's address when the stream came about.
    pub remote: SocketAddr,
    /// The transport that carries the stream.
    pub transport: Transport,
    /// What changes once the peer is known.
    trust: Trust,
    /// Ends the transport when dropped.
    _closer: Closer,
}

impl LinkStream {
    /// The peer's key is a paired one: it may have as much under way as the link needs, and from where it is now its
    /// next handshakes have places that no stranger can take.
    pub fn trust(&mut self) {
        if let Some(reception) = &self.trust.reception {
            self.trust.known = Some(reception.remember(self.trust.source));
        }
        if let Some(connection) = &self.trust.connection {
            connection.set_send_window(STREAM_WINDOW_OCTETS.into());
            connection.set_receive_window(STREAM_WINDOW_OCTETS.into());
        }
    }
}

struct Trust {
    /// Nobody's, at Home, which dials.
    reception: Option<Arc<Reception>>,
    source: IpAddr,
    connection: Option<quinn::Connection>,
    /// As long as it is held, this is no stranger's.
    known: Option<Arc<()>>,
}

impl Trust {
    const fn not_needed(remote: SocketAddr) -> Self {
        Self { reception: None, source: remote.ip(), connection: None, known: None }
    }
}

struct Closer(Option<(quinn::Connection, Option<quinn::Endpoint>)>);

impl Drop for Closer {
    fn drop(&mut self) {
        if let Some((connection, _)) = &self.0 {
            connection.close(0_u32.into(), b"");
        }
    }
}

/// The reasons why no link stream came about.
#[derive(Debug, thiserror::Error)]
pub enum LinkTransportError {
    /// The address can't be found.
    #[error("can't find the address of {address}: {cause}")]
    Resolve {
        /// `host:port`.
        address: String,
        /// The system's error.
        cause: io::Error,
    },
    /// Neither transport got through.
    #[error("no answer from {address}: QUIC: {quic}; TCP: {tcp}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The error of the attempt over QUIC.
        quic: String,
        /// The error of the attempt over TCP.
        tcp: String,
    },
    /// Whoever answers there is not the peer whose key is pinned.
    #[error("{address} answers with another key than the one that is pinned")]
    AnotherKey {
        /// `host:port`.
        address: String,
    },
    /// The listener can't be opened.
    #[error("can't listen on {address}: {cause}")]
    Listen {
        /// The address to listen on.
        address: SocketAddr,
        /// The system's error.
        cause: io::Error,
    },
    /// Our own key or configuration is unusable.
    #[error("the link's TLS set-up is unusable: {0}")]
    Setup(String),
}

/// What rustls, and quinn in its words, says of a key that our verifier refuses.
const KEY_REFUSED: &str = "ApplicationVerificationFailure";

fn setup(error: impl std::fmt::Display) -> LinkTransportError {
    LinkTransportError::Setup(error.to_string())
}

/// Of a connection to a peer whose key is pinned.
fn transport_config() -> Arc<quinn::TransportConfig> {
    Arc::new(config_with_window(STREAM_WINDOW_OCTETS))
}

/// Of a connection from somebody; [`LinkStream::trust`] opens its windows.
fn stranger_config() -> Arc<quinn::TransportConfig> {
    let mut config = config_with_window(STRANGER_WINDOW_OCTETS);
    config.crypto_buffer_size(CRYPTO_OCTETS_MAX);
    Arc::new(config)
}

fn config_with_window(octets: u32) -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    config.keep_alive_interval(Some(KEEP_ALIVE));
    config.max_idle_timeout(quinn::IdleTimeout::try_from(IDLE_MAX).ok());
    // There is one stream: the window of the connection bounds it, and unlike the stream's can be changed.
    config.stream_receive_window(STREAM_WINDOW_OCTETS.into());
    config.receive_window(octets.into());
    config.send_window(octets.into());
    config.max_concurrent_bidi_streams(1_u32.into());
    config.max_concurrent_uni_streams(0_u32.into());
    config.datagram_receive_buffer_size(None);
    config.ack_frequency_config(Some(ack_frequency()));
    config
}

/// How often the other side is to say what arrived. Each acknowledgement is a packet that both sides pay for; a message
/// of some KiB is a handful of packets. An older program doesn't know the extension and goes on as it did.
fn ack_frequency() -> quinn::AckFrequencyConfig {
    let mut config = quinn::AckFrequencyConfig::default();
    config.ack_eliciting_threshold(ACK_AFTER_PACKETS.into());
    config
}

/// A UDP socket whose buffer in the kernel holds a window of the link, as far as the system lets it
/// (`net.core.rmem_max`): what does not fit is lost, sent again, and taken for a network that is full.
fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = crate::listen::udp(address)?;
    // Less is slower, and no reason to have no link.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(STREAM_WINDOW_OCTETS as usize);
    Ok(socket)
}

fn quic_peer_key(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity.first().map(|key| key.to_vec())
}

fn quic_alpn(connection: &quinn::Connection) -> Vec<u8> {
    let data = connection.handshake_data();
    let data = data.and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    data.and_then(|data| data.protocol).unwrap_or_default()
}

fn first_key(keys: Option<&[CertificateDer<'static>]>) -> Option<Vec<u8>> {
    keys?.first().map(|key| key.to_vec())
}

fn tcp_stream(
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    peer_spki: Vec<u8>,
    alpn: Vec<u8>,
    remote: SocketAddr,
) -> LinkStream {
    LinkStream {
        reader: Box::new(reader),
        writer: Box::new(writer),
        peer_spki,
        alpn,
        remote,
        transport: Transport::Tcp,
        trust: Trust::not_needed(remote),
        _closer: Closer(None),
    }
}
