//! What is negotiated: what the filter may change, and which steps it wants to see.

/// What a filter may do with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions(pub u32);

impl Actions {
    /// Add header fields.
    pub const ADD_HEADER: Self = Self(0x01);
    /// Change and delete header fields.
    pub const CHANGE_HEADER: Self = Self(0x10);
    /// Have the message quarantined.
    pub const QUARANTINE: Self = Self(0x20);
    /// Ask for macros of its own choice. What it asks for is passed over: it gets all there are.
    pub const CHOOSE_MACROS: Self = Self(0x100);
    /// All that is offered. Recipients, sender and body stay as they are: the envelope is Edge's, and the body
    /// may be signed.
    pub const OFFERED: Self =
        Self(Self::ADD_HEADER.0 | Self::CHANGE_HEADER.0 | Self::QUARANTINE.0 | Self::CHOOSE_MACROS.0);

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Steps that a filter leaves out, or does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps(pub u32);

impl Steps {
    /// Nothing is left out and everything is answered.
    pub const ALL: Self = Self(0);
    /// The client's address and name are not sent.
    pub const NO_CONNECT: Self = Self(0x01);
    /// HELO is not sent.
    pub const NO_HELO: Self = Self(0x02);
    /// The reverse-path is not sent.
    pub const NO_MAIL: Self = Self(0x04);
    /// Recipients are not sent.
    pub const NO_RCPT: Self = Self(0x08);
    /// The body is not sent.
    pub const NO_BODY: Self = Self(0x10);
    /// Header fields are not sent.
    pub const NO_HEADERS: Self = Self(0x20);
    /// The end of the header is not sent.
    pub const NO_EOH: Self = Self(0x40);
    /// Header fields are not answered.
    pub const NO_REPLY_HEADER: Self = Self(0x80);
    /// No unknown commands; none are ever sent.
    pub const NO_UNKNOWN: Self = Self(0x100);
    /// DATA is not sent.
    pub const NO_DATA: Self = Self(0x200);
    /// The filter may ask to be spared the rest of the body.
    pub const SKIP: Self = Self(0x400);
    /// The connection is not answered.
    pub const NO_REPLY_CONNECT: Self = Self(0x1000);
    /// The filter does not answer HELO.
    pub const NO_REPLY_HELO: Self = Self(0x2000);
    /// The reverse-path is not answered.
    pub const NO_REPLY_MAIL: Self = Self(0x4000);
    /// Recipients are not answered.
    pub const NO_REPLY_RCPT: Self = Self(0x8000);
    /// The filter does not answer DATA.
    pub const NO_REPLY_DATA: Self = Self(0x1_0000);
    /// Unknown commands are not answered.
    pub const NO_REPLY_UNKNOWN: Self = Self(0x2_0000);
    /// The end of the header is not answered.
    pub const NO_REPLY_EOH: Self = Self(0x4_0000);
    /// Pieces of the body are not answered.
    pub const NO_REPLY_BODY: Self = Self(0x8_0000);
    /// Values of header fields keep the white space after the colon.
    pub const LEADING_SPACE: Self = Self(0x10_0000);
    /// All that is offered: everything but recipients that were refused before, and packets of more than 64 KiB.
    pub const OFFERED: Self = Self(0x1f_f7ff);

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
