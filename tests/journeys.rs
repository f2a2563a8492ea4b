//! The program as it is run: both roles as processes, other people's mail programs around them, real sockets.
//!
//! Run them with `cargo xtask journeys`, which sees to it that those programs are there, and runs some at one time, each in a
//! process of its own. Within one process they run one after another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "there are only tests here")]

mod authentication;
mod away;
mod backscatter;
mod bad_input;
mod changes;
mod crashes;
mod defaults;
mod dialogues;
mod dns_records;
mod doctor;
mod filters;
mod firewall;
mod first_hour;
mod foreign_edge;
mod foreign_home;
mod former;
mod forwarding;
mod homes;
mod hour;
mod idle;
mod images;
mod import;
mod inbound;
mod lmtp;
mod logins;
mod mail_hosts;
mod mailboxes;
mod network;
mod newcomer;
mod newer;
mod operator;
mod outbound;
mod outbound_crashes;
mod packages;
mod people;
mod ports;
mod real_dns;
mod remote_mtas;
mod satellite;
mod signing;
mod smarthost;
mod stages;
mod store_crash;
mod strangers;
mod suites;
mod tls_policy;
mod tls_reports;
mod unheard;
mod watching;
mod wrong_situations;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by each journey: it has the ports and namespaces of this process to itself.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
