//! How much a user may send to the world: a stolen password is worth little, and the operator hears of it.
//!
//! Counted are recipients abroad of messages that were taken. The counts are in memory: a restart forgets them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mail::UnixTime;

use crate::policy::SendingLimits;

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// Recipients abroad that each account has sent to in the running hour and the running day.
#[derive(Debug, Default)]
pub struct Allowance(Mutex<HashMap<String, Spending>>);

#[derive(Debug, Default)]
struct Spending {
    /// For each limit: when its span began, in seconds, and the recipients since.
    used: [(u64, u32); 2],
    /// When the operator was told last.
    told: Option<u64>,
}

/// The limit that a message would go past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The limit, in recipients.
    pub limit: u32,
    /// Hours for which the limit is.
    pub hours: u64,
    /// When the account may send again.
    pub until: UnixTime,
    /// Whether the operator has not been told today.
    pub news: bool,
}

impl Allowance {
    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Spending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an account may send to so many recipients now.
    ///
    /// # Errors
    /// The limit that is in the way.
    pub fn check(
        &self,
        limits: &SendingLimits,
        account: &str,
        recipients: u32,
        now: UnixTime,
    ) -> Result<(), Exceeded> {
        self.accounts().entry(account.to_owned()).or_default().check(limits, recipients, now.as_secs())
    }

    /// Counts a message to so many recipients, if the account may send it.
    ///
    /// # Errors
    /// The limit that is in the way; then nothing is counted.
    pub fn spend(
        &self,
        limits: &SendingLimits,
        account: &str,
        recipients: u32,
        now: UnixTime,
    ) -> Result<(), Exceeded> {
        let mut accounts = self.accounts();
        let account = accounts.entry(account.to_owned()).or_default();
        account.check(limits, recipients, now.as_secs())?;
        account.used.iter_mut().for_each(|(_, count)| *count = count.saturating_add(recipients));
        Ok(())
    }

    /// A counted message was not taken after all.
    pub fn give_back(&self, account: &str, recipients: u32) {
        if let Some(account) = self.accounts().get_mut(account) {
            account.used.iter_mut().for_each(|(_, count)| *count = count.saturating_sub(recipients));
        }
    }
}

impl Spending {
    fn check(&mut self, limits: &SendingLimits, recipients: u32, now: u64) -> Result<(), Exceeded> {
        let limits = [(HOUR, limits.recipients_per_hour), (DAY, limits.recipients_per_day)];
        for ((span, limit), (start, count)) in limits.into_iter().zip(&mut self.used) {
            if now.saturating_sub(*start) >= span {
                (*start, *count) = (now, 0);
            }
            if count.saturating_add(recipients) > limit {
                let news = self.told.is_none_or(|told| now.saturating_sub(told) >= DAY);
                if news {
                    self.told = Some(now);
                }
                let until = UnixTime::from_secs(*start + span);
                return Err(Exceeded { limit, hours: span / HOUR, until, news });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn an_account_sends_so_much_in_an_hour_and_in_a_day_and_no_more() {
        let limits = SendingLimits { recipients_per_hour: 10, recipients_per_day: 15 };
        let allowance = Allowance::default();
        allowance.spend(&limits, "alice", 10, at(0)).unwrap();
        let hour = Exceeded { limit: 10, hours: 1, until: at(HOUR), news: true };
        assert_eq!(allowance.check(&limits, "alice", 1, at(10)), Err(hour));
        assert_eq!(allowance.spend(&limits, "alice", 1, at(11)), Err(Exceeded { news: false, ..hour }));
        allowance.spend(&limits, "bob", 10, at(11)).unwrap();
        allowance.give_back("bob", 4);
        allowance.spend(&limits, "bob", 4, at(12)).unwrap();
        assert!(allowance.check(&limits, "bob", 1, at(13)).is_err());
        allowance.spend(&limits, "alice", 5, at(HOUR)).unwrap();
        let day = Exceeded { limit: 15, hours: 24, until: at(DAY), news: false };
        assert_eq!(allowance.spend(&limits, "alice", 1, at(HOUR + 1)), Err(day));
        assert_eq!(
            allowance.spend(&limits, "alice", 11, at(DAY)).unwrap_err().limit,
            10,
            "more than ever fits"
        );
        allowance.spend(&limits, "alice", 10, at(DAY)).unwrap();
        assert_eq!(
            allowance.check(&limits, "alice", 1, at(DAY + 11)),
            Err(Exceeded { until: at(DAY + HOUR), news: true, ..hour })
        );
    }
}
