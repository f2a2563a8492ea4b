//! Numbers as SQLite's columns hold them.

use mailbox::Flags;

/// As SQLite's signed integer holds it. No count here comes near 2^63.
pub(crate) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Back from SQLite's signed integer.
pub(crate) fn unsigned(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

/// Flags as SQLite's signed integer holds them.
pub(crate) const fn flags_column(flags: Flags) -> i64 {
    flags.0.cast_signed()
}

/// Flags back from SQLite's signed integer.
pub(crate) const fn flags_of(column: i64) -> Flags {
    Flags(column.cast_unsigned())
}
