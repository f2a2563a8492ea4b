//! Logins at all ports of Home: when a password is checked, in whose turn, and what the log says.
//!
//! What is decided is decided in [`guard`] and [`turns`]; what a password is compared with is the directory's. A name
//! that nobody has goes the same way and takes as long.

mod desk;
mod guard;
mod turns;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mail::Address;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::desk::Desk;
use self::guard::{Attempt, Guard, Name, Ruling};
use self::turns::Rank;
use super::directory::Directory;
use super::passes::Pass;
use crate::places::{Standing, network};
use crate::system;

/// Passwords that are checked at one time: a check takes 7 MiB and some hundredths of a second of a processor.
const CHECKS_AT_ONE_TIME: usize = 1;
/// Characters of a login name that are logged.
const LOGGED_CHARS_MAX: usize = 100;
/// How long one waits for others of the same account and network to be checked.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Why a login comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Name and password do not belong together.
    Wrong,
    /// It was not looked at: too many failed, or too many wait.
    Later,
}

/// Who logs in.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// The port's name in the log: fail2ban reads it.
    pub service: &'static str,
}

/// Cloning shares it.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

struct Inner {
    directory: Directory,
    guard: Mutex<Guard>,
    desk: Desk,
    /// A check is done: who waits for another of the same account may ask again.
    settled: Notify,
    /// Makes the hashes of names worthless elsewhere.
    key: [u8; 32],
    began: Instant,
}

/// A check that was allowed. Dropped without a word, it counts as wrong: who hangs up has had his check.
struct UnderWay<'a> {
    logins: &'a Logins,
    attempt: Attempt,
    settled: bool,
}

impl Logins {
    /// Against these accounts.
    pub fn new(directory: Directory) -> Self {
        Self(Arc::new(Inner {
            directory,
            guard: Mutex::default(),
            desk: Desk::new(CHECKS_AT_ONE_TIME),
            settled: Notify::new(),
            key: system::random(),
            began: Instant::now(),
        }))
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.0.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.0.began.elapsed().as_secs()
    }

    /// Whether somebody has logged in from this network since the start.
    pub fn standing(&self, ip: IpAddr) -> Standing {
        match self.guard().standing_of(ip, self.now()) {
            true => Standing::Known,
            false => Standing::Stranger,
        }
    }

    /// Whether these are an account's name and password. The pass is good as long as they are.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self, user: &str, password: &str, client: Client) -> Result<Pass, Refused> {
        let (under_way, rank) = self.admit(user, client).await?;
        if let Some(pass) = self.0.directory.login_known(user, password) {
            under_way.right();
            return Ok(pass);
        }
        let Ok(turn) = self.0.desk.turn(network(client.ip), rank).await else {
            tracing::debug!(client = %client.ip, service = client.service, "too many logins wait to be checked");
            under_way.unchecked();
            return Err(Refused::Later);
        };
        let (directory, name, password) = (self.0.directory.clone(), user.to_owned(), password.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            directory.login_blocking(&name, &password)
        });
        match checked.await.unwrap_or_default() {
            Some(pass) => {
                under_way.right();
                tracing::debug!(account = %pass.account(), client = %client.ip, service = client.service, "logged in");
                Ok(pass)
            }
            None => Err(under_way.wrong(user, client)),
        }
    }

    /// The same for a login that is not an account's, and takes no time to compare.
    ///
    /// # Errors
    /// Why not.
    pub async fn compare(
        &self,
        user: &str,
        client: Client,
        is_right: impl FnOnce() -> bool + Send,
    ) -> Result<(), Refused> {
        let (under_way, _) = self.admit(user, client).await?;
        if is_right() {
            under_way.right();
            return Ok(());
        }
        Err(under_way.wrong(user, client))
    }

    /// Waits until the password may be checked.
    async fn admit(&self, user: &str, client: Client) -> Result<(UnderWay<'_>, Rank), Refused> {
        let attempt = Attempt { name: self.name_of(user, client.service), ip: client.ip };
        let until = Instant::now() + WAIT_MAX;
        loop {
            let settled = self.0.settled.notified();
            let mut settled = std::pin::pin!(settled);
            // Before it is asked: what is settled in between must not be missed.
            settled.as_mut().enable();
            let ruling = self.guard().ask(attempt, self.now());
            match ruling {
                Ruling::Check { first } => {
                    let rank = if first { Rank::First } else { Rank::Rest };
                    return Ok((UnderWay { logins: self, attempt, settled: false }, rank));
                }
                Ruling::Later { seconds, news } => {
                    if news {
                        let user = shown(user);
                        tracing::info!(
                            client = %client.ip, service = client.service, ?user, seconds,
                            "logins are not looked at: too many have failed"
                        );
                    }
                    return Err(Refused::Later);
                }
                Ruling::Wait => {
                    tokio::time::timeout_at(until, settled).await.map_err(|_| Refused::Later)?;
                }
            }
        }
    }

    /// As the directory compares names; whatever is no address is taken as it is. An edge's name is no account's.
    fn name_of(&self, user: &str, service: &str) -> Name {
        let canonical = Address::parse(user).map_or_else(|_| user.to_owned(), |address| address.canonical());
        let kind = if service == super::foreign_edge::SERVICE { [1] } else { [0] };
        let digest =
            Sha256::new().chain_update(self.0.key).chain_update(kind).chain_update(canonical).finalize();
        let mut name = Name::default();
        name.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        name
    }
}

/// A login name for the log. Quoted and escaped there: one made of control characters must not write log lines.
fn shown(user: &str) -> String {
    user.chars().take(LOGGED_CHARS_MAX).collect()
}

impl UnderWay<'_> {
    fn right(mut self) {
        self.settled = true;
        self.logins.guard().right(self.attempt, self.logins.now());
    }

    fn unchecked(mut self) {
        self.settled = true;
        self.logins.guard().unchecked(self.attempt);
    }

    /// The line is an interface: `docs/fail2ban/filter.d/postern.conf` reads it. The client's words come last, so that
    /// none of them can be taken for its address.
    fn wrong(self, user: &str, client: Client) -> Refused {
        let user = shown(user);
        tracing::warn!(client = %client.ip.to_canonical(), service = client.service, ?user, "login failed");
        Refused::Wrong
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.logins.guard().wrong(self.attempt, self.logins.now());
        }
        self.logins.0.settled.notify_waiters();
    }
}
