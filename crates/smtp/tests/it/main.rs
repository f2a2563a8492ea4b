//! The sessions from outside: dialogues as text files, smuggling, limits, and the two talking to each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code outside test functions"
)]

mod dialogue;
mod hop;
mod limits;
mod pair;
mod random;
mod role;
mod smuggling;
