//! Names of the mailboxes that mail is put into.

/// The mailbox of the postmaster's account that messages wait in.
pub(crate) const QUARANTINE: &str = "Quarantine";
