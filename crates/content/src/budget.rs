//! Memory for messages on their way: a sum that no number of them exceeds. Nobody waits for it here: what finds no room
//! goes to a disk, or is not taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many octets of memory. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Purse>);

#[derive(Debug)]
struct Purse {
    octets_max: u64,
    taken: AtomicU64,
}

impl Budget {
    /// A budget of so many octets.
    #[must_use]
    pub fn of_octets(octets_max: u64) -> Self {
        Self(Arc::new(Purse { octets_max, taken: AtomicU64::new(0) }))
    }

    /// For what is bounded by something else.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::of_octets(u64::MAX)
    }

    /// Octets that are taken now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Room for one holder, none of which is taken yet.
    #[must_use]
    pub fn room(&self) -> Room {
        Room { budget: self.clone(), octets: 0 }
    }

    fn take(&self, octets: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(octets).filter(|taken| *taken <= self.0.octets_max);
        self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// What one holder takes of a budget; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    budget: Budget,
    octets: u64,
}

impl Room {
    /// Takes more. `false`, and nothing is taken, when the budget has not as much left.
    #[must_use]
    pub fn take(&mut self, octets: u64) -> bool {
        let taken = self.budget.take(octets);
        self.octets += if taken { octets } else { 0 };
        taken
    }

    /// Gives everything back.
    pub fn clear(&mut self) {
        self.budget.0.taken.fetch_sub(std::mem::take(&mut self.octets), Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_full_at_its_limit_and_what_is_dropped_is_there_again() {
        let budget = Budget::of_octets(10);
        let (mut one, mut other) = (budget.room(), budget.room());
        assert!(one.take(6) && other.take(4));
        assert!(!other.take(1) && !other.take(u64::MAX));
        assert_eq!(budget.taken(), 10);
        drop(one);
        assert!(other.take(6) && !other.take(1));
        other.clear();
        assert_eq!(budget.taken(), 0);
    }
}
