//! Delivery into mailboxes here: mail between accounts of this Home, and reports. It never takes the link.

use content::Content;
use mail::UnixTime;
use mail::{Address, EnhancedCode, ItemId, Outcome, ReversePath, Why};
use store::{Delivery, FlagList, Head, StoreError};

use super::{Failure, Keeper, Kept, Tray};

/// A message for mailboxes here.
pub(crate) struct LocalMessage {
    /// What makes each delivery idempotent.
    pub(crate) item: ItemId,
    /// The reverse-path, for the `Return-Path` field.
    pub(crate) reverse_path: ReversePath,
    /// The message's octets, in memory or in a file of their own: then the mailboxes may keep the file.
    pub(crate) content: Content,
    /// The time of the delivery.
    pub(crate) now: UnixTime,
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
        let delivery = Delivery {
            item: Some(self.item),
            mailbox: Tray::Inbox.name().to_owned(),
            head,
            body: self.content.clone(),
            flags: FlagList::default(),
            internal_date: self.now,
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
