//! The link's transports over loopback: both ways in, strangers, and peers with another key.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::link_key::LinkKey;
use crate::link_tls;

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
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        listen::finish_tcp(stream, remote, acceptor, Trust::not_needed(remote)).await.unwrap()
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
    assert!(matches!(error, LinkTransportError::AnotherKey { .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_speaks_another_protocol_is_refused() {
    let (edge, home) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
    let (_listener, address) = listener(&edge).await;
    assert!(Dialer::new().dial(&address, &home, edge.fingerprint(), b"http/1.1").await.is_err());
}

/// Writes until nothing more is taken for a moment; gives the number of octets.
async fn written_until_it_stops(stream: &mut LinkStream) -> usize {
    let mut written = 0;
    let piece = [0; 4096];
    while let Ok(Ok(octets)) = tokio::time::timeout(Duration::from_secs(1), stream.writer.write(&piece)).await
    {
        written += octets;
        if written > 2 << 20 {
            break;
        }
    }
    written
}

#[tokio::test]
async fn a_stranger_on_quic_has_little_under_way_until_its_key_is_known() {
    let (edge, home) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
    let (mut listener, address) = listener(&edge).await;
    let mut dialled = Dialer::new().dial(&address, &home, edge.fingerprint(), ALPN).await.unwrap();
    let sent = written_until_it_stops(&mut dialled).await;
    assert_eq!(sent, STRANGER_WINDOW_OCTETS as usize);
    let mut accepted = listener.accept().await.unwrap();
    accepted.trust();
    assert!(written_until_it_stops(&mut dialled).await > 1 << 20);
    drop(accepted);
    listener.close().await;
}

#[tokio::test]
async fn a_tcp_client_that_never_ends_its_handshake_is_cut_off_before_much_of_it_is_held() {
    let edge = LinkKey::generate().unwrap();
    let (_listener, address) = listener(&edge).await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    // A ClientHello of 64 KiB that begins in many records and does not end.
    let mut record = vec![0x16, 3, 1, 0x10, 0, 1, 0, 0xff, 0xf0];
    record.resize(5 + 0x1000, 0);
    let mut sent = 0;
    while sent < 64 << 10 && stream.write_all(&record).await.is_ok() {
        sent += record.len();
        record[5..9].fill(0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sent < 48 << 10, "{sent}");
}

#[tokio::test]
async fn a_home_links_by_both_transports_beside_a_crowd_that_says_nothing() {
    let (edge, home) = (LinkKey::generate().unwrap(), LinkKey::generate().unwrap());
    let (mut listener, address) = listener(&edge).await;
    let address: SocketAddr = address.parse().unwrap();
    let mut crowd = Vec::new();
    for n in 0..200_u32 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + (n % 50 + 1) * 256);
        socket.bind((from, 0).into()).unwrap();
        crowd.push(socket.connect(address).await.unwrap());
    }
    let dialer = Dialer::from(Ipv4Addr::LOCALHOST.into());
    for transport in [Transport::Tcp, Transport::Quic] {
        let dialled = dialer.dial_by(transport, address, &home, edge.fingerprint(), ALPN).await.unwrap();
        let mut dialled = dialled;
        dialled.writer.write_all(b"?").await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        assert_eq!(accepted.reader.read_u8().await.unwrap(), b'?');
        assert_eq!(accepted.transport, transport);
    }
    listener.close().await;
}
