//! The driver of an IMAP session: bytes and time between a client and its mailboxes. TLS is the caller's.
//!
//! What a session asks of its mailboxes reads and writes a disk, so each step runs on a thread of a few that only do that:
//! the session moves there and back. A message that wakes five hundred sessions then takes neither as many threads nor
//! as many open files; who waits for a thread holds neither. A client that has not logged in asks nothing of mailboxes
//! and needs no thread, and logins are no part of this: they wait elsewhere. Tokio's common threads for blocking work
//! would do it too, but there may be hundreds of those, and a limit before them does not hold: a thread that is just
//! done counts as busy still, and another one is made. `block_in_place` would spare the move, but it stops the other
//! branches of its own task and needs one kind of runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use imap::{Credentials, Session, Step};
use mailbox::{Account, AccountError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::patience::{Patience, Pressure};

/// How long a client that has logged in may be silent (RFC 9051 section 5.4).
const IDLE_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How long a client may take to read what it asked for, for each piece.
const WRITE_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// What is said to who may be here no longer.
const REVOKED: &str = "your login is no longer valid: log in again";
/// How often a client that has not logged in is looked at: patience may have shrunk meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who may come in, and for how long. One value per session.
pub trait Logins: Send {
    /// Whether these are an account's name and password: the account.
    fn login(
        &mut self,
        credentials: Credentials,
    ) -> impl Future<Output = Result<String, AccountError>> + Send;
    /// How full the places are, for a client that has not logged in.
    fn pressure(&self) -> Pressure {
        Pressure::NONE
    }
    /// Cancelled when who has logged in may be here no longer: the account is gone, or has another password.
    fn revoked(&self) -> Option<CancellationToken> {
        None
    }
}
/// Octets asked for at one read.
const READ_OCTETS: usize = 16 * 1024;
/// Octets of buffer that a session keeps while it waits for its client.
const KEPT_OCTETS: usize = 4 * 1024;

/// Threads on which sessions read and write mailboxes. More than processors, since most of the time they wait for a disk.
pub const THREADS: usize = 8;

/// What all sessions of a port share. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Service {
    stop: CancellationToken,
    threads: Arc<Threads>,
}

/// A runtime that nothing runs on but its threads for blocking work; they end when they have nothing to do.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        // This may be on a thread that must not wait for others.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Service {
    /// Ends when `stop` is cancelled.
    ///
    /// # Errors
    /// When the system has nothing left for threads.
    pub fn new(stop: CancellationToken) -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(THREADS).thread_name("imap").build()?;
        Ok(Self { stop, threads: Arc::new(Threads(Some(runtime))) })
    }

    /// Runs this on a thread that may block, after what waits already.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let runtime = self.threads.0.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        runtime.spawn_blocking(work).await.map_err(io::Error::other)
    }
}

/// Serves one connection until it ends or the service stops.
///
/// # Errors
/// When the connection breaks or the client is too slow; the caller logs it at most.
pub async fn serve<S, B, L>(
    stream: S,
    mut session: Session<B>,
    logins: L,
    service: &Service,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Account + Send + 'static,
    L: Logins,
{
    let changed = Arc::new(Notify::new());
    let wake = Arc::clone(&changed);
    session.account().on_change(Arc::new(move || wake.notify_one()));
    let talk = Box::new(Talk { session, input: BytesMut::new() });
    let began = Instant::now();
    Driver { stream, logins, service, changed, began, news: News::None, gone: false }.run(talk).await
}

/// A session and the octets it has not taken yet: what moves between threads.
struct Talk<B> {
    session: Session<B>,
    input: BytesMut,
}

/// Whether an idling session was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Told,
}

struct Driver<'a, S, L> {
    stream: S,
    logins: L,
    service: &'a Service,
    changed: Arc<Notify>,
    /// The time when the session began.
    began: Instant,
    /// Of the mailbox that the session listens to.
    news: News,
    /// The client has closed the connection.
    gone: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, L: Logins> Driver<'_, S, L> {
    async fn run<B: Account + Send + 'static>(mut self, mut talk: Box<Talk<B>>) -> io::Result<()> {
        while !self.gone {
            if self.is_revoked() {
                talk.session.bye(REVOKED);
            }
            let step;
            (talk, step) = self.advance(talk).await?;
            if step == Step::Flush && self.service.stop.is_cancelled() {
                talk.session.bye("the service stops");
            }
            self.flush(talk.session.output()).await?;
            match step {
                Step::Flush => {}
                Step::Read => self.read(&mut talk).await?,
                Step::Idle => self.idle(&mut talk).await?,
                Step::Login => talk = self.log_in(talk).await?,
                Step::Close => {
                    // The client may be gone first.
                    let _ = self.stream.shutdown().await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Lets the session go on.
    async fn advance<B: Account + Send + 'static>(
        &mut self,
        mut talk: Box<Talk<B>>,
    ) -> io::Result<(Box<Talk<B>>, Step)> {
        if !talk.session.is_authenticated() {
            // It only reads what it was sent.
            let step = talk.session.advance(&mut talk.input);
            return Ok((talk, step));
        }
        let news = std::mem::replace(&mut self.news, News::None);
        let work = move |talk: &mut Talk<B>| {
            if news == News::Told {
                talk.session.handle_change();
            }
            talk.session.advance(&mut talk.input)
        };
        self.blocking(talk, work).await
    }

    /// Does something with a session where it may block.
    async fn blocking<B: Send + 'static, T: Send + 'static>(
        &self,
        mut talk: Box<Talk<B>>,
        work: impl FnOnce(&mut Talk<B>) -> T + Send + 'static,
    ) -> io::Result<(Box<Talk<B>>, T)> {
        let done = self.service.run(move || {
            let outcome = work(&mut talk);
            (talk, outcome)
        });
        done.await
    }

    /// Has the login checked. The end of the service does not wait for that.
    async fn log_in<B: Account + Send + 'static>(
        &mut self,
        mut talk: Box<Talk<B>>,
    ) -> io::Result<Box<Talk<B>>> {
        let Some(credentials) = talk.session.credentials() else { return Ok(talk) };
        let outcome = tokio::select! {
            biased;
            () = self.service.stop.cancelled() => Err(AccountError::Unavailable),
            outcome = self.logins.login(credentials) => outcome,
        };
        let answer =
            move |talk: &mut Talk<B>| talk.session.answer_login(outcome.as_deref().map_err(Clone::clone));
        let (talk, ()) = self.blocking(talk, answer).await?;
        Ok(talk)
    }

    /// Waits for octets, and meanwhile for changes to tell.
    async fn idle<B: Account>(&mut self, talk: &mut Talk<B>) -> io::Result<()> {
        let changed = Arc::clone(&self.changed);
        tokio::select! {
            biased;
            read = self.read(talk) => read,
            () = changed.notified() => {
                self.news = News::Told;
                Ok(())
            }
        }
    }

    /// Waits for octets. The end of the connection, of the service, of patience or of the right to be here ends the
    /// session. Nothing is lost when this is dropped before it is done.
    async fn read<B: Account>(&mut self, talk: &mut Talk<B>) -> io::Result<()> {
        if talk.input.is_empty() {
            // What a large message needed is given back.
            talk.input = BytesMut::new();
        }
        talk.input.reserve(READ_OCTETS);
        let began = Instant::now();
        loop {
            let now = Instant::now();
            let until = self.waits_until(talk.session.is_authenticated(), began);
            if until <= now {
                talk.session.bye("you were silent for too long");
                return Ok(());
            }
            tokio::select! {
                biased;
                () = crate::cancelled(self.logins.revoked()) => {
                    talk.session.bye(REVOKED);
                    return Ok(());
                }
                () = self.service.stop.cancelled() => {
                    talk.session.bye("the service stops");
                    return Ok(());
                }
                read = timeout_at(self.looks_at(until, now), self.stream.read_buf(&mut talk.input)) => {
                    if let Ok(read) = read {
                        self.gone = read? == 0;
                        return Ok(());
                    }
                }
            }
        }
    }

    fn is_revoked(&self) -> bool {
        self.logins.revoked().is_some_and(|revoked| revoked.is_cancelled())
    }

    /// Who has logged in may be silent for a while; the login itself has a deadline.
    fn waits_until(&self, authenticated: bool, silent_since: Instant) -> Instant {
        if authenticated {
            return silent_since + IDLE_PATIENCE;
        }
        let patience = Patience::FULL.until_login().under(self.logins.pressure());
        self.began + patience.login.unwrap_or(Patience::LOGIN)
    }

    fn looks_at(&self, until: Instant, now: Instant) -> Instant {
        let pressed = self.logins.revoked().is_none();
        if pressed { until.min(now + LOOK_EVERY) } else { until }
    }

    async fn flush(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        // Who may be here no longer gets a moment to take the line that says so, and nothing else.
        let (patience, revoked) = match self.logins.revoked() {
            Some(revoked) if revoked.is_cancelled() => (LOOK_EVERY, None),
            revoked => (WRITE_PATIENCE, revoked),
        };
        let write = async {
            self.stream.write_all(output).await?;
            self.stream.flush().await
        };
        tokio::select! {
            biased;
            written = timeout(patience, write) => written??,
            () = crate::cancelled(revoked) => return Err(io::ErrorKind::PermissionDenied.into()),
        }
        output.clear();
        output.shrink_to(KEPT_OCTETS);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// How many are inside, the most that ever were, and whether they may leave.
    #[derive(Default)]
    struct Room {
        state: Mutex<(usize, usize, bool)>,
        changed: Condvar,
    }

    impl Room {
        fn visit(&self) {
            let mut state = self.state.lock().unwrap();
            state.0 += 1;
            state.1 = state.1.max(state.0);
            let mut state = self.changed.wait_while(state, |state| !state.2).unwrap();
            state.0 -= 1;
        }
    }

    #[tokio::test]
    async fn as_many_steps_run_at_one_time_as_there_are_threads_and_not_one_more() {
        let service = Service::new(CancellationToken::new()).unwrap();
        let room = Arc::new(Room::default());
        let steps: Vec<_> = (0..10 * THREADS)
            .map(|_| {
                let (service, room) = (service.clone(), Arc::clone(&room));
                tokio::spawn(async move { service.run(move || room.visit()).await })
            })
            .collect();
        while room.state.lock().unwrap().0 < THREADS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        room.state.lock().unwrap().2 = true;
        room.changed.notify_all();
        for step in steps {
            step.await.unwrap().unwrap();
        }
        assert_eq!(room.state.lock().unwrap().1, THREADS);
    }
}
