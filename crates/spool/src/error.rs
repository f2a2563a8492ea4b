//! Errors, by blame.

use mail::ItemId;

/// Why the spool did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// The cap is reached: the operator raises it or waits until items leave. Senders get 452.
    #[error("the spool is full: {octets} of {octets_max} octets")]
    Full {
        /// Octets in the spool.
        octets: u64,
        /// Octets that it may hold.
        octets_max: u64,
    },
    /// The disk failed. The operation counts as not done; senders get 451.
    #[error("could not {what}: {cause}")]
    Io {
        /// The step that was tried, such as `read an item`.
        what: String,
        /// The system's error.
        cause: String,
    },
    /// A record that was acknowledged can't be read: the operator restores the file or moves it away.
    #[error(
        "{file} is damaged at octet {offset}: restore it from a backup, or move it out of the spool to lose what is in it"
    )]
    Damaged {
        /// The segment file.
        file: String,
        /// The octet in the file where the record begins.
        offset: u64,
    },
    /// A file has what this version does not know: it was not touched.
    #[error(
        "{file} was written by a newer version: install that version again, or move the spool away to begin a new one"
    )]
    Newer {
        /// The segment file.
        file: String,
    },
    /// No such item.
    #[error("no item {0}")]
    NoItem(ItemId),
    /// The spool is shutting down.
    #[error("the spool is closed")]
    Closed,
}

impl SpoolError {
    pub(crate) fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        Self::Io { what: what.into(), cause: error.to_string() }
    }
}
