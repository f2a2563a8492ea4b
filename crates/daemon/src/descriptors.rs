//! Descriptors: how many files and connections this process may have open, and how many of them strangers get.
//! The rest is kept for the link, the control socket, the spool and the store, which must go on when a port is full.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one session at a port may hold at one time: its socket, and a question to DNS, a draft or a database.
const EACH_SESSION: u64 = 2;
/// Kept back from sessions: listeners, link, control socket, segments, databases, connections that go out.
const KEPT: u64 = 384;
/// So few sessions that a role is of no use; a limit that does not even allow these is not heeded.
const SESSIONS_MIN: usize = 16;

/// Raises the soft limit as far as it goes. Programs that use `select` need the low one; this one does not.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, limit = ?current, "the limit of open files can't be raised");
    }
}

/// The limit in force; `None` when there is none.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many sessions each of so many ports may have when `wanted` are configured, under this limit of descriptors.
pub fn sessions(wanted: usize, ports: u64, limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return wanted };
    let possible = limit.saturating_sub(KEPT) / (EACH_SESSION * ports.max(1));
    wanted.min(usize::try_from(possible).unwrap_or(usize::MAX).max(SESSIONS_MIN))
}

/// As [`sessions`] under the limit in force; says when it is fewer than wanted.
pub fn sessions_here(wanted: usize, ports: u64) -> usize {
    let limit = limit();
    let possible = sessions(wanted, ports, limit);
    if possible < wanted {
        let what_to_do = "raise the hard limit of open files: LimitNOFILE= in the unit, or 'ulimit -Hn'";
        tracing::warn!(
            wanted,
            possible,
            open_files_max = limit,
            what_to_do,
            "fewer sessions at one time than [limits] sessions"
        );
    }
    possible
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: with 1,300 connections at a limit of 1,024 descriptors `status` fell silent, the link was refused and
    /// the snapshot could not be kept. Cause: strangers took the last descriptor.
    #[test]
    fn strangers_never_get_the_descriptors_of_the_link_and_the_spool() {
        for (limit, wanted, ports, possible) in [
            (1024, 2000, 1, 320),
            (1024, 320, 1, 320),
            (1024, 319, 1, 319),
            (1024, 200, 3, 106),
            (4384, 2000, 1, 2000),
            (4383, 2000, 1, 1999),
            (64, 2000, 1, SESSIONS_MIN),
        ] {
            assert_eq!(sessions(wanted, ports, Some(limit)), possible, "{limit} {wanted} {ports}");
        }
        assert_eq!(sessions(2000, 1, None), 2000);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        raise();
        assert_eq!(limit(), before.maximum);
    }
}
