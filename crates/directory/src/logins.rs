//! Logins at all ports of Home: when a password is checked, in whose turn, and what the log says.
//!
//! What is decided is decided in `guard` and `turns`; what a password is compared with is the directory's. A name
//! that nobody has goes the same way and takes as long.

mod desk;
mod guard;
mod turns;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::system;
use mail::Address;
use net::port_places::{Standing, network};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::desk::Desk;
use self::guard::{Attempt, Guard, Name, Ruling, Ticket};
use self::turns::Rank;
use crate::directory::Directory;
use crate::passes::Pass;

/// The port's name in the log; fail2ban reads it.
pub const FOREIGN_EDGE: &str = "foreign-edge";
/// Passwords that are checked at one time: a check takes 7 MiB and some hundredths of a second of a processor.
const CHECKS_AT_ONE_TIME: usize = 1;
/// Characters of a login name that are logged.
const LOGGED_CHARS_MAX: usize = 100;
/// How long one waits for others of the same account and network to be checked.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// The reasons why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Name and password do not belong together.
    Wrong,
    /// It was not looked at: too many failed, or too many wait.
    Later,
}

/// The client that logs in.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// The client's address.
    pub ip: IpAddr,
    /// The port's name in the log: fail2ban reads it.
    pub service: &'static str,
}

/// The check of names and passwords, with its limits. Cloning shares it.
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
    wrong: AtomicU64,
    later: AtomicU64,
}

/// A check that was allowed. Dropped without a word, it counts as wrong: who hangs up has had his check.
struct UnderWay<'a> {
    logins: &'a Logins,
    ticket: Ticket,
    settled: bool,
}

/// How much a login may have checked.
enum Admitted<'a> {
    /// Its password is checked.
    Check(UnderWay<'a>, Rank),
    /// Its password is only compared with one that was found right before.
    KnownOnly,
}

impl Logins {
    /// Logins against the accounts of this directory.
    pub fn new(directory: Directory) -> Self {
        Self(Arc::new(Inner {
            directory,
            guard: Mutex::default(),
            desk: Desk::new(CHECKS_AT_ONE_TIME),
            settled: Notify::new(),
            key: system::random(),
            began: Instant::now(),
            wrong: AtomicU64::new(0),
            later: AtomicU64::new(0),
        }))
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.0.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.0.began.elapsed().as_secs()
    }

    /// As `status` shows them: what failed since the start.
    pub fn as_json(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({ "wrong": count(&self.0.wrong), "not_looked_at": count(&self.0.later) })
    }

    fn later(&self) -> Refused {
        self.0.later.fetch_add(1, Ordering::Relaxed);
        Refused::Later
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
    /// [`Refused`].
    pub async fn check(&self, user: &str, password: &str, client: Client) -> Result<Pass, Refused> {
        let (under_way, rank) = match self.admit(user, client).await? {
            Admitted::Check(under_way, rank) => (under_way, rank),
            Admitted::KnownOnly => {
                return self.0.directory.login_known(user, password).ok_or_else(|| self.later());
            }
        };
        if let Some(pass) = self.0.directory.login_known(user, password) {
            under_way.right();
            return Ok(pass);
        }
        let Ok(turn) = self.0.desk.turn(network(client.ip), rank).await else {
            tracing::debug!(client = %client.ip, service = client.service, "too many logins wait to be checked");
            under_way.unchecked();
            return Err(self.later());
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
    /// [`Refused`].
    pub async fn compare(
        &self,
        user: &str,
        client: Client,
        is_right: impl FnOnce() -> bool + Send,
    ) -> Result<(), Refused> {
        let under_way = match self.admit(user, client).await? {
            Admitted::Check(under_way, _) => under_way,
            Admitted::KnownOnly => return if is_right() { Ok(()) } else { Err(self.later()) },
        };
        if is_right() {
            under_way.right();
            return Ok(());
        }
        Err(under_way.wrong(user, client))
    }

    /// Waits until the password may be checked.
    async fn admit(&self, user: &str, client: Client) -> Result<Admitted<'_>, Refused> {
        let attempt = Attempt { name: self.name_of(user, client.service), ip: client.ip };
        let until = Instant::now() + WAIT_MAX;
        loop {
            let settled = self.0.settled.notified();
            let mut settled = std::pin::pin!(settled);
            // Before it is asked: what is settled in between must not be missed.
            settled.as_mut().enable();
            let ruling = self.guard().ask(attempt, self.now());
            match ruling {
                Ruling::Check(ticket) => {
                    let rank = if ticket.goes_first() { Rank::First } else { Rank::Rest };
                    return Ok(Admitted::Check(UnderWay { logins: self, ticket, settled: false }, rank));
                }
                Ruling::KnownOnly { news } => {
                    tell_of_too_many(news, user, client);
                    return Ok(Admitted::KnownOnly);
                }
                Ruling::Later { news, .. } => {
                    tell_of_too_many(news, user, client);
                    return Err(self.later());
                }
                Ruling::Wait => {
                    tokio::time::timeout_at(until, settled).await.map_err(|_| self.later())?;
                }
            }
        }
    }

    /// As the directory compares names; whatever is no address is taken as it is. An edge's name is no account's, and
    /// one that another account had before is another name: where that one logged in from is no home of this one's.
    fn name_of(&self, user: &str, service: &str) -> Name {
        let canonical = Address::parse(user).map_or_else(|_| user.to_owned(), |address| address.canonical());
        let kind = if service == FOREIGN_EDGE { [1] } else { [0] };
        let former = Address::parse(user).ok().and_then(|address| self.0.directory.removed_from(&address));
        let since = former.unwrap_or_default().0.to_be_bytes();
        let hash = Sha256::new().chain_update(self.0.key).chain_update(kind).chain_update(since);
        let digest = hash.chain_update(canonical).finalize();
        let mut name = Name::default();
        name.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        name
    }
}

/// Once for each wait, so that nobody fills the log.
fn tell_of_too_many(news: bool, user: &str, client: Client) {
    if news {
        let (ip, user) = (client.ip.to_canonical(), shown(user));
        tracing::info!(client = %ip, service = client.service, ?user, "logins are not looked at: too many have failed");
    }
}

/// A login name for the log. Quoted and escaped there: one made of control characters must not write log lines.
fn shown(user: &str) -> String {
    user.chars().take(LOGGED_CHARS_MAX).collect()
}

impl UnderWay<'_> {
    fn right(mut self) {
        self.settled = true;
        self.logins.guard().right(self.ticket, self.logins.now());
    }

    fn unchecked(mut self) {
        self.settled = true;
        self.logins.guard().unchecked(self.ticket);
    }

    /// The line is an interface: `docs/fail2ban/filter.d/postern.conf` reads it. The client's words come last, so that
    /// none of them can be taken for its address.
    fn wrong(self, user: &str, client: Client) -> Refused {
        let user = shown(user);
        self.logins.0.wrong.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(client = %client.ip.to_canonical(), service = client.service, ?user, "login failed");
        Refused::Wrong
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.logins.guard().wrong(self.ticket, self.logins.now());
        }
        self.logins.0.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use mail::Domain;
    use store_memory::MemoryPeople;

    use super::*;
    use crate::logins::guard::FREE_TRIES;
    use crate::policy::Policy;

    const RIGHT: &str = "correct horse";

    // Time stands still: a check takes as long as the machine lets it, and a wait must not be over meanwhile.

    fn logins() -> Logins {
        let policy = Policy::of(vec![Domain::parse("example.org").unwrap()]);
        let directory = Directory::open(policy, Arc::new(MemoryPeople::default())).unwrap();
        directory.add_account(&Address::parse("alice@example.org").unwrap(), RIGHT).unwrap();
        Logins::new(directory)
    }

    fn from(ip: &str) -> Client {
        Client { ip: ip.parse().unwrap(), service: "test" }
    }

    async fn outcome(logins: &Logins, user: &str, password: &str, ip: &str) -> Result<(), Refused> {
        logins.check(user, password, from(ip)).await.map(drop)
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_nobody_has_are_answered_like_others_and_stop_being_looked_at_like_others() {
        let logins = logins();
        for user in ["alice@example.org", "nobody@example.org", "no address"] {
            for _ in 0..FREE_TRIES {
                assert_eq!(outcome(&logins, user, "wrong horse", "198.51.100.1").await, Err(Refused::Wrong));
            }
            assert_eq!(outcome(&logins, user, "wrong horse", "198.51.100.1").await, Err(Refused::Later));
        }
        let right = outcome(&logins, "alice@example.org", RIGHT, "198.51.100.1").await;
        assert_eq!(right, Err(Refused::Later), "or guesses would be looked at after all");
        assert_eq!(outcome(&logins, "alice@example.org", RIGHT, "192.0.2.1").await, Ok(()));
    }

    /// Symptom: the networks of who had a name before were exempt from waiting when they guessed the next one's password.
    #[tokio::test(start_paused = true)]
    async fn where_a_removed_account_logged_in_from_is_no_home_of_the_next_of_its_name() {
        let logins = logins();
        let alice = Address::parse("alice@example.org").unwrap();
        assert_eq!(outcome(&logins, "alice@example.org", RIGHT, "192.0.2.1").await, Ok(()));
        logins.0.directory.remove_account(&alice, system::now()).unwrap();
        logins.0.directory.add_account(&alice, "battery staple").unwrap();
        for _ in 0..FREE_TRIES {
            assert_eq!(outcome(&logins, "alice@example.org", RIGHT, "192.0.2.1").await, Err(Refused::Wrong));
        }
        assert_eq!(outcome(&logins, "alice@example.org", RIGHT, "192.0.2.1").await, Err(Refused::Later));
    }

    #[tokio::test(start_paused = true)]
    async fn other_spellings_of_a_name_are_the_same_name() {
        let logins = logins();
        let names = ["alice@example.org", "Alice@example.org", "ALICE@EXAMPLE.ORG", "alice@Example.org"];
        for user in names {
            assert_eq!(outcome(&logins, user, "wrong horse", "198.51.100.1").await, Err(Refused::Wrong));
        }
        assert_eq!(outcome(&logins, names[0], "wrong horse", "198.51.100.1").await, Err(Refused::Later));
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_connections_of_a_mail_program_that_is_new_there_all_get_in() {
        let logins = logins();
        let connections: Vec<_> = (0..20)
            .map(|_| {
                let logins = logins.clone();
                tokio::spawn(async move { outcome(&logins, "alice@example.org", RIGHT, "192.0.2.1").await })
            })
            .collect();
        for connection in connections {
            assert_eq!(connection.await.unwrap(), Ok(()));
        }
        assert_eq!(logins.standing("192.0.2.99".parse().unwrap()), Standing::Known);
    }

    /// Symptom: 940 wrong logins at one time held all threads, and a right one took 18 s. Cause: each held a thread while
    /// it waited for its turn.
    #[tokio::test(start_paused = true)]
    async fn a_hundred_wrong_ones_at_one_time_have_four_looked_at() {
        let logins = logins();
        let connections: Vec<_> = (0..100)
            .map(|number| {
                let (logins, guess) = (logins.clone(), format!("wrong horse {number}"));
                tokio::spawn(
                    async move { outcome(&logins, "alice@example.org", &guess, "198.51.100.1").await },
                )
            })
            .collect();
        let mut wrong = 0;
        for connection in connections {
            wrong += u32::from(connection.await.unwrap() == Err(Refused::Wrong));
        }
        assert_eq!(wrong, FREE_TRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_away_has_had_its_check() {
        let logins = logins();
        for _ in 0..FREE_TRIES {
            drop(logins.admit("alice@example.org", from("198.51.100.1")).await);
        }
        let next = outcome(&logins, "alice@example.org", "wrong horse", "198.51.100.1").await;
        assert_eq!(next, Err(Refused::Later));
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_logged_in_before_the_right_password_is_good_however_many_wrong_ones_came() {
        let logins = logins();
        assert_eq!(outcome(&logins, "alice@example.org", RIGHT, "192.0.2.1").await, Ok(()));
        let mut wrong = 0;
        for _ in 0..50 {
            let refused = outcome(&logins, "alice@example.org", "wrong horse", "192.0.2.1").await;
            wrong += u32::from(refused == Err(Refused::Wrong));
        }
        assert_eq!(wrong, 10);
        assert_eq!(outcome(&logins, "alice@example.org", RIGHT, "192.0.2.1").await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_edges_password_is_guessed_no_faster_and_its_name_is_no_accounts() {
        let logins = logins();
        let client = Client { service: FOREIGN_EDGE, ..from("198.51.100.1") };
        for _ in 0..FREE_TRIES {
            assert_eq!(logins.compare("alice@example.org", client, || false).await, Err(Refused::Wrong));
        }
        assert_eq!(logins.compare("alice@example.org", client, || true).await, Err(Refused::Later));
        assert_eq!(outcome(&logins, "alice@example.org", RIGHT, "198.51.100.1").await, Ok(()));
    }
}
