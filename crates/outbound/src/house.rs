//! The port to mailboxes here.

use content::Content;
use mail::{Address, Domain, ItemId, Outcome, ReversePath, UnixTime};

/// Where mail to a recipient here goes.
#[derive(Debug, Default)]
pub struct Reached {
    /// The accounts' names.
    pub accounts: Vec<String>,
    /// Addresses elsewhere that an alias stands for.
    pub outside: Vec<Address>,
}

/// A message of the queue that goes into mailboxes here.
#[derive(Clone)]
pub struct Leaving {
    /// Its id in the queue: what makes each delivery idempotent.
    pub item: ItemId,
    /// The reverse-path, for the `Return-Path` field.
    pub reverse_path: ReversePath,
    /// The message's octets.
    pub content: Content,
}

/// The accounts of this Home and their mailboxes, as the dispatcher needs them.
pub trait House: Send + Sync + 'static {
    /// Whether mail to a domain stays here.
    fn is_local(&self, domain: &Domain) -> bool;

    /// Where an address of a local domain leads what was taken at `taken`; `None` when it leads nowhere.
    fn resolve(&self, address: &Address, taken: UnixTime) -> Option<Reached>;

    /// Puts a message into the INBOX of every account that each recipient leads to. One outcome per recipient, delivered
    /// when all his accounts have it, durably; an account that had it before is not given it again.
    fn deliver(
        &self,
        message: Leaving,
        recipients: Vec<(Address, Vec<String>)>,
    ) -> impl Future<Output = Vec<Outcome>> + Send;
}
