//! Numbers as SQLite's columns hold them.

use mailbox::{Flags, Totals};
use rusqlite::Row;

/// As SQLite's signed integer holds it. No count here comes near 2^63.
pub(crate) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Back from SQLite's signed integer.
pub(crate) fn unsigned(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

/// What a mailbox holds, of four columns from `first` on: messages, unseen, deleted, octets.
pub(crate) fn totals_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Totals> {
    let count = |place| row.get(place).map(unsigned);
    Ok(Totals {
        messages: count(first)?,
        unseen: count(first + 1)?,
        deleted: count(first + 2)?,
        octets: count(first + 3)?,
    })
}

/// Flags as SQLite's signed integer holds them.
pub(crate) const fn flags_column(flags: Flags) -> i64 {
    flags.0.cast_signed()
}

/// Flags back from SQLite's signed integer.
pub(crate) const fn flags_of(column: i64) -> Flags {
    Flags(column.cast_unsigned())
}
