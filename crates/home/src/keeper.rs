//! Where mail for accounts goes: into mailboxes of ours, or by LMTP into those of another program.
//!
//! Whatever wants to deliver to an account does it here, with the same words and the same promise: it is called back
//! when the message is there, durably, or with the reason why not. The quarantine is always ours.

mod letter;
mod lmtp;
mod local;
mod place;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mail::Outcome;
use store::{Delivery, Mailboxes, Receipt, StoreError};

pub(crate) use self::lmtp::Lmtp;
pub(crate) use self::local::{LocalMessage, Octets};
pub(crate) use self::place::QUARANTINE;

/// Cloning shares it.
#[derive(Clone)]
pub(crate) struct Keeper {
    store: Arc<dyn Mailboxes>,
    lmtp: Option<Lmtp>,
}

/// Proof that a message is with whoever keeps the account's mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In a mailbox of ours.
    Stored(Receipt),
    /// Taken over by LMTP: the reply for the account was positive.
    HandedOver,
    /// It was taken over before.
    HandedOverBefore,
}

/// Why it is not.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The store's reason.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What came of LMTP: deferred or failed.
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

    /// Our own mailboxes.
    pub(crate) const fn store(&self) -> &Arc<dyn Mailboxes> {
        &self.store
    }

    /// Delivers to an account's mailbox, on threads and tasks of its own, then calls `done`. By LMTP every mailbox but
    /// INBOX is a mark in the header: who is asked for has filters that sort.
    pub(crate) fn deliver(
        &self,
        account: &str,
        delivery: Delivery,
        done: impl FnOnce(Result<Kept, Failure>) + Send + 'static,
    ) {
        match self.lmtp.as_ref().filter(|_| delivery.mailbox != QUARANTINE) {
            Some(lmtp) => lmtp.deliver(account, delivery, done),
            None => {
                let done = move |result: Result<Receipt, StoreError>| {
                    done(result.map(Kept::Stored).map_err(Failure::Store));
                };
                self.store.deliver(account, delivery, Box::new(done));
            }
        }
    }
}
