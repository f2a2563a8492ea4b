//! The traits of whoever keeps mailboxes.

use std::ops::RangeInclusive;

use mail::UnixTime;
use mailbox::{
    Changes, Copied, Expunge, FlagUpdate, FlagsChanged, Mailbox, MailboxId, Message, Subscription, Totals,
    Uids,
};

use crate::delivering::Delivering;
use crate::{Append, Delivery, Done, Receipt, SetAside, StoreError, Watch};

/// The mailboxes that a new account has, with their special use (RFC 6154), in the order of their names but INBOX. It is
/// subscribed to all of them.
pub const SPECIAL_MAILBOXES: [(&str, Option<&str>); 6] = [
    ("INBOX", None),
    ("Archive", Some("\\Archive")),
    ("Drafts", Some("\\Drafts")),
    ("Junk", Some("\\Junk")),
    ("Sent", Some("\\Sent")),
    ("Trash", Some("\\Trash")),
];

/// So many entries about messages that are gone a mailbox may have, beside two for each message that is there, before
/// [`Mailboxes::tidy`] puts them together.
pub const GONE_ENTRIES_MAX: u64 = 1000;

/// The mailboxes of all accounts of a Home.
///
/// Methods that change something return after the change is durable. They may block, so they are not for threads that others
/// wait for; [`Mailboxes::deliver`] and [`Mailboxes::delivered`] never do. None must be called from a callback. An account
/// that was given a name by [`crate::name::account`]'s rule is meant by it; any other name is [`StoreError::AccountName`].
///
/// Whatever asks for an account can fail with [`StoreError::NoAccount`], and everything with the errors of a disk: see
/// [`StoreError`]. Below, `# Errors` lists what there is besides.
pub trait Mailboxes: Send + Sync {
    /// Makes an account with [`SPECIAL_MAILBOXES`], all subscribed to. `now` becomes their uidvalidity.
    ///
    /// # Errors
    /// [`StoreError::AccountName`], [`StoreError::AccountExists`].
    fn create_account(&self, account: &str, now: UnixTime) -> Result<(), StoreError>;

    /// Whether there is such an account.
    fn has_account(&self, account: &str) -> bool;

    /// The names of all accounts, in order.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn list_accounts(&self) -> Result<Vec<String>, StoreError>;

    /// Removes an account and all its mail, for good. Who watches it finds that it has ended.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`].
    fn remove_account(&self, account: &str) -> Result<(), StoreError>;

    /// Sets an account's mailbox aside, whole and durably: the account is there no more, and one of the same name
    /// begins empty. Who watches it or reads it finds that it has ended.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`]. After one of the disk it is set aside by whoever asks for the account next.
    fn set_aside(&self, account: &str, now: UnixTime) -> Result<SetAside, StoreError>;

    /// The mailboxes that were set aside, by account and date.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn list_set_aside(&self) -> Result<Vec<SetAside>, StoreError>;

    /// Where it is, for the operator to read.
    fn place_of(&self, aside: &SetAside) -> String;

    /// Brings back a mailbox that was set aside, as the account's of its name.
    ///
    /// # Errors
    /// [`StoreError::AccountExists`]; [`StoreError::NoAccount`] when it is not there.
    fn bring_back(&self, aside: &SetAside) -> Result<(), StoreError>;

    /// Stores a message and calls `done` with its receipt after the commit. An item that has arrived before is not stored
    /// again. This never blocks: when too much waits already, `done` gets [`StoreError::Busy`] at once, on this thread.
    fn deliver(&self, account: &str, delivery: Delivery, done: Done);

    /// As [`Mailboxes::deliver`], and gives what is to be awaited.
    fn delivered(&self, account: &str, delivery: Delivery) -> Delivering {
        let (delivering, done) = Delivering::new();
        self.deliver(account, delivery, done);
        delivering
    }

    /// Stores a message and waits for the commit, also for room in the queue.
    ///
    /// # Errors
    /// [`StoreError::MailboxName`], [`StoreError::Limit`], [`StoreError::Source`].
    fn deliver_and_wait(&self, account: &str, delivery: Delivery) -> Result<Receipt, StoreError>;

    /// Appends a client's message to a mailbox that exists.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], [`StoreError::Limit`], [`StoreError::Source`].
    fn append(&self, account: &str, append: Append) -> Result<Receipt, StoreError>;

    /// Changes flags of messages.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], [`StoreError::Limit`].
    fn update_flags(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        update: FlagUpdate,
    ) -> Result<FlagsChanged, StoreError>;

    /// Copies messages to the mailbox of a name, all or none.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`].
    fn copy(&self, account: &str, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError>;

    /// Moves messages to the mailbox of a name, all or none (RFC 6851).
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`].
    fn relocate(&self, account: &str, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError>;

    /// Removes messages for good and tells their uids, in order.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`].
    fn expunge(
        &self,
        account: &str,
        mailbox: MailboxId,
        uids: &Uids,
        which: Expunge,
    ) -> Result<Vec<u32>, StoreError>;

    /// Makes a mailbox; its parents need not exist.
    ///
    /// # Errors
    /// [`StoreError::MailboxExists`], [`StoreError::MailboxName`], [`StoreError::Limit`].
    fn create_mailbox(
        &self,
        account: &str,
        mailbox: &str,
        special_use: Option<&str>,
    ) -> Result<MailboxId, StoreError>;

    /// Deletes a mailbox with its messages; those below it stay.
    ///
    /// # Errors
    /// [`StoreError::Inbox`], [`StoreError::NoMailbox`].
    fn delete_mailbox(&self, account: &str, mailbox: &str) -> Result<(), StoreError>;

    /// Renames a mailbox and those below it. Renaming INBOX moves its messages to a new mailbox and leaves INBOX, and what
    /// is below it, as it was (RFC 9051 section 6.3.6).
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`], [`StoreError::MailboxExists`], [`StoreError::MailboxName`].
    fn rename_mailbox(&self, account: &str, from: &str, to: &str) -> Result<(), StoreError>;

    /// Subscribes to a name or ends it; the mailbox need not exist.
    ///
    /// # Errors
    /// [`StoreError::MailboxName`], [`StoreError::Limit`].
    fn subscribe(&self, account: &str, mailbox: &str, wanted: Subscription) -> Result<(), StoreError>;

    /// Forgets items of an account that arrived before `before`, whatever their ids are: a second delivery of one of them
    /// would be stored again. Works in small steps, so that deliveries need not wait for long; tells how many were forgotten.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`].
    fn forget_arrived(&self, account: &str, before: UnixTime) -> Result<u64, StoreError>;

    /// Puts together what is remembered of messages that are gone, in mailboxes where that is more than
    /// [`GONE_ENTRIES_MAX`] allows: else it would grow with every expunge for ever. After it there is at most one entry more
    /// than there are messages. Who asks for [`Reader::changes`] from before it hears of all uids that are gone, also of those
    /// he knew to be, and of none that is there. Tells how many entries fewer there are.
    ///
    /// # Errors
    /// [`StoreError::NoAccount`].
    fn tidy(&self, account: &str) -> Result<u64, StoreError>;

    /// Reads all that is kept of an account and fails when it is damaged.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::NoAccount`].
    fn check_account(&self, account: &str) -> Result<(), StoreError>;

    /// A view on an account's changes; cheap. The account need not exist.
    ///
    /// # Errors
    /// [`StoreError::AccountName`].
    fn watch(&self, account: &str) -> Result<Watch, StoreError>;

    /// Reads an account beside those who change it, without waiting for them.
    ///
    /// # Errors
    /// [`StoreError::AccountName`], [`StoreError::NoAccount`].
    fn reader(&self, account: &str) -> Result<Box<dyn Reader>, StoreError>;
}

/// Reads one account. Each question sees all commits before it. All may block, and fail as a disk does.
pub trait Reader: Send {
    /// All mailboxes by name.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn mailboxes(&self) -> Result<Vec<Mailbox>, StoreError>;

    /// The mailbox of a name.
    ///
    /// # Errors
    /// Those of the disk; a name that no mailbox can have is no error but found nowhere.
    fn mailbox(&self, name: &str) -> Result<Option<Mailbox>, StoreError>;

    /// Names subscribed to, in order; mailboxes of those names need not exist.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn subscriptions(&self) -> Result<Vec<String>, StoreError>;

    /// The account's keywords; the one at index `i` is [`mailbox::Flags::keyword`]`(i)`.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn keywords(&self) -> Result<Vec<String>, StoreError>;

    /// Counts what is in a mailbox; nothing in one that is not there.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn totals(&self, mailbox: MailboxId) -> Result<Totals, StoreError>;

    /// Hands every message with a uid of `uids` to `each`, in order of uid.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn each_message(
        &self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), StoreError>;

    /// The entry of one message.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn message(&self, mailbox: MailboxId, uid: u32) -> Result<Option<Message>, StoreError> {
        let mut found = None;
        self.each_message(mailbox, uid..=uid, &mut |message| found = Some(message))?;
        Ok(found)
    }

    /// What changed in a mailbox after `since`, a mod-sequence told earlier, by a mailbox whose next uid was
    /// `uidnext` then. Costs as much as there are changes.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`] when it was deleted meanwhile; else those of the disk.
    fn changes(&self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, StoreError>;

    /// Appends to `out` up to `length` octets of a message from `offset` on; false when there is no such message.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn read_body(
        &self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, StoreError>;
}
