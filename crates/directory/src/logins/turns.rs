//! Whose turn it is where only so many may do something at one time: a queue that is fair over networks. Pure.
//!
//! Within a network it is first come, first served; the networks take turns, so that one with a thousand waiting holds
//! up another by one turn. Those that go first have three turns of four.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Most that may wait of one network.
pub(super) const WAITING_PER_NETWORK_MAX: usize = 16;
/// Most that may wait in all.
pub(super) const WAITING_MAX: usize = 1024;
/// After so many turns of those who go first one of the others has its turn.
const FIRST_IN_A_ROW: u32 = 3;

/// Why somebody can't wait: too many do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueFull;

/// Those who wait for a check: some go first, and networks take turns.
#[derive(Debug)]
pub(super) struct Turns<T> {
    first: Line<T>,
    rest: Line<T>,
    in_a_row: u32,
}

#[derive(Debug)]
struct Line<T> {
    /// Networks that have somebody waiting, in the order of their turns.
    order: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, VecDeque<T>>,
    count: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), waiting: HashMap::new(), count: 0 }
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { first: Line::default(), rest: Line::default(), in_a_row: 0 }
    }
}

/// Before whom one is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Served before the others.
    First,
    /// Served after them.
    Rest,
}

impl<T> Line<T> {
    fn push(&mut self, network: IpAddr, ticket: T) -> Result<(), QueueFull> {
        let known = self.waiting.get(&network).map_or(0, VecDeque::len);
        if known >= WAITING_PER_NETWORK_MAX || self.count >= WAITING_MAX {
            return Err(QueueFull);
        }
        if known == 0 {
            self.order.push_back(network);
        }
        self.waiting.entry(network).or_default().push_back(ticket);
        self.count += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<T> {
        let network = self.order.pop_front()?;
        let tickets = self.waiting.get_mut(&network)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.waiting.remove(&network);
        } else {
            self.order.push_back(network);
        }
        self.count -= usize::from(ticket.is_some());
        ticket
    }
}

impl<T> Turns<T> {
    /// Somebody of this network waits.
    ///
    /// # Errors
    /// When too many do.
    pub(super) fn push(&mut self, network: IpAddr, rank: Rank, ticket: T) -> Result<(), QueueFull> {
        match rank {
            Rank::First => self.first.push(network, ticket),
            Rank::Rest => self.rest.push(network, ticket),
        }
    }

    /// Takes out whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.in_a_row >= FIRST_IN_A_ROW {
            self.in_a_row = 0;
            if let Some(ticket) = self.rest.pop() {
                return Some(ticket);
            }
        }
        match self.first.pop() {
            Some(ticket) => {
                self.in_a_row += 1;
                Some(ticket)
            }
            None => self.rest.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number * 256).into()
    }

    #[test]
    fn networks_take_turns_however_many_wait_in_one() {
        let mut turns = Turns::default();
        for number in 0..10 {
            turns.push(net(1), Rank::Rest, (1, number)).unwrap();
        }
        turns.push(net(2), Rank::Rest, (2, 0)).unwrap();
        let order: Vec<(u32, u32)> = std::iter::from_fn(|| turns.pop()).take(4).collect();
        assert_eq!(order, [(1, 0), (2, 0), (1, 1), (1, 2)]);
    }

    #[test]
    fn those_who_go_first_have_three_turns_of_four() {
        let mut turns = Turns::default();
        for number in 0..8 {
            turns.push(net(1), Rank::First, ('f', number)).unwrap();
            turns.push(net(2), Rank::Rest, ('r', number)).unwrap();
        }
        let order: String = std::iter::from_fn(|| turns.pop()).map(|(rank, _)| rank).collect();
        assert_eq!(order, "fffrfffrffrrrrrr");
    }

    #[test]
    fn of_a_network_sixteen_may_wait_and_not_one_more() {
        let mut turns = Turns::default();
        for number in 0..WAITING_PER_NETWORK_MAX {
            assert_eq!(turns.push(net(1), Rank::Rest, number), Ok(()));
        }
        assert_eq!(turns.push(net(1), Rank::Rest, 99), Err(QueueFull));
        assert_eq!(turns.push(net(2), Rank::Rest, 99), Ok(()));
        turns.pop();
        assert_eq!(turns.push(net(1), Rank::Rest, 99), Ok(()));
    }

    #[test]
    fn in_all_1024_may_wait_and_not_one_more() {
        let mut turns = Turns::default();
        for number in 0..u32::try_from(WAITING_MAX).unwrap() {
            assert_eq!(turns.push(net(number), Rank::Rest, number), Ok(()));
        }
        assert_eq!(turns.push(net(5000), Rank::Rest, 0), Err(QueueFull));
        assert_eq!(turns.push(net(5000), Rank::First, 0), Ok(()), "they have a line of their own");
        assert_eq!(std::iter::from_fn(|| turns.pop()).count(), WAITING_MAX + 1);
        assert!(turns.rest.waiting.is_empty() && turns.rest.order.is_empty());
    }
}
