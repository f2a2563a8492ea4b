//! Recipients whose home is another program.

use std::sync::Arc;

use link::notification::{self, Known};
use mail::{Address, Client, EnhancedCode, Recipient, Reply, ReversePath};

use super::super::foreign::ForeignHome;
use super::super::incoming::Target;
use super::Receive;

impl Receive {
    /// The home of an address, if it is another program. `postmaster` of this host itself is theirs when nobody else
    /// has it.
    pub(super) fn foreign_home(&self, address: &Address) -> Option<Arc<ForeignHome>> {
        let foreign = &self.shared.foreign;
        let own_postmaster = || {
            let nobodys = address.local().eq_ignore_ascii_case("postmaster")
                && address.domain().as_str() == self.shared.judges.visitors.hostname
                && self.shared.homes.first_serving().is_none();
            foreign.first().filter(|_| nobodys)
        };
        foreign.route(address.domain()).or_else(own_postmaster).cloned()
    }

    /// The reply to RCPT. The client is looked at first: who is held off does not make this host ask the home.
    pub(super) async fn foreign_recipient(
        &mut self,
        client: &Client,
        recipient: &Recipient,
        home: Arc<ForeignHome>,
    ) -> Reply {
        if let Some(refusal) = self.no_more_recipients(recipient) {
            return refusal;
        }
        let target = Target::Foreign(Arc::clone(&home));
        if let Some(refusal) = self.of_another_home(&target) {
            return refusal;
        }
        self.know_client(client).await;
        if !notification::is_role(recipient.address.local())
            && let Some(refusal) = self.suspicion(client)
        {
            return refusal;
        }
        let from = self.transaction.reverse_path.clone().unwrap_or(ReversePath::Null);
        let reply = home.check_recipient(&recipient.address, &from).await;
        if reply.is_positive() {
            self.transaction.home.get_or_insert(target);
            self.transaction.known = Known::Always;
            self.count_recipient(recipient);
        } else if is_of_nobody(&reply) {
            self.unknown().await;
        }
        reply
    }
}

/// Whether the client named somebody whom the home does not have. Homes that tell nothing but 550 tell it so; a mailbox
/// that is full or closed (RFC 3463, subject 2) is there.
const fn is_of_nobody(reply: &Reply) -> bool {
    !matches!(reply.enhanced, Some(EnhancedCode(_, 2, _))) && reply.code >= 500
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: names are guessed at a home that is Exim as fast as one likes. Cause: its 550 has no other code, and only
    /// x.1.x counted as a recipient that does not exist.
    #[test]
    fn who_guesses_names_is_counted_whatever_codes_the_home_has() {
        for enhanced in [(5, 1, 1), (5, 0, 0), (5, 7, 1)] {
            assert!(is_of_nobody(&Reply::new(550, enhanced, "no")), "{enhanced:?}");
        }
        for reply in [Reply::new(552, (5, 2, 2), "full"), Reply::new(451, (4, 1, 1), "later")] {
            assert!(!is_of_nobody(&reply), "{reply}");
        }
    }
}
