//! The dates of mail that users send. They keep their instant and lose the zone: it tells where the house is, and when
//! its people travel.

use directory::DateZone;
use mail::UnixTime;
use mail::header::{Field, fields};

/// Fields whose value is a date-time of RFC 5322: of messages, of messages sent on, and those of X.400 and news that some
/// programs write (RFC 4021).
const DATES: &[&str] = &[
    "Date",
    "Resent-Date",
    "Orig-Date",
    "Expires",
    "Expiry-Date",
    "Reply-By",
    "Deferred-Delivery",
    "Latest-Delivery-Time",
];

/// What is done with the dates of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dates {
    /// They leave as they are.
    Kept,
    /// They leave without their zone, where they can be read.
    WithoutZone,
}

impl Dates {
    /// A signature that stays would break, and with it the word of whoever gave it: then the dates stay as well.
    pub(super) fn of(header: &[u8], zone: DateZone) -> Self {
        match zone {
            DateZone::Utc if !fields(header).any(|field| is_signature(&field)) => Self::WithoutZone,
            DateZone::Utc | DateZone::Keep => Self::Kept,
        }
    }

    /// What leaves in place of this field; `None` when it stays.
    pub(super) fn in_place_of(self, field: &Field<'_>) -> Option<Vec<u8>> {
        if self == Self::Kept || !DATES.iter().any(|name| field.is(name)) {
            return None;
        }
        let date = UnixTime::parse_rfc5322(field.value)?.rfc5322_without_zone();
        let mut line = field.name.to_vec();
        line.extend_from_slice(format!(": {date}\r\n").as_bytes());
        Some(line)
    }
}

/// A signature over the header: DKIM's, that of its ancestor, and those that carry a name before it (`X-Google-`). The
/// seals of ARC are among the fields that are removed.
fn is_signature(field: &Field<'_>) -> bool {
    let name = field.name.to_ascii_lowercase();
    name.ends_with(b"dkim-signature") || name.ends_with(b"domainkey-signature")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(header: &str, zone: DateZone) -> String {
        let dates = Dates::of(header.as_bytes(), zone);
        let mut out = Vec::new();
        for field in fields(header.as_bytes()) {
            match dates.in_place_of(&field) {
                Some(line) => out.extend_from_slice(&line),
                None => out.extend_from_slice(field.raw),
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Symptom: mail told the time zone of whoever wrote it. Cause: programs write `Date` in local time, and it left so.
    #[test]
    fn dates_lose_their_zone_and_keep_their_instant() {
        let utc = "Tue, 24 Nov 2026 06:00:00 -0000";
        for name in DATES {
            for date in ["Tue, 24 Nov 2026 07:00:00 +0100 (CET)", "24 Nov 2026 01:00:00 EST", utc] {
                let got = left(&format!("{name}:\r\n {date}\r\n"), DateZone::Utc);
                assert_eq!(got, format!("{name}: {utc}\r\n"));
            }
        }
    }

    #[test]
    fn a_date_stays_when_it_cant_be_read_is_signed_or_shall_stay() {
        let date = "Date: Tue, 24 Nov 2026 07:00:00 +0100\r\n";
        for header in [
            "Date: Tue, 24 Nov 2026 07:00:00 CET\r\n",
            "Date: Tue, 31 Nov 2026 07:00:00 +0100\r\n",
            "Date: soon\r\n",
            "Date:\r\n",
            "X-Date: Tue, 24 Nov 2026 07:00:00 +0100\r\n",
            &format!("{date}DKIM-Signature: v=1; d=far.example\r\n"),
            &format!("x-google-dkim-signature: v=1\r\n{date}"),
            &format!("DomainKey-Signature: a=rsa-sha1\r\n{date}"),
        ] {
            assert_eq!(left(header, DateZone::Utc), header);
        }
        assert_eq!(left(date, DateZone::Keep), date);
        assert_ne!(left(date, DateZone::Utc), date);
    }
}
