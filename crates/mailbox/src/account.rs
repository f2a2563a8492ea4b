//! What a session asks of the mailboxes of one account.
//!
//! The program implements [`Account`] over its store; tests implement it in memory. All calls may block, so
//! whoever runs a session must not do so where others wait.

use std::ops::RangeInclusive;
use std::sync::Arc;

use mail::UnixTime;

use crate::{Changes, Copied, FlagList, FlagMode, FlagsChanged, Mailbox, MailboxId, Message, Totals, Uids};

/// Why the account did not do what was asked. The session turns it into a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The name and the password do not belong together.
    #[error("user name or password is wrong; the user name is the whole address")]
    Denied,
    /// The mailbox does not exist.
    #[error("there is no such mailbox")]
    NoMailbox,
    /// The mailbox exists already.
    #[error("there is a mailbox of that name already")]
    MailboxExists,
    /// What was asked can't be done, ever; the text goes to the client.
    #[error("{0}")]
    Refused(String),
    /// A limit is reached; the text goes to the client.
    #[error("{0}")]
    Limit(String),
    /// Not now. The cause is logged by the account and is not for the client.
    #[error("try again later")]
    Unavailable,
}

/// A message that a client starts to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The mailbox.
    pub mailbox: String,
    /// Its octets; exactly so many follow.
    pub octets: u64,
    /// Its flags.
    pub flags: FlagList,
    /// Its date; now when there is none.
    pub internal_date: Option<UnixTime>,
}

/// The place of an appended message: what APPENDUID tells (RFC 4315 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The mailbox's uidvalidity.
    pub uidvalidity: u32,
    /// The message's uid.
    pub uid: u32,
}

/// Called, on any thread, when the mailbox that the session waits for may have changed. It does not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The mailboxes of one account, or of none before [`Account::open`] has succeeded.
///
/// Mailbox names come as clients gave them, in UTF-8; the account checks them. INBOX comes in any case.
pub trait Account {
    /// What [`Account::listen`] is about. Called once, before anything else.
    fn on_change(&mut self, wake: Wake);

    /// From now on the wake is to be called after every change of this mailbox, whoever made it, and after its end;
    /// with none it is not to be called any more. A session listens while it idles, so that nobody else is woken.
    fn listen(&mut self, mailbox: Option<MailboxId>);

    /// Binds it to the account whose login was found right. Nothing else is asked before.
    ///
    /// # Errors
    /// [`AccountError::Unavailable`] when it can't be opened.
    fn open(&mut self, account: &str) -> Result<(), AccountError>;

    /// All mailboxes, sorted by name.
    ///
    /// # Errors
    /// As for all below: see [`AccountError`].
    fn mailboxes(&mut self) -> Result<Vec<Mailbox>, AccountError>;

    /// Names subscribed to, sorted; their mailboxes need not exist.
    fn subscriptions(&mut self) -> Result<Vec<String>, AccountError>;

    /// Makes a mailbox.
    fn create(&mut self, mailbox: &str) -> Result<(), AccountError>;

    /// Deletes a mailbox; those below it stay.
    fn delete(&mut self, mailbox: &str) -> Result<(), AccountError>;

    /// Renames a mailbox and those below it; INBOX is emptied into the new one.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), AccountError>;

    /// Subscribes to a name.
    fn subscribe(&mut self, mailbox: &str) -> Result<(), AccountError>;

    /// Ends a subscription.
    fn unsubscribe(&mut self, mailbox: &str) -> Result<(), AccountError>;

    /// Counts a mailbox.
    fn status(&mut self, mailbox: &str) -> Result<(Mailbox, Totals), AccountError>;

    /// Opens a mailbox and hands all its messages to `each`, by uid. From now on [`Account::changes`] tells
    /// what becomes of it.
    fn select(&mut self, mailbox: &str, each: &mut dyn FnMut(Message)) -> Result<Mailbox, AccountError>;

    /// What changed after the mod-sequence `since`, when the next uid was `uidnext`.
    fn changes(&mut self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, AccountError>;

    /// The account's keywords; the first has the bit [`crate::Flags::FIRST_KEYWORD_BIT`].
    fn keywords(&mut self) -> Result<Vec<String>, AccountError>;

    /// Hands the entries of messages in a range of uids to `each`, by uid.
    fn messages(
        &mut self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), AccountError>;

    /// Appends to `out` up to `length` octets of a message from `offset` on; false when it is gone.
    fn read(
        &mut self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, AccountError>;

    /// Changes flags.
    fn store(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        mode: FlagMode,
        flags: &FlagList,
    ) -> Result<FlagsChanged, AccountError>;

    /// Copies messages, all or none.
    fn copy(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, AccountError>;

    /// Moves messages, all or none.
    fn relocate(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, AccountError>;

    /// Removes the messages with `\Deleted` among these.
    fn expunge(&mut self, mailbox: MailboxId, uids: &Uids) -> Result<(), AccountError>;

    /// Starts a message. At most one is being appended at a time.
    fn append_begin(&mut self, message: &NewMessage) -> Result<(), AccountError>;

    /// The next octets of the message.
    fn append_piece(&mut self, octets: &[u8]) -> Result<(), AccountError>;

    /// All octets came: stores the message durably.
    fn append_finish(&mut self) -> Result<Appended, AccountError>;

    /// The message is not to be stored. Also called when no message has begun.
    fn append_abort(&mut self);
}
