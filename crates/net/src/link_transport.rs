//! The link's transports: QUIC on UDP, and TLS 1.3 on TCP where UDP does not get through.
//!
//! Both end as the same thing, one ordered byte stream to a peer whose key is known. QUIC goes first because
//! it survives a changed address; which one is used is decided anew at each dial.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::link_key::LinkKey;
use crate::link_tls;

mod reset;

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
/// Handshakes that may be under way at one time; more wait.
const HANDSHAKES_MAX: usize = 64;

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
    /// From the peer.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// To the peer.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// The peer's raw public key.
    pub peer_spki: Vec<u8>,
    /// What the two sides agreed to speak.
    pub alpn: Vec<u8>,
    /// Where the peer is now.
    pub remote: SocketAddr,
    /// What carries it.
    pub transport: Transport,
    /// Ends the transport when dropped.
    _closer: Closer,
}

struct Closer(Option<(quinn::Connection, Option<quinn::Endpoint>)>);

impl Drop for Closer {
    fn drop(&mut self) {
        if let Some((connection, _)) = &self.0 {
            connection.close(0_u32.into(), b"");
        }
    }
}

/// Why no link stream came about.
#[derive(Debug, thiserror::Error)]
pub enum LinkTransportError {
    /// The address can't be found.
    #[error("can't find the address of {address}: {cause}")]
    Resolve {
        /// `host:port`.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Neither transport got through.
    #[error("no answer from {address}: QUIC: {quic}; TCP: {tcp}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What QUIC said.
        quic: String,
        /// What TCP said.
        tcp: String,
    },
    /// The listener can't be opened.
    #[error("can't listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// Our own key or configuration is unusable.
    #[error("the link's TLS set-up is unusable: {0}")]
    Setup(String),
}

fn setup(error: impl std::fmt::Display) -> LinkTransportError {
    LinkTransportError::Setup(error.to_string())
}

fn transport_config() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config.keep_alive_interval(Some(KEEP_ALIVE));
    config.max_idle_timeout(quinn::IdleTimeout::try_from(IDLE_MAX).ok());
    config.stream_receive_window(STREAM_WINDOW_OCTETS.into());
    config.receive_window(STREAM_WINDOW_OCTETS.into());
    config.send_window(u64::from(STREAM_WINDOW_OCTETS));
    config.max_concurrent_bidi_streams(1_u32.into());
    config.max_concurrent_uni_streams(0_u32.into());
    config.datagram_receive_buffer_size(None);
    Arc::new(config)
}

/// Home's side of the link: opens streams, QUIC first. One UDP socket, with its buffers, serves all of them.
pub struct Dialer {
    /// For IPv4 and for IPv6.
    endpoints: Mutex<[Option<quinn::Endpoint>; 2]>,
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new()
    }
}

impl Dialer {
    /// To be made within the runtime. A socket that can't be opened now is opened when it is needed.
    #[must_use]
    pub fn new() -> Self {
        Self { endpoints: Mutex::new([client_endpoint(false).ok(), None]) }
    }

    /// Opens a link stream to `address` (`host:port`).
    ///
    /// # Errors
    /// [`LinkTransportError`]; the next dial tries both transports again.
    pub async fn dial(
        &self,
        address: &str,
        key: &LinkKey,
        pinned: [u8; 32],
        alpn: &[u8],
    ) -> Result<LinkStream, LinkTransportError> {
        let resolved = tokio::net::lookup_host(address).await;
        let remotes: Vec<SocketAddr> = resolved
            .map_err(|cause| LinkTransportError::Resolve { address: address.to_owned(), cause })?
            .collect();
        let tls = link_tls::client_config(key, pinned, alpn).map_err(setup)?;
        let mut failures = (String::from("no address"), String::from("no address"));
        for remote in remotes {
            match self.dial_quic(remote, &tls).await {
                Ok(stream) => return Ok(stream),
                Err(cause) => failures.0 = cause,
            }
            // Should the socket, or a NAT's idea of it, be at fault: the next dial has another.
            self.with_slot(remote, |slot| drop(slot.take()));
            match dial_tcp(remote, &tls).await {
                Ok(stream) => return Ok(stream),
                Err(cause) => failures.1 = cause,
            }
        }
        let (quic, tcp) = failures;
        Err(LinkTransportError::Unreachable { address: address.to_owned(), quic, tcp })
    }

    async fn dial_quic(&self, remote: SocketAddr, tls: &rustls::ClientConfig) -> Result<LinkStream, String> {
        let endpoint = self.endpoint(remote).map_err(|error| error.to_string())?;
        dial_quic(endpoint, remote, tls).await
    }

    fn with_slot<T>(&self, remote: SocketAddr, act: impl FnOnce(&mut Option<quinn::Endpoint>) -> T) -> T {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let [four, six] = &mut *endpoints;
        act(if remote.is_ipv6() { six } else { four })
    }

    fn endpoint(&self, remote: SocketAddr) -> io::Result<quinn::Endpoint> {
        self.with_slot(remote, |slot| {
            let endpoint = match slot.take() {
                Some(endpoint) => endpoint,
                None => client_endpoint(remote.is_ipv6())?,
            };
            Ok(slot.insert(endpoint).clone())
        })
    }
}

/// A UDP socket whose buffer in the kernel holds a window of the link, as far as the system lets it
/// (`net.core.rmem_max`): what does not fit is lost, sent again, and taken for a network that is full.
fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = crate::listen::udp(address)?;
    // Less is slower, and no reason to have no link.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(STREAM_WINDOW_OCTETS as usize);
    Ok(socket)
}

fn client_endpoint(six: bool) -> io::Result<quinn::Endpoint> {
    let local: IpAddr = if six { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = udp_socket((local, 0).into())?;
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no async runtime"))?;
    quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)
}

async fn dial_quic(
    endpoint: quinn::Endpoint,
    remote: SocketAddr,
    tls: &rustls::ClientConfig,
) -> Result<LinkStream, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let crypto = QuicClientConfig::try_from(tls.clone()).map_err(|error| text(&error))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config());
    let connecting = endpoint.connect_with(config, remote, "edge").map_err(|error| text(&error))?;
    let connection = tokio::time::timeout(QUIC_PATIENCE, connecting)
        .await
        .map_err(|_| format!("nothing heard for {} s", QUIC_PATIENCE.as_secs()))?
        .map_err(|error| text(&error))?;
    let (writer, reader) = connection.open_bi().await.map_err(|error| text(&error))?;
    let peer_spki = quic_peer_key(&connection).ok_or("the peer showed no key")?;
    let alpn = quic_alpn(&connection);
    Ok(LinkStream {
        reader: Box::new(reader),
        writer: Box::new(writer),
        peer_spki,
        alpn,
        remote,
        transport: Transport::Quic,
        _closer: Closer(Some((connection, Some(endpoint)))),
    })
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

async fn dial_tcp(remote: SocketAddr, tls: &rustls::ClientConfig) -> Result<LinkStream, String> {
    let connect = async {
        let stream = TcpStream::connect(remote).await?;
        stream.set_nodelay(true)?;
        // The key is pinned and no name is sent (RFC 7250 keys have none); the API wants one all the same.
        let name = ServerName::IpAddress(remote.ip().into());
        TlsConnector::from(Arc::new(tls.clone())).connect(name, stream).await
    };
    let stream = tokio::time::timeout(TCP_PATIENCE, connect)
        .await
        .map_err(|_| format!("nothing heard for {} s", TCP_PATIENCE.as_secs()))?
        .map_err(|error: io::Error| error.to_string())?;
    let (_, session) = stream.get_ref();
    let peer_spki = first_key(session.peer_certificates()).ok_or("the peer showed no key")?;
    let alpn = session.alpn_protocol().unwrap_or_default().to_vec();
    let (reader, writer) = tokio::io::split(stream);
    Ok(tcp_stream(reader, writer, peer_spki, alpn, remote))
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
        _closer: Closer(None),
    }
}

/// Edge's side: listens on UDP and TCP of each address and gives out streams whose handshake is done.
pub struct LinkListener {
    streams: mpsc::Receiver<LinkStream>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    local: Vec<SocketAddr>,
}

impl LinkListener {
    /// Opens the listeners. Port 0 picks a free one, the same for UDP and TCP.
    ///
    /// # Errors
    /// [`LinkTransportError::Listen`] naming the address, [`LinkTransportError::Setup`].
    pub async fn bind(
        addresses: &[SocketAddr],
        key: &LinkKey,
        alpns: &[&[u8]],
    ) -> Result<Self, LinkTransportError> {
        let tls = link_tls::server_config(key, alpns).map_err(setup)?;
        let crypto = QuicServerConfig::try_from(tls.clone()).map_err(setup)?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (sender, streams) = mpsc::channel(16);
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let crypto = Arc::new(crypto);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut local = Vec::new();
        for address in addresses {
            let listen = |cause| LinkTransportError::Listen { address: *address, cause };
            let tcp = crate::listen::tcp(*address).map_err(listen)?;
            let bound = tcp.local_addr().map_err(listen)?;
            let mut config = quinn::ServerConfig::with_crypto(Arc::clone(&crypto) as _);
            config.transport_config(transport_config());
            let socket = udp_socket(bound).map_err(listen)?;
            let runtime = quinn::default_runtime().ok_or_else(|| setup("no async runtime"))?;
            let endpoint = quinn::Endpoint::new(reset::endpoint_config(key), Some(config), socket, runtime);
            let endpoint = endpoint.map_err(listen)?;
            local.push(bound);
            let gate = Gate { sender: sender.clone(), handshakes: Arc::clone(&handshakes) };
            tasks.spawn(accept_tcp(tcp, acceptor.clone(), gate.clone(), stop.clone()));
            tasks.spawn(accept_quic(endpoint, gate, stop.clone()));
        }
        Ok(Self { streams, tasks, stop, local })
    }

    /// The next stream; `None` after [`LinkListener::close`].
    pub async fn accept(&mut self) -> Option<LinkStream> {
        self.streams.recv().await
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Stops listening. Streams given out stay as they are on TCP and end on QUIC.
    pub async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

#[derive(Clone)]
struct Gate {
    sender: mpsc::Sender<LinkStream>,
    handshakes: Arc<Semaphore>,
}

async fn accept_tcp(listener: TcpListener, acceptor: TlsAcceptor, gate: Gate, stop: CancellationToken) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = handshakes.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&gate.handshakes).acquire_owned().await else { return };
        let (acceptor, sender) = (acceptor.clone(), gate.sender.clone());
        handshakes.spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(TCP_PATIENCE, finish_tcp(stream, remote, &acceptor)).await {
                Ok(Ok(stream)) => drop(sender.send(stream).await),
                Ok(Err(cause)) => tracing::debug!(%remote, %cause, "link handshake on TCP failed"),
                Err(_) => tracing::debug!(%remote, "link handshake on TCP took too long"),
            }
        });
    }
}

async fn finish_tcp(stream: TcpStream, remote: SocketAddr, acceptor: &TlsAcceptor) -> io::Result<LinkStream> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let (_, session) = stream.get_ref();
    let key = first_key(session.peer_certificates()).ok_or(io::ErrorKind::PermissionDenied)?;
    let alpn = session.alpn_protocol().unwrap_or_default().to_vec();
    let (reader, writer) = tokio::io::split(stream);
    Ok(tcp_stream(reader, writer, key, alpn, remote))
}

async fn accept_quic(endpoint: quinn::Endpoint, gate: Gate, stop: CancellationToken) {
    let mut handshakes = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = handshakes.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let Ok(permit) = Arc::clone(&gate.handshakes).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let sender = gate.sender.clone();
        handshakes.spawn(async move {
            let _permit = permit;
            let remote = incoming.remote_address();
            match tokio::time::timeout(TCP_PATIENCE, finish_quic(incoming)).await {
                Ok(Ok(stream)) => drop(sender.send(stream).await),
                Ok(Err(cause)) => tracing::debug!(%remote, %cause, "link handshake on QUIC failed"),
                Err(_) => tracing::debug!(%remote, "link handshake on QUIC took too long"),
            }
        });
    }
    endpoint.close(0_u32.into(), b"");
    let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
}

async fn finish_quic(incoming: quinn::Incoming) -> Result<LinkStream, String> {
    let connection = incoming.await.map_err(|error| error.to_string())?;
    let (writer, reader) = connection.accept_bi().await.map_err(|error| error.to_string())?;
    let peer_spki = quic_peer_key(&connection).ok_or("the peer showed no key")?;
    Ok(LinkStream {
        reader: Box::new(reader),
        writer: Box::new(writer),
        peer_spki,
        alpn: quic_alpn(&connection),
        remote: connection.remote_address(),
        transport: Transport::Quic,
        _closer: Closer(Some((connection, None))),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const ALPN: &[u8] = b"test/1";

    async fn listener(key: &LinkKey) -> (LinkListener, String) {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = LinkListener::bind(&[address], key, &[ALPN]).await.unwrap();
        let address = listener.local_addrs()[0].to_string();
        (listener, address)
    }

    async fn exchange(mut home: LinkStream, mut edge: LinkStream) {
        home.writer.write_all(b"!").await.unwrap();
        edge.writer.write_all(b"hello").await.unwrap();
        edge.writer.flush().await.unwrap();
        let mut heard = [0; 5];
        home.reader.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    }

    #[tokio::test]
    async fn both_sides_learn_each_others_key_over_quic() {
        let (edge, home) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
        let (mut listener, address) = listener(&edge).await;
        let mut dialled = Dialer::new().dial(&address, &home, edge.fingerprint(), ALPN).await.unwrap();
        dialled.writer.write_all(b"?").await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        assert_eq!(accepted.reader.read_u8().await.unwrap(), b'?');
        assert_eq!(dialled.transport, Transport::Quic);
        assert_eq!((&dialled.peer_spki[..], &accepted.peer_spki[..]), (edge.spki(), home.spki()));
        assert_eq!(accepted.alpn, ALPN);
        exchange(dialled, accepted).await;
        listener.close().await;
    }

    #[tokio::test]
    async fn tcp_carries_the_link_when_nothing_listens_on_udp() {
        let (edge, home) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
        let tls = link_tls::server_config(&edge, &[ALPN]).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let accept = tokio::spawn(async move {
            let (stream, remote) = tcp.accept().await.unwrap();
            finish_tcp(stream, remote, &TlsAcceptor::from(Arc::new(tls))).await.unwrap()
        });
        let dialled = Dialer::new().dial(&address, &home, edge.fingerprint(), ALPN).await.unwrap();
        let accepted = accept.await.unwrap();
        assert_eq!(dialled.transport, Transport::Tcp);
        assert_eq!((&dialled.peer_spki[..], &accepted.peer_spki[..]), (edge.spki(), home.spki()));
        exchange(dialled, accepted).await;
    }

    /// Symptom: an Edge that was set up by the book ended at its start, `can't listen on [::]:443: Address already
    /// in use`. Cause: what setup writes listens on `0.0.0.0` and `[::]`, and the link's sockets on `[::]` wanted the
    /// IPv4 port as well. Analysis: every test listened on loopback addresses, which do not meet.
    #[tokio::test]
    async fn the_link_listens_on_every_address_of_both_families_at_one_port() {
        let key = LinkKey::generate().unwrap();
        let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let probe = LinkListener::bind(&[four], &key, &[ALPN]).await.unwrap();
        let port = probe.local_addrs()[0].port();
        probe.close().await;
        let both = [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
        let listener = LinkListener::bind(&both, &key, &[ALPN]).await.unwrap();
        assert_eq!(listener.local_addrs(), both);
        listener.close().await;
    }

    #[tokio::test]
    async fn an_edge_with_another_key_is_not_spoken_to() {
        let (edge, home) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
        let (_listener, address) = listener(&edge).await;
        let error = Dialer::new().dial(&address, &home, [0; 32], ALPN).await.err().unwrap();
        assert!(matches!(error, LinkTransportError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_client_that_speaks_another_protocol_is_refused() {
        let (edge, home) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
        let (_listener, address) = listener(&edge).await;
        assert!(Dialer::new().dial(&address, &home, edge.fingerprint(), b"http/1.1").await.is_err());
    }
}
