//! An MTA of other people at the other end of a journey, with one domain: what a test asks of each of them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::submission::Submission;
use crate::{process, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where it is: on port 25 of an address in a network namespace.
#[derive(Debug, Clone)]
pub struct Site {
    /// The network namespace.
    pub namespace: String,
    /// The address of the MTA.
    pub address: std::net::IpAddr,
    /// The name server that it asks on port 53.
    pub name_server: std::net::IpAddr,
}

impl Site {
    /// A port there.
    #[must_use]
    pub const fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}

/// One of them. It offers STARTTLS, sends by MX, and knows `you` and not `rejected`.
pub trait RemoteMta {
    /// Its domain; the mail host is `mx` below it.
    fn domain(&self) -> &str;

    /// Whether TLS works when it is the server.
    fn speaks_tls(&self) -> bool {
        true
    }

    /// Starts it, again.
    fn start(&mut self);

    /// Kills it. What it has taken stays in its queue and its mailboxes.
    fn stop(&mut self);

    /// Has it try at once what is in its queue, if it would wait for long.
    fn try_again(&self) {}

    /// Whether it puts everybody off for now, with a 4xx reply.
    fn greylist(&mut self, on: bool);

    /// The way in for its users.
    fn submission(&self) -> Submission;

    /// Messages that came, in no order.
    fn messages(&self) -> Vec<Vec<u8>>;

    /// Its log so far.
    fn log(&self) -> String;
}

/// The messages in a directory, but those that are being written.
#[must_use]
pub fn read_mailbox(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let whole =
        paths.filter(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
    whole.map(|path| std::fs::read(path).expect("a message")).collect()
}

/// Waits until somebody there says 220.
///
/// # Panics
/// When nobody does.
pub fn wait_for_greeting(namespace: &str, address: SocketAddr) {
    until("the other MTA greets", PATIENCE, || greets(namespace, address).then_some(()));
}

/// Waits until nobody does: what was killed in a cell ends a little later.
///
/// # Panics
/// When somebody still does.
pub fn wait_for_silence(namespace: &str, address: SocketAddr) {
    until("the other MTA is gone", PATIENCE, || (!greets(namespace, address)).then_some(()));
}

fn greets(namespace: &str, address: SocketAddr) -> bool {
    let mut command = process::command(Some(namespace), "swaks");
    command.args(["--server", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--quit-after", "BANNER"]);
    process::run(command, b"", PATIENCE).status.success()
}
