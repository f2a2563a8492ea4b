//! What the journeys need: the program in both roles, other mail programs around it, and a network to live in.
//!
//! Everything here ends the test with a message when it can't do its work; there is nobody else to tell.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this crate")]

pub mod binary;
pub mod cell;
pub mod certificates;
pub mod chasquid;
pub mod containers;
pub mod dkim;
pub mod dns;
pub mod dovecot;
pub mod exim;
pub mod filter;
pub mod forgetful_home;
pub mod guest;
pub mod hello_filter;
pub mod host;
pub mod imap;
pub mod knot;
pub mod leavings;
pub mod link_relay;
pub mod message;
pub mod name_tree;
pub mod namespace;
pub mod network_lab;
pub mod newer;
pub mod numbered;
pub mod opensmtpd;
pub mod package;
pub mod page;
pub mod pair;
pub mod ports;
pub mod postfix;
pub mod primary;
pub mod process;
pub mod random;
pub mod remote_mta;
pub mod smtp;
pub mod stunnel;
pub mod submission;
pub mod tunnel;
pub mod unbound;
pub mod wait;

pub use pair::{Pair, PairOptions};
pub use wait::until;
