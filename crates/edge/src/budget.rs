//! Memory for messages on their way: a sum that no number of sessions exceeds.

use std::sync::Arc;
use std::time::Duration;

use mail::Reply;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is taken in steps of so many KiB.
const STEP_KIB: u32 = 16;
/// How long a message waits for memory before it is answered 452.
const PATIENCE: Duration = Duration::from_secs(30);

/// A budget. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: Arc<Semaphore>,
    /// KiB of it when nothing is taken.
    all: usize,
}

/// The budget is used up, and nobody gave anything back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl NoRoom {
    /// The reply for the sender: 452.
    pub(crate) fn reply(self) -> Reply {
        Reply::new(452, (4, 3, 1), "There is no room for mail now; try again later")
    }
}

impl Budget {
    /// A budget of so many KiB.
    pub(crate) fn of_kib(kib: usize) -> Self {
        let all = kib.min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(all)), all }
    }

    /// As many whole KiB as these octets have.
    pub(crate) fn of_octets(octets: u64) -> Self {
        Self::of_kib(usize::try_from(octets / 1024).unwrap_or(usize::MAX))
    }

    /// Whether more than half of it is taken.
    pub(crate) fn is_short(&self) -> bool {
        self.left.available_permits() < self.all / 2
    }

    /// Room for one message, none of which is taken yet.
    pub(crate) fn room(&self) -> Room {
        Room { budget: self.clone(), taken: None }
    }
}

/// What one message takes of a budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Budget,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Takes more, if less than so many octets were taken so far.
    ///
    /// # Errors
    /// [`NoRoom`] after 30 s.
    pub(crate) async fn reach(&mut self, octets: u64) -> Result<(), NoRoom> {
        let have = self.taken.as_ref().map_or(0, |permit| permit.num_permits() as u64);
        let more = octets.div_ceil(1024).saturating_sub(have);
        if more == 0 {
            return Ok(());
        }
        let step = u32::try_from(more).unwrap_or(u32::MAX - STEP_KIB).next_multiple_of(STEP_KIB);
        let acquire = Arc::clone(&self.budget.left).acquire_many_owned(step);
        let Ok(Ok(permit)) = tokio::time::timeout(PATIENCE, acquire).await else { return Err(NoRoom) };
        match &mut self.taken {
            Some(taken) => taken.merge(permit),
            None => self.taken = Some(permit),
        }
        Ok(())
    }

    /// Gives all of its memory back.
    pub(crate) fn clear(&mut self) {
        self.taken = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_full_at_its_limit_and_not_before() {
        let budget = Budget::of_kib(64);
        let (mut first, mut second) = (budget.room(), budget.room());
        assert_eq!(first.reach(48 << 10).await, Ok(()));
        assert_eq!(first.reach(40 << 10).await, Ok(()), "it has that already");
        assert!(budget.is_short());
        assert_eq!(second.reach(16 << 10).await, Ok(()));
        assert_eq!(second.reach((16 << 10) + 1).await, Err(NoRoom));
        first.clear();
        assert_eq!(second.reach((16 << 10) + 1).await, Ok(()));
    }
}
