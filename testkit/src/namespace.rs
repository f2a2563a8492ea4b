//! Doing something in a network namespace, in a thread of its own: what it opens stays there.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `work` in a network namespace, or on this host.
///
/// # Panics
/// When there is no such namespace, when it may not be entered, or when `work` does.
pub fn within<T: Send>(namespace: Option<&str>, work: impl FnOnce() -> T + Send) -> T {
    let Some(namespace) = namespace else { return work() };
    let done = std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter(namespace);
            work()
        });
        inside.join()
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Moves this thread, and what it starts from now on, into a network namespace.
///
/// # Panics
/// When there is no such namespace, or it may not be entered.
pub fn enter(namespace: &str) {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A network namespace with loopback alone, where every port is free. It goes when it is dropped.
#[derive(Debug)]
pub struct Secluded(String);

impl Secluded {
    /// Makes one; `place` tells it from others of this process.
    ///
    /// # Panics
    /// When this process may not.
    #[must_use]
    pub fn new(place: &str) -> Self {
        crate::leavings::remove();
        let name = format!("{}{}{place}", crate::leavings::NAMESPACE, std::process::id());
        must(&["netns", "add", &name]);
        must(&["-n", &name, "link", "set", "lo", "up"]);
        // BIND listens on addresses that an interface has by name, not on all of 127/8.
        must(&["-n", &name, "addr", "add", "127.0.0.2/8", "dev", "lo"]);
        Self(name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Secluded {
    fn drop(&mut self) {
        let mut command = crate::process::command(None, "ip");
        command.args(["netns", "del", &self.0]);
        let _ = crate::process::run(command, b"", PATIENCE);
    }
}

fn must(arguments: &[&str]) {
    let mut command = crate::process::command(None, "ip");
    command.args(arguments);
    crate::process::run_ok(command, b"", PATIENCE);
}
