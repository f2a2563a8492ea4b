//! The control socket: how a command asks the running daemon. One JSON line each way, then it closes.
//!
//! Whoever may open the socket may do everything; it lies in the data directory, which only its owner enters.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::files;
use crate::moved;
use crate::problem::{self, Problem};
use crate::request::Request;

/// Octets of one request or answer.
const LINE_OCTETS_MAX: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a daemon and a command wait for each other.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);
const LOCK_STEP: Duration = Duration::from_millis(50);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Value),
    Error { what: String, advice: String },
}

/// The error of a request that can't be met: what, and what to do.
pub type Refusal = (String, String);

/// The role's side of the control socket.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> impl Future<Output = Result<Value, Refusal>> + Send;
}

/// The path of a role's control socket in its data directory.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Whoever holds it is the only one that changes what is in the data directory: the daemon as long as it
/// runs, or a command for a moment while none does. The system lets go of it with the process.
pub struct DataLock {
    _file: File,
}

/// Takes the lock if it is free.
///
/// # Errors
/// When the lock's file can't be made or locked. That another has it is no error.
pub fn try_lock(data: &Path) -> Result<Option<DataLock>, Problem> {
    let path = data.join("daemon.lock");
    let problem = |error: std::io::Error| files::write_problem(&path, &error);
    let file = File::options().create(true).append(true).open(&path).map_err(problem)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DataLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(problem(error)),
    }
}

/// The daemon's socket, and the lock that it keeps until it has ended, also while sessions still end.
pub struct Listening {
    /// The socket, for [`serve`].
    pub socket: UnixListener,
    /// For as long as anything in the data directory may be changed.
    pub lock: DataLock,
}

/// Takes the lock and opens the socket. A command that is just changing something is waited for.
///
/// # Errors
/// When another daemon or command has the data, or they can't be written.
pub async fn listen(data: &Path) -> Result<Listening, Problem> {
    let path = socket_path(data);
    let mut lock = try_lock(data)?;
    let begun = Instant::now();
    while lock.is_none() && begun.elapsed() < LOCK_PATIENCE && UnixStream::connect(&path).await.is_err() {
        tokio::time::sleep(LOCK_STEP).await;
        lock = try_lock(data)?;
    }
    let Some(lock) = lock else {
        return Err(Problem::setup(
            format!("a daemon runs already with the data in {}", data.display()),
            "stop it first, or give this one a data directory of its own",
        ));
    };
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|error| {
        Problem::setup(
            format!("can't make the control socket {}: {}", path.display(), problem::io_words(&error)),
            "check that this user may write there and that the path is shorter than 108 characters",
        )
    })?;
    use std::os::unix::fs::PermissionsExt as _;
    let private = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600));
    private.map_err(|error| files::write_problem(&path, &error))?;
    Ok(Listening { socket: listener, lock })
}

/// Serves requests until `stop`.
pub async fn serve(socket: UnixListener, handler: Arc<impl Handler>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let handler = Arc::clone(&handler);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, answer(stream, &*handler)).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn answer(stream: UnixStream, handler: &impl Handler) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_OCTETS_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match handler.handle(request).await {
            Ok(value) => Answer::Ok(value),
            Err((what, advice)) => Answer::Error { what, advice },
        },
        Err(error) => Answer::Error {
            what: format!("no request: {error}"),
            advice: "program and daemon are of different versions: restart the daemon".to_owned(),
        },
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

/// Asks a running daemon. `Ok(None)` when none runs.
///
/// # Errors
/// When the caller may not ask, the daemon breaks off, its answer can't be read, or it says no: its own words then.
pub async fn ask(data: &Path, request: &Request) -> Result<Option<Value>, Problem> {
    let path = socket_path(data);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let what = format!("only the owner of {} may ask the daemon", data.display());
            return Err(Problem::setup(what, files::whom_to_be(&path)));
        }
        // Nobody listens, or there is no socket.
        Err(_) => return Ok(None),
    };
    let failed = |error: std::io::Error| {
        let what = format!("the daemon did not answer: {}", problem::io_words(&error));
        Problem::failed(what, "see its log")
    };
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(request).unwrap_or_default();
    line.push(b'\n');
    writer.write_all(&line).await.map_err(failed)?;
    let mut text = String::new();
    BufReader::new(reader.take(LINE_OCTETS_MAX)).read_line(&mut text).await.map_err(failed)?;
    match serde_json::from_str(&text) {
        Ok(Answer::Ok(value)) => Ok(Some(value)),
        // What a daemon refuses, the operator has to say otherwise.
        Ok(Answer::Error { what, advice }) => Err(Problem::setup(what, advice)),
        Err(error) => {
            Err(Problem::failed(format!("the daemon's answer can't be read: {error}"), "see its log"))
        }
    }
}

/// Asks a running daemon, or takes the lock so that none can start while the caller does it alone.
///
/// # Errors
/// As [`ask`], and when the lock can't be had: another command keeps it, or the data can't be written.
pub async fn ask_or_lock(data: &Path, request: &Request) -> Result<Result<Value, DataLock>, Problem> {
    let begun = Instant::now();
    loop {
        if let Some(value) = ask(data, request).await? {
            return Ok(Ok(value));
        }
        if let Some(lock) = try_lock(data)? {
            moved::still_here(data)?;
            return Ok(Err(lock));
        }
        if begun.elapsed() > LOCK_PATIENCE {
            let what = format!("a daemon with the data in {} does not answer", data.display());
            return Err(Problem::failed(what, "see its log, or stop it"));
        }
        // It is just starting or stopping.
        tokio::time::sleep(LOCK_STEP).await;
    }
}

/// Asks a running daemon; that none runs is a problem.
///
/// # Errors
/// As [`ask`], and when no daemon runs.
pub async fn demand(data: &Path, request: &Request) -> Result<Value, Problem> {
    if let Some(answer) = ask(data, request).await? {
        return Ok(answer);
    }
    moved::still_here(data)?;
    // Both have a link's key; the keys of mail are Home's alone.
    let role = if data.join("sealing-key.txt").exists() { "home" } else { "edge" };
    Err(Problem::failed(
        format!("no daemon runs with the data in {}", data.display()),
        format!(
            "start it with 'systemctl start postern-{role}', or 'postern {role} run'; or name its file with --config"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Handler for Echo {
        async fn handle(&self, request: Request) -> Result<Value, Refusal> {
            Ok(serde_json::json!(request))
        }
    }

    /// Symptom: a user that was added in the moment the daemon started was unknown to it until its next
    /// start. Cause: the command found no socket and wrote the directory, which the daemon had read by then.
    #[tokio::test]
    async fn a_command_and_a_starting_daemon_never_work_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let request = Request::Status;
        let alone = ask_or_lock(dir.path(), &request).await.unwrap().err().unwrap();
        let data = dir.path().to_owned();
        let starting = tokio::spawn(async move { listen(&data).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!starting.is_finished(), "the daemon waits for the command");
        drop(alone);
        let listening = starting.await.unwrap().unwrap_or_else(|problem| panic!("{problem}"));
        assert!(try_lock(dir.path()).unwrap().is_none());
        let serving = tokio::spawn(serve(listening.socket, Arc::new(Echo), CancellationToken::new()));
        assert_eq!(ask_or_lock(dir.path(), &request).await.unwrap().ok().unwrap()["command"], "status");
        assert!(listen(dir.path()).await.is_err(), "a second daemon is refused");
        serving.abort();
    }

    /// Security lesson: OpenSMTPD CVE-2025-62875, CVE-2020-35680.
    #[tokio::test]
    async fn a_malformed_request_is_refused_and_the_next_one_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let listening = listen(dir.path()).await.unwrap_or_else(|problem| panic!("{problem}"));
        let serving = tokio::spawn(serve(listening.socket, Arc::new(Echo), CancellationToken::new()));
        let deep = format!("{{\"command\":{}", "[".repeat(100_000));
        let bad: [&[u8]; 8] = [
            b"",
            b"\n",
            b"\xff\xfe\n",
            b"null\n",
            b"{\"command\":1}\n",
            b"{\"command\":\"x\",\"arguments\":{}}\n",
            b"\0\0\0\0",
            deep.as_bytes(),
        ];
        for request in bad {
            let mut stream = UnixStream::connect(socket_path(dir.path())).await.unwrap();
            stream.write_all(request).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.is_empty() || answer.contains("no request"), "{answer}");
        }
        let good = ask(dir.path(), &Request::Status).await.unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(good.unwrap()["command"], "status");
        serving.abort();
    }
}
