//! Numbers for people.

/// How much of something is left, as per cent.
pub(super) fn per_cent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(100)
}

/// Octets for people.
pub(super) fn octets(octets: u64) -> String {
    const MIB: u64 = 1 << 20;
    if octets >= 10 << 30 { format!("{} GiB", octets >> 30) } else { format!("{} MiB", octets / MIB) }
}

/// A time that has passed, for people.
pub(super) fn ago(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} minutes", secs / 60),
        7200..172_800 => format!("{} hours", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}
