//! The machine that a half runs on.

use mail::UnixTime;
use net::dns::{RootSigned, Validation};

use super::fact::Fact;

/// Of either half's machine.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// The name servers that it asks.
    pub resolver: Resolver,
    /// Its clock.
    pub clock: Clock,
    /// The disk that the data is on.
    pub disk: Fact<Disk>,
    /// How many files the daemon may have open; `None` when there is no limit.
    pub open_files: Fact<Option<u64>>,
    /// Its memory.
    pub memory: Fact<Memory>,
    /// The data directory.
    pub data: Fact<DataDirectory>,
    /// Whether rules of ours are loaded.
    pub firewall: Fact<bool>,
}

/// What the name servers do.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// Whether they answer at all.
    pub answers: Fact<()>,
    /// The addresses that a name got which can't exist.
    pub invents: Fact<Vec<String>>,
    /// Whether they give what DNSSEC takes.
    pub validation: Fact<Validation>,
}

/// The clock and its witnesses.
#[derive(Debug, Clone)]
pub struct Clock {
    /// What it says.
    pub now: UnixTime,
    /// Whether the system says that it is kept right.
    pub synchronised: Fact<bool>,
    /// When the root of DNS was signed.
    pub root_signed: Fact<RootSigned>,
}

/// A file system.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Octets that are free for its user.
    pub free_octets: u64,
    /// Octets in all.
    pub octets: u64,
    /// Files that can still be made.
    pub free_inodes: u64,
    /// Files in all; 0 where the file system has no such bound.
    pub inodes: u64,
    /// The kind, as `/proc/mounts` names it.
    pub kind: String,
}

/// Memory in octets.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// What programs can still get.
    pub available: u64,
    /// All of it.
    pub total: u64,
}

/// The data directory.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    /// The rights, as chmod writes them.
    pub mode: u32,
    /// Whether it is this process's user who owns it.
    pub own: bool,
    /// Entries at its top that belong to somebody else.
    pub of_others: Vec<String>,
}
