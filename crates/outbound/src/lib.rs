//! What leaves: the queue of what users handed in and what is forwarded, and its dispatcher, the sole owner of retries.
//!
//! The dispatcher makes no SMTP, knows no mailbox and asks no clock of its own. What it needs it has by four ports: the
//! [`Carriers`] carry out single attempts, the [`House`] takes what stays here, the [`Reporter`] tells senders, and a
//! [`Clock`](daemon::clock::Clock) says what time it is; so thirty days of it pass in a test of a second.

mod carriers;
mod dispatch;
#[cfg(test)]
mod faults;
mod house;
pub mod items;
pub mod queue;
mod reporter;
mod settings;
#[cfg(test)]
mod simulation;

pub use carriers::{CARRIER_EVENTS_MAX, CarrierEvent, CarrierKind, CarrierName, Carriers};
pub use dispatch::{CountTls, Parts, SignReversePath, run};
pub use house::{House, Leaving, Reached};
pub use reporter::{Reporter, Told};
pub use settings::{PAUSE, Settings, WarmUpSettings};
