//! Who is logged in, and with which password: so that a session ends when its account does, or gets another password.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::account_id::AccountId;

/// The passes of all sessions. As many as there are sessions, so they are bounded by those.
#[derive(Debug, Default)]
pub(crate) struct Passes(Mutex<KeptPasses>);

#[derive(Debug, Default)]
struct KeptPasses {
    issued: u64,
    valid: HashMap<u64, Valid>,
}

#[derive(Debug)]
struct Valid {
    account: AccountId,
    hash: String,
    revoked: CancellationToken,
}

/// The right of one session to be logged in. Dropped, it is given back.
#[derive(Debug)]
pub struct Pass {
    account: AccountId,
    number: u64,
    revoked: CancellationToken,
    passes: Arc<Passes>,
}

impl Passes {
    fn kept(&self) -> MutexGuard<'_, KeptPasses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pass for a login that was checked against this hash, if that is still the account's. Asked for under the lock
    /// that [`Passes::review`] takes, so that no change comes in between.
    pub(crate) fn issue(
        self: &Arc<Self>,
        account: &AccountId,
        hash: &str,
        is_current: impl FnOnce() -> bool,
    ) -> Option<Pass> {
        let mut kept = self.kept();
        if !is_current() {
            return None;
        }
        kept.issued += 1;
        let (number, revoked) = (kept.issued, CancellationToken::new());
        let valid = Valid { account: account.clone(), hash: hash.to_owned(), revoked: revoked.clone() };
        kept.valid.insert(number, valid);
        Some(Pass { account: account.clone(), number, revoked, passes: Arc::clone(self) })
    }

    /// Revokes those that are no longer good.
    pub(crate) fn review(&self, is_current: impl Fn(&AccountId, &str) -> bool) {
        for valid in self.kept().valid.values().filter(|valid| !is_current(&valid.account, &valid.hash)) {
            valid.revoked.cancel();
        }
    }
}

impl Pass {
    /// The account that logged in.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// Whether it has been revoked.
    pub fn is_revoked(&self) -> bool {
        self.revoked.is_cancelled()
    }

    /// Cancelled when it is revoked.
    pub fn revoked(&self) -> CancellationToken {
        self.revoked.clone()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.passes.kept().valid.remove(&self.number);
    }
}
