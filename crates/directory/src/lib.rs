//! People: accounts and aliases, who may log in and who may not any more, who may send as whom and how much, and what the
//! configuration says of all that while it is in force.

mod account_id;
mod allowance;
#[allow(clippy::module_inception, reason = "the directory is what the crate is about")]
mod directory;
pub mod logins;
mod passes;
mod password;
mod policy;

pub use account_id::AccountId;
pub use allowance::{Allowance, Exceeded};
pub use directory::{Destinations, Directory, TARGETS_MAX, check_password, kept_problem};
pub use passes::Pass;
pub use policy::{DateZone, OnLeak, Policy, ReturnPathPolicy, SendingLimits, TlsReportsPolicy};
pub use store::tables::Past;
