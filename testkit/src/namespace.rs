//! Doing something in a network namespace, in a thread of its own: what it opens stays there.

use std::fs::File;
use std::os::fd::AsFd as _;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

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
