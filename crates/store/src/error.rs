//! Why the store did not do what was asked.

/// Variants by blame. The first group is the caller's (in the end a client's): say no and carry on. The
/// second is the operator's: answer "try again later", log it, and tell what to do. The third is ours: answer
/// "try again later" and log it. Every variant can be shared by all jobs of a failed batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not 1 to 64 of `a-z 0-9 . _ -`, or it starts with a dot.
    #[error("an account name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and does not start with '.'")]
    AccountName,
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(String),
    /// There is such an account already.
    #[error("there is an account {0} already")]
    AccountExists(String),
    /// The mailbox name is empty, too long, too deep or has a control character.
    #[error("no mailbox can have that name")]
    MailboxName,
    /// There is no such mailbox.
    #[error("there is no such mailbox")]
    NoMailbox,
    /// There is such a mailbox already.
    #[error("there is a mailbox of that name already")]
    MailboxExists,
    /// INBOX can't be deleted.
    #[error("INBOX always exists")]
    Inbox,
    /// A documented limit is reached; it is named.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The bytes of the message could not be read from where the caller keeps them.
    #[error("the message could not be read from its source: {0}")]
    Source(String),
    /// The writer's queue is full: nothing was stored, try again later.
    #[error("too much mail is waiting to be written; try again later")]
    Busy,

    /// The disk is full.
    #[error("no space is left for {0}: free some on that disk, then mail is taken again")]
    DiskFull(String),
    /// Files can't be opened or written.
    #[error("{file} can't be used ({cause}): check that its directory exists and belongs to the service")]
    Files {
        /// The file's path.
        file: String,
        /// The system's error.
        cause: String,
    },
    /// The file is damaged; nothing more is written to it.
    #[error("{0} is damaged: stop the service and restore that file from a backup")]
    Damaged(String),
    /// A newer version of the program has written the file.
    #[error("{0} was written by a newer version: install that version again, or restore an older backup")]
    Newer(String),

    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The database refused what we asked of it.
    #[error("the database refused a statement: {0}")]
    Database(String),
}

impl StoreError {
    /// What the system's `error` means for `file`.
    #[must_use]
    pub fn from_io(file: &std::path::Path, error: &std::io::Error) -> Self {
        let file = file.display().to_string();
        if error.kind() == std::io::ErrorKind::StorageFull {
            Self::DiskFull(file)
        } else {
            Self::Files { file, cause: error.to_string() }
        }
    }

    /// Whether the request itself is at fault, so that asking again gives the same answer.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::AccountName
                | Self::NoAccount(_)
                | Self::AccountExists(_)
                | Self::MailboxName
                | Self::NoMailbox
                | Self::MailboxExists
                | Self::Inbox
                | Self::Limit(_)
        )
    }
}
