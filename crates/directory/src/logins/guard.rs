//! Who may have a password checked, and when. Pure: the time is passed in, seconds on any clock that does not go back.
//!
//! What was wrong is counted for an account and a network together, so that nobody is locked out of his account by
//! somebody elsewhere. Each wrong password makes the next wait longer. A network from which that account was logged in
//! to before is exempt; within it an address that never did so is counted for itself, and gets its own patience. An
//! address that did so never waits: of it ten are checked in a minute, and what is more is compared with what was found
//! right before, ten times in a second. A check that is under way counts as wrong until it is right: a hundred at one
//! time are not a hundred free ones. Accounts that do not exist are counted like others, by a keyed hash of what was
//! given as the name.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use net::port_places::network;

/// Wrong passwords for which nobody waits: people mistype.
pub(super) const FREE_TRIES: u32 = 4;
/// The first wait; it doubles each time.
const FIRST_WAIT: u64 = 1;
/// The longest wait, in seconds.
const WAIT_MAX: u64 = 900;
/// After so many seconds without a check the wrong ones are forgotten.
const MEMORY_SECONDS: u64 = 3600;
/// Checks in a minute, whatever the account, of a network from which nobody has logged in.
const STRANGE_NETWORK_PER_MINUTE: u32 = 30;
/// A login is remembered for so many seconds.
const FRIEND_SECONDS: u64 = 90 * 86_400;
/// Checks in a minute of an address from which the account was logged in to.
const FRIEND_PER_MINUTE: usize = 10;
/// What is more is compared with what is known so often in a second,
const LOOKS_PER_SECOND: u64 = 10;
/// and so often at once.
const LOOKS_AT_ONCE: u64 = 100;
/// Entries of each kind; then the oldest tenth goes.
const ENTRIES_MAX: usize = 50_000;

/// A keyed hash of a login name.
pub(super) type Name = [u8; 16];

/// The account that is tried, and the client that tries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// The account.
    pub name: Name,
    /// The client.
    pub ip: IpAddr,
}

/// What is to be done with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The password is to be checked. The ticket is handed in with what came of it.
    Check(Ticket),
    /// It may be compared with what was found right before, and nothing else. `news` is true once in a minute.
    KnownOnly {
        /// Whether this is the first for which it is so.
        news: bool,
    },
    /// Others of the same account and network are being checked: ask again when one is done.
    Wait,
    /// Not before so many seconds have passed. `news` is true once for each wait.
    Later {
        /// The wait, in seconds.
        seconds: u64,
        /// Whether this is the first that is turned away because of it.
        news: bool,
    },
}

/// A check that was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    attempt: Attempt,
    counted_as: Counted,
}

impl Ticket {
    /// Whether somebody has logged in to that account from there before: he goes first.
    pub(super) const fn goes_first(self) -> bool {
        !matches!(self.counted_as, Counted::Stranger(Who::Network(..)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Of an address that has logged in to the account.
    Friend(Who),
    /// A client of another address.
    Stranger(Who),
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

/// Of an address from which the account was logged in to.
#[derive(Debug, Clone, Default)]
struct Friend {
    /// When the last checks were, those that were right left out.
    recent: Vec<u64>,
    under_way: u32,
    told: bool,
    looks: u64,
    last: u64,
}

impl Friend {
    fn ask(&mut self, now: u64) -> Option<Ruling> {
        let passed = now.saturating_sub(std::mem::replace(&mut self.last, now));
        self.looks = self.looks.saturating_sub(passed.saturating_mul(LOOKS_PER_SECOND));
        self.recent.retain(|at| now.saturating_sub(*at) < 60);
        if self.recent.len() < FRIEND_PER_MINUTE {
            self.recent.push(now);
            self.under_way += 1;
            self.told = false;
            return None;
        }
        if self.under_way > 0 {
            return Some(Ruling::Wait);
        }
        let news = !std::mem::replace(&mut self.told, true);
        if self.looks >= LOOKS_AT_ONCE {
            return Some(Ruling::Later { seconds: 1, news });
        }
        self.looks += 1;
        Some(Ruling::KnownOnly { news })
    }

    fn settled(&mut self, counts: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if !counts {
            self.recent.pop();
        }
    }
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

impl Dated for Friend {
    fn last(&self) -> u64 {
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
pub(super) struct Guard {
    tries: HashMap<Who, Tries>,
    /// Addresses from which an account was logged in to.
    own: HashMap<Who, Friend>,
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
    pub(super) fn ask(&mut self, attempt: Attempt, now: u64) -> Ruling {
        let own = Who::Address(attempt.name, attempt.ip.to_canonical());
        if self.is_friend(own, now) {
            make_room(&mut self.own);
            let ticket = Ticket { attempt, counted_as: Counted::Friend(own) };
            return self.own.entry(own).or_default().ask(now).unwrap_or(Ruling::Check(ticket));
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
        Ruling::Check(Ticket { attempt, counted_as: Counted::Stranger(who) })
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
    pub(super) fn standing_of(&self, ip: IpAddr, now: u64) -> bool {
        self.friendly.get(&network(ip)).is_some_and(|last| now.saturating_sub(*last) < FRIEND_SECONDS)
    }

    /// A check is done, and counts as wrong or not. The tries of a stranger.
    fn settled(&mut self, ticket: Ticket, counts: bool) -> Option<&mut Tries> {
        match ticket.counted_as {
            Counted::Friend(who) => {
                if let Some(friend) = self.own.get_mut(&who) {
                    friend.settled(counts);
                }
                None
            }
            Counted::Stranger(who) => {
                let tries = self.tries.get_mut(&who)?;
                tries.under_way = tries.under_way.saturating_sub(1);
                Some(tries)
            }
        }
    }

    /// Notes that the password was right.
    pub(super) fn right(&mut self, ticket: Ticket, now: u64) {
        if let Some(tries) = self.settled(ticket, false) {
            (tries.wrong, tries.not_before, tries.told) = (0, 0, false);
        }
        let Attempt { name, ip } = ticket.attempt;
        for who in [Who::Network(name, network(ip)), Who::Address(name, ip.to_canonical())] {
            make_room(&mut self.friends);
            self.friends.insert(who, now);
        }
        make_room(&mut self.friendly);
        self.friendly.insert(network(ip), now);
    }

    /// Notes that the password was wrong.
    pub(super) fn wrong(&mut self, ticket: Ticket, now: u64) {
        if let Some(tries) = self.settled(ticket, true) {
            tries.wrong = tries.wrong.saturating_add(1);
            (tries.not_before, tries.told, tries.last) = (now + wait_after(tries.wrong), false, now);
        }
    }

    /// Notes that the password was not checked after all.
    pub(super) fn unchecked(&mut self, ticket: Ticket) {
        self.settled(ticket, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: Name = [1; 16];

    /// What came of asking, without the ticket.
    #[derive(Debug, PartialEq, Eq)]
    enum Ruled {
        Check,
        First,
        KnownOnly,
        Wait,
        Later(u64, bool),
    }

    use Ruled::{Check, First, KnownOnly, Later, Wait};

    impl Guard {
        fn rule(&mut self, attempt: Attempt, now: u64) -> (Ruled, Option<Ticket>) {
            match self.ask(attempt, now) {
                Ruling::Check(ticket) if ticket.goes_first() => (First, Some(ticket)),
                Ruling::Check(ticket) => (Check, Some(ticket)),
                Ruling::KnownOnly { .. } => (KnownOnly, None),
                Ruling::Wait => (Wait, None),
                Ruling::Later { seconds, news } => (Later(seconds, news), None),
            }
        }

        /// Asks, and whatever is checked is wrong.
        fn try_wrong(&mut self, attempt: Attempt, now: u64) -> Ruled {
            let (ruled, ticket) = self.rule(attempt, now);
            ticket.into_iter().for_each(|ticket| self.wrong(ticket, now));
            ruled
        }

        fn try_right(&mut self, attempt: Attempt, now: u64) -> Ruled {
            let (ruled, ticket) = self.rule(attempt, now);
            ticket.into_iter().for_each(|ticket| self.right(ticket, now));
            ruled
        }
    }

    fn attempt(name: Name, ip: &str) -> Attempt {
        Attempt { name, ip: ip.parse().unwrap() }
    }

    /// Tries all the time; how many were checked from `begin` to `end`.
    fn hammer(guard: &mut Guard, who: Attempt, seconds: std::ops::Range<u64>) -> u32 {
        let mut checked = 0;
        for now in seconds {
            for _ in 0..50 {
                checked += u32::from(matches!(guard.try_wrong(who, now), Check | First));
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
            assert_eq!(guard.try_wrong(eve, 0), Check);
        }
        assert_eq!(guard.try_wrong(eve, 0), Later(1, true));
        assert_eq!(guard.try_wrong(eve, 0), Later(1, false));
        assert_eq!(guard.try_wrong(eve, 1), Check);
        assert_eq!(guard.try_wrong(eve, 2), Later(1, true));
        assert_eq!(guard.try_wrong(eve, 3), Check);
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
        let (rulings, tickets): (Vec<_>, Vec<_>) = (0..100).map(|_| guard.rule(eve, 0)).unzip();
        assert_eq!(rulings.iter().filter(|ruling| **ruling == Check).count(), FREE_TRIES as usize);
        assert!(rulings[FREE_TRIES as usize..].iter().all(|ruling| *ruling == Wait));
        for ticket in tickets.into_iter().flatten() {
            guard.wrong(ticket, 0);
        }
        assert_eq!(guard.rule(eve, 0).0, Later(1, true));
    }

    #[test]
    fn what_was_not_checked_after_all_costs_nothing() {
        let (mut guard, eve) = (Guard::default(), attempt(BOB, "198.51.100.1"));
        for _ in 0..20 {
            let (ruled, ticket) = guard.rule(eve, 0);
            assert_eq!(ruled, Check);
            guard.unchecked(ticket.unwrap());
        }
    }

    #[test]
    fn nobody_is_locked_out_by_somebody_elsewhere() {
        let mut guard = Guard::default();
        hammer(&mut guard, attempt(BOB, "198.51.100.1"), 0..100);
        assert_eq!(guard.rule(attempt(BOB, "192.0.2.1"), 100).0, Check);
        assert!(matches!(guard.rule(attempt(BOB, "198.51.100.2"), 100).0, Later(..)), "its network");
        assert_eq!(guard.rule(attempt([2; 16], "198.51.100.1"), 100).0, Check, "another account");
    }

    #[test]
    fn who_logged_in_from_there_before_is_never_locked_out_by_others_of_its_network() {
        let (mut guard, owner) = (Guard::default(), attempt(BOB, "192.0.2.1"));
        let neighbour = attempt(BOB, "192.0.2.9");
        assert_eq!(guard.try_right(owner, 0), Check);
        assert!(hammer(&mut guard, neighbour, 0..60) <= 10, "whoever is new there is counted for himself");
        assert!(matches!(guard.rule(neighbour, 60).0, Later(..)));
        assert_eq!(guard.try_wrong(owner, 60), First);
        assert_eq!(guard.try_right(owner, 60), First);
        let another_device = attempt(BOB, "192.0.2.3");
        assert_eq!(guard.rule(another_device, 60).0, First);
    }

    #[test]
    fn of_an_address_that_logged_in_before_ten_are_checked_in_any_minute_too_and_the_known_password_is_good()
    {
        let (mut guard, owner) = (Guard::default(), attempt(BOB, "192.0.2.1"));
        guard.try_right(owner, 0);
        for _ in 0..FRIEND_PER_MINUTE {
            assert_eq!(guard.try_wrong(owner, 30), First);
        }
        assert_eq!(guard.rule(owner, 30).0, KnownOnly);
        assert_eq!(hammer(&mut guard, owner, 31..90), 0);
        assert_eq!(hammer(&mut guard, owner, 90..150), 10);
        assert_eq!(hammer(&mut guard, owner, 150..210), 10);
        // Mail programs that log in all the time are right, and use nothing up.
        for _ in 0..1000 {
            assert_eq!(guard.try_right(owner, 300), First);
        }
    }

    #[test]
    fn a_hundred_are_compared_with_what_is_known_and_then_ten_in_a_second() {
        let (mut guard, owner) = (Guard::default(), attempt(BOB, "192.0.2.1"));
        guard.try_right(owner, 0);
        // Of fifty ten are checked and forty compared; twenty of those have leaked away at the next second but one.
        hammer(&mut guard, owner, 10..11);
        let mut known = |now: u64| (0..500).filter(|_| guard.rule(owner, now).0 == KnownOnly).count();
        assert_eq!([known(12), known(12), known(13), known(15)], [80, 0, 10, 20]);
    }

    #[test]
    fn a_login_that_is_right_clears_what_was_wrong() {
        let (mut guard, owner) = (Guard::default(), attempt(BOB, "192.0.2.1"));
        hammer(&mut guard, owner, 0..10);
        assert_eq!(guard.try_right(owner, 60), Check);
        let another_device = attempt(BOB, "192.0.2.3");
        assert_eq!(guard.rule(another_device, 60).0, First);
    }

    #[test]
    fn a_network_that_nobody_logged_in_from_has_thirty_checks_in_a_minute_for_all_names() {
        let mut guard = Guard::default();
        for name in 0..30 {
            assert_eq!(guard.rule(attempt([name; 16], "198.51.100.1"), 60).0, Check, "{name}");
        }
        let next = attempt([30; 16], "198.51.100.2");
        assert_eq!(guard.rule(next, 60).0, Later(60, true));
        assert_eq!(guard.rule(next, 61).0, Later(59, false));
        assert_eq!(guard.rule(attempt([30; 16], "192.0.2.1"), 61).0, Check);
        assert_eq!(guard.try_right(next, 120), Check);
        for name in 31..100 {
            assert_eq!(guard.rule(attempt([name; 16], "198.51.100.3"), 120).0, Check, "{name}");
        }
    }

    #[test]
    fn what_was_wrong_is_forgotten_after_an_hour_and_a_friend_after_ninety_days() {
        let (mut guard, eve) = (Guard::default(), attempt(BOB, "198.51.100.1"));
        hammer(&mut guard, eve, 0..1);
        let later = MEMORY_SECONDS;
        assert_eq!(hammer(&mut guard, eve, later..later + 1), FREE_TRIES);
        let owner = attempt(BOB, "192.0.2.1");
        guard.try_right(owner, 0);
        assert_eq!(guard.try_wrong(owner, FRIEND_SECONDS - 1), First);
        assert!(guard.standing_of(owner.ip, FRIEND_SECONDS - 1));
        assert_eq!(guard.try_wrong(owner, FRIEND_SECONDS), Check);
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
        assert_eq!(guard.rule(held, 0).0, Check);
        for number in 1..=u32::try_from(ENTRIES_MAX).unwrap() + 10 {
            let other = Attempt { name: name(number), ip: address(number) };
            assert_eq!(guard.try_wrong(other, u64::from(number)), Check);
        }
        assert!(guard.tries.len() <= ENTRIES_MAX && guard.strange.len() <= ENTRIES_MAX);
        assert!(
            guard.tries.get(&Who::Network(BOB, network(held.ip))).is_some_and(|tries| tries.under_way == 1)
        );
    }
}
