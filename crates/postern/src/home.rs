//! Home: the home MTA. What it is made of, and how it starts and stops.

pub mod accounts;
mod arrive;
pub mod directory;
mod edges;
mod mailboxes;
pub mod setup;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use net::tls::{ServerIdentity, TlsAcceptor};
use serde_json::{Value, json};
use store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, HomeConfig};
use crate::control::{self, Handler, Refusal, Request};
use crate::daemon::{self, Signals, Wanted};
use crate::problem::Problem;
use crate::trace::Trace;
use crate::{files, system};

use arrive::{Arrivals, Unsealers};
use directory::Directory;
use edges::Edges;
use mailboxes::{Accounts, Mailboxes};
use setup::Secrets;
use snapshot::SnapshotSource;

/// Everything that is shared while Home runs.
struct Home {
    config: HomeConfig,
    config_path: PathBuf,
    directory: Directory,
    store: Arc<Store>,
    edges: Edges,
    identity: ServerIdentity,
    sessions: TaskTracker,
    stop: CancellationToken,
}

/// Runs Home until it is told to stop.
pub async fn run(config_path: &Path) -> Result<(), Problem> {
    let config: HomeConfig = config::load(config_path)?;
    let secrets = Secrets::load(&config.data)?;
    let mut signals = Signals::new()?;
    let control = control::listen(&config.data).await?;
    let trace = Trace::open(&config.data.join("trace"), link::Role::Home)?;
    let stop = CancellationToken::new();
    let directory = Directory::open(&config)?;
    let store = Arc::new(accounts::open_store(&config, &directory)?);
    let arrivals = arrivals(&config, &secrets, &directory, &store, &trace)?;
    let snapshots = SnapshotSource {
        directory: directory.clone(),
        config: config.clone(),
        hash_secret: secrets.hash_secret,
        sealing_key: secrets.unseal.public(),
    };
    let name = config.domains.first().map_or_else(String::new, ToString::to_string);
    let pins = config.edges.clone();
    let (edges, _from_edges) = Edges::new(pins, name, secrets.link_key, arrivals, snapshots, stop.clone());
    let identity = certificate(&config)?;
    let home = Arc::new(Home {
        config_path: config_path.to_owned(),
        sessions: TaskTracker::new(),
        config,
        directory,
        store,
        edges,
        identity,
        stop,
    });
    home.serve_imap()?;
    let links = tokio::spawn(home.edges.clone().run());
    tokio::spawn(control::serve(control, Arc::clone(&home), home.stop.clone()));
    trace.event(None, "started", "home");
    tracing::info!(accounts = home.directory.accounts().len(), edges = home.config.edges.len(), "home runs");
    daemon::notify_ready();
    loop {
        match signals.next().await {
            Wanted::Reload => home.reload(),
            Wanted::Stop => break,
        }
    }
    tracing::info!("home stops: sessions may end within {} s", daemon::DRAIN_MAX.as_secs());
    daemon::drain(&home.sessions, &home.stop).await;
    let _ = tokio::time::timeout(Duration::from_secs(2), links).await;
    Ok(())
}

fn arrivals(
    config: &HomeConfig,
    secrets: &Secrets,
    directory: &Directory,
    store: &Arc<Store>,
    trace: &Trace,
) -> Result<Arc<Arrivals>, Problem> {
    let drafts = config.data.join("drafts");
    files::make_private_dir(&drafts)?;
    let unsealers = Unsealers::start().map_err(|error| {
        Problem::failed(format!("can't start threads: {error}"), "see the system's limits")
    })?;
    Ok(Arc::new(Arrivals {
        store: Arc::clone(store),
        directory: directory.clone(),
        trace: trace.clone(),
        unseal: secrets.unseal.clone(),
        unsealers,
        drafts,
        memory_octets_max: config.limits.body_memory.0,
        memory_octets: AtomicU64::new(0),
        message_octets_max: config.limits.message.0,
    }))
}

/// The certificate for mail programs: the configured one, or one made for the first domain.
fn certificate(config: &HomeConfig) -> Result<ServerIdentity, Problem> {
    let files = config.tls.files(&config.data);
    let problem = |error| {
        Problem::setup(error, "correct [tls] certificate and key, or remove both for a self-made certificate")
    };
    if config.tls.is_self_made() {
        let name =
            config.domains.first().map_or_else(|| "localhost".to_owned(), |domain| format!("mail.{domain}"));
        net::tls::ensure_self_signed(&files, &name).map_err(problem)?;
    }
    ServerIdentity::load(&files).map_err(problem)
}

impl Home {
    fn acceptor(&self) -> Result<TlsAcceptor, Problem> {
        self.identity.acceptor().map_err(|error| Problem::failed(format!("TLS can't be set up: {error}"), ""))
    }

    fn serve_imap(self: &Arc<Self>) -> Result<(), Problem> {
        let acceptor = self.acceptor()?;
        let directory = self.directory.clone();
        let accounts = Accounts {
            store: Arc::clone(&self.store),
            drafts: self.config.data.join("drafts"),
            authenticate: Arc::new(move |user, password| {
                directory.login_blocking(user, password).map(|account| account.as_str().to_owned())
            }),
            now: system::now,
        };
        let slots = Arc::new(Semaphore::new(self.config.limits.sessions));
        for listener in daemon::listen(&self.config.listen.imap, "IMAP", "[listen] imap in home.toml")? {
            let service = ImapService {
                home: Arc::clone(self),
                acceptor: acceptor.clone(),
                accounts: accounts.clone(),
                slots: Arc::clone(&slots),
            };
            tokio::spawn(service.accept(listener));
        }
        Ok(())
    }

    /// Reads the configuration and the certificate again. What needs a restart is said.
    fn reload(&self) {
        let config = match config::load::<HomeConfig>(&self.config_path) {
            Ok(config) => config,
            Err(problem) => return tracing::error!(%problem, "not reloaded: the old configuration stays"),
        };
        match self.identity.reload(&config.tls.files(&self.config.data)) {
            Ok(()) => tracing::info!("certificate reloaded"),
            Err(error) => tracing::error!(%error, "not reloaded: the old certificate stays"),
        }
        if (HomeConfig { tls: self.config.tls.clone(), ..config }) != self.config {
            tracing::warn!("other changes of home.toml take effect after a restart");
        }
    }

    fn status(&self) -> Value {
        json!({
            "role": "home",
            "domains": self.config.domains,
            "accounts": self.directory.accounts().len(),
            "sessions": self.sessions.len(),
            "edges": self.edges.status(),
        })
    }
}

impl Handler for Home {
    async fn handle(&self, request: Request) -> Result<Value, Refusal> {
        let arguments: Vec<&str> = request.arguments.iter().map(String::as_str).collect();
        match (request.command.as_str(), &arguments[..]) {
            ("status", []) => Ok(self.status()),
            (command, arguments) if command.starts_with("user ") || command.starts_with("alias ") => {
                tokio::task::block_in_place(|| {
                    accounts::change(&self.directory, &self.store, command, arguments)
                })
            }
            (other, _) => Err((
                format!("Home knows no command '{other}'"),
                "update the older one of program and daemon".to_owned(),
            )),
        }
    }
}

#[derive(Clone)]
struct ImapService {
    home: Arc<Home>,
    acceptor: TlsAcceptor,
    accounts: Accounts,
    slots: Arc<Semaphore>,
}

impl ImapService {
    async fn accept(self, listener: TcpListener) {
        loop {
            let (stream, peer) = tokio::select! {
                () = self.home.stop.cancelled() => return,
                accepted = net::listen::accept(&listener) => accepted,
            };
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                tracing::warn!(%peer, "too many IMAP sessions; see [limits] sessions in home.toml");
                continue;
            };
            let service = self.clone();
            self.home.sessions.spawn(async move {
                let _slot = slot;
                if let Err(error) = service.serve(stream).await {
                    tracing::debug!(%peer, %error, "IMAP session broke off");
                }
            });
        }
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let handshake = tokio::time::timeout(Duration::from_secs(30), self.acceptor.accept(stream));
        let stream = handshake.await.map_err(|_| std::io::ErrorKind::TimedOut)??;
        let options = imap::Options {
            append_octets_max: self.home.config.limits.message.0,
            greeting: "Postern ready".to_owned(),
        };
        let session = imap::Session::new(Mailboxes::new(self.accounts.clone()), options);
        net::imap_server::serve(stream, session, &self.home.stop).await
    }
}
