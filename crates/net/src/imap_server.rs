//! The driver of an IMAP session: bytes and time between a client and its mailboxes. TLS is the caller's.
//!
//! What a session asks of its mailboxes reads and writes a disk and checks passwords, so each step runs on
//! tokio's threads for blocking work, `spawn_blocking`: the session moves there and back. `block_in_place`
//! would spare the move, but it stops the other branches of its own task and needs one kind of runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use imap::{Backend, Session, Step};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a client may take to log in, in all.
const LOGIN_PATIENCE: Duration = Duration::from_secs(60);
/// How long a client that has logged in may be silent (RFC 9051 section 5.4).
const IDLE_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How long a client may take to read what it asked for, for each piece.
const WRITE_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Octets asked for at one read.
const READ_OCTETS: usize = 16 * 1024;
/// Octets of buffer that a session keeps while it waits for its client.
const KEPT_OCTETS: usize = 4 * 1024;

/// Serves one connection until it ends or `stop` is cancelled.
///
/// # Errors
/// When the connection breaks or the client is too slow; the caller logs it at most.
pub async fn serve<S, B>(stream: S, mut session: Session<B>, stop: &CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend + Send + 'static,
{
    let changed = Arc::new(Notify::new());
    let wake = Arc::clone(&changed);
    session.backend().on_change(Arc::new(move || wake.notify_one()));
    let talk = Box::new(Talk { session, input: BytesMut::new() });
    Driver { stream, stop, changed, login_until: Instant::now() + LOGIN_PATIENCE, gone: false }
        .run(talk)
        .await
}

/// A session and the octets it has not taken yet: what moves between threads.
struct Talk<B> {
    session: Session<B>,
    input: BytesMut,
}

struct Driver<'a, S> {
    stream: S,
    stop: &'a CancellationToken,
    changed: Arc<Notify>,
    login_until: Instant,
    /// The client has closed the connection.
    gone: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<'_, S> {
    async fn run<B: Backend + Send + 'static>(mut self, mut talk: Box<Talk<B>>) -> io::Result<()> {
        while !self.gone {
            let step;
            (talk, step) = blocking(talk, |talk| talk.session.advance(&mut talk.input)).await?;
            if step == Step::Flush && self.stop.is_cancelled() {
                talk.session.bye("the service stops");
            }
            self.flush(talk.session.output()).await?;
            match step {
                Step::Flush => {}
                Step::Read => self.read(&mut talk).await?,
                Step::Idle => talk = self.idle(talk).await?,
                Step::Close => {
                    // The client may be gone first.
                    let _ = self.stream.shutdown().await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits for octets, and meanwhile for changes to tell.
    async fn idle<B: Backend + Send + 'static>(
        &mut self,
        mut talk: Box<Talk<B>>,
    ) -> io::Result<Box<Talk<B>>> {
        let changed = Arc::clone(&self.changed);
        tokio::select! {
            biased;
            read = self.read(&mut talk) => {
                read?;
                return Ok(talk);
            }
            () = changed.notified() => {}
        }
        (talk, ()) = blocking(talk, |talk| talk.session.handle_change()).await?;
        Ok(talk)
    }

    /// Waits for octets. The end of the connection, of the service or of patience ends the session. Nothing is
    /// lost when this is dropped before it is done.
    async fn read<B: Backend>(&mut self, talk: &mut Talk<B>) -> io::Result<()> {
        let until =
            if talk.session.is_authenticated() { Instant::now() + IDLE_PATIENCE } else { self.login_until };
        if talk.input.is_empty() {
            // What a large message needed is given back.
            talk.input = BytesMut::new();
        }
        talk.input.reserve(READ_OCTETS);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => talk.session.bye("the service stops"),
            read = timeout_at(until, self.stream.read_buf(&mut talk.input)) => match read {
                Ok(read) => self.gone = read? == 0,
                Err(_) => talk.session.bye("you were silent for too long"),
            }
        }
        Ok(())
    }

    async fn flush(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(output).await?;
            self.stream.flush().await
        };
        timeout(WRITE_PATIENCE, write).await??;
        output.clear();
        output.shrink_to(KEPT_OCTETS);
        Ok(())
    }
}

/// Does something with a session where it may block.
async fn blocking<B, T>(
    mut talk: Box<Talk<B>>,
    work: impl FnOnce(&mut Talk<B>) -> T + Send + 'static,
) -> io::Result<(Box<Talk<B>>, T)>
where
    B: Send + 'static,
    T: Send + 'static,
{
    let done = tokio::task::spawn_blocking(move || {
        let outcome = work(&mut talk);
        (talk, outcome)
    });
    done.await.map_err(io::Error::other)
}
