//! Listening sockets: TCP for all ports, UDP for the link.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Opens a listener. An IPv6 address takes IPv6 only, so that `0.0.0.0` and `[::]` can stand side by side.
///
/// # Errors
/// As the system says; the caller names the address and what to do.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    // Replies are small and each one is waited for. Linux gives it on to each connection: a system call less for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Opens a UDP socket. An IPv6 address takes IPv6 only, as with [`tcp`].
///
/// # Errors
/// As the system says; the caller names the address and what to do.
pub fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket that does not block. Linux gives an IPv6 socket the IPv4 port as well unless it is told not to
/// (`net.ipv6.bindv6only=0`), and then the port of `0.0.0.0` is taken.
fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Accepts the next connection. When the system is out of descriptors it waits instead of spinning.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn a_reply_on_an_accepted_connection_waits_for_no_other() {
        let listener = tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, (server, _)) = tokio::join!(client, accept(&listener));
        assert!(client.is_ok() && server.nodelay().unwrap());
    }

    #[tokio::test]
    async fn every_address_of_both_families_is_listened_on_at_one_port() {
        let four = tcp((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = four.local_addr().unwrap().port();
        let six = tcp((Ipv6Addr::UNSPECIFIED, port).into()).unwrap();
        assert_eq!(six.local_addr().unwrap().port(), port);
        let four = udp((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = four.local_addr().unwrap().port();
        let six = udp((Ipv6Addr::UNSPECIFIED, port).into()).unwrap();
        assert_eq!(six.local_addr().unwrap().port(), port);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error_and_not_shared() {
        let first = udp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let error = udp(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
