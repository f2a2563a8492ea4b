//! A connection, whatever it is made of, and how a session's output goes out on it.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

/// Plain TCP or TLS over it.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Writes what a session has to say, in one go, and clears it.
pub(crate) async fn flush(stream: &mut (impl Duplex + ?Sized), output: &mut BytesMut) -> io::Result<()> {
    if output.is_empty() {
        return Ok(());
    }
    let written = stream.write_all(output).await;
    output.clear();
    written?;
    stream.flush().await
}
