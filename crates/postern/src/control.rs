//! The control socket: how a command asks the running daemon. One JSON line each way, then it closes.
//!
//! Whoever may open the socket may do everything; it lies in the data directory, which only its owner enters.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Octets of one request or answer.
const LINE_OCTETS_MAX: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// `status`, `queue list`, `user add`, …
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
}

impl Request {
    /// A request.
    pub fn new<const N: usize>(command: &str, arguments: [&str; N]) -> Self {
        Self { command: command.to_owned(), arguments: arguments.map(str::to_owned).to_vec() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Value),
    Error { what: String, advice: String },
}

/// The error of a request that can't be met: what, and what to do.
pub type Refusal = (String, String);

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one.
    fn handle(&self, request: Request) -> impl Future<Output = Result<Value, Refusal>> + Send;
}

/// Where a role's control socket is.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Opens the socket. One that a dead daemon left is replaced; one that answers means that it runs already.
pub async fn listen(data: &Path) -> Result<UnixListener, Problem> {
    let path = socket_path(data);
    if UnixStream::connect(&path).await.is_ok() {
        return Err(Problem::setup(
            format!("a daemon runs already with the data in {}", data.display()),
            "stop it first, or give this one a data directory of its own",
        ));
    }
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|error| {
        Problem::setup(
            format!("can't make the control socket {}: {error}", path.display()),
            "check that this user may write there and that the path is shorter than 108 characters",
        )
    })?;
    use std::os::unix::fs::PermissionsExt as _;
    let private = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600));
    private.map_err(|error| crate::files::write_problem(&path, &error))?;
    Ok(listener)
}

/// Serves requests until `stop`.
pub async fn serve(listener: UnixListener, handler: Arc<impl Handler>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
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
        Err(error) => Answer::Error { what: format!("no request: {error}"), advice: String::new() },
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

/// Asks a running daemon. `Ok(None)` when none runs.
pub async fn ask(data: &Path, request: &Request) -> Result<Option<Value>, Problem> {
    let Ok(stream) = UnixStream::connect(socket_path(data)).await else {
        return Ok(None);
    };
    let failed =
        |error: std::io::Error| Problem::failed(format!("the daemon did not answer: {error}"), "see its log");
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

/// Asks a running daemon; that none runs is a problem.
pub async fn demand(data: &Path, request: &Request) -> Result<Value, Problem> {
    ask(data, request).await?.ok_or_else(|| {
        Problem::failed(
            format!("no daemon runs with the data in {}", data.display()),
            "start it with 'postern edge run' or 'postern home run', or name its file with --config",
        )
    })
}
