//! Connecting to a host that has several addresses: one after the other with a short pause, and the first
//! that answers wins (RFC 8305 section 5).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::smtp_client::CONNECT_PATIENCE;

/// How long one address is ahead of the next (RFC 8305 section 5).
const PAUSE: Duration = Duration::from_millis(250);

/// No address answered.
#[derive(Debug, thiserror::Error)]
#[error("{}: no connection: {cause}", address.ip())]
pub struct NoConnection {
    /// The address that failed last.
    pub address: SocketAddr,
    /// The error of that address.
    pub cause: io::Error,
}

/// Connects to one of the addresses, which are tried in the order given. An address that fails makes room for
/// the next at once. Each has 30 s.
///
/// # Errors
/// [`NoConnection`] when all failed, with the last failure. An empty list has none to connect to.
pub async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), NoConnection> {
    let mut waiting = addresses.iter().copied();
    let mut running = JoinSet::new();
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut last = NoConnection { address: nowhere, cause: io::ErrorKind::AddrNotAvailable.into() };
    loop {
        let more = match waiting.next() {
            Some(address) => {
                running.spawn(async move { (try_one(address).await, address) });
                waiting.len() > 0
            }
            None => false,
        };
        // Dropping the set ends the losers.
        let finished = if more {
            match tokio::time::timeout(PAUSE, running.join_next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        } else {
            running.join_next().await
        };
        match finished {
            Some(Ok((Ok(stream), address))) => return Ok((stream, address)),
            Some(Ok((Err(cause), address))) => last = NoConnection { address, cause },
            Some(Err(_)) => {}
            None => return Err(last),
        }
    }
}

async fn try_one(address: SocketAddr) -> io::Result<TcpStream> {
    let connect = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(address));
    connect.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_room_for_the_next() {
        let (closed, refusing) = listener().await;
        drop(closed);
        let (_open, answering) = listener().await;
        let (_, address) = connect(&[refusing, answering]).await.unwrap();
        assert_eq!(address, answering);
        assert_eq!(connect(&[refusing, refusing]).await.unwrap_err().address, refusing);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_does_not_hold_up_the_next() {
        // Its queue of connections is full: what comes more gets no answer.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(0).unwrap();
        let silent = full.local_addr().unwrap();
        let _first = TcpStream::connect(silent).await.unwrap();
        let (_open, answering) = listener().await;
        let (_, address) = connect(&[silent, answering]).await.unwrap();
        assert_eq!(address, answering);
    }

    #[tokio::test]
    async fn no_address_is_no_connection() {
        assert_eq!(connect(&[]).await.unwrap_err().cause.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
