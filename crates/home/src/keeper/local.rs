//! Delivery into mailboxes here: mail between accounts of this Home, and reports. It never takes the link.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;
use daemon::system;
use mail::{Address, EnhancedCode, ItemId, Outcome, ReversePath, Why};
use store::{Body, Delivery, FlagList, Head, StoreError};

use super::{Failure, Keeper, Kept, Tray};

/// Octets of a message up to which it is read into memory; a larger one goes through a file.
const MEMORY_OCTETS_MAX: u64 = 256 * 1024;

/// A message for mailboxes here.
pub(crate) struct LocalMessage {
    /// What makes each delivery idempotent.
    pub(crate) item: ItemId,
    /// The reverse-path, for the `Return-Path` field.
    pub(crate) reverse_path: ReversePath,
    /// The message's octets.
    pub(crate) octets: Octets,
}

/// Octets that several accounts can get.
pub(crate) enum Octets {
    /// In memory.
    Memory(Bytes),
    /// A file without a name, and its length.
    File(File, u64),
}

impl Octets {
    /// Takes an item's octets out of the spool. Blocks.
    ///
    /// # Errors
    /// The disk's error, in words.
    pub(crate) fn read(content: &content::Content, scratch: &Path) -> Result<Self, String> {
        let octets = content.octets();
        if octets <= MEMORY_OCTETS_MAX {
            return content.read_at(0, usize::MAX).map(Self::Memory).map_err(|error| error.to_string());
        }
        let mut file = tempfile::tempfile_in(scratch).map_err(|error| error.to_string())?;
        let mut at = 0;
        while at < octets {
            let piece = content.read_at(at, 256 * 1024).map_err(|error| error.to_string())?;
            file.write_all(&piece).map_err(|error| error.to_string())?;
            at += piece.len() as u64;
        }
        Ok(Self::File(file, octets))
    }

    fn body(&self) -> io::Result<Body> {
        Ok(match self {
            Self::Memory(octets) => Body::Memory(vec![octets.clone()]),
            Self::File(file, octets) => Body::File(file.try_clone()?, *octets),
        })
    }
}

impl LocalMessage {
    /// Puts the message into the INBOX of every account that `recipient` leads to: delivered when all have it. One that
    /// does not take it keeps it from no other; those that have it know it when it is tried again.
    pub(crate) async fn deliver(&self, keeper: &Keeper, recipient: &Address, accounts: &[String]) -> Outcome {
        let mut worst = in_the_mailbox();
        for account in accounts {
            let head = Head::new(self.reverse_path.clone(), recipient.clone(), Vec::new());
            if let Err(error) = self.deliver_to(keeper, account, head).await {
                worst = worse(worst, outcome_of(&error));
            }
        }
        worst
    }

    /// Commits the message to an account's INBOX.
    ///
    /// # Errors
    /// The reason why the message is not in the INBOX.
    pub(crate) async fn deliver_to(
        &self,
        keeper: &Keeper,
        account: &str,
        head: Head,
    ) -> Result<Kept, Failure> {
        let body = self.octets.body().map_err(|error| StoreError::Source(error.to_string()))?;
        let delivery = Delivery {
            item: Some(self.item),
            mailbox: Tray::Inbox.name().to_owned(),
            head,
            body,
            flags: FlagList::default(),
            internal_date: system::now(),
        };
        keeper.deliver(account, Tray::Inbox, delivery).await
    }
}

fn in_the_mailbox() -> Outcome {
    Outcome::Delivered(Why {
        mta: None,
        status: EnhancedCode(2, 1, 5),
        reply: None,
        cause: "in the mailbox".to_owned(),
        reports: false,
    })
}

/// What one recipient's outcome is when his accounts have two. While one may still take it, it is not over.
fn worse(one: Outcome, other: Outcome) -> Outcome {
    match (&one, &other) {
        (Outcome::Deferred(_), _) | (Outcome::Failed(_), Outcome::Failed(_) | Outcome::Delivered(_)) => one,
        _ => other,
    }
}

fn outcome_of(failure: &Failure) -> Outcome {
    match failure {
        Failure::Lmtp(outcome) => outcome.clone(),
        Failure::Store(StoreError::NoAccount(_)) => {
            Outcome::failed(EnhancedCode(5, 1, 1), "there is no such mailbox")
        }
        Failure::Store(StoreError::Limit(_)) => {
            Outcome::failed(EnhancedCode(5, 2, 3), "the mailbox does not take this message")
        }
        Failure::Store(error) => {
            tracing::warn!(%error, "a message could not be put into a mailbox; it is tried again");
            Outcome::deferred(EnhancedCode(4, 3, 0), "the mailbox could not be written")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_one_account_may_still_take_it_the_recipient_is_not_settled() {
        let deferred = || Outcome::deferred(EnhancedCode(4, 3, 0), "later");
        let failed = || Outcome::failed(EnhancedCode(5, 2, 2), "full");
        let of = |outcomes: [Outcome; 3]| outcomes.into_iter().fold(in_the_mailbox(), worse);
        assert!(matches!(of([in_the_mailbox(), in_the_mailbox(), in_the_mailbox()]), Outcome::Delivered(_)));
        assert!(matches!(of([in_the_mailbox(), failed(), in_the_mailbox()]), Outcome::Failed(_)));
        assert!(matches!(of([failed(), deferred(), failed()]), Outcome::Deferred(_)));
        assert!(matches!(of([deferred(), failed(), in_the_mailbox()]), Outcome::Deferred(_)));
    }
}
