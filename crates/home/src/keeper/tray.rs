//! Where in an account mail is put.

/// The mailbox of the postmaster's account in which what he is to look at waits.
pub(crate) const QUARANTINE: &str = "Quarantine";

/// A mailbox, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tray {
    /// INBOX.
    Inbox,
    /// The account's mailbox for spam, whatever it calls it.
    Junk,
    /// The operator's. It is ours, also where mailboxes are another program's.
    Quarantine,
}

impl Tray {
    /// What it is called where the account says nothing else.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inbox => "INBOX",
            Self::Junk => "Junk",
            Self::Quarantine => QUARANTINE,
        }
    }
}
