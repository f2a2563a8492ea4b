//! Home's small tables, each in a file of its own.

mod database;
mod people;
mod quarantine;
mod remembered;
mod reports;

pub use people::SqlitePeople;
pub use quarantine::SqliteQuarantine;
pub use remembered::SqliteRemembered;
pub use reports::SqliteReports;
