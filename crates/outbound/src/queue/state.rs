//! What the queue remembers of one message besides its octets: the JSON record beside it in the spool.

use std::collections::{BTreeMap, HashSet};

use mail::{
    Address, Domain, EnhancedCode, Envelope, ItemId, Orcpt, Outcome, Recipient, ReversePath, UnixTime,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One message on its way. Fields are added, never changed; older records are read with defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// The message's id.
    pub item: ItemId,
    /// The account that sent it: reports go to its INBOX.
    pub account: String,
    /// Reverse-path and parameters. `recipients` and `client` are empty: the recipients are below, and where
    /// the user was is not kept.
    pub envelope: Envelope,
    /// The time when it was taken.
    pub submitted: UnixTime,
    /// Whether octets above 127 occur in it.
    #[serde(default)]
    pub eight_bit: bool,
    /// Whether they occur in its header.
    #[serde(default)]
    pub utf8_header: bool,
    /// The length of the message, in octets.
    pub octets: u64,
    /// Each recipient and how far it is.
    pub recipients: Vec<QueuedRecipient>,
    /// When it is to be tried next.
    #[serde(default)]
    pub next_due: UnixTime,
    /// Attempts that were ordered and whose outcome is not known.
    #[serde(default)]
    pub running: Vec<RunningAttempt>,
    /// Whether it was written for many: a list's or a newsletter's mail.
    #[serde(default)]
    pub bulk: bool,
    /// Whether it is to arrive even where what its domain demands of TLS can't be met (RFC 8689 section 5).
    #[serde(default)]
    pub tls_optional: bool,
    /// Whether the operator keeps it back.
    #[serde(default)]
    pub held: bool,
    /// Whether the sender knows that it takes long.
    #[serde(default)]
    pub delay_told: bool,
    /// For what it is forwarded, when nobody here handed it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
}

/// An id that follows from an item's and from what is made of it: its time, and octets of a hash. What is made twice
/// has the same.
pub fn derived_id(kind: &str, item: ItemId) -> ItemId {
    let digest = Sha256::new().chain_update(kind).chain_update(item.as_bytes()).finalize();
    let mut octets = *item.as_bytes();
    for (octet, hashed) in octets.iter_mut().skip(6).zip(digest) {
        *octet = hashed;
    }
    ItemId::from_bytes(octets)
}

/// Who goes first of those that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A message from one person to a few, not tried yet: somebody waits for it.
    Prompt,
    /// Every other message.
    Patient,
}

/// Most recipients of a message that counts as one from person to person.
const PROMPT_RECIPIENTS_MAX: usize = 10;

/// What the queue remembers of a message that is forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The recipient that it came for.
    pub alias: Address,
    /// The reverse-path that it came with.
    pub sender: ReversePath,
    /// Whether that was proven to be its sender's: then a failure is told to it, and to the operator otherwise.
    pub proven: bool,
}

impl Forwarded {
    /// Who is told of a failure; `None`: the operator. A sender whose address is too long for a recipient's was no
    /// person who waits to hear of it, but a list.
    pub fn told(&self) -> Option<&Address> {
        self.sender.address().filter(|_| self.proven && !self.sender.is_long())
    }
}

/// One recipient of a queued message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRecipient {
    /// The address and the DSN parameters.
    pub recipient: Recipient,
    /// The state of the recipient.
    #[serde(default)]
    pub state: RecipientState,
    /// The last outcome; `None` before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Outcome>,
    /// Attempts that had an outcome.
    #[serde(default)]
    pub attempts: u32,
}

/// The state of a recipient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecipientState {
    /// It is to be tried.
    #[default]
    Pending,
    /// The next hop, or a mailbox here, has it.
    Delivered,
    /// It failed for good.
    Failed,
    /// It was given up after too long a time.
    Expired,
}

/// An attempt that an edge was told of, or may have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningAttempt {
    /// The attempt's id.
    pub attempt: ItemId,
    /// The only edge that may be asked about it.
    pub edge: String,
    /// Places in [`QueueState::recipients`], in the attempt's order.
    pub recipients: Vec<usize>,
    /// The time when it was recorded.
    pub started: UnixTime,
}

/// A message that an account handed in after a login: the only thing that a report is ever made of.
#[derive(Debug, Clone, Copy)]
pub struct Submitted<'a>(&'a QueueState);

impl<'a> Submitted<'a> {
    /// The record of the message.
    pub const fn state(self) -> &'a QueueState {
        self.0
    }
}

impl QueueState {
    /// A message that has just been taken. The envelope's recipients move to their own list, its client goes.
    pub fn new(item: ItemId, account: String, mut envelope: Envelope, submitted: UnixTime) -> Self {
        envelope.client = None;
        let mut seen = HashSet::new();
        let recipients = std::mem::take(&mut envelope.recipients)
            .into_iter()
            .filter(|recipient| seen.insert(recipient.address.clone()))
            .map(|recipient| QueuedRecipient {
                recipient,
                state: RecipientState::Pending,
                last: None,
                attempts: 0,
            })
            .collect();
        Self {
            item,
            account,
            envelope,
            submitted,
            eight_bit: false,
            utf8_header: false,
            octets: 0,
            recipients,
            next_due: submitted,
            running: Vec::new(),
            bulk: false,
            tls_optional: false,
            held: false,
            delay_told: false,
            forwarded: None,
        }
    }

    /// Whether it goes before others.
    pub fn turn(&self) -> Turn {
        let few = self.recipients.len() <= PROMPT_RECIPIENTS_MAX;
        let fresh = self.recipients.iter().all(|queued| queued.attempts == 0);
        if few && fresh && !self.bulk { Turn::Prompt } else { Turn::Patient }
    }

    /// The record as it lies in the spool.
    ///
    /// # Errors
    /// What can't be written as JSON. An empty record must never become durable in its place.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// The JSON is no record.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The message as one that was handed in with a login. `None` when no account stands behind it: then
    /// nobody is told what becomes of it, least of all the reverse-path that it claims.
    pub fn submitted(&self) -> Option<Submitted<'_>> {
        (!self.account.is_empty()).then_some(Submitted(self))
    }

    /// Whether every recipient has its final state.
    pub fn is_settled(&self) -> bool {
        self.recipients.iter().all(|recipient| recipient.state != RecipientState::Pending)
    }

    /// Places of the recipients that wait and are not part of a running attempt, by domain.
    pub fn waiting_by_domain(&self) -> BTreeMap<Domain, Vec<usize>> {
        let running: HashSet<usize> =
            self.running.iter().flat_map(|attempt| attempt.recipients.iter().copied()).collect();
        let mut domains: BTreeMap<Domain, Vec<usize>> = BTreeMap::new();
        for (place, queued) in self.recipients.iter().enumerate() {
            if queued.state == RecipientState::Pending && !running.contains(&place) {
                domains.entry(queued.recipient.address.domain().clone()).or_default().push(place);
            }
        }
        domains
    }

    /// Domains whose recipients that wait have all had an attempt.
    pub fn tried_domains(&self) -> Vec<Domain> {
        let tried = |places: &[usize]| {
            places.iter().filter_map(|place| self.recipients.get(*place)).all(|queued| queued.attempts > 0)
        };
        let waiting = self.waiting_by_domain().into_iter();
        waiting.filter(|(_, places)| tried(places)).map(|(domain, _)| domain).collect()
    }

    /// The envelope of an attempt for the recipients at these places.
    pub fn envelope_for(&self, places: &[usize]) -> Envelope {
        let recipients = places.iter().filter_map(|place| self.recipients.get(*place));
        Envelope {
            recipients: recipients.map(|queued| queued.recipient.clone()).collect(),
            ..self.envelope.clone()
        }
    }

    /// Adds recipients that one of them leads to; those that it has already are not added again.
    pub fn add_recipients(&mut self, recipients: impl IntoIterator<Item = Recipient>) {
        for recipient in recipients {
            if self.recipients.iter().all(|queued| queued.recipient.address != recipient.address) {
                let state = RecipientState::Pending;
                self.recipients.push(QueuedRecipient { recipient, state, last: None, attempts: 0 });
            }
        }
    }

    /// Notes what came of an attempt for one recipient.
    pub fn apply(&mut self, place: usize, outcome: Outcome) {
        let Some(queued) = self.recipients.get_mut(place) else { return };
        queued.state = match outcome {
            Outcome::Delivered(_) => RecipientState::Delivered,
            Outcome::Failed(_) => RecipientState::Failed,
            Outcome::Deferred(_) => RecipientState::Pending,
        };
        queued.last = Some(outcome);
        queued.attempts = queued.attempts.saturating_add(1);
    }

    /// Takes a running attempt off the list.
    pub fn take_running(&mut self, attempt: ItemId) -> Option<RunningAttempt> {
        let place = self.running.iter().position(|running| running.attempt == attempt)?;
        Some(self.running.remove(place))
    }

    /// Gives up the recipients that still wait (RFC 3463: 4.4.7, delivery time expired).
    pub fn expire(&mut self) {
        for queued in &mut self.recipients {
            if queued.state == RecipientState::Pending {
                queued.state = RecipientState::Expired;
                queued.last.get_or_insert_with(|| {
                    Outcome::deferred(EnhancedCode(4, 4, 7), "no way to the world was there in all that time")
                });
            }
        }
    }

    /// The most attempts that a waiting recipient has had.
    pub fn attempts_max(&self) -> u32 {
        let waiting = self.recipients.iter().filter(|queued| queued.state == RecipientState::Pending);
        waiting.map(|queued| queued.attempts).max().unwrap_or(0)
    }
}

/// The recipient elsewhere: what the sender wants to know goes with it (RFC 3461 section 5.2.7).
pub fn readdressed(recipient: &Recipient, to: &Address) -> Recipient {
    let original = || Orcpt { kind: "rfc822".to_owned(), address: recipient.address.to_string() };
    let orcpt = recipient.orcpt.clone().or_else(|| recipient.address.local().is_ascii().then(original));
    Recipient { address: to.clone(), orcpt, ..recipient.clone() }
}

#[cfg(test)]
mod tests {
    use mail::BodyType;

    use super::*;

    fn state() -> QueueState {
        let address = |text: &str| Address::parse(text).unwrap();
        let recipients = ["b@x.example", "c@y.example", "d@x.example", "b@x.example"];
        let envelope = Envelope {
            reverse_path: ReversePath::Address(address("a@example.org")),
            recipients: recipients.iter().map(|text| address(text).into()).collect(),
            body: BodyType::EightBitMime,
            smtputf8: true,
            require_tls: true,
            ret: Some(mail::Ret::Full),
            envid: Some("x+3D".to_owned()),
            client: Some(mail::Client {
                ip: [192, 168, 1, 2].into(),
                helo: "laptop.lan".to_owned(),
                esmtp: true,
                tls: None,
                login: None,
            }),
        };
        QueueState::new(ItemId::from_bytes([1; 16]), "a--example.org".to_owned(), envelope, UnixTime(5))
    }

    #[test]
    fn a_derived_id_follows_from_the_items_and_the_kind() {
        let item = ItemId::new(UnixTime::from_secs(1_000), [7; 10]);
        assert_eq!(derived_id("a", item), derived_id("a", item));
        assert_ne!(derived_id("a", item), item);
        assert_ne!(derived_id("a", item), derived_id("b", item));
        assert_ne!(derived_id("a", derived_id("a", item)), item);
    }

    #[test]
    fn recipients_are_added_once() {
        let mut state = state();
        let address = |text: &str| Recipient::from(Address::parse(text).unwrap());
        state.add_recipients([address("b@x.example"), address("e@x.example"), address("e@x.example")]);
        assert_eq!(state.recipients.len(), 4);
        assert_eq!(state.waiting_by_domain()[&Domain::parse("x.example").unwrap()], [0, 2, 3]);
    }

    #[test]
    fn a_record_survives_json_and_says_nothing_of_the_client() {
        let mut state = state();
        state.apply(0, Outcome::deferred(EnhancedCode(4, 2, 2), "full"));
        state.running.push(RunningAttempt {
            attempt: ItemId::from_bytes([2; 16]),
            edge: "mx".to_owned(),
            recipients: vec![1],
            started: UnixTime(9),
        });
        let json = state.to_json().unwrap();
        assert_eq!(QueueState::from_json(&json).unwrap(), state);
        let text = String::from_utf8(json).unwrap();
        assert!(!text.contains("192.168") && !text.contains("laptop"), "{text}");
    }

    #[test]
    fn older_records_without_newer_fields_are_read() {
        let json = r#"{"item":"00000000000000000000000001","account":"a","envelope":{"reverse_path":"","recipients":[]},
            "submitted":5,"octets":3,"recipients":[{"recipient":{"address":"b@x.example"}}]}"#;
        let state = QueueState::from_json(json.as_bytes()).unwrap();
        assert_eq!(state.recipients[0].state, RecipientState::Pending);
        assert!(state.running.is_empty() && !state.is_settled());
    }

    #[test]
    fn recipients_are_grouped_by_domain_and_running_ones_left_out() {
        let mut state = state();
        assert_eq!(state.recipients.len(), 3, "the same recipient twice is one");
        let x = Domain::parse("x.example").unwrap();
        assert_eq!(state.waiting_by_domain().get(&x), Some(&vec![0, 2]));
        state.apply(0, Outcome::failed(EnhancedCode(5, 1, 1), "no"));
        assert_eq!(state.waiting_by_domain().get(&x), Some(&vec![2]));
        state.running.push(RunningAttempt {
            attempt: ItemId::from_bytes([2; 16]),
            edge: "mx".to_owned(),
            recipients: vec![2],
            started: UnixTime(9),
        });
        assert_eq!(state.waiting_by_domain().len(), 1);
        assert_eq!(state.envelope_for(&[2]).recipients.len(), 1);
    }

    #[test]
    fn what_expires_keeps_the_last_outcome_as_its_reason() {
        let mut state = state();
        let full = Outcome::deferred(EnhancedCode(4, 2, 2), "full");
        state.apply(0, full.clone());
        state.expire();
        assert!(state.is_settled());
        assert_eq!(state.recipients[0].last, Some(full));
        assert_eq!(state.recipients[1].last.as_ref().unwrap().why().status, EnhancedCode(4, 4, 7));
    }
}
