//! Who may have a password checked, and when. Pure: the time is passed in, seconds on any clock that does not go back.
//!
//! What was wrong is counted for an account and a network together, so that nobody is locked out of his account by
//! somebody elsewhere. Each wrong password makes the next wait longer. A network from which that account was logged in
//! to before is exempt; within it an address that never did so is counted for itself, and gets its own patience. A
//! check that is under way counts as wrong until it is right: a hundred at one time are not a hundred free ones.
//! Accounts that do not exist are counted like others, by a keyed hash of what was given as the name.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use crate::places::network;

/// Wrong passwords for which nobody waits: people mistype.
pub const FREE_TRIES: u32 = 4;
/// The first wait; it doubles each time.
const FIRST_WAIT: u64 = 1;
/// The longest wait.
const WAIT_MAX: u64 = 900;
/// After so many seconds without a check the wrong ones are forgotten.
const MEMORY_SECONDS: u64 = 3600;
/// Checks in a minute, whatever the account, of a network from which nobody has logged in.
const STRANGE_NETWORK_PER_MINUTE: u32 = 30;
/// A login is remembered for so many seconds.
const FRIEND_SECONDS: u64 = 90 * 86_400;
/// Entries of each kind; then the oldest tenth goes.
const ENTRIES_MAX: usize = 50_000;

/// A keyed hash of a login name.
pub type Name = [u8; 16];

/// Who wants to log in to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The account.
    pub name: Name,
    /// The client.
    pub ip: IpAddr,
}

/// What is to be done with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The password is to be checked; somebody who logged in from there before goes first.
    Check {
        /// Whether it is somebody who did.
        first: bool,
    },
    /// Others of the same account and network are being checked: ask again when one is done.
    Wait,
    /// Not before so many seconds have passed. `news` is true once for each wait.
    Later {
        /// Seconds.
        seconds: u64,
        /// Whether this is the first that is turned away because of it.
        news: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Network(Name, IpAddr),
    Address(Name, IpAddr),
}

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    wrong: u32,
    under_way: u32,
    not_before: u64,
    told: bool,
    last: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    number: u64,
    checks: u32,
    told: bool,
    last: u64,
}

/// Something that was last seen at a time.
trait Dated {
    fn last(&self) -> u64;
}

impl Dated for Tries {
    fn last(&self) -> u64 {
        // What is under way has to be settled.
        if self.under_way > 0 { u64::MAX } else { self.last }
    }
}

impl Dated for Minute {
    fn last(&self) -> u64 {
        self.last
    }
}

impl Dated for u64 {
    fn last(&self) -> u64 {
        *self
    }
}

/// The memory of logins, right and wrong. Bounded in all its parts.
#[derive(Debug, Default)]
pub struct Guard {
    tries: HashMap<Who, Tries>,
    /// Networks that nobody has logged in from.
    strange: HashMap<IpAddr, Minute>,
    /// From where accounts were logged in to, and when last.
    friends: HashMap<Who, u64>,
    /// Networks that somebody has logged in from.
    friendly: HashMap<IpAddr, u64>,
}

/// Makes room for one more entry.
fn make_room<K: Eq + Hash, V: Dated>(entries: &mut HashMap<K, V>) {
    if entries.len() < ENTRIES_MAX {
        return;
    }
    let mut times: Vec<u64> = entries.values().map(Dated::last).collect();
    times.sort_unstable();
    let bound = times.get(ENTRIES_MAX / 10).copied().unwrap_or(u64::MAX);
    entries.retain(|_, entry| entry.last() > bound);
}

/// How long one waits after so many wrong passwords.
fn wait_after(wrong: u32) -> u64 {
    match wrong.checked_sub(FREE_TRIES) {
        None => 0,
        Some(over) => FIRST_WAIT.checked_shl(over.min(32)).unwrap_or(WAIT_MAX).min(WAIT_MAX),
    }
}

impl Guard {
    /// Whether the password may be checked now. After [`Ruling::Check`] exactly one of [`Guard::right`],
    /// [`Guard::wrong`] and [`Guard::unchecked`] has to follow.
    pub fn ask(&mut self, attempt: Attempt, now: u64) -> Ruling {
        if self.is_friend(Who::Address(attempt.name, attempt.ip.to_canonical()), now) {
            return Ruling::Check { first: true };
        }
        let who = self.counted_as(attempt, now);
        make_room(&mut self.tries);
        let tries = self.tries.entry(who).or_default();
        if tries.under_way == 0 && now.saturating_sub(tries.last) >= MEMORY_SECONDS {
            *tries = Tries::default();
        }
        if tries.not_before > now {
            let news = !std::mem::replace(&mut tries.told, true);
            return Ruling::Later { seconds: tries.not_before - now, news };
        }
        let free = FREE_TRIES.saturating_sub(tries.wrong).max(1);
        if tries.under_way >= free {
            return Ruling::Wait;
        }
        if let Some(later) = self.of_strange_network(attempt.ip, now) {
            return later;
        }
        if let Some(tries) = self.tries.get_mut(&who) {
            tries.under_way += 1;
            tries.last = now;
        }
        Ruling::Check { first: matches!(who, Who::Address(..)) }
    }

    /// A network from which nobody has logged in may try so many names, and no more.
    fn of_strange_network(&mut self, ip: IpAddr, now: u64) -> Option<Ruling> {
        if self.standing_of(ip, now) {
            return None;
        }
        make_room(&mut self.strange);
        let minute = self.strange.entry(network(ip)).or_default();
        if minute.number != now / 60 {
            *minute = Minute { number: now / 60, ..Minute::default() };
        }
        minute.last = now;
        if minute.checks >= STRANGE_NETWORK_PER_MINUTE {
            let news = !std::mem::replace(&mut minute.told, true);
            return Some(Ruling::Later { seconds: 60 - now % 60, news });
        }
        minute.checks += 1;
        None
    }

    /// Under what an attempt is counted that is not exempt.
    fn counted_as(&self, Attempt { name, ip }: Attempt, now: u64) -> Who {
        let at_network = Who::Network(name, network(ip));
        match self.is_friend(at_network, now) {
            true => Who::Address(name, ip.to_canonical()),
            false => at_network,
        }
    }

    fn is_friend(&self, who: Who, now: u64) -> bool {
        self.friends.get(&who).is_some_and(|last| now.saturating_sub(*last) < FRIEND_SECONDS)
    }

    /// Whether somebody has logged in from this client's network.
    pub fn standing_of(&self, ip: IpAddr, now: u64) -> bool {
        self.friendly.get(&network(ip)).is_some_and(|last| now.saturating_sub(*last) < FRIEND_SECONDS)
    }

    /// What was under way, wherever it was counted: the network may have become a friend's meanwhile.
    fn settled(&mut self, Attempt { name, ip }: Attempt) -> Option<&mut Tries> {
        let under_way = |tries: &Tries| tries.under_way > 0;
        let by_network = Who::Network(name, network(ip));
        let who = match self.tries.get(&by_network).is_some_and(under_way) {
            true => by_network,
            false => Who::Address(name, ip.to_canonical()),
        };
        let tries = self.tries.get_mut(&who)?;
        tries.under_way = tries.under_way.saturating_sub(1);
        Some(tries)
    }

    /// The password was right.
    pub fn right(&mut self, attempt: Attempt, now: u64) {
        if let Some(tries) = self.settled(attempt) {
            (tries.wrong, tries.not_before, tries.told) = (0, 0, false);
        }
        let Attempt { name, ip } = attempt;
        for who in [Who::Network(name, network(ip)), Who::Address(name, ip.to_canonical())] {
            make_room(&mut self.friends);
            self.friends.insert(who, now);
        }
        make_room(&mut self.friendly);
        self.friendly.insert(network(ip), now);
    }

    /// It was wrong.
    pub fn wrong(&mut self, attempt: Attempt, now: u64) {
        if let Some(tries) = self.settled(attempt) {
            tries.wrong = tries.wrong.saturating_add(1);
            (tries.not_before, tries.told, tries.last) = (now + wait_after(tries.wrong), false, now);
        }
    }

    /// It was not checked after all.
    pub fn unchecked(&mut self, attempt: Attempt) {
        self.settled(attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: Name = [1; 16];
    const CHECK: Ruling = Ruling::Check { first: false };
    const FIRST: Ruling = Ruling::Check { first: true };

    fn attempt(name: Name, ip: &str) -> Attempt {
        Attempt { name, ip: ip.parse().unwrap() }
    }

    /// Tries all the time; how many were checked from `begin` to `end`.
    fn hammer(guard: &mut Guard, who: Attempt, seconds: std::ops::Range<u64>) -> u32 {
        let mut checked = 0;
        for now in seconds {
            for _ in 0..50 {
                if matches!(guard.ask(who, now), Ruling::Check { .. }) {
                    guard.wrong(who, now);
                    checked += 1;
                }
            }
        }
        checked
    }

    #[test]
    fn of_one_account_and_address_ten_passwords_in_a_minute_are_checked_at_most() {
        let (mut guard, eve) = (Guard::default(), attempt(BOB, "198.51.100.1"));
        let first = hammer(&mut guard, eve, 0..60);
        assert!((5..=10).contains(&first), "{first}");
        assert!(hammer(&mut guard, eve, 60..120) <= 1);
        assert!(hammer(&mut guard, eve, 120..86_400) <= 110, "and about a hundred in a day");
    }

    #[test]
    fn four_are_free_and_the_fifth_waits_a_second_and_the_sixth_two() {
        let (mut guard, eve) = (Guard::default(), attempt(BOB, "198.51.100.1"));
        for _ in 0..FREE_TRIES {
            assert_eq!(guard.ask(eve, 0), CHECK);
            guard.wrong(eve, 0);
        }
        assert_eq!(guard.ask(eve, 0), Ruling::Later { seconds: 1, news: true });
        assert_eq!(guard.ask(eve, 0), Ruling::Later { seconds: 1, news: false });
        assert_eq!(guard.ask(eve, 1), CHECK);
        guard.wrong(eve, 1);
        assert_eq!(guard.ask(eve, 2), Ruling::Later { seconds: 1, news: true });
        assert_eq!(guard.ask(eve, 3), CHECK);
    }

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> = (0..20).map(wait_after).collect();
        assert_eq!(waits[..8], [0, 0, 0, 0, 1, 2, 4, 8]);
        assert_eq!(waits[13], 512);
        assert!(waits[14..].iter().all(|wait| *wait == WAIT_MAX));
        assert_eq!(wait_after(u32::MAX), WAIT_MAX);
    }

    #[test]
    fn a_hundred_at_one_time_are_not_a_hundred_free_ones() {
        let (mut guard, eve) = (Guard::default(), attempt(BOB, "198.51.100.1"));
        let rulings: Vec<Ruling> = (0..100).map(|_| guard.ask(eve, 0)).collect();
        assert_eq!(rulings.iter().filter(|ruling| **ruling == CHECK).count(), FREE_TRIES as usize);
        assert!(rulings[FREE_TRIES as usize..].iter().all(|ruling| *ruling == Ruling::Wait));
        for _ in 0..FREE_TRIES {
            guard.wrong(eve, 0);
        }
        assert!(matches!(guard.ask(eve, 0), Ruling::Later { .. }));
    }

    #[test]
    fn what_was_not_checked_after_all_costs_nothing() {
        let (mut guard, eve) = (Guard::default(), attempt(BOB, "198.51.100.1"));
        for _ in 0..20 {
            assert_eq!(guard.ask(eve, 0), CHECK);
            guard.unchecked(eve);
        }
    }

    #[test]
    fn nobody_is_locked_out_by_somebody_elsewhere() {
        let mut guard = Guard::default();
        hammer(&mut guard, attempt(BOB, "198.51.100.1"), 0..100);
        assert_eq!(guard.ask(attempt(BOB, "192.0.2.1"), 100), CHECK);
        assert!(matches!(guard.ask(attempt(BOB, "198.51.100.2"), 100), Ruling::Later { .. }), "its network");
        assert_eq!(guard.ask(attempt([2; 16], "198.51.100.1"), 100), CHECK, "another account");
    }

    #[test]
    fn who_logged_in_from_there_before_is_never_locked_out_by_others_of_its_network() {
        let (mut guard, owner) = (Guard::default(), attempt(BOB, "192.0.2.1"));
        let neighbour = attempt(BOB, "192.0.2.9");
        assert_eq!(guard.ask(owner, 0), CHECK);
        guard.right(owner, 0);
        assert!(hammer(&mut guard, neighbour, 0..60) <= 10, "whoever is new there is counted for himself");
        assert!(matches!(guard.ask(neighbour, 60), Ruling::Later { .. }));
        assert_eq!(guard.ask(owner, 60), FIRST);
        guard.wrong(owner, 60);
        assert_eq!(guard.ask(owner, 60), FIRST);
        let another_device = attempt(BOB, "192.0.2.3");
        assert_eq!(guard.ask(another_device, 60), FIRST);
    }

    #[test]
    fn a_login_that_is_right_clears_what_was_wrong() {
        let (mut guard, owner) = (Guard::default(), attempt(BOB, "192.0.2.1"));
        hammer(&mut guard, owner, 0..10);
        assert_eq!(guard.ask(owner, 60), CHECK);
        guard.right(owner, 60);
        let another_device = attempt(BOB, "192.0.2.3");
        assert_eq!(guard.ask(another_device, 60), FIRST);
    }

    #[test]
    fn a_network_that_nobody_logged_in_from_has_thirty_checks_in_a_minute_for_all_names() {
        let mut guard = Guard::default();
        for name in 0..30 {
            assert_eq!(guard.ask(attempt([name; 16], "198.51.100.1"), 60), CHECK, "{name}");
        }
        let next = attempt([30; 16], "198.51.100.2");
        assert_eq!(guard.ask(next, 60), Ruling::Later { seconds: 60, news: true });
        assert_eq!(guard.ask(next, 61), Ruling::Later { seconds: 59, news: false });
        assert_eq!(guard.ask(attempt([30; 16], "192.0.2.1"), 61), CHECK);
        assert_eq!(guard.ask(next, 120), CHECK);
        guard.right(next, 120);
        for name in 31..100 {
            assert_eq!(guard.ask(attempt([name; 16], "198.51.100.3"), 120), CHECK, "{name}");
        }
    }

    #[test]
    fn what_was_wrong_is_forgotten_after_an_hour_and_a_friend_after_ninety_days() {
        let (mut guard, eve) = (Guard::default(), attempt(BOB, "198.51.100.1"));
        hammer(&mut guard, eve, 0..1);
        let later = MEMORY_SECONDS;
        assert_eq!(hammer(&mut guard, eve, later..later + 1), FREE_TRIES);
        let owner = attempt(BOB, "192.0.2.1");
        guard.ask(owner, 0);
        guard.right(owner, 0);
        assert_eq!(guard.ask(owner, FRIEND_SECONDS - 1), FIRST);
        assert!(guard.standing_of(owner.ip, FRIEND_SECONDS - 1));
        assert_eq!(guard.ask(owner, FRIEND_SECONDS), CHECK);
        assert!(!guard.standing_of(owner.ip, FRIEND_SECONDS));
    }

    #[test]
    fn the_memory_is_bounded_and_what_is_under_way_stays() {
        let mut guard = Guard::default();
        let name = |number: u32| {
            let mut name = [0; 16];
            name[..4].copy_from_slice(&number.to_be_bytes());
            name
        };
        let address = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0001 + number * 256));
        let held = Attempt { name: BOB, ip: address(0) };
        assert_eq!(guard.ask(held, 0), CHECK);
        for number in 1..=u32::try_from(ENTRIES_MAX).unwrap() + 10 {
            let other = Attempt { name: name(number), ip: address(number) };
            assert_eq!(guard.ask(other, u64::from(number)), CHECK);
            guard.wrong(other, u64::from(number));
        }
        assert!(guard.tries.len() <= ENTRIES_MAX && guard.strange.len() <= ENTRIES_MAX);
        assert!(
            guard.tries.get(&Who::Network(BOB, network(held.ip))).is_some_and(|tries| tries.under_way == 1)
        );
    }
}
