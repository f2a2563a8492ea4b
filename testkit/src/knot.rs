//! Knot: an authoritative name server of other people, whose zones are signed as it loads them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{ports, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Octets of a string of a TXT record (RFC 1035 section 3.3).
const STRING_OCTETS_MAX: usize = 255;

/// Zones by name, with their records in zone file form.
type Zones<'a> = &'a [(&'a str, &'a str)];

/// How it is proven that a name does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denial {
    Nsec,
    Nsec3,
}

/// A Knot with files and a port of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Knot {
    process: Process,
    address: SocketAddr,
    namespace: Option<String>,
    _dir: TempDir,
}

impl Knot {
    /// Starts one that serves these zones, each with its name and the records of its zone file; SOA and NS are
    /// added. All of them are signed before it answers.
    ///
    /// # Panics
    /// When it does not start, or can't read or sign a zone.
    #[must_use]
    pub fn start(zones: &[(&str, &str)]) -> Self {
        Self::start_with(zones, &[])
    }

    /// As [`Self::start`], with further zones that are not signed.
    ///
    /// # Panics
    /// When it does not start, or can't read or sign a zone.
    #[must_use]
    pub fn start_with(zones: &[(&str, &str)], unsigned: &[(&str, &str)]) -> Self {
        Self::launch(None, ports::free(), (zones, unsigned), Denial::Nsec)
    }

    /// As [`Self::start_with`]; that a name does not exist is proven by hashed names (RFC 5155).
    ///
    /// # Panics
    /// When it does not start, or can't read or sign a zone.
    #[must_use]
    pub fn start_hashed(zones: &[(&str, &str)], unsigned: &[(&str, &str)]) -> Self {
        Self::launch(None, ports::free(), (zones, unsigned), Denial::Nsec3)
    }

    /// Starts one in a network namespace, where it answers on an address for zones that are not signed.
    ///
    /// # Panics
    /// When it does not start, or can't read a zone.
    #[must_use]
    pub fn start_in(namespace: &str, address: SocketAddr, zones: &[(&str, &str)]) -> Self {
        Self::launch(Some(namespace), address, (&[], zones), Denial::Nsec)
    }

    fn launch(
        namespace: Option<&str>,
        address: SocketAddr,
        (zones, unsigned): (Zones<'_>, Zones<'_>),
        denial: Denial,
    ) -> Self {
        let dir = crate::leavings::dir("knot");
        for (name, records) in zones.iter().chain(unsigned) {
            std::fs::write(dir.path().join(format!("{name}.zone")), zone_file(name, records))
                .expect("a zone file");
        }
        let names = |zones: &[(&'_ str, &str)]| zones.iter().map(|(name, _)| (*name).to_owned()).collect();
        let (names, unsigned): (Vec<String>, Vec<String>) = (names(zones), names(unsigned));
        let config = dir.path().join("knot.conf");
        std::fs::write(&config, configuration((dir.path(), address), (&names, &unsigned), denial))
            .expect("a file");
        let mut command = process::command(namespace, "knotd");
        command.arg("--config").arg(config);
        let mut process = Process::start(command, &dir.path().join("log"));
        until("Knot serves its zones", PATIENCE, || {
            assert!(process.is_running(), "Knot ended:\n{}", process.log());
            process.log().contains("server started").then_some(())
        });
        for name in names {
            let signed = format!("[{name}.] DNSSEC, successfully signed");
            assert!(process.log().contains(&signed), "{name} is not signed:\n{}", process.log());
        }
        Self { process, address, namespace: namespace.map(str::to_owned), _dir: dir }
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks it with `kdig`, once and over UDP, and gives the whole answer as text.
    #[must_use]
    pub fn ask(&self, name: &str, kind: &str, options: &[&str]) -> String {
        let mut command = process::command(self.namespace.as_deref(), "kdig");
        command.arg(format!("@{}", self.address.ip())).args(["-p", &self.address.port().to_string()]);
        command.args(["+retry=0", "+ignore"]).args(options).args([name, kind]);
        process::run_ok(command, b"", PATIENCE)
    }

    /// The key that a zone is signed with, as a line of a file of trust anchors.
    #[must_use]
    pub fn trust_anchor(&self, zone: &str) -> String {
        let keys = self.ask(zone, "DNSKEY", &["+short"]);
        let fields: Vec<&str> = keys.split_whitespace().collect();
        let [flags, protocol, algorithm, key @ ..] = &fields[..] else { panic!("no key of {zone}: {keys}") };
        format!("{zone}. 60 IN DNSKEY {flags} {protocol} {algorithm} {}\n", key.concat())
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A line of a zone file: a TXT record in as many strings as it takes.
#[must_use]
pub fn txt(name: &str, text: &str) -> String {
    let mut strings = String::new();
    for (at, c) in text.chars().enumerate() {
        strings.push_str(if at > 0 && at % STRING_OCTETS_MAX == 0 { "\" \"" } else { "" });
        strings.push(c);
    }
    format!("{name} TXT \"{strings}\"\n")
}

fn zone_file(name: &str, records: &str) -> String {
    format!(
        "$ORIGIN {name}.\n$TTL 60\n@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60\n@ NS ns.test.\n{records}"
    )
}

/// One thread of each kind: there is one client. What it learns is not written back.
fn configuration(
    (dir, address): (&Path, SocketAddr),
    (zones, unsigned): (&[String], &[String]),
    denial: Denial,
) -> String {
    let nsec3 = if denial == Denial::Nsec3 { "on" } else { "off" };
    let (ip, port, dir) = (address.ip(), address.port(), dir.display());
    let mut domains: String = zones.iter().map(|name| format!("  - domain: \"{name}\"\n")).collect();
    for name in unsigned {
        domains += &format!("  - domain: \"{name}\"\n    dnssec-signing: off\n");
    }
    format!(
        "server:\n  rundir: \"{dir}\"\n  listen: {ip}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  \
           background-workers: 1\n\
         log:\n  - target: stdout\n    any: info\n\
         database:\n  storage: \"{dir}\"\n\
         policy:\n  - id: signed\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    nsec3: {nsec3}\n\
         template:\n  - id: default\n    storage: \"{dir}\"\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    \
           journal-content: none\n    dnssec-signing: on\n    dnssec-policy: signed\n\
         zone:\n{domains}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_has_several_strings() {
        let text = "x".repeat(STRING_OCTETS_MAX);
        assert_eq!(txt("a", &text), format!("a TXT \"{text}\"\n"));
        assert_eq!(txt("a", &format!("{text}y")), format!("a TXT \"{text}\" \"y\"\n"));
    }
}
