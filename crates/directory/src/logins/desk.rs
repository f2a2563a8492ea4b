//! The turns of [`Turns`], given out: who waits for one holds no thread.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::turns::{QueueFull, Rank, Turns};

/// Where one gets his turn. Cloning shares it.
#[derive(Clone)]
pub(super) struct Desk(Arc<Mutex<State>>);

struct State {
    free: usize,
    turns: Turns<oneshot::Sender<Turn>>,
}

/// A turn. Dropped, the next one has his.
pub(super) struct Turn(Option<Desk>);

impl Desk {
    /// A desk that checks so many passwords at one time.
    pub(super) fn new(at_one_time: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: at_one_time, turns: Turns::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self, network: IpAddr, rank: Rank) -> Result<Turn, QueueFull> {
        let waiting = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(self.clone())));
            }
            let (sender, waiting) = oneshot::channel();
            state.turns.push(network, rank, sender)?;
            waiting
        };
        waiting.await.map_err(|_| QueueFull)
    }

    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state();
        let next = state.turns.pop();
        state.free += usize::from(next.is_none());
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(desk) = self.0.take() else { return };
        while let Some(next) = desk.next() {
            match next.send(Self(Some(desk.clone()))) {
                Ok(()) => return,
                // He is gone. What comes back must not give the turn on a second time.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 0));

    #[tokio::test]
    async fn one_at_a_time_and_who_went_away_is_passed_over() {
        let desk = Desk::new(1);
        let first = desk.turn(NET, Rank::Rest).await.unwrap();
        let gone = tokio::spawn({
            let desk = desk.clone();
            async move { desk.turn(NET, Rank::Rest).await.map(drop) }
        });
        tokio::task::yield_now().await;
        let third = tokio::spawn({
            let desk = desk.clone();
            async move { desk.turn(NET, Rank::Rest).await.map(drop) }
        });
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.is_err());
        assert!(!third.is_finished());
        drop(first);
        third.await.unwrap().unwrap();
        assert_eq!(desk.state().free, 1);
        drop(desk.turn(NET, Rank::First).await.unwrap());
        assert_eq!(desk.state().free, 1);
    }
}
