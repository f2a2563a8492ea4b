//! Points in time as values. The clock itself is read by the program only and passed in.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The time of so many whole seconds since 1970.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Whole seconds since 1970, rounded down.
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

    /// `Tue, 24 Nov 2026 06:00:00 -0000`: the same point in time, and not a word about the zone it was written in (RFC 5322
    /// section 3.3: `+0000` says that the writer's clock is on UTC, `-0000` says nothing of it).
    #[must_use]
    pub fn rfc5322_without_zone(self) -> String {
        self.timestamp().strftime("%a, %d %b %Y %H:%M:%S -0000").to_string()
    }

    /// Reads a date-time of RFC 5322 section 3.3, and of section 4.3 the comments, years of two digits and named zones
    /// whose meaning is sure. A day of the week may be missing or wrong: it says nothing that the date does not.
    ///
    /// `None` for whatever is not certain: other zones with a name, days that are on no calendar, leap seconds, years
    /// before 1970.
    #[must_use]
    pub fn parse_rfc5322(value: &[u8]) -> Option<Self> {
        let text = without_comments(std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?)?;
        let date = match text.split_once(',') {
            Some((weekday, rest)) => is_weekday(weekday.trim()).then_some(rest)?,
            None => &text,
        };
        let mut words = date.split_ascii_whitespace();
        let mut next = || words.next();
        let (day, month, year) = (next()?, next()?, next()?);
        let (clock, zone) = (next()?, next()?);
        let local = civil_date(day, month, year)?.to_datetime(time_of_day(clock)?);
        let local = Offset::UTC.to_timestamp(local).ok()?.as_second();
        let utc = Timestamp::from_second(local - seconds_ahead(zone)?).ok()?;
        words.next().is_none().then_some(())?;
        u64::try_from(utc.as_microsecond()).ok().map(Self)
    }

    /// `2026-11-24T06:00:00.000Z`: RFC 3339, for logs and traces.
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.timestamp().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    /// Reads a date-time of RFC 3339 section 5.6. `None` for whatever is none, and for years before 1970.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let timestamp: Timestamp = text.parse().ok()?;
        u64::try_from(timestamp.as_microsecond()).ok().map(Self)
    }

    fn timestamp(self) -> Timestamp {
        i64::try_from(self.0)
            .ok()
            .and_then(|us| Timestamp::from_microsecond(us).ok())
            .unwrap_or(Timestamp::MAX)
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Zones with a name whose meaning RFC 5322 section 4.3 states, in hours ahead of UTC.
const ZONES: [(&str, i64); 11] = [
    ("UT", 0),
    ("GMT", 0),
    ("Z", 0),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
];

fn is_weekday(text: &str) -> bool {
    WEEKDAYS.iter().any(|name| name.eq_ignore_ascii_case(text))
}

/// The text with a space in place of each comment; `None` when one has no end.
fn without_comments(text: &str) -> Option<String> {
    let (mut out, mut depth, mut chars) = (String::with_capacity(text.len()), 0_u32, text.chars());
    while let Some(c) = chars.next() {
        match c {
            '(' => {
                depth = depth.checked_add(1)?;
                out.push(' ');
            }
            ')' => depth = depth.checked_sub(1)?,
            '\\' if depth > 0 => drop(chars.next()),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    (depth == 0).then_some(out)
}

/// A number of at least `least` and at most `most` digits.
fn digits(text: &str, least: usize, most: usize) -> Option<i16> {
    let valid = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

fn civil_date(day: &str, month: &str, year: &str) -> Option<Date> {
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let year = match (digits(year, 2, 4)?, year.len()) {
        (short @ 0..=49, 2) => short + 2000,
        (short, 2 | 3) => short + 1900,
        (year, _) => year,
    };
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(digits(day, 1, 2)?).ok()?).ok()
}

fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut next = || parts.next().map(|part| digits(part, 1, 2).and_then(|part| i8::try_from(part).ok()));
    let (hours, minutes, seconds) = (next()??, next()??, next().unwrap_or(Some(0))?);
    let time = Time::new(hours, minutes, seconds, 0).ok()?;
    parts.next().is_none().then_some(time)
}

/// How far a zone's clocks are ahead of UTC, in seconds.
fn seconds_ahead(zone: &str) -> Option<i64> {
    if let Some((_, hours)) = ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(zone)) {
        return Some(hours * 3600);
    }
    let (sign, number) = match zone.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, zone.strip_prefix('+')?),
    };
    let number = i64::from(digits(number, 4, 4)?);
    let (hours, minutes) = (number / 100, number % 100);
    (minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
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
    fn dates_of_rfc_3339_are_read_and_what_is_none_is_not() {
        let time = UnixTime::from_secs(1_795_500_000);
        for text in ["2026-11-24T06:00:00Z", "2026-11-24T06:00:00.000Z", "2026-11-24T07:00:00+01:00"] {
            assert_eq!(UnixTime::parse_rfc3339(text), Some(time), "{text}");
        }
        for text in ["", "Z", "2026-11-24", "2026-11-31T06:00:00Z", "1969-12-31T23:59:59Z", "newest"] {
            assert_eq!(UnixTime::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn absurd_times_do_not_panic() {
        assert!(!UnixTime(u64::MAX).rfc5322().is_empty());
        assert_eq!(UnixTime(u64::MAX).plus_secs(u64::MAX), UnixTime(u64::MAX));
        assert_eq!(UnixTime(5).secs_since(UnixTime(10_000_000)), 0);
    }

    #[test]
    fn dates_of_any_zone_are_read_as_the_instant_they_name() {
        let instant = UnixTime::from_secs(1_795_500_000);
        for text in [
            " Tue, 24 Nov 2026 06:00:00 +0000",
            "Tue, 24 Nov 2026 07:00:00 +0100",
            "Tue, 24 Nov 2026 07:00:00 +0100 (CET)",
            "Tue, 24 Nov 2026\r\n 01:00:00 -0500",
            "24 Nov 2026 01:00 EST",
            "tue, 24 nov 2026 06:00:00 gmt",
            "Tue,24 Nov 26 11:30:00 +0530",
            "Mon, 24 Nov 2026 06:00:00 Z",
            "(a (nested \\) one)) Tue, 24 (day) Nov 126 6:0:0 -0000",
            "Mon, 23 Nov 2026 22:00:00 -0800",
        ] {
            assert_eq!(UnixTime::parse_rfc5322(text.as_bytes()), Some(instant), "{text}");
        }
        assert_eq!(instant.rfc5322_without_zone(), "Tue, 24 Nov 2026 06:00:00 -0000");
        let leap = UnixTime::parse_rfc5322(b"Thu, 29 Feb 2024 23:59:59 -0001").unwrap();
        assert_eq!(leap.rfc5322_without_zone(), "Fri, 01 Mar 2024 00:00:59 -0000");
    }

    #[test]
    fn dates_that_are_not_certain_are_not_read() {
        for text in [
            "",
            ",",
            "d",
            "yesterday",
            "Tue, 24 Nov 2026 07:00:00",
            "Tue, 24 Nov 2026 07:00:00 CET",
            "Tue, 24 Nov 2026 07:00:00 A",
            "Die, 24 Nov 2026 07:00:00 +0100",
            "Tue, 31 Nov 2026 07:00:00 +0100",
            "Sun, 29 Feb 2026 07:00:00 +0100",
            "Tue, 0 Nov 2026 07:00:00 +0100",
            "Tue, 24 Nov 2026 24:00:00 +0100",
            "Tue, 24 Nov 2026 07:60:00 +0100",
            "Tue, 31 Dec 2016 23:59:60 +0000",
            "Tue, 24 Nov 2026 07:00:00 +0160",
            "Tue, 24 Nov 2026 07:00:00 +01000",
            "Tue, 24 Nov 2026 07:00:00 +1",
            "Tue, 24 Nov 2026 07:00:00:00 +0100",
            "Tue, +4 Nov 2026 07:00:00 +0100",
            "Tue, 24 Nov 2026 07:00:00 +0100 x",
            "Tue, 24 Nov 2026 07:00:00 +0100 (CET",
            "Tue, 24 Nov 2026 07:00:00 +0100 CET)",
            "Thu, 01 Jan 1970 00:30:00 +0100",
            "Fri, 31 Dec 9999 23:59:59 -2359",
            "Tue, 24 Nov 20260 07:00:00 +0100",
            "Tue, 24 Nov 2026 07:00:00 \u{b1}0100",
        ] {
            assert_eq!(UnixTime::parse_rfc5322(text.as_bytes()), None, "{text}");
        }
        assert_eq!(UnixTime::parse_rfc5322(b"Tue, 24 Nov 2026 07:00:00 \xff"), None);
        assert_eq!(UnixTime::parse_rfc5322("(".repeat(100_000).as_bytes()), None);
    }
}
