//! Who is told what became of a message of the queue: its sender here, or whoever is to hear of what was forwarded.

use std::sync::Arc;

use daemon::clock::Clock;
use directory::{AccountId, Directory};
use mail::UnixTime;
use outbound::queue::{QueueState, Submitted};
use outbound::{Reporter, Told};

use super::bounce::{self, Mailboxes};
use crate::forward::Forwarder;
use crate::keeper::Keeper;

/// Reports to senders.
pub(crate) struct SenderReports {
    /// The accounts and aliases.
    pub(crate) directory: Directory,
    /// Their mailboxes, which reports go to.
    pub(crate) keeper: Keeper,
    /// The forwarder, whose mail has failures to report too.
    pub(crate) forwarder: Arc<Forwarder>,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}

impl SenderReports {
    fn mailboxes(&self, state: &QueueState) -> Mailboxes<'_> {
        Mailboxes {
            keeper: &self.keeper,
            postmaster: self.directory.postmaster().as_ref().map(AccountId::as_str).map(str::to_owned),
            is_anothers: self.directory.was_anothers(&state.account, state.submitted),
            now: self.clock.now(),
            is_local: Box::new(|address| self.directory.is_local_domain(address.domain())),
        }
    }
}

impl Reporter for SenderReports {
    fn owes(&self, state: &QueueState) -> bool {
        // What was forwarded is remembered, whatever became of it.
        let is_local = |address: &mail::Address| self.directory.is_local_domain(address.domain());
        state.forwarded.is_some()
            || state.submitted().is_some_and(|submitted| bounce::is_owed(submitted, &is_local))
    }

    async fn report(&self, state: &QueueState, original: content::Content) -> Result<Option<Told>, String> {
        let mailboxes = self.mailboxes(state);
        if let Some(forwarded) = &state.forwarded {
            let action = self.forwarder.conclude(state, forwarded, original, &mailboxes).await?;
            let whom = || forwarded.told().map_or("the postmaster".to_owned(), ToString::to_string);
            return Ok(action.map(|action| Told { action, whom: whom() }));
        }
        let Some(submitted) = state.submitted() else { return Ok(None) };
        let action = bounce::report(submitted, original, &mailboxes).await?;
        Ok(action.map(|action| Told { action, whom: sender_of(submitted) }))
    }

    async fn report_delay(
        &self,
        state: &QueueState,
        original: content::Content,
        retry_until: UnixTime,
    ) -> Result<Option<String>, String> {
        let Some(submitted) = state.submitted() else { return Ok(None) };
        let told = bounce::report_delay(submitted, original, retry_until, &self.mailboxes(state)).await?;
        Ok(told.then(|| sender_of(submitted)))
    }
}

fn sender_of(submitted: Submitted<'_>) -> String {
    submitted.state().envelope.reverse_path.to_string()
}
