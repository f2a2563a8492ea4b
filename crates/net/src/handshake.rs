//! A TLS handshake of which it is known whether the server said anything at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::duplex::Duplex;

/// How long the server may take over the handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to say its first word. By then the first message was sent again four times.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// The reasons why a TLS handshake failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server fell silent or was gone before it said anything: the first message may not have got there.
    Unanswered(io::Error),
    /// The handshake failed in another way.
    Tls(io::Error),
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        let (Failed::Unanswered(cause) | Failed::Tls(cause)) = failed;
        cause
    }
}

/// Makes the TLS handshake of a client, within 60 seconds.
///
/// # Errors
/// [`Failed`].
pub(crate) async fn handshake<S: Duplex>(
    connector: &TlsConnector,
    name: ServerName<'static>,
    stream: S,
) -> Result<TlsStream<Heard<S>>, Failed> {
    let heard = Arc::new(AtomicBool::new(false));
    let connecting = connector.connect(name, Heard { stream, heard: Arc::clone(&heard) });
    tokio::pin!(connecting);
    let timed_out = || Err(io::ErrorKind::TimedOut.into());
    let mut ended = tokio::time::timeout(ANSWER_PATIENCE, &mut connecting).await;
    if ended.is_err() && heard.load(Ordering::Relaxed) {
        ended = tokio::time::timeout(HANDSHAKE_PATIENCE.saturating_sub(ANSWER_PATIENCE), connecting).await;
    }
    ended.unwrap_or_else(|_| timed_out()).map_err(|cause| {
        if heard.load(Ordering::Relaxed) { Failed::Tls(cause) } else { Failed::Unanswered(cause) }
    })
}

/// A connection that notes whether anything came.
#[derive(Debug)]
pub(crate) struct Heard<S> {
    stream: S,
    heard: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::tls::opportunistic_connector;

    /// How a handshake ends with a server that reads so much and then says this, or falls silent.
    async fn ends(said: Option<&[u8]>) -> Failed {
        let (ours, mut servers) = tokio::io::duplex(16 * 1024);
        let said = said.map(<[u8]>::to_vec);
        let server = tokio::spawn(async move {
            let mut read = [0; 64];
            servers.read_exact(&mut read).await.unwrap();
            match said {
                Some(said) => servers.write_all(&said).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        let name = ServerName::try_from("mx.a.test").unwrap();
        let ended = handshake(&opportunistic_connector().unwrap(), name, ours).await;
        server.abort();
        ended.err().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_said_nothing_is_told_from_one_that_said_no() {
        let begun = tokio::time::Instant::now();
        assert!(
            matches!(ends(None).await, Failed::Unanswered(cause) if cause.kind() == io::ErrorKind::TimedOut)
        );
        assert_eq!(begun.elapsed(), ANSWER_PATIENCE);
        assert!(matches!(ends(Some(b"")).await, Failed::Unanswered(_)), "it is gone");
        // A fatal alert: handshake_failure.
        let alert = [21, 3, 3, 0, 2, 2, 40];
        assert!(matches!(ends(Some(&alert)).await, Failed::Tls(_)));
        assert!(matches!(ends(Some(&alert[..3])).await, Failed::Tls(_)), "it broke off within its answer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_begun_to_answer_has_more_time() {
        let (ours, mut servers) = tokio::io::duplex(16 * 1024);
        servers.write_all(&[22, 3, 3]).await.unwrap();
        let begun = tokio::time::Instant::now();
        let name = ServerName::try_from("mx.a.test").unwrap();
        let ended = handshake(&opportunistic_connector().unwrap(), name, ours).await;
        assert!(matches!(ended, Err(Failed::Tls(_))));
        assert_eq!(begun.elapsed(), HANDSHAKE_PATIENCE);
    }
}
