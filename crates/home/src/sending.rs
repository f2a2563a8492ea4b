//! Sending as a whole: the dispatcher with this Home's mailboxes, reports and forwarding.

mod tests;
