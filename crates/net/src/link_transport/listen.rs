//! Edge's side: listens on UDP and TCP of each address and gives out streams whose handshake is done.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::reception::{Admission, FirstPacket, HANDSHAKE_MAX, Initial, Reception};
use super::{
    Closer, LinkStream, LinkTransportError, Transport, Trust, first_key, quic_alpn, quic_peer_key, reset,
    setup, stranger_config, tcp_stream, udp_socket,
};
use crate::link_key::LinkKey;
use crate::link_tls;
use crate::places::source_of;

/// First packets that quinn may hold until they are judged, which is at once, and octets of packets after them.
const INCOMING_MAX: usize = 512;
const INCOMING_OCTETS: u64 = 4 * 1024;
const INCOMING_OCTETS_TOTAL: u64 = 256 * 1024;
/// Octets that a TCP client may send before its handshake is done. An honest one, with a raw key, sends under 3 KiB.
const HANDSHAKE_OCTETS_MAX: usize = 16 * 1024;

/// Listens, and gives out streams whose peer has proved a key, whichever.
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
        let crypto = Arc::new(QuicServerConfig::try_from(tls.clone()).map_err(setup)?);
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (sender, streams) = mpsc::channel(16);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let gate = Gate { sender, reception: Reception::new() };
        let mut local = Vec::new();
        for address in addresses {
            let listen = |cause| LinkTransportError::Listen { address: *address, cause };
            let tcp = crate::listen::tcp(*address).map_err(listen)?;
            let bound = tcp.local_addr().map_err(listen)?;
            let socket = udp_socket(bound).map_err(listen)?;
            let runtime = quinn::default_runtime().ok_or_else(|| setup("no async runtime"))?;
            let (endpoint, server) = (reset::endpoint_config(key), server_config(&crypto));
            let endpoint = quinn::Endpoint::new(endpoint, Some(server), socket, runtime).map_err(listen)?;
            local.push(bound);
            tasks.spawn(accept_tcp(tcp, acceptor.clone(), gate.clone(), stop.clone()));
            tasks.spawn(accept_quic(endpoint, gate.clone(), stop.clone()));
        }
        Ok(Self { streams, tasks, stop, local })
    }

    /// The next stream; `None` after [`LinkListener::close`].
    pub async fn accept(&mut self) -> Option<LinkStream> {
        self.streams.recv().await
    }

    /// Addresses that it listens on.
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

fn server_config(crypto: &Arc<QuicServerConfig>) -> quinn::ServerConfig {
    let mut config = quinn::ServerConfig::with_crypto(Arc::clone(crypto) as _);
    config.transport_config(stranger_config());
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_OCTETS);
    config.incoming_buffer_size_total(INCOMING_OCTETS_TOTAL);
    config
}

#[derive(Clone)]
struct Gate {
    sender: mpsc::Sender<LinkStream>,
    reception: Arc<Reception>,
}

impl Gate {
    /// Carries a handshake out, as long as it may take and its place is its own.
    async fn finish(
        self,
        admission: Admission,
        remote: SocketAddr,
        handshake: impl Future<Output = Result<LinkStream, String>>,
    ) {
        let done = tokio::select! {
            done = tokio::time::timeout(HANDSHAKE_MAX, handshake) => done,
            () = admission.gives_way() => return tracing::debug!(%remote, "a link handshake gave way to another"),
        };
        match done {
            Ok(Ok(stream)) => drop(self.sender.send(stream).await),
            Ok(Err(cause)) => tracing::debug!(%remote, %cause, "a link handshake failed"),
            Err(_) => tracing::debug!(%remote, "a link handshake took too long"),
        }
    }

    fn trust(&self, remote: SocketAddr, connection: Option<quinn::Connection>) -> Trust {
        Trust {
            reception: Some(Arc::clone(&self.reception)),
            source: source_of(remote.ip()),
            connection,
            known: None,
        }
    }
}

async fn accept_tcp(listener: TcpListener, acceptor: TlsAcceptor, gate: Gate, stop: CancellationToken) {
    let mut handshakes = JoinSet::new();
    loop {
        let (stream, remote) = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = handshakes.join_next() => continue,
            accepted = crate::listen::accept(&listener) => accepted,
        };
        let admission = gate.reception.admit(Transport::Tcp, source_of(remote.ip()));
        let trust = gate.trust(remote, None);
        let handshake = finish_tcp(stream, remote, acceptor.clone(), trust);
        handshakes.spawn(gate.clone().finish(admission, remote, handshake));
    }
}

pub(super) async fn finish_tcp(
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: TlsAcceptor,
    trust: Trust,
) -> Result<LinkStream, String> {
    let text = |error: io::Error| error.to_string();
    // Who says nothing costs a socket and no TLS.
    stream.readable().await.map_err(text)?;
    let stream = Bounded { stream, left: Some(HANDSHAKE_OCTETS_MAX) };
    let mut stream = acceptor.accept(stream).await.map_err(text)?;
    let (bounded, session) = stream.get_mut();
    bounded.left = None;
    let key = first_key(session.peer_certificates()).ok_or("the peer showed no key")?;
    let alpn = session.alpn_protocol().unwrap_or_default().to_vec();
    let (reader, writer) = tokio::io::split(stream);
    Ok(LinkStream { trust, ..tcp_stream(reader, writer, key, alpn, remote) })
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
        let remote = incoming.remote_address();
        let first = FirstPacket {
            source: source_of(remote.ip()),
            validated: incoming.remote_address_validated(),
            open: endpoint.open_connections().saturating_sub(gate.reception.trusted()),
        };
        let admission = match gate.reception.initial(first, Instant::now()) {
            Initial::Begin(admission) => admission,
            Initial::Retry => {
                // It can be asked: only who has shown where it is can't be, and is not.
                let _ = incoming.retry();
                continue;
            }
            Initial::Ignore => {
                incoming.ignore();
                continue;
            }
        };
        let handshake = finish_quic(incoming, gate.clone());
        handshakes.spawn(gate.clone().finish(admission, remote, handshake));
    }
    endpoint.close(0_u32.into(), b"");
    let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
}

async fn finish_quic(incoming: quinn::Incoming, gate: Gate) -> Result<LinkStream, String> {
    let connection = incoming.await.map_err(|error| error.to_string())?;
    let (writer, reader) = connection.accept_bi().await.map_err(|error| error.to_string())?;
    let peer_spki = quic_peer_key(&connection).ok_or("the peer showed no key")?;
    let remote = connection.remote_address();
    Ok(LinkStream {
        reader: Box::new(reader),
        writer: Box::new(writer),
        peer_spki,
        alpn: quic_alpn(&connection),
        remote,
        transport: Transport::Quic,
        trust: gate.trust(remote, Some(connection.clone())),
        _closer: Closer(Some((connection, None))),
    })
}

/// A stream that gives no more than so many octets until that is lifted: TLS would hold a handshake message of
/// 64 KiB of whoever sends one.
struct Bounded {
    stream: TcpStream,
    left: Option<usize>,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == Some(0) {
            return Poll::Ready(Err(io::Error::other("too long for a handshake")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        self.left = self.left.map(|left| left.saturating_sub(read));
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
