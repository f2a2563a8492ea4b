//! Fetching a small file over HTTPS.

use std::io;
use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Answer, HttpError, read_answer};
use crate::handshake::{Failed, Heard, handshake};
use crate::happy_eyeballs;
use crate::tls::Hello;

/// A file to be fetched with GET.
#[derive(Debug, Clone)]
pub struct Get<'a> {
    /// The host's name, for its certificate and the `Host` field. A domain, nothing else.
    pub host: &'a str,
    /// The host's addresses, in the order of trying.
    pub addresses: &'a [SocketAddr],
    /// The path, with its leading slash.
    pub path: &'a str,
    /// Octets of the answer's body that are taken.
    pub answer_octets_max: usize,
}

/// Fetches it. `connector` checks the certificate. A redirect is an answer like any other and is not followed.
/// The caller bounds the time.
///
/// # Errors
/// [`HttpError`]: there is no answer. An answer that says no (such as 404) is one.
pub async fn get(connector: &TlsConnector, request: &Get<'_>) -> Result<Answer, HttpError> {
    let mut stream = connect(connector, request.host, request.addresses).await?;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: text/plain\r\n\r\n",
        request.path, request.host
    );
    stream.write_all(head.as_bytes()).await.map_err(HttpError::Broken)?;
    stream.flush().await.map_err(HttpError::Broken)?;
    read_answer(&mut stream, request.answer_octets_max).await
}

/// Connects to the first address that answers, and begins TLS; with a short first message if nothing answers the other.
pub(super) async fn connect(
    connector: &TlsConnector,
    host: &str,
    addresses: &[SocketAddr],
) -> Result<TlsStream<Heard<TcpStream>>, HttpError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| HttpError::Connect(io::ErrorKind::InvalidInput.into()))?;
    let (stream, remote) =
        happy_eyeballs::connect(addresses).await.map_err(|error| HttpError::Connect(error.cause))?;
    let begun = match handshake(connector, name.clone(), stream).await {
        Err(Failed::Unanswered(_)) => {
            let stream = TcpStream::connect(remote).await.map_err(HttpError::Connect)?;
            handshake(&Hello::Short.of(connector), name, stream).await
        }
        begun => begun,
    };
    begun.map_err(|failed| HttpError::Connect(failed.into()))
}
