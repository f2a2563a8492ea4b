//! Flags of messages: the five of IMAP and the keywords that an account has ever used.

/// Most keywords an account can have: one bit each.
pub const KEYWORDS_MAX: usize = 56;
/// Longest keyword in octets.
pub const KEYWORD_LENGTH_MAX: usize = 64;

/// A set of flags (RFC 3501 section 2.3.2) as bits. System flags mean the same everywhere; the bits of keywords are
/// given out per account, in the order of [`crate::Account::keywords`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u64);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
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
    const SYSTEM: Self = Self(31);

    /// The flag of the keyword at `index` in the account's list; none past [`KEYWORDS_MAX`].
    #[must_use]
    pub fn keyword(index: usize) -> Self {
        match u32::try_from(index) {
            Ok(index) if index < u64::BITS - Self::FIRST_KEYWORD_BIT => {
                Self(1 << (Self::FIRST_KEYWORD_BIT + index))
            }
            _ => Self::NONE,
        }
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The system flags of the set.
    #[must_use]
    pub const fn system(self) -> Self {
        Self(self.0 & Self::SYSTEM.0)
    }
}

/// Flags as a client or a filter names them; keywords are taken into the account's list when they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagList {
    /// System flags; other bits are ignored.
    pub system: Flags,
    /// Keywords, case kept as first seen and ignored when compared.
    pub keywords: Vec<String>,
}

impl From<Flags> for FlagList {
    fn from(system: Flags) -> Self {
        Self { system: system.system(), keywords: Vec::new() }
    }
}
