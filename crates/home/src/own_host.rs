//! The names and addresses of the machine that Home runs on: what must not leave with users' mail.
//!
//! Linux tells them in `/proc` and `/etc`. What can't be read is not known, and not looked for. The address that a router
//! shows to the world in its place is not among them: edges tell it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use mail::UnixTime;

/// For how long it is believed, in seconds: addresses change.
const FRESH_SECS: u64 = 60;
/// Addresses that are kept; a machine with more is no home's.
const ADDRESSES_MAX: usize = 1000;

/// Names and domains that are kept, of each; a file with more is no home's.
const NAMES_MAX: usize = 32;

/// What the machine is called and where it is.
#[derive(Debug, Default)]
pub(crate) struct OwnHost {
    /// Its host name, if it has one, and what `/etc/hosts` calls it besides.
    pub names: Vec<String>,
    /// The domains it looks names up in.
    pub domains: Vec<String>,
    /// Its addresses, without loopback.
    pub addresses: Vec<IpAddr>,
}

impl OwnHost {
    /// Reads what the system knows of this host.
    fn read() -> Self {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        let name = text("/proc/sys/kernel/hostname").trim().to_owned();
        let v4 = local_v4(&text("/proc/net/fib_trie"));
        let v6 = local_v6(&text("/proc/net/if_inet6"));
        let mut addresses: Vec<IpAddr> = v4.into_iter().map(IpAddr::from).chain(v6).collect();
        addresses.retain(|ip| !ip.is_loopback());
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        let mut names = names_in_hosts(&text("/etc/hosts"), &name);
        names.extend(Some(name).filter(|name| !name.is_empty()));
        names.dedup();
        let mut domains = search_domains(&text("/etc/resolv.conf"));
        let domain = text("/proc/sys/kernel/domainname").trim().to_owned();
        domains.extend(Some(domain).filter(|domain| !domain.is_empty() && domain != "(none)"));
        Self { names, domains, addresses }
    }
}

/// [`OwnHost`], read again from time to time.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<Option<(UnixTime, Arc<OwnHost>)>>);

impl Remembered {
    /// The host as it was read last; read anew when that is too old.
    pub(crate) fn at(&self, now: UnixTime) -> Arc<OwnHost> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, host)) = &*kept
            && now.secs_since(*read) < FRESH_SECS
        {
            return Arc::clone(host);
        }
        let host = Arc::new(OwnHost::read());
        *kept = Some((now, Arc::clone(&host)));
        host
    }
}

/// What a line of `/etc/hosts` calls the machine besides its host name (hosts(5)): `127.0.1.1 nas.example.net nas`.
fn names_in_hosts(table: &str, host: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in table.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let names = || line.split_whitespace().skip(1);
        if !host.is_empty() && names().any(|name| name.eq_ignore_ascii_case(host)) {
            found.extend(names().filter(|name| !name.eq_ignore_ascii_case(host)).map(str::to_owned));
        }
    }
    found.truncate(NAMES_MAX);
    found
}

/// The domains of `search` and `domain` in `/etc/resolv.conf` (resolv.conf(5)).
fn search_domains(file: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in file.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            found.extend(words.map(str::to_owned));
        }
    }
    found.truncate(NAMES_MAX);
    found
}

/// The kernel's table of routes: an address, and below it `/32 host LOCAL`.
fn local_v4(table: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last);
        }
    }
    found
}

/// A line for each address, which comes first, as 32 digits.
fn local_v6(table: &str) -> Vec<IpAddr> {
    let digits = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok();
    table.lines().filter_map(digits).map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_tables() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            \u{20}          |-- 127.0.0.1\n              /32 host LOCAL\n           |-- 192.168.1.0\n\
            \u{20}             /24 link UNICAST\n           |-- 192.168.1.2\n              /32 host LOCAL\n\
            \u{20}       |-- 192.168.1.255\n           /32 link BROADCAST\n";
        assert_eq!(local_v4(table), [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 168, 1, 2)]);
        let table = "fd000000000000000000000000000002 04 40 00 82     eth0\nodd\n";
        assert_eq!(local_v6(table), ["fd00::2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn other_names_and_domains_are_read_from_the_files_of_the_resolver() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1\tnas.example.net NAS # not-this\n#192.0.2.1 nas\n192.0.2.2 other\n";
        assert_eq!(names_in_hosts(hosts, "nas"), ["nas.example.net"]);
        assert!(names_in_hosts(hosts, "").is_empty());
        let resolver =
            "# search no\nnameserver 192.168.1.1\nsearch lan house.example.net\ndomain fritz.box\n";
        assert_eq!(search_domains(resolver), ["lan", "house.example.net", "fritz.box"]);
        let many = |count: usize| format!("search {}", "a ".repeat(count));
        assert_eq!(search_domains(&many(NAMES_MAX)).len(), NAMES_MAX);
        assert_eq!(search_domains(&many(NAMES_MAX + 1)).len(), NAMES_MAX);
        let many = |count: usize| format!("127.0.0.1 nas {}", "a ".repeat(count));
        assert_eq!(names_in_hosts(&many(NAMES_MAX + 1), "nas").len(), NAMES_MAX);
    }

    #[test]
    fn it_is_read_again_after_a_minute_and_not_before() {
        let (remembered, now) = (Remembered::default(), UnixTime::from_secs(1_795_500_000));
        let first = remembered.at(now);
        assert!(Arc::ptr_eq(&first, &remembered.at(now.plus_secs(FRESH_SECS - 1))));
        assert!(!Arc::ptr_eq(&first, &remembered.at(now.plus_secs(FRESH_SECS))));
        assert!(first.addresses.iter().all(|ip| !ip.is_loopback()));
    }
}
