//! The doctor: what is fit and what is not, of both halves.
//!
//! Three steps that never meet in one function. [`look`] gathers facts behind ports ([`look::World`]: DNS, connections); the
//! daemons add what they know. [`judge`] makes findings of facts and asks nobody. [`report`] makes the three answers of the
//! findings. What one half says to the other is in [`told`].

pub mod answer;
pub mod book;
pub mod check;
pub mod facts;
pub mod finding;
pub mod fitness;
pub mod judge;
pub mod look;
pub mod report;
pub mod told;

pub use answer::{Answered, Fit};
pub use check::Check;
pub use finding::{Finding, Half, Verdict};
pub use fitness::Fitness;
pub use report::Examination;
