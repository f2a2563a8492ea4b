//! What is remembered of mail that has arrived or is gone is forgotten after its time.
//!
//! An account remembers the id of each message that came, so that a hand-off which is repeated delivers once, and which
//! messages are gone, so that sessions can tell. Without an end those lists would grow with every message for ever.

use std::sync::Arc;
use std::time::Duration;

use mail::UnixTime;
use store::Mailboxes;
use tokio_util::sync::CancellationToken;

/// How long ids are remembered, in seconds. Edge hands in again what was not answered, as soon as the link is up: no home is
/// away for longer than this.
pub(crate) const REMEMBERED_SECS: u64 = 90 * 86_400;
/// The wait after the start, so that what waited for it comes first.
const FIRST: Duration = Duration::from_secs(600);
/// The wait from one time to the next.
const EVERY: Duration = Duration::from_secs(86_400);

/// Does what is to be done, on a thread that may block, soon after the start and then daily, until `stop`.
pub(crate) async fn run(reap: impl Fn() + Send + Sync + 'static, stop: CancellationToken) {
    let reap = Arc::new(reap);
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = EVERY;
        let reap = Arc::clone(&reap);
        // Fails when the program ends.
        let _ = tokio::task::spawn_blocking(move || reap()).await;
    }
}

/// Forgets what is old in all accounts. One that can't be read does not keep the others from it; it is tried again tomorrow. Blocks.
pub(crate) fn tidy_mailboxes(store: &dyn Mailboxes, now: UnixTime) {
    let before = UnixTime::from_secs(now.as_secs().saturating_sub(REMEMBERED_SECS));
    let accounts = match store.list_accounts() {
        Ok(accounts) => accounts,
        Err(error) => return tracing::warn!(%error, "what is old in the mailboxes is not forgotten today"),
    };
    for account in accounts {
        let forgotten =
            store.forget_arrived(&account, before).and_then(|ids| Ok((ids, store.tidy(&account)?)));
        match forgotten {
            Ok((ids, entries)) => tracing::debug!(account, ids, entries, "what is old is forgotten"),
            Err(error) => {
                tracing::warn!(account, %error, "what is old in the mailbox is not forgotten today")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use content::Content;
    use mail::ItemId;
    use store::{Delivery, FlagList};
    use store_memory::MemoryMailboxes;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

    fn arrive(store: &dyn Mailboxes, account: &str, number: u8, secs_ago: u64) -> bool {
        let delivery = Delivery {
            item: Some(ItemId::from_bytes([number; 16])),
            mailbox: "INBOX".into(),
            head: store::Head::default(),
            body: Content::from(b"x".to_vec()),
            flags: FlagList::default(),
            internal_date: UnixTime::from_secs(NOW.as_secs() - secs_ago),
        };
        store.deliver_and_wait(account, delivery).unwrap().duplicate
    }

    /// Symptom: the list of arrived ids grew in every account for ever. Cause: nothing but a test ever asked the store to
    /// forget.
    #[tokio::test(start_paused = true)]
    async fn ids_are_remembered_for_ninety_days_and_forgotten_soon_after_the_start_and_daily() {
        let store: Arc<dyn Mailboxes> = Arc::new(MemoryMailboxes::default());
        for account in ["alice", "bob"] {
            store.create_account(account, NOW).unwrap();
            arrive(&*store, account, 1, REMEMBERED_SECS + 1);
            arrive(&*store, account, 2, REMEMBERED_SECS);
        }
        let stop = CancellationToken::new();
        let of_reaping = Arc::clone(&store);
        let running = tokio::spawn(run(move || tidy_mailboxes(&*of_reaping, NOW), stop.clone()));
        tokio::time::sleep(FIRST + Duration::from_secs(1)).await;
        for account in ["alice", "bob"] {
            assert!(!arrive(&*store, account, 1, REMEMBERED_SECS + 1), "it was forgotten, and is old again");
            assert!(arrive(&*store, account, 2, 0), "it is remembered");
        }
        tokio::time::sleep(EVERY).await;
        assert!(!arrive(&*store, "bob", 1, 0), "it was forgotten again, a day later");
        tokio::time::sleep(EVERY).await;
        assert!(arrive(&*store, "bob", 1, 0));
        stop.cancel();
        running.await.unwrap();
    }
}
