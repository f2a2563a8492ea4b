//! What Home keeps besides mail: small tables, each with its rows and a trait of what is asked of it.
//!
//! Rows are as they are kept; what they mean is for those who ask. Whatever changes something is durable when it returns,
//! and is done whole or not at all. All calls may block, and fail as a disk does: see [`crate::StoreError`].

mod people;
mod quarantine;
mod remembered;
mod reports;

pub use people::{AccountRow, AliasRow, Everybody, Past, People};
pub use quarantine::{QuarantineEntries, QuarantineEntry};
pub use remembered::Remembered;
pub use reports::{Progress, ReportChange, ReportRow, ReportState, Reports};
