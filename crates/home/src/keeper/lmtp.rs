//! Delivery by LMTP (RFC 2033): one account, one transaction, on connections that are reused.
//!
//! What was taken over is remembered durably under its id, so that a hand-off that is repeated delivers once. It may come
//! twice when the server took it and Home does not know: its reply was lost, or Home died before the record was made.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use daemon::problem::Problem;
use directory::Directory;
use mail::{EnhancedCode, ItemId, Outcome, Why};
use net::endpoint::Endpoint;
use net::smtp_client::{Connection, OpenError};
use outbound::queue::derived_id;
use smtp::client::{Chunking, Closed, Protocol, Settings};
use store::{Delivery, StoreError};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::letter::Letter;
use super::{Failure, Kept, Tray};
use crate::config::DeliverConfig;
use crate::remembered::Departed;
use crate::reused::Reused;

/// How long a message waits for one of the connections. Its sender or Edge waits as well, and keeps it.
const SLOT_PATIENCE: Duration = Duration::from_secs(30);
/// The file in the data directory.
const FILE: &str = "handed-over.db";

/// The connections to the LMTP server. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Lmtp(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    settings: Settings,
    reused: Reused,
    /// One permit for each connection.
    slots: Semaphore,
    directory: Directory,
    remembered: Departed,
    under_way: Mutex<HashSet<ItemId>>,
    runtime: Handle,
    clock: Arc<dyn Clock>,
}

impl Lmtp {
    /// Opens or makes the record of what was handed over. `name` is what Home calls itself. Has to be called on the
    /// runtime.
    pub(crate) fn open(
        config: &DeliverConfig,
        name: String,
        data: &Path,
        directory: Directory,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Problem> {
        // One chunk would spare a round trip; the plain form is the one that every server has.
        let settings =
            Settings { protocol: Protocol::Lmtp, chunking: Chunking::Never, ..Settings::new(name) };
        Ok(Self(Arc::new(Inner {
            endpoint: config.lmtp.clone(),
            settings,
            reused: Reused::default(),
            slots: Semaphore::new(config.connections),
            directory,
            clock,
            remembered: Departed::open(data, FILE)?,
            under_way: Mutex::default(),
            runtime: Handle::current(),
        })))
    }

    /// Hands a message over for an account, beside whoever waits for it.
    pub(super) async fn deliver(
        &self,
        account: &str,
        tray: Tray,
        delivery: Delivery,
    ) -> Result<Kept, Failure> {
        let (lmtp, account) = (self.clone(), account.to_owned());
        let work = async move { Box::pin(lmtp.hand_over_once(&account, tray, delivery)).await };
        self.0.runtime.spawn(work).await.map_err(|error| deferred(error.to_string()))?
    }

    /// A message that comes a second time while the first is under way has to come a third time.
    async fn hand_over_once(&self, account: &str, tray: Tray, delivery: Delivery) -> Result<Kept, Failure> {
        let id = delivery.item.map(|item| derived_id(&format!("postern lmtp {account}"), item));
        let under_way = id.map(|id| UnderWay::enter(&self.0, id));
        if let Some(None) = under_way {
            return Err(deferred("the same message is being delivered just now"));
        }
        // Held until the record is made: a crash can double as many messages as there are connections.
        let Ok(_slot) = tokio::time::timeout(SLOT_PATIENCE, self.0.slots.acquire()).await else {
            tracing::error!(lmtp = %self.0.endpoint,
                "all connections to the mailbox server were busy for {SLOT_PATIENCE:?}: is it well? Senders and edges keep the mail");
            return Err(deferred("all connections to the mailbox server are busy"));
        };
        let (Some(id), Some(item)) = (id, delivery.item) else {
            return self.hand_over(account, tray, delivery).await;
        };
        let remembered = self.0.remembered.clone();
        let known = tokio::task::spawn_blocking(move || remembered.has(id)).await;
        if known.map_err(|error| deferred(error.to_string()))?.map_err(|error| deferred(error.to_string()))? {
            return Ok(Kept::HandedOverBefore);
        }
        let kept = self.hand_over(account, tray, delivery).await?;
        let (remembered, now) = (self.0.remembered.clone(), self.0.clock.now());
        let noted = tokio::task::spawn_blocking(move || remembered.insert(id, now)).await;
        if !matches!(noted, Ok(Ok(()))) {
            tracing::error!(%item, account, "what was handed over could not be recorded: if it comes again it is delivered again");
        }
        Ok(kept)
    }

    async fn hand_over(&self, account: &str, tray: Tray, delivery: Delivery) -> Result<Kept, Failure> {
        let address = self.0.directory.address_named(account);
        let address = address.ok_or_else(|| StoreError::NoAccount(account.to_owned()))?;
        let mut letter = Letter::new(delivery, tray);
        let transaction = letter.transaction(address.into());
        let open = Connection::open_beside(&self.0.endpoint, self.0.settings.clone());
        match self.0.reused.send(open, transaction, &mut letter).await {
            Ok(result) => match result.outcomes.into_iter().next() {
                Some(Outcome::Delivered(_)) => Ok(Kept::HandedOver),
                Some(Outcome::Failed(why)) if !result.body_begun && is_of_the_address(why.status) => {
                    Err(unknown_there(account, why))
                }
                Some(outcome) => Err(Failure::Lmtp(outcome)),
                None => Err(deferred("no outcome")),
            },
            Err(error) => Err(self.not_opened(&error)),
        }
    }

    /// What it means that there is no connection: whatever it is, it is no word on a message.
    fn not_opened(&self, error: &OpenError) -> Failure {
        tracing::error!(lmtp = %self.0.endpoint, %error,
            "no mail can be delivered: is the mailbox server running, and does [deliver] lmtp name its socket? Senders \
             and edges keep the mail");
        match error {
            OpenError::Closed(Closed::Refused(reply)) => Failure::Lmtp(Outcome::deferred(
                EnhancedCode(4, 3, 2),
                format!("the mailbox server refused the session: {reply}"),
            )),
            error => deferred(error.to_string()),
        }
    }
}

/// Whether a refusal speaks of the recipient's address (RFC 3463 section 3.2; 7 and 8 are the sender's).
const fn is_of_the_address(status: EnhancedCode) -> bool {
    matches!(status, EnhancedCode(_, 1, 0..=6))
}

/// Whoever has an account here has been found already: that the mailbox server does not know him is for the operator to
/// mend, and no sender's fault.
fn unknown_there(account: &str, why: Why) -> Failure {
    tracing::error!(account, cause = %why,
        "the mailbox server does not know an account: add it there under its whole address. Senders and edges keep the mail");
    Failure::Lmtp(Outcome::Deferred(Why { status: EnhancedCode(4, 3, 5), ..why }))
}

fn deferred(cause: impl Into<String>) -> Failure {
    Failure::Lmtp(Outcome::deferred(EnhancedCode(4, 3, 0), cause))
}

/// A delivery that has begun.
struct UnderWay<'a> {
    lmtp: &'a Inner,
    id: ItemId,
}

impl<'a> UnderWay<'a> {
    fn enter(lmtp: &'a Inner, id: ItemId) -> Option<Self> {
        // Not `then_some`: what is made for a second one would be dropped, and take the first one's name off.
        lmtp.under_way().insert(id).then(|| Self { lmtp, id })
    }
}

impl Inner {
    fn under_way(&self) -> MutexGuard<'_, HashSet<ItemId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.lmtp.under_way().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_senders_address_is_none_of_the_account() {
        assert!(is_of_the_address(EnhancedCode(5, 1, 1)) && is_of_the_address(EnhancedCode(5, 1, 6)));
        for other in [EnhancedCode(5, 1, 7), EnhancedCode(5, 1, 8), EnhancedCode(5, 2, 2)] {
            assert!(!is_of_the_address(other), "{other}");
        }
    }
}
