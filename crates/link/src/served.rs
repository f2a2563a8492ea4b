//! Which of a home's domains Edge has it serve. Edge's operator decides; a home is told.

use mail::{Domain, UnixTime};
use serde::{Deserialize, Serialize};

/// The capability of a side that knows [`crate::Frame::Served`].
pub const SERVED_DOMAINS: &str = "served-domains";
/// Most domains that one [`ServedDomains`] on the link names; what is past it is left out.
pub const SERVED_DOMAINS_MAX: usize = 2000;
/// Most domains that the answer to a pairing request names, which has to be a small frame.
pub const SERVED_AT_PAIRING_MAX: usize = 32;

/// Whose mail a domain's is, as one home is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Served {
    /// This home has it.
    Here,
    /// Another home has it.
    Elsewhere {
        /// The other home's name at Edge.
        home: String,
        /// When it was last linked, if it ever was.
        last_here: Option<UnixTime>,
    },
    /// Nobody's: this home's pairing code was for other domains.
    NotGranted,
}

impl Served {
    /// The same without the time: who it is, for comparing.
    #[must_use]
    pub fn whose(&self) -> Self {
        match self {
            Self::Elsewhere { home, .. } => Self::Elsewhere { home: home.clone(), last_here: None },
            other => other.clone(),
        }
    }
}

/// A domain that a home claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedDomain {
    /// The domain.
    pub domain: Domain,
    /// The home whose mail the domain's is.
    pub served: Served,
}

/// What a home is told of the domains that it claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedDomains {
    /// The home's own name at Edge, for commands there.
    pub home: String,
    /// Its domains, at most [`SERVED_DOMAINS_MAX`].
    pub domains: Vec<ServedDomain>,
}

impl ServedDomains {
    /// The domains that this home does not get.
    pub fn withheld(&self) -> impl Iterator<Item = &ServedDomain> {
        self.domains.iter().filter(|domain| domain.served != Served::Here)
    }
}
