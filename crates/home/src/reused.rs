//! Connections to one host that are reused while there is mail for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::contents::Source;
use net::smtp_client::{BodySource, Connection, OpenError};
use smtp::client::{Transaction, TransactionResult};
use tokio::time::Instant;

/// How long a connection waits for the next message at least; at most twice as long.
const LINGER: Duration = Duration::from_secs(5);

/// A message that tells whether anything of it was given away: then it can't be begun anew on another connection.
pub(crate) trait Body: BodySource {
    /// Whether a piece was given.
    fn has_begun(&self) -> bool;
}

impl Body for Source {
    fn has_begun(&self) -> bool {
        Self::has_begun(self)
    }
}

/// Connections that wait. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Reused(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// Each with the time until which it waits, which grows.
    connections: Vec<(Connection, Instant)>,
    /// Whether a task looks after them.
    is_watched: bool,
}

impl Reused {
    /// Carries out a transaction on a connection that waits, or on a new one that `open` makes.
    ///
    /// # Errors
    /// Why there is no connection; nothing was sent.
    pub(crate) async fn send(
        &self,
        open: impl Future<Output = Result<Connection, OpenError>>,
        transaction: Transaction,
        body: &mut impl Body,
    ) -> Result<TransactionResult, OpenError> {
        let waiting = self.waiting().connections.pop();
        if let Some((mut connection, _)) = waiting {
            let result = connection.send(transaction.clone(), body).await;
            if body.has_begun() || !result.is_as_if_never_begun() {
                self.keep(connection, &result);
                return Ok(result);
            }
            // It had closed the idle connection: nothing was said of this message yet.
        }
        let mut connection = open.await?;
        let result = connection.send(transaction, body).await;
        self.keep(connection, &result);
        Ok(result)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection for the next message, for a while.
    fn keep(&self, connection: Connection, result: &TransactionResult) {
        if !result.reusable {
            return;
        }
        if !result.is_worth_keeping() {
            tokio::spawn(connection.quit());
            return;
        }
        let mut waiting = self.waiting();
        waiting.connections.push((connection, Instant::now() + LINGER));
        if !std::mem::replace(&mut waiting.is_watched, true) {
            tokio::spawn(self.clone().watch());
        }
    }

    /// Says goodbye on those that have waited long enough, until none is left.
    async fn watch(self) {
        loop {
            tokio::time::sleep(LINGER).await;
            let now = Instant::now();
            let (old, is_last) = {
                let mut waiting = self.waiting();
                let old: Vec<_> = waiting.connections.extract_if(.., |(_, until)| *until <= now).collect();
                waiting.is_watched = !waiting.connections.is_empty();
                (old, !waiting.is_watched)
            };
            for (connection, _) in old {
                connection.quit().await;
            }
            if is_last {
                return;
            }
        }
    }
}
