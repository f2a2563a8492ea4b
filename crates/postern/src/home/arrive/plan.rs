//! Which account gets a message, and in which mailbox.

use mail::Address;

use super::deliver::Arrival;
use crate::home::directory::{AccountId, Directory};
use crate::home::quarantine::QUARANTINE;

/// What each recipient gets: its own account's mailbox, or the operator's quarantine.
pub(super) struct Plan {
    /// For each account: the mailbox, the recipient it is for, the recipients' places in the envelope.
    pub(super) deliveries: Vec<Planned>,
    /// Recipients that are refused.
    pub(super) refused: Vec<usize>,
}

pub(super) struct Planned {
    pub(super) account: AccountId,
    pub(super) mailbox: String,
    pub(super) recipient: Address,
    pub(super) places: Vec<usize>,
}

/// Everybody's own INBOX; what was accepted and nobody can have is the operator's.
pub(super) fn plan(directory: &Directory, arrival: &Arrival) -> Plan {
    let mut plan = Plan { deliveries: Vec::new(), refused: Vec::new() };
    let mut unknown = Vec::new();
    for (place, recipient) in arrival.open.envelope.recipients.iter().enumerate() {
        match directory.resolve(&recipient.address) {
            Some(accounts) => {
                accounts
                    .into_iter()
                    .for_each(|account| plan.add(account, "INBOX", &recipient.address, place));
            }
            None => unknown.push((place, &recipient.address)),
        }
    }
    let keep = arrival.sealed || !plan.deliveries.is_empty();
    for (place, address) in unknown {
        // What was accepted already is never bounced and never dropped: the operator gets it.
        match directory.postmaster().filter(|_| keep) {
            Some(postmaster) => plan.add(postmaster, QUARANTINE, address, place),
            None => plan.refused.push(place),
        }
    }
    plan
}

impl Plan {
    fn add(&mut self, account: AccountId, mailbox: &str, recipient: &Address, place: usize) {
        match self.deliveries.iter_mut().find(|planned| planned.account == account) {
            Some(planned) => planned.places.push(place),
            None => self.deliveries.push(Planned {
                account,
                mailbox: mailbox.to_owned(),
                recipient: recipient.clone(),
                places: vec![place],
            }),
        }
    }

    /// Puts what is for an INBOX into the Junk mailbox of the same account, which `junk` names.
    pub(super) fn divert_to_junk(&mut self, junk: impl Fn(&AccountId) -> String) {
        for planned in self.deliveries.iter_mut().filter(|planned| planned.mailbox == "INBOX") {
            planned.mailbox = junk(&planned.account);
        }
    }

    /// Gives all of it to the operator.
    pub(super) fn divert_to_quarantine(&mut self, directory: &Directory) {
        let Some(postmaster) = directory.postmaster() else { return };
        for planned in std::mem::take(&mut self.deliveries) {
            for place in planned.places {
                self.add(postmaster.clone(), QUARANTINE, &planned.recipient, place);
            }
        }
        for planned in &mut self.deliveries {
            // An address that leads to several accounts would be listed once for each.
            planned.places.sort_unstable();
            planned.places.dedup();
        }
    }
}
