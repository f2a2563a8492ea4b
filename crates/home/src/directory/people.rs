//! Accounts that come and go. Their mailboxes are the caller's part.
//!
//! Who gets a name that another one had gets nothing of the other's: no alias that led there, and nothing that was
//! taken before the other was removed.

use std::sync::MutexGuard;

use daemon::problem::Problem;
use mail::{Address, UnixTime};
use rusqlite::Connection;

use super::{AccountId, Directory, checked_password, lock, no_account};
use crate::password;

/// An account that may be added.
pub struct NewAccount {
    account: AccountId,
    address: Address,
    password: String,
}

impl NewAccount {
    /// Its name in the store.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }
}

/// Whose the name was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// The same one's, who is back.
    Own,
    /// Nobody's, or another's: until then, where that is not known already.
    Anothers(Option<UnixTime>),
}

/// An account that was removed.
#[derive(Debug)]
pub struct Removed {
    /// Its name in the store.
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
    pub fn admit(&self, new: NewAccount, past: Past) -> Result<(AccountId, Vec<String>), Problem> {
        let NewAccount { account, address, password } = new;
        let (canonical, leading) = (address.canonical(), self.leading_to(&address));
        self.change(|db| {
            let transaction = db.unchecked_transaction()?;
            let row = (account.as_str(), &canonical, &password);
            transaction.execute("INSERT INTO account (name, address, password) VALUES (?1, ?2, ?3)", row)?;
            remove_targets(&transaction, &leading)?;
            match past {
                Past::Own => {
                    transaction.execute("DELETE FROM removed WHERE name = ?1", [account.as_str()])?;
                }
                Past::Anothers(Some(until)) => note_removed(&transaction, &account, until)?,
                Past::Anothers(None) => {}
            }
            transaction.commit()?;
            Ok(1)
        })?;
        Ok((account, names_of(leading)))
    }

    /// Adds an account. Its mailbox is made by the caller.
    #[cfg(test)]
    pub fn add_account(&self, address: &Address, password: &str) -> Result<AccountId, Problem> {
        let new = self.prepare_account(address, password)?;
        self.admit(new, Past::Anothers(None)).map(|(account, _)| account)
    }

    /// Removes an account from the directory, with the aliases that lead to it. Its mailbox stays until the caller sets
    /// it aside.
    pub fn remove_account(&self, address: &Address, now: UnixTime) -> Result<Removed, Problem> {
        let account = AccountId::of(address)?;
        let canonical = address.canonical();
        if !self.view().by_address.contains_key(&canonical) {
            return Err(no_account(address));
        }
        let leading = self.leading_to(address);
        self.change(|db| {
            let transaction = db.unchecked_transaction()?;
            transaction.execute("DELETE FROM account WHERE address = ?1", [&canonical])?;
            remove_targets(&transaction, &leading)?;
            note_removed(&transaction, &account, now)?;
            transaction.commit()?;
            Ok(1)
        })?;
        Ok(Removed { account, aliases: names_of(leading) })
    }

    /// Aliases that lead to this address or one of its sub-addresses, and by which target.
    fn leading_to(&self, address: &Address) -> Vec<(String, String)> {
        let (view, local) = (self.view(), address.canonical_local());
        let leads = |target: &Address| {
            let (named, its) = (target.canonical(), target.canonical_local());
            let below = self.base_of(&its) == Some(local.as_str()) && !view.aliases.contains_key(&named);
            target.domain() == address.domain() && (its == local || below)
        };
        let mut leading = Vec::new();
        for (alias, targets) in &view.aliases {
            let theirs = targets.iter().filter(|target| leads(target));
            leading.extend(theirs.map(|target| (alias.clone(), target.canonical())));
        }
        leading
    }
}

fn names_of(leading: Vec<(String, String)>) -> Vec<String> {
    let mut names: Vec<String> = leading.into_iter().map(|(alias, _)| alias).collect();
    names.dedup();
    names
}

fn remove_targets(db: &Connection, leading: &[(String, String)]) -> rusqlite::Result<()> {
    for row in leading {
        db.execute("DELETE FROM alias WHERE address = ?1 AND target = ?2", (&row.0, &row.1))?;
    }
    Ok(())
}

fn note_removed(db: &Connection, account: &AccountId, at: UnixTime) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO removed (name, at) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET at = max(at, ?2)";
    db.execute(sql, (account.as_str(), i64::try_from(at.0).unwrap_or(i64::MAX))).map(drop)
}
