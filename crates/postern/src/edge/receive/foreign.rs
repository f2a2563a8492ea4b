//! Recipients whose home is another program.

use std::sync::Arc;

use mail::{Address, Client, EnhancedCode, Recipient, Reply, ReversePath};

use super::super::foreign::ForeignHome;
use super::super::incoming::Target;
use super::Receive;
use crate::notification;

impl Receive {
    /// The home of an address, if it is another program. `postmaster` of this host itself is theirs when nobody else
    /// has it.
    pub(super) fn foreign_home(&self, address: &Address) -> Option<Arc<ForeignHome>> {
        let foreign = &self.shared.foreign;
        let own_postmaster = || {
            let nobodys = address.local().eq_ignore_ascii_case("postmaster")
                && address.domain().as_str() == self.shared.judges.visitors.hostname
                && self.postmaster_home().is_none();
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
            self.count_recipient(recipient);
        } else if reply.enhanced.is_some_and(|EnhancedCode(class, subject, _)| (class, subject) == (5, 1)) {
            self.unknown().await;
        }
        reply
    }
}
