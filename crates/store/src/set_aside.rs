//! Mailboxes of accounts that were removed, as they are named.

use mail::UnixTime;

/// A mailbox that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetAside {
    /// The account that the mailbox was of.
    pub account: String,
    /// When it was set aside, in UTC: `2026-11-24T06:00:00Z`. Of one account, who was set aside later has a later one.
    pub date: String,
}

/// The date of a mailbox that is set aside `now`, when these of its account were before. In whole seconds, and later than
/// all of them: the newest is the one that was set aside last, also when several are in one second or the clock went back.
#[must_use]
pub fn date_after<'a>(older: impl IntoIterator<Item = &'a SetAside>, now: UnixTime) -> String {
    let last = older.into_iter().filter_map(|aside| UnixTime::parse_rfc3339(&aside.date)).max();
    let at = last.map_or(now, |last| now.max(last.plus_secs(1)));
    format!("{}Z", at.rfc3339().split('.').next().unwrap_or_default())
}
