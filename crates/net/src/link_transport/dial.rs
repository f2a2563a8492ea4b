//! Home's side: opens streams to an edge, QUIC first.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::{
    Closer, KEY_REFUSED, LinkStream, LinkTransportError, QUIC_PATIENCE, TCP_PATIENCE, Transport, Trust,
    first_key, quic_alpn, quic_peer_key, setup, tcp_stream, transport_config, udp_socket,
};
use crate::link_key::LinkKey;
use crate::link_tls;

/// Home's side of the link: opens streams, QUIC first. One UDP socket, with its buffers, serves all of them.
pub struct Dialer {
    /// The address that its connections come from; the system's choice without.
    from: Option<IpAddr>,
    /// The endpoints for IPv4 and for IPv6; `None` while one is not open.
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
        let any = Ipv4Addr::UNSPECIFIED.into();
        Self { from: None, endpoints: Mutex::new([client_endpoint(any).ok(), None]) }
    }

    /// One whose connections come from this address of the host, and go to its family only.
    #[must_use]
    pub fn from(address: IpAddr) -> Self {
        Self { from: Some(address), endpoints: Mutex::default() }
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
            match self.dial_tcp(remote, &tls).await {
                Ok(stream) => return Ok(stream),
                Err(cause) => failures.1 = cause,
            }
        }
        let (quic, tcp) = failures;
        if [&quic, &tcp].iter().any(|cause| cause.contains(KEY_REFUSED)) {
            return Err(LinkTransportError::AnotherKey { address: address.to_owned() });
        }
        Err(LinkTransportError::Unreachable { address: address.to_owned(), quic, tcp })
    }

    /// Opens a link stream to `remote` by one transport only.
    ///
    /// # Errors
    /// The transport's error, in words.
    pub async fn dial_by(
        &self,
        transport: Transport,
        remote: SocketAddr,
        key: &LinkKey,
        pinned: [u8; 32],
        alpn: &[u8],
    ) -> Result<LinkStream, String> {
        let tls = link_tls::client_config(key, pinned, alpn).map_err(|error| error.to_string())?;
        match transport {
            Transport::Quic => self.dial_quic(remote, &tls).await,
            Transport::Tcp => self.dial_tcp(remote, &tls).await,
        }
    }

    /// Whether links are taken at `remote`, for who has no key there: it is seen that a key is shown, and nothing is said.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn reaches(&self, transport: Transport, remote: SocketAddr) -> Result<(), String> {
        let key = LinkKey::generate().map_err(|error| error.to_string())?;
        // No key has this fingerprint, so each that is shown is refused here.
        match self.dial_by(transport, remote, &key, [0; 32], link::ALPN).await {
            Err(cause) if !cause.contains(KEY_REFUSED) => Err(cause),
            _ => Ok(()),
        }
    }

    async fn dial_quic(&self, remote: SocketAddr, tls: &rustls::ClientConfig) -> Result<LinkStream, String> {
        let endpoint = self.endpoint(remote).map_err(|error| error.to_string())?;
        let dialled = dial_quic(endpoint, remote, tls).await;
        if dialled.is_err() {
            // Should the socket, or a NAT's idea of it, be at fault: the next dial has another.
            self.with_slot(remote, |slot| drop(slot.take()));
        }
        dialled
    }

    async fn dial_tcp(&self, remote: SocketAddr, tls: &rustls::ClientConfig) -> Result<LinkStream, String> {
        let connect = async {
            let socket = if remote.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
            if let Some(from) = self.from {
                socket.bind((from, 0).into())?;
            }
            let stream = socket.connect(remote).await?;
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

    fn with_slot<T>(&self, remote: SocketAddr, act: impl FnOnce(&mut Option<quinn::Endpoint>) -> T) -> T {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let [four, six] = &mut *endpoints;
        act(if remote.is_ipv6() { six } else { four })
    }

    fn endpoint(&self, remote: SocketAddr) -> io::Result<quinn::Endpoint> {
        self.with_slot(remote, |slot| {
            let endpoint = match slot.take() {
                Some(endpoint) => endpoint,
                None if remote.is_ipv6() => {
                    client_endpoint(self.from.unwrap_or(Ipv6Addr::UNSPECIFIED.into()))?
                }
                None => client_endpoint(self.from.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))?,
            };
            Ok(slot.insert(endpoint).clone())
        })
    }
}

fn client_endpoint(local: IpAddr) -> io::Result<quinn::Endpoint> {
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
        trust: Trust::not_needed(remote),
        _closer: Closer(Some((connection, Some(endpoint)))),
    })
}
