//! Which account gets a message, in which mailbox, and where it is forwarded to.

use directory::{AccountId, Destinations, Directory};
use mail::{Address, Recipient, Reply};

use super::arrival::Arrival;
use super::arrivals::{not_sent_on, unknown};
use crate::forward::{self, Forwarder};
use crate::keeper::Tray;

/// What each recipient gets: its own account's mailbox, the way to where its alias leads, or the operator's
/// quarantine.
#[derive(Default)]
pub(super) struct Plan {
    /// For each account: the mailbox, the recipient it is for, the recipients' places in the envelope.
    pub(super) deliveries: Vec<Planned>,
    /// Recipients whose mail is forwarded.
    pub(super) onward: Vec<Onward>,
    /// Places in the envelope of recipients that are refused, and the replies.
    pub(super) refused: Vec<(usize, Reply)>,
}

pub(super) struct Planned {
    pub(super) account: AccountId,
    pub(super) tray: Tray,
    pub(super) recipient: Address,
    pub(super) places: Vec<usize>,
    /// Why it is in quarantine, when no filter wants that.
    pub(super) reason: &'static str,
}

/// A recipient that leads elsewhere.
pub(super) struct Onward {
    pub(super) recipient: Recipient,
    pub(super) targets: Vec<Address>,
    pub(super) places: Vec<usize>,
}

const NOBODY: &str = "nobody here has this address";
const NOT_SENT_ON: &str = "this address leads elsewhere, and sending is off";
const LOOPS: &str = "it came back from where this alias leads";
const SPAM: &str = "spam is not forwarded";

/// Everybody's own INBOX; what was accepted and nobody can have is the operator's.
pub(super) fn plan(directory: &Directory, forwarder: &Forwarder, arrival: &Arrival) -> Plan {
    let mut plan = Plan::default();
    let (mut nobodys, sends) = (Vec::new(), directory.policy().sends);
    for (place, recipient) in arrival.open.envelope.recipients.iter().enumerate() {
        match resolve(directory, forwarder, &recipient.address)
            .and_then(|found| theirs(directory, arrival, found))
        {
            Some(found) if found.accounts.is_empty() && !sends => {
                nobodys.push((recipient.address.clone(), vec![place], (NOT_SENT_ON, not_sent_on())));
            }
            Some(found) => plan.take(found, recipient, place),
            None => nobodys.push((recipient.address.clone(), vec![place], (NOBODY, unknown()))),
        }
    }
    let keep = arrival.sealed || !plan.is_empty();
    for (address, places, (why, reply)) in nobodys {
        plan.turn_away(directory, keep, (&address, places), why, &reply);
    }
    plan
}

/// Where a recipient leads. The rewritten reverse-path of a message that was forwarded leads to its sender.
fn resolve(directory: &Directory, forwarder: &Forwarder, address: &Address) -> Option<Destinations> {
    match forwarder.original_of(address) {
        Some(original) if directory.is_local_domain(original.domain()) => directory.resolve(&original),
        Some(original) => Some(Destinations { accounts: Vec::new(), outside: vec![original] }),
        None => directory.resolve(address),
    }
}

/// What waited sealed for an account that was removed since is not for the next of its name.
fn theirs(directory: &Directory, arrival: &Arrival, mut found: Destinations) -> Option<Destinations> {
    if arrival.sealed {
        let taken = arrival.open.item.taken();
        found.accounts.retain(|account| !directory.was_anothers(account.as_str(), taken));
    }
    (!found.is_empty()).then_some(found)
}

impl Plan {
    /// Whether nobody gets anything.
    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.onward.is_empty()
    }

    /// Who gets it, and where: the same words for the same plan. An account is another one than that of the same name
    /// before it: what that one got, this one did not.
    pub(super) fn places(&self, directory: &Directory) -> Vec<String> {
        let here = self.deliveries.iter().map(|planned| {
            let since = directory.removed_before(planned.account.as_str()).unwrap_or_default();
            format!("{} since {} {}", planned.account, since.0, planned.tray.name())
        });
        let there =
            self.onward.iter().flat_map(|onward| &onward.targets).map(|target| format!("to {target}"));
        let nowhere = self.refused.iter().map(|(place, reply)| format!("not {place} {}", reply.code));
        here.chain(there).chain(nowhere).collect()
    }

    fn take(&mut self, found: Destinations, recipient: &Recipient, place: usize) {
        for account in found.accounts {
            self.add(account, (Tray::Inbox, ""), &recipient.address, place);
        }
        // Who is reached by two aliases gets one copy, and both have its reply.
        let (mut targets, places) = (Vec::new(), vec![place]);
        for target in found.outside {
            match self.onward.iter_mut().find(|onward| onward.targets.contains(&target)) {
                Some(onward) if onward.places.contains(&place) => {}
                Some(onward) => onward.places.push(place),
                None => targets.push(target),
            }
        }
        if !targets.is_empty() {
            self.onward.push(Onward { recipient: recipient.clone(), targets, places });
        }
    }

    fn add(
        &mut self,
        account: AccountId,
        (tray, reason): (Tray, &'static str),
        recipient: &Address,
        place: usize,
    ) {
        match self.deliveries.iter_mut().find(|planned| planned.account == account) {
            Some(planned) => planned.places.push(place),
            None => self.deliveries.push(Planned {
                account,
                tray,
                recipient: recipient.clone(),
                places: vec![place],
                reason,
            }),
        }
    }

    /// Refuses a recipient while its sender can still be told; what was accepted already is never bounced and never
    /// dropped: the operator gets it.
    fn turn_away(
        &mut self,
        directory: &Directory,
        keep: bool,
        (address, places): (&Address, Vec<usize>),
        reason: &'static str,
        reply: &Reply,
    ) {
        match directory.postmaster().filter(|_| keep) {
            Some(postmaster) => {
                for place in places {
                    self.add(postmaster.clone(), (Tray::Quarantine, reason), address, place);
                }
            }
            None => self.refused.extend(places.into_iter().map(|place| (place, reply.clone()))),
        }
    }

    /// Takes out what would go round in a circle: `header` says that it was delivered to the alias before.
    pub(super) fn break_loops(&mut self, directory: &Directory, header: &[u8], sealed: bool) {
        let onward = std::mem::take(&mut self.onward);
        let (looping, onward) =
            onward.into_iter().partition(|onward: &Onward| forward::loops(header, &onward.recipient.address));
        let looping: Vec<Onward> = looping;
        self.onward = onward;
        let keep = sealed || !self.is_empty();
        let reply =
            Reply::new(554, (5, 4, 6), "The message comes back from where it is forwarded to: it loops");
        for Onward { recipient, places, .. } in looping {
            self.turn_away(directory, keep, (&recipient.address, places), LOOPS, &reply);
        }
    }

    /// Puts what is for an INBOX into the Junk mailbox of the same account. What would go elsewhere is kept for the
    /// operator: who forwards spam is taken for a spammer.
    pub(super) fn divert_to_junk(&mut self, directory: &Directory) {
        for planned in self.deliveries.iter_mut().filter(|planned| planned.tray == Tray::Inbox) {
            planned.tray = Tray::Junk;
        }
        self.keep_onward(directory, SPAM);
    }

    fn keep_onward(&mut self, directory: &Directory, reason: &'static str) {
        let Some(postmaster) = directory.postmaster() else { return };
        for Onward { recipient, places, .. } in std::mem::take(&mut self.onward) {
            for place in places {
                self.add(postmaster.clone(), (Tray::Quarantine, reason), &recipient.address, place);
            }
        }
    }

    /// Gives all of it to the operator.
    pub(super) fn divert_to_quarantine(&mut self, directory: &Directory) {
        let Some(postmaster) = directory.postmaster() else { return };
        self.keep_onward(directory, "");
        for planned in std::mem::take(&mut self.deliveries) {
            for place in planned.places {
                self.add(postmaster.clone(), (Tray::Quarantine, planned.reason), &planned.recipient, place);
            }
        }
        for planned in &mut self.deliveries {
            // An address that leads to several accounts would be listed once for each.
            planned.places.sort_unstable();
            planned.places.dedup();
        }
    }
}
