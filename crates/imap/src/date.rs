//! Dates as IMAP and RFC 5322 write them, on the calendar, without a clock.

use mail::UnixTime;

use crate::cursor::{Cursor, Malformed, Parsed};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A day, counted from 1970-01-01.
pub(crate) type Day = i64;

/// The day that a point in time is on, in UTC.
pub(crate) fn day_of(time: UnixTime) -> Day {
    i64::try_from(time.as_secs() / 86_400).unwrap_or(Day::MAX)
}

/// `date` of SEARCH: `1-Feb-1994`, perhaps in quotes.
pub(crate) fn parse_date(cursor: &mut Cursor<'_>) -> Parsed<Day> {
    let written = cursor.astring()?;
    let date = std::str::from_utf8(&written).ok().and_then(|text| {
        let mut fields = text.trim().split('-');
        let day = day(fields.next()?, fields.next()?, fields.next()?)?;
        fields.next().is_none().then_some(day)
    });
    date.ok_or(Malformed("a date is written as 1-Feb-1994"))
}

/// `date-time` of APPEND: `"17-Jul-1996 02:44:25 -0700"`.
pub(crate) fn parse_date_time(cursor: &mut Cursor<'_>) -> Parsed<UnixTime> {
    let written = cursor.string()?;
    let time = std::str::from_utf8(&written).ok().and_then(date_time);
    time.ok_or(Malformed("a date is written as \"17-Jul-1996 02:44:25 -0700\""))
}

fn date_time(text: &str) -> Option<UnixTime> {
    let mut words = text.split_ascii_whitespace();
    let mut date = words.next()?.split('-');
    let days = day(date.next()?, date.next()?, date.next()?)?;
    let mut time = words.next()?.split(':');
    let mut next = |below: i64| number(time.next()?).filter(|value| *value < below);
    let (hours, minutes, seconds) = (next(24)?, next(60)?, next(61)?);
    let ahead = zone(words.next()?)?;
    let all = days * 86_400 + hours * 3600 + minutes * 60 + seconds - ahead * 60;
    (words.next().is_none() && time.next().is_none())
        .then(|| UnixTime::from_secs(u64::try_from(all).unwrap_or(0)))
}

/// Minutes east of Greenwich: `zone = ("+" / "-") 4DIGIT` (RFC 9051 section 9).
fn zone(text: &str) -> Option<i64> {
    let (sign, digits) = (text.get(..1)?, text.get(1..).filter(|digits| digits.len() == 4)?);
    let (hours, minutes) = (number(digits.get(..2)?)?, number(digits.get(2..)?)?);
    let ahead = Some(hours * 60 + minutes).filter(|_| minutes < 60)?;
    match sign {
        "+" => Some(ahead),
        "-" => Some(-ahead),
        _ => None,
    }
}

/// Up to four digits and nothing else: no part of a date has more.
fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The day that a `Date` field states, whatever its time zone (RFC 9051 section 6.4.4, SENTON).
pub(crate) fn sent_day(value: &str) -> Option<Day> {
    let after_weekday = value.split_once(',').map_or(value, |(_, rest)| rest);
    let mut words = after_weekday.split_ascii_whitespace();
    day(words.next()?, words.next()?, words.next()?)
}

fn day(day: &str, month: &str, year: &str) -> Option<Day> {
    let day = number(day).filter(|day| (1..=31).contains(day))?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
    let year = number(year)?;
    // Two digits are from before the year 2000 rules (RFC 5322 section 4.3).
    let year = match year {
        0..=49 => year + 2000,
        50..=999 => year + 1900,
        _ => year,
    };
    Some(days_from_civil(year, i64::try_from(month).ok()? + 1, day))
}

/// Days from 1970-01-01 of a date of the Gregorian calendar; years begin in March to put leap days last.
const fn days_from_civil(year: i64, month: i64, day: i64) -> Day {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `17-Jul-1996 02:44:25 +0000`.
pub(crate) fn write_date_time(time: UnixTime) -> String {
    let seconds = time.as_secs();
    let days = day_of(time) + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = usize::try_from((shifted + 2) % 12).unwrap_or(0);
    let year = year_of_era + days.div_euclid(146_097) * 400 + i64::from(month < 2);
    let name = MONTHS.get(month).copied().unwrap_or_default();
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{day:02}-{name}-{year:04} {hours:02}:{minutes:02}:{seconds:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_known_both_ways() {
        let time = date_time("17-Jul-1996 02:44:25 -0700").unwrap();
        assert_eq!(time, UnixTime::from_secs(837_596_665));
        assert_eq!(write_date_time(time), "17-Jul-1996 09:44:25 +0000");
        for secs in [0, 951_782_399, 951_782_400, 951_868_800, 1_709_164_800, 1_795_500_000] {
            let time = UnixTime::from_secs(secs);
            assert_eq!(date_time(&write_date_time(time)), Some(time));
            let written = write_date_time(time);
            let rfc5322 = time.rfc5322();
            assert_eq!(
                written.replace('-', " ").split(' ').take(3).collect::<Vec<_>>().join(" "),
                rfc5322[5..16]
            );
        }
        assert_eq!(date_time(" 1-Jan-1970 00:00:01 +0000"), Some(UnixTime::from_secs(1)));
    }

    #[test]
    fn a_sent_date_is_taken_as_written() {
        assert_eq!(
            sent_day("Tue, 24 Nov 2026 23:59:00 -1200"),
            Some(day_of(UnixTime::from_secs(1_795_500_000)))
        );
        assert_eq!(sent_day("24 Nov 26 01:00 GMT"), sent_day("Tue, 24 Nov 2026 23:59:00 -1200"));
        assert_eq!(sent_day("yesterday"), None);
    }

    #[test]
    fn nonsense_is_no_date() {
        for bad in ["", "1-Foo-1996 00:00:00 +0000", "1-Jan-1996 24:00:00 +0000", "1-Jan-1996 00:00:00", "é"]
        {
            assert_eq!(date_time(bad), None, "{bad}");
        }
    }

    /// Symptom: a zone of many digits ended the session. Cause: whatever stood behind its first two digits was multiplied as
    /// minutes. Analysis: each part of a date has so many digits, and a sign is none of them.
    #[test]
    fn a_part_of_a_date_has_its_digits_and_no_more() {
        let at = |zone: &str| date_time(&format!("1-Jan-1996 00:00:00 {zone}"));
        assert_eq!(at("+0100"), Some(UnixTime::from_secs(820_450_800)));
        let many = format!("+{}6091156137111977984", "0".repeat(64));
        for bad in
            ["/0000", "0000", "+000", "+00000", "+0060", "+ 100", "++100", "+01:0", "+é0", many.as_str()]
        {
            assert_eq!(at(bad), None, "{bad}");
        }
        for bad in ["+1-Jan-1996", "1-Jan-+996", "1-Jan-01996", "001-Jan-19961"] {
            assert_eq!(date_time(&format!("{bad} 00:00:00 +0000")), None, "{bad}");
        }
        assert_eq!(date_time("1-Jan-1996 +1:00:00 +0000"), None);
    }
}
