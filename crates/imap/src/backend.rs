//! What a session asks of the mailboxes, and in which words.
//!
//! The program implements [`Backend`] over its store; tests implement it in memory. All calls may block, so
//! whoever runs a session must not do so where others wait.

use std::ops::RangeInclusive;
use std::sync::Arc;

use mail::UnixTime;

/// Why the backend did not do what was asked. The session turns it into a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The name and the password do not belong together.
    #[error("the login is not known")]
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
    /// Not now. The cause is logged by the backend and is not for the client.
    #[error("try again later")]
    Unavailable,
}

/// A mailbox, however it is named meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailboxId(pub i64);

/// System flags in the low five bits; from bit 8 on the keywords, in the order of [`Backend::keywords`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u64);

impl Flags {
    /// `\Seen`.
    pub const SEEN: Self = Self(1);
    /// `\Answered`.
    pub const ANSWERED: Self = Self(2);
    /// `\Flagged`.
    pub const FLAGGED: Self = Self(4);
    /// `\Deleted`.
    pub const DELETED: Self = Self(8);
    /// `\Draft`.
    pub const DRAFT: Self = Self(16);
    /// The bit of the first keyword.
    pub const FIRST_KEYWORD_BIT: u32 = 8;

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Flags by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagList {
    /// System flags.
    pub system: Flags,
    /// Keywords as the client wrote them.
    pub keywords: Vec<String>,
}

/// A mailbox in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, levels separated by `/`, in UTF-8.
    pub name: String,
    /// Its special use with the backslash, such as `\Sent`.
    pub special_use: Option<String>,
}

/// What STATUS tells of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Messages.
    pub messages: u64,
    /// Those without `\Seen`.
    pub unseen: u64,
    /// Those with `\Deleted`.
    pub deleted: u64,
    /// Octets of all.
    pub octets: u64,
    /// The next uid.
    pub uidnext: u32,
    /// The uidvalidity.
    pub uidvalidity: u32,
    /// The latest change.
    pub modseq: u64,
}

/// A mailbox that is being selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// Its id.
    pub id: MailboxId,
    /// Its uidvalidity.
    pub uidvalidity: u32,
    /// The next uid.
    pub uidnext: u32,
    /// The latest change.
    pub modseq: u64,
}

/// A message's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its uid.
    pub uid: u32,
    /// Its flags.
    pub flags: Flags,
    /// Its latest change.
    pub modseq: u64,
    /// Its octets.
    pub octets: u64,
    /// When it came.
    pub internal_date: UnixTime,
}

/// What changed in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The latest change.
    pub modseq: u64,
    /// The next uid.
    pub uidnext: u32,
    /// Messages that are new or have other flags, by uid.
    pub messages: Vec<Message>,
    /// Ranges of uids that are gone.
    pub vanished: Vec<(u32, u32)>,
}

/// What STORE does with the flags a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagMode {
    /// Adds to them.
    Add,
    /// Takes away from them.
    Remove,
    /// Replaces them.
    Replace,
}

/// What a change of flags did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagsChanged {
    /// Uids of the messages that have other flags now, sorted.
    pub uids: Vec<u32>,
    /// The change's own mod-sequence, which no other change has; 0 when nothing changed.
    pub modseq: u64,
}

/// Where messages went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// The target's uidvalidity.
    pub uidvalidity: u32,
    /// Old and new uids, in order.
    pub uids: Vec<(u32, u32)>,
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

/// Where an appended message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The mailbox's uidvalidity.
    pub uidvalidity: u32,
    /// The message's uid.
    pub uid: u32,
}

/// Ranges of uids; they may span uids that are gone.
pub type Uids = [RangeInclusive<u32>];

/// Called, on any thread, when the mailbox that the session waits for may have changed. It does not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The mailboxes of one account, or of none before [`Backend::open`] has succeeded.
///
/// Mailbox names come as clients gave them, in UTF-8; the backend checks them. INBOX comes in any case.
pub trait Backend {
    /// What [`Backend::listen`] is about. Called once, before anything else.
    fn on_change(&mut self, wake: Wake);

    /// From now on the wake is to be called after every change of this mailbox, whoever made it, and after its end;
    /// with none it is not to be called any more. A session listens while it idles, so that nobody else is woken.
    fn listen(&mut self, mailbox: Option<MailboxId>);

    /// Binds the backend to the account whose login was found right. Nothing else is asked before.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when it can't be opened.
    fn open(&mut self, account: &str) -> Result<(), BackendError>;

    /// All mailboxes, sorted by name.
    ///
    /// # Errors
    /// As for all below: see [`BackendError`].
    fn mailboxes(&mut self) -> Result<Vec<Listed>, BackendError>;

    /// Names subscribed to, sorted; their mailboxes need not exist.
    fn subscriptions(&mut self) -> Result<Vec<String>, BackendError>;

    /// Makes a mailbox.
    fn create(&mut self, mailbox: &str) -> Result<(), BackendError>;

    /// Deletes a mailbox; those below it stay.
    fn delete(&mut self, mailbox: &str) -> Result<(), BackendError>;

    /// Renames a mailbox and those below it; INBOX is emptied into the new one.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), BackendError>;

    /// Subscribes to a name.
    fn subscribe(&mut self, mailbox: &str) -> Result<(), BackendError>;

    /// Ends a subscription.
    fn unsubscribe(&mut self, mailbox: &str) -> Result<(), BackendError>;

    /// Counts a mailbox.
    fn status(&mut self, mailbox: &str) -> Result<Status, BackendError>;

    /// Opens a mailbox and hands all its messages to `each`, by uid. From now on [`Backend::changes`] tells
    /// what becomes of it.
    fn select(&mut self, mailbox: &str, each: &mut dyn FnMut(Message)) -> Result<Selected, BackendError>;

    /// What changed after the mod-sequence `since`, when the next uid was `uidnext`.
    fn changes(&mut self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, BackendError>;

    /// The account's keywords; the first has the bit [`Flags::FIRST_KEYWORD_BIT`].
    fn keywords(&mut self) -> Result<Vec<String>, BackendError>;

    /// Hands the entries of messages in a range of uids to `each`, by uid.
    fn messages(
        &mut self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), BackendError>;

    /// Appends to `out` up to `length` octets of a message from `offset` on; false when it is gone.
    fn read(
        &mut self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, BackendError>;

    /// Changes flags.
    fn store(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        mode: FlagMode,
        flags: &FlagList,
    ) -> Result<FlagsChanged, BackendError>;

    /// Copies messages, all or none.
    fn copy(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, BackendError>;

    /// Moves messages, all or none.
    fn relocate(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, BackendError>;

    /// Removes the messages with `\Deleted` among these.
    fn expunge(&mut self, mailbox: MailboxId, uids: &Uids) -> Result<(), BackendError>;

    /// Starts a message. At most one is being appended at a time.
    fn append_begin(&mut self, message: &NewMessage) -> Result<(), BackendError>;

    /// The next octets of the message.
    fn append_piece(&mut self, octets: &[u8]) -> Result<(), BackendError>;

    /// All octets came: stores the message durably.
    fn append_finish(&mut self) -> Result<Appended, BackendError>;

    /// The message is not to be stored. Also called when no message has begun.
    fn append_abort(&mut self);
}
