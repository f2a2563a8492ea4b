//! Points in time as values. The clock itself is read by the program only and passed in.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// This time and `secs` seconds more.
    #[must_use]
    pub const fn plus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(1_000_000)))
    }

    /// Seconds from `earlier` to this time; 0 when it is later.
    #[must_use]
    pub const fn secs_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }

    /// `Tue, 24 Nov 2026 06:00:00 +0000`: the date-time of RFC 5322 section 3.3, always in UTC, so that no
    /// header tells where the writer lives.
    #[must_use]
    pub fn rfc5322(self) -> String {
        let time = self.timestamp();
        time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
    }

    /// `2026-11-24T06:00:00.000Z`: RFC 3339, for logs and traces.
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.timestamp().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    fn timestamp(self) -> Timestamp {
        i64::try_from(self.0)
            .ok()
            .and_then(|us| Timestamp::from_microsecond(us).ok())
            .unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_utc() {
        let time = UnixTime::from_secs(1_795_500_000);
        assert_eq!(time.rfc5322(), "Tue, 24 Nov 2026 06:00:00 +0000");
        assert_eq!(time.rfc3339(), "2026-11-24T06:00:00.000Z");
        assert_eq!(UnixTime::from_secs(0).rfc5322(), "Thu, 01 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn absurd_times_do_not_panic() {
        assert!(!UnixTime(u64::MAX).rfc5322().is_empty());
        assert_eq!(UnixTime(u64::MAX).plus_secs(u64::MAX), UnixTime(u64::MAX));
        assert_eq!(UnixTime(5).secs_since(UnixTime(10_000_000)), 0);
    }
}
