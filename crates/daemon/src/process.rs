//! What both daemons share: logs, signals, the way they start and stop.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::journal::Journal;
use crate::owner::Owner;
use crate::problem::{self, Problem};
use crate::request::Reloaded;
use crate::{data_dir, descriptors};

/// How long sessions have to end after SIGTERM.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What is logged by default. What the resolver's library calls errors, answers
/// that are not signed among them, is judged and told by those who ask.
const LOGGED: &str = "info,quinn=warn,quinn_proto=warn,quinn_udp=off,rustls=warn,hickory_proto=off,hickory_net=off,\
    hickory_resolver=off";

/// Logs go to standard error: lines for a terminal, the same without colour for a file. Where systemd has its journal there,
/// the journal gets the fields of each line beside its text. `RUST_LOG` chooses what is logged; by default nothing that names Home's address at Edge, which is why
/// quinn-udp, whose warnings do, is off.
pub fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    if let Some(journal) = journal() {
        let _ = tracing_subscriber::registry().with(filter).with(journal).try_init();
        return;
    }
    let colour = std::io::stderr().is_terminal();
    // Fails when logging was started before, which is no fault.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        // A log that can't be written, on a full disk say, is no reason to stop: the complaint about it would panic.
        .log_internal_errors(false)
        .try_init();
}

/// systemd's journal, if it is what standard error leads to. Fields have their own names there in capitals, without a prefix:
/// `journalctl ITEM=…`.
fn journal() -> Option<Journal> {
    let named = std::env::var("JOURNAL_STREAM").ok()?;
    let about = rustix::fs::fstat(std::io::stderr()).ok()?;
    if !is_stream(&named, (about.st_dev, about.st_ino)) {
        return None;
    }
    Journal::open().ok()
}

/// Whether `JOURNAL_STREAM` names the file with this device and inode (systemd.exec(5)): a program that was started by a
/// service, and whose errors go elsewhere, has the variable as well.
fn is_stream(named: &str, (device, inode): (u64, u64)) -> bool {
    let numbers = named.split_once(':').map(|(device, inode)| (device.parse(), inode.parse()));
    numbers == Some((Ok(device), Ok(inode)))
}

/// What tells the allocator to give freed memory back at once. It is read before `main`, so only from here.
const ALLOCATOR_SETTING: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");

/// What a daemon does before its first thread: it becomes the owner of its data, if root started it, sees that the data
/// is in order, and raises its limit of open files.
///
/// # Errors
/// When it can't become the owner, or something in the data is another user's.
pub fn settle(data: &Path) -> Result<(), Problem> {
    if let Ok(owner) = Owner::of(data)
        && owner.stay()?
    {
        tracing::info!(user = owner.name(), data = %data.display(), "root started it: it goes on as the data's owner");
    }
    begin_with_allocator_setting();
    data_dir::check(data)?;
    descriptors::raise();
    Ok(())
}

/// Begins the program again, in the same process, with the allocator's setting in its environment, unless one is
/// there already. A daemon that has become idle would else keep for ever what it needed once.
fn begin_with_allocator_setting() {
    use std::os::unix::process::CommandExt as _;
    let (name, value) = ALLOCATOR_SETTING;
    if std::env::var_os(name).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(name, value).exec();
    tracing::debug!(%error, "the allocator keeps its own settings");
}

/// What to type to start a role with this configuration.
pub fn how_to_start(role: &str, config: &Path) -> String {
    if config == Path::new(&format!("/etc/postern/{role}.toml")) {
        return format!("systemctl start postern-{role}   (without systemd: postern {role} run)");
    }
    format!("postern {role} run --config {}", config.display())
}

/// Runs a role's future on a runtime of its own.
///
/// # Errors
/// When the runtime's threads can't be started.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Problem> {
    // The allocator asks for huge pages, and each thread that touches a few kilobytes would then hold 2 MiB. A
    // small host has better use for them. A kernel without this switch has no huge pages to give.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Problem::failed(format!("can't start: {error}"), "see the system's limits on threads")
    })?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(result)
}

/// SIGTERM, SIGINT and SIGHUP.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// The wish of the operator that a signal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Read configuration and certificates again.
    Reload,
    /// Let sessions end, then stop.
    Stop,
}

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP from now on.
    ///
    /// # Errors
    /// When the system gives no handler for one of them.
    pub fn new() -> Result<Self, Problem> {
        let listen = |kind| {
            signal(kind).map_err(|error| Problem::failed(format!("can't listen to signals: {error}"), ""))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }
}

/// Says in the log what came of a reload that a signal asked for: a signal has no answer.
pub fn tell_reloaded(reloaded: Result<Reloaded, Problem>) {
    match reloaded {
        Ok(Reloaded { after_restart }) if after_restart.is_empty() => {
            tracing::info!("configuration and certificate reloaded");
        }
        Ok(Reloaded { after_restart }) => {
            let waits = after_restart.join(", ");
            tracing::warn!(
                "configuration and certificate reloaded; changes of {waits} take effect after a restart"
            );
        }
        Err(problem) => tracing::error!(%problem, "not reloaded: what was in force stays"),
    }
}

/// Opens listeners, or says which address is taken and what to do.
///
/// # Errors
/// When one of the addresses can't be listened on; who has it and which `key` names it is said.
pub fn listen(addresses: &[SocketAddr], service: &str, key: &str) -> Result<Vec<TcpListener>, Problem> {
    let mut listeners = Vec::new();
    for address in addresses {
        match net::listen::tcp(*address) {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 is no error when IPv4 is listened on as well.
            Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {}
            Err(error) => return Err(listen_problem(*address, service, key, &error)),
        }
    }
    Ok(listeners)
}

fn no_ipv6(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// The problem of an address that can't be listened on.
pub fn listen_problem(address: SocketAddr, service: &str, key: &str, error: &std::io::Error) -> Problem {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("another program uses this port; stop it ('ss -lptn' shows it), or change {key}")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; or change {key}")
        }
        _ => format!("change {key} to an address of this machine"),
    };
    let what = format!("can't listen on {address} for {service}: {}", problem::io_words(error));
    // An address may come later, when the network is up; a port that is taken is given back by who has it.
    match error.kind() {
        std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::AddrInUse => Problem::failed(what, advice),
        _ => Problem::setup(what, advice),
    }
}

/// Tells systemd, if it started us, that we are ready.
pub fn notify_ready() {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Waits until all sessions ended, at most [`DRAIN_MAX`].
pub async fn drain(sessions: &tokio_util::task::TaskTracker, stop: &CancellationToken) {
    stop.cancel();
    sessions.close();
    if tokio::time::timeout(DRAIN_MAX, sessions.wait()).await.is_err() {
        tracing::warn!(sessions = sessions.len(), "sessions did not end in time and are cut off");
    }
}

/// Whether this machine speaks IPv6 at all.
pub fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_there_when_standard_error_is_its_stream_and_not_when_only_the_variable_is() {
        assert!(is_stream("8:35", (8, 35)));
        for (named, file) in
            [("8:35", (8, 36)), ("8:35", (9, 35)), ("8", (8, 0)), ("", (0, 0)), ("a:b", (0, 0))]
        {
            assert!(!is_stream(named, file), "{named}");
        }
    }
}
