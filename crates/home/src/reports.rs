//! What is told to people: to senders, what became of their mail; to the operator, what he would not look for.

pub(crate) mod bounce;

mod notices;
mod reporter;

pub(crate) use notices::Notices;
pub(crate) use reporter::SenderReports;
