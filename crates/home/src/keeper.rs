//! Where mail for accounts goes: into mailboxes of ours, or by LMTP into those of another program.
//!
//! Whatever wants to deliver to an account does it here, with the same words and the same promise: it is called back
//! when the message is there, durably, or with the reason why not. The quarantine is always ours.

mod letter;
mod lmtp;
mod local;
#[cfg(test)]
mod tests;
mod tray;

use std::borrow::Cow;
use std::sync::Arc;

use mail::Outcome;
use store::{Delivery, Mailboxes, Receipt, StoreError};

pub(crate) use self::lmtp::Lmtp;
pub(crate) use self::local::LocalMessage;
pub(crate) use self::tray::{QUARANTINE, Tray};

/// The way into mailboxes. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Keeper {
    store: Arc<dyn Mailboxes>,
    lmtp: Option<Lmtp>,
}

/// Proof that a message is with whoever keeps the account's mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In the mailbox of ours that is called so.
    Stored(Receipt, Cow<'static, str>),
    /// Taken over by LMTP: the reply for the account was positive.
    HandedOver,
    /// LMTP took it over before.
    HandedOverBefore,
}

/// The reasons why a message is with nobody who keeps the account's mail.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The store did not take it.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The outcome of LMTP: deferred or failed.
    #[error("LMTP: {}", .0.why())]
    Lmtp(Outcome),
}

impl Failure {
    /// What LMTP refused for good: the same message will never be taken.
    pub(crate) fn refusal(&self) -> Option<&mail::Why> {
        match self {
            Self::Lmtp(Outcome::Failed(why)) => Some(why),
            _ => None,
        }
    }
}

impl Keeper {
    /// The store, and LMTP in its place for all but the quarantine.
    pub(crate) const fn new(store: Arc<dyn Mailboxes>, lmtp: Option<Lmtp>) -> Self {
        Self { store, lmtp }
    }

    /// The mailboxes of Home itself.
    pub(crate) const fn store(&self) -> &Arc<dyn Mailboxes> {
        &self.store
    }

    /// Delivers to an account's mailbox. It is begun when this is first waited for, and goes on when nobody waits any
    /// more.
    ///
    /// # Errors
    /// [`Failure`]: the account does not have the message.
    pub(crate) async fn deliver(
        &self,
        account: &str,
        tray: Tray,
        mut delivery: Delivery,
    ) -> Result<Kept, Failure> {
        if let Some(lmtp) = self.lmtp.as_ref().filter(|_| tray != Tray::Quarantine) {
            return lmtp.deliver(account, tray, delivery).await;
        }
        let mailbox = self.mailbox_for(account, tray).await;
        delivery.mailbox = mailbox.clone().into_owned();
        let receipt = self.store.delivered(account, delivery).await?;
        Ok(Kept::Stored(receipt, mailbox))
    }

    /// What the account calls it. Only where it has a name of its own for it a disk is asked.
    async fn mailbox_for(&self, account: &str, tray: Tray) -> Cow<'static, str> {
        if tray != Tray::Junk {
            return tray.name().into();
        }
        let (store, account) = (Arc::clone(&self.store), account.to_owned());
        let found = tokio::task::spawn_blocking(move || junk_of(&*store, &account)).await;
        found.ok().flatten().map_or_else(|| tray.name().into(), Cow::Owned)
    }
}

/// The mailbox that the account has for spam (RFC 6154). Blocks.
fn junk_of(store: &dyn Mailboxes, account: &str) -> Option<String> {
    let mailboxes = store.reader(account).and_then(|reader| reader.mailboxes());
    let is_junk = |mailbox: &store::Mailbox| mailbox.special_use.as_deref() == Some("\\Junk");
    mailboxes.unwrap_or_default().into_iter().find(is_junk).map(|mailbox| mailbox.name)
}
