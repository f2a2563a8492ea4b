//! Accounts that come and go. Their mailboxes are the caller's part.
//!
//! Who gets a name that another one had gets nothing of the other's: no alias that led there, and nothing that was
//! taken before the other was removed.

use std::sync::MutexGuard;

use daemon::problem::Problem;
use mail::{Address, UnixTime};
use store::tables::{AccountRow, AliasRow, Past};

use super::{Directory, checked_password, lock, no_account};
use crate::account_id::AccountId;
use crate::password;

/// An account that may be added.
pub struct NewAccount {
    account: AccountId,
    address: Address,
    password: String,
}

impl NewAccount {
    /// The account's name in the store.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }
}

/// An account that was removed.
#[derive(Debug)]
pub struct Removed {
    /// The account's name in the store.
    pub account: AccountId,
    /// Aliases that led to it and do no more, in order.
    pub aliases: Vec<String>,
}

impl Directory {
    /// Held by who changes directory and mailboxes together, so that no two do.
    pub fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.people)
    }

    /// Looks at all that may be wrong with a new account.
    ///
    /// # Errors
    /// An address that can't be an account's or is taken, or a password that is too short or too long.
    pub fn prepare_account(&self, address: &Address, password: &str) -> Result<NewAccount, Problem> {
        self.own(address)?;
        let account = AccountId::of(address)?;
        let view = self.view();
        if view.accounts.contains_key(&account) || view.aliases.contains_key(&address.canonical()) {
            return Err(Problem::setup(
                format!("{address} is there already"),
                "see 'postern user list' and 'postern alias list'",
            ));
        }
        let password = checked_password(password).and_then(password::hash)?;
        Ok(NewAccount { account, address: address.clone(), password })
    }

    /// Adds an account, whose mailbox is there. Tells the aliases that led to one of that name before and do no more: who
    /// takes over is named again, whoever it is.
    ///
    /// # Errors
    /// The disk's word; nobody was added.
    pub fn admit(&self, new: NewAccount, past: Past) -> Result<(AccountId, Vec<String>), Problem> {
        let NewAccount { account, address, password } = new;
        let (canonical, leading) = (address.canonical(), self.leading_to(&address));
        let row = AccountRow { name: account.as_str().to_owned(), address: canonical, password };
        self.change(|kept| kept.admit(&row, &leading, past))?;
        Ok((account, names_of(leading)))
    }

    /// Adds an account whose mailboxes nobody has to keep in step: [`Self::prepare_account`] and [`Self::admit`] in one.
    ///
    /// # Errors
    /// The errors of those two.
    pub fn add_account(&self, address: &Address, password: &str) -> Result<AccountId, Problem> {
        let new = self.prepare_account(address, password)?;
        self.admit(new, Past::Anothers(None)).map(|(account, _)| account)
    }

    /// Removes an account from the directory, with the aliases that lead to it. Its mailbox stays until the caller sets
    /// it aside.
    ///
    /// # Errors
    /// No such account, or the disk's word; nobody was removed.
    pub fn remove_account(&self, address: &Address, now: UnixTime) -> Result<Removed, Problem> {
        let account = AccountId::of(address)?;
        let canonical = address.canonical();
        if !self.view().by_address.contains_key(&canonical) {
            return Err(no_account(address));
        }
        let leading = self.leading_to(address);
        self.change(|kept| kept.remove(account.as_str(), &leading, now))?;
        Ok(Removed { account, aliases: names_of(leading) })
    }

    /// Aliases that lead to this address or one of its sub-addresses, and by which target.
    fn leading_to(&self, address: &Address) -> Vec<AliasRow> {
        let (view, local) = (self.view(), address.canonical_local());
        let leads = |target: &Address| {
            let (named, its) = (target.canonical(), target.canonical_local());
            let below = self.base_of(&its) == Some(local.as_str()) && !view.aliases.contains_key(&named);
            target.domain() == address.domain() && (its == local || below)
        };
        let mut leading = Vec::new();
        for (alias, targets) in &view.aliases {
            let theirs = targets.iter().filter(|target| leads(target));
            leading
                .extend(theirs.map(|target| AliasRow { alias: alias.clone(), target: target.canonical() }));
        }
        leading
    }
}

fn names_of(leading: Vec<AliasRow>) -> Vec<String> {
    let mut names: Vec<String> = leading.into_iter().map(|row| row.alias).collect();
    names.dedup();
    names
}
