//! What the store calls an account.

use std::fmt;

use daemon::problem::Problem;
use mail::Address;

/// The store's name of an account: `alice--example.org`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub(crate) String);

impl AccountId {
    /// For an address whose local part can be part of a file name.
    ///
    /// # Errors
    /// One that can't be a file's name, with what to take in its place.
    pub fn of(address: &Address) -> Result<Self, Problem> {
        let local = address.canonical_local();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let name = format!("{local}--{}", address.domain());
        if !local.chars().all(plain) || local.starts_with('.') || name.len() > 64 {
            return Err(Problem::setup(
                format!("{address} can't be an account"),
                "use a-z, 0-9, '.', '_' and '-' before the @, 62 characters in all; give other addresses as aliases",
            ));
        }
        Ok(Self(name))
    }

    /// The account's name in the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for AccountId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
