//! What a filter can do wrong.

/// The filter is at fault: the connection is of no more use, and the message is treated as if the filter were
/// not there. The log gets the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A packet that is longer than any that may come, or empty.
    #[error("a packet of {0} octets")]
    Length(u32),
    /// A packet whose content is not what its kind says.
    #[error("a malformed packet of kind {:?}", char::from(*.0))]
    Malformed(u8),
    /// A packet of a kind that is not known.
    #[error("a packet of unknown kind {:?}", char::from(*.0))]
    Unknown(u8),
    /// A packet that has no place where it came.
    #[error("a packet of kind {:?} where none is due", char::from(*.0))]
    Unexpected(u8),
    /// It speaks a version that is not spoken here.
    #[error("version {0} of the protocol")]
    Version(u32),
    /// It insists on actions or steps that were not offered.
    #[error("actions or steps that were not offered to it")]
    NotOffered,
    /// More changes than a message may get.
    #[error("more changes of the header than are taken")]
    TooMuch,
}
