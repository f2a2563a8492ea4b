//! Notices to the operator: messages in the postmaster's INBOX, for what he should know and would not look for.

use std::sync::Arc;

use daemon::clock::Clock;
use directory::Directory;
use mail::{Domain, ReversePath, UnixTime};

use store::Head;

use crate::keeper::{Keeper, LocalMessage};

/// Writes notices to the operator into the postmaster's INBOX.
#[derive(Clone)]
pub(crate) struct Notices {
    directory: Directory,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
}

impl Notices {
    /// Notices that go into these mailboxes, dated by this clock.
    pub(crate) fn new(directory: Directory, keeper: Keeper, clock: Arc<dyn Clock>) -> Self {
        Self { directory, keeper, clock }
    }

    /// Commits a notice. What can't be committed is in the log all the same: that it was written there is the
    /// caller's part. `text` has LF line ends.
    pub(crate) async fn tell(&self, subject: &str, text: &str) {
        let policy = self.directory.policy();
        let (Some(account), Some(domain)) = (self.directory.postmaster(), policy.domains.first()) else {
            return;
        };
        let (item, now) = (self.clock.new_item_id(), self.clock.now());
        let content = message(domain, &item.to_string(), subject, text, now).into_bytes().into();
        let message = LocalMessage { item, reverse_path: ReversePath::Null, content, now };
        let head = Head { return_path: Some(ReversePath::Null), ..Head::default() };
        if let Err(error) = message.deliver_to(&self.keeper, account.as_str(), head).await {
            tracing::error!(%error, %subject, "a notice to the operator could not be put into a mailbox");
        }
    }
}

fn message(domain: &Domain, id: &str, subject: &str, text: &str, now: UnixTime) -> String {
    let text = text.replace('\n', "\r\n");
    format!(
        "Date: {}\r\nFrom: Postern <postmaster@{domain}>\r\nTo: postmaster@{domain}\r\nSubject: {subject}\r\n\
         Message-ID: <{id}@{domain}>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n",
        now.rfc5322()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_dated_in_utc_and_has_line_ends_of_mail() {
        let domain = Domain::parse("example.org").unwrap();
        let text = message(&domain, "1", "look", "one\ntwo", UnixTime::from_secs(1_795_500_000));
        assert!(text.starts_with("Date: Tue, 24 Nov 2026 06:00:00 +0000\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\none\r\ntwo\r\n"), "{text}");
    }
}
