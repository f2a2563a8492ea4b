//! Accounts, aliases, and whose name was another's.

use mail::UnixTime;

use crate::StoreError;

/// The row of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountRow {
    /// Its name in the store of mailboxes; no two have the same.
    pub name: String,
    /// Its canonical address; no two have the same.
    pub address: String,
    /// The hash of its password.
    pub password: String,
}

/// One of the addresses that an alias stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AliasRow {
    /// The alias; `*@domain` is the catch-all.
    pub alias: String,
    /// One address that the alias stands for; an alias has a row for each.
    pub target: String,
}

/// All rows that are kept of people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Everybody {
    /// Accounts, in the order in which they were admitted.
    pub accounts: Vec<AccountRow>,
    /// Aliases, by alias and target.
    pub aliases: Vec<AliasRow>,
    /// By name: when an account of this name was removed last.
    pub removed: Vec<(String, UnixTime)>,
}

/// Who had the name of a new account before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// The same person, who is back.
    Own,
    /// Nobody, or another person. The time is noted as the end of that account; `None` notes nothing.
    Anothers(Option<UnixTime>),
}

/// The table of accounts and aliases.
pub trait People: Send + Sync {
    /// Reads all rows.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn everybody(&self) -> Result<Everybody, StoreError>;

    /// Adds an account, takes these targets away from their aliases, and notes whose the name was.
    ///
    /// # Errors
    /// [`StoreError::AccountExists`] when its name or its address is taken.
    fn admit(&self, new: &AccountRow, leading: &[AliasRow], past: Past) -> Result<(), StoreError>;

    /// Removes the account, takes these targets away from their aliases, and notes that it was removed at `at`, unless a
    /// later time is noted.
    ///
    /// # Errors
    /// Those of the disk; one that is not there is no error.
    fn remove(&self, account: &str, leading: &[AliasRow], at: UnixTime) -> Result<(), StoreError>;

    /// Gives the account of a canonical address another hash; false when there is none.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn set_password(&self, address: &str, password: &str) -> Result<bool, StoreError>;

    /// Adds targets to an alias, which is made when there is none. Those that it has already stay as they are.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn add_targets(&self, alias: &str, targets: &[String]) -> Result<(), StoreError>;

    /// Removes an alias with all its targets; false when there is none.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn remove_alias(&self, alias: &str) -> Result<bool, StoreError>;
}
