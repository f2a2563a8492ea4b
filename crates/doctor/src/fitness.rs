//! The three questions that an operator has.

use serde::{Deserialize, Serialize};

/// What an operator wants to know in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fitness {
    /// Fit to receive mail from the world.
    Receive,
    /// Fit to send mail to the world, so that it arrives.
    Send,
    /// Nobody sees where the house is.
    Hidden,
}

impl Fitness {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Receive, Self::Send, Self::Hidden];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Hidden => "hidden",
        }
    }

    /// How the answer begins.
    #[must_use]
    pub const fn question(self) -> &'static str {
        match self {
            Self::Receive => "fit to receive",
            Self::Send => "fit to send",
            Self::Hidden => "hidden",
        }
    }
}
