//! A name space of its own: a signed root, signed zones below it, each known to the one above by its key, and a
//! resolver that believes nothing else. Knot serves all zones, Unbound asks it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// The hosts of the two servers.
#[derive(Debug, Clone)]
pub struct NameHosts {
    /// The namespace and address of the authoritative server.
    pub authority: (String, Ipv4Addr),
    /// The namespace and address of the resolver.
    pub resolver: (String, Ipv4Addr),
}

/// The zones, their keys, and the two servers while they run. They end when it is dropped.
#[derive(Debug)]
pub struct NameTree {
    servers: Vec<Process>,
    hosts: NameHosts,
    /// Name, without a final dot; "" is the root.
    keys: BTreeMap<String, Keys>,
    dir: TempDir,
}

#[derive(Debug)]
struct Keys {
    ds: String,
    dnskey: String,
}

impl NameTree {
    /// Makes the keys of these zones. The root is one of them without being named.
    ///
    /// # Panics
    /// When `keymgr` fails.
    #[must_use]
    pub fn new(hosts: NameHosts, zones: &[&str]) -> Self {
        let dir = crate::leavings::dir("names");
        // Unbound reads as a user of its own.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("permissions");
        let zones: Vec<&str> = zones.iter().copied().chain([""]).collect();
        std::fs::write(dir.path().join("knot.conf"), knot(dir.path(), hosts.authority.1, &zones))
            .expect("a file");
        let keys = zones.iter().map(|zone| ((*zone).to_owned(), keys(dir.path(), zone))).collect();
        let tree = Self { servers: Vec::new(), hosts, keys, dir };
        std::fs::write(tree.trust_anchor(), format!(". 60 IN DNSKEY {}\n", tree.keys[""].dnskey))
            .expect("a file");
        tree
    }

    /// The file with the root's key.
    #[must_use]
    pub fn trust_anchor(&self) -> std::path::PathBuf {
        self.dir.path().join("root.key")
    }

    /// The resolver's address.
    #[must_use]
    pub const fn resolver(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.hosts.resolver.1), 53)
    }

    /// Starts the servers, or starts them again with other records: of each zone, lines of its zone file. What the
    /// resolver knew is forgotten.
    ///
    /// # Panics
    /// When one of them does not start.
    pub fn serve(&mut self, records: &[(&str, String)]) {
        self.stop();
        for zone in self.keys.keys() {
            let own = records.iter().filter(|(name, _)| name == zone).map(|(_, text)| text.as_str());
            let text = self.zone_file(zone, &own.collect::<String>());
            std::fs::write(self.dir.path().join(format!("{}.zone", file_name(zone))), text).expect("a file");
        }
        let (namespace, address) = &self.hosts.authority;
        let mut command = process::command(Some(namespace), "knotd");
        command.arg("--config").arg(self.dir.path().join("knot.conf"));
        self.servers.push(started(command, &self.dir.path().join("knot.log"), namespace, *address));
        let (namespace, address) = &self.hosts.resolver;
        let config = self.dir.path().join("unbound.conf");
        std::fs::write(&config, self.unbound()).expect("a file");
        let mut command = process::command(Some(namespace), "unbound");
        command.arg("-d").arg("-c").arg(config);
        self.servers.push(started(command, &self.dir.path().join("unbound.log"), namespace, *address));
    }

    /// Stops both: no name is known to anybody.
    pub fn stop(&mut self) {
        self.servers.clear();
        for log in ["knot.log", "unbound.log"] {
            let _ = std::fs::remove_file(self.dir.path().join(log));
        }
    }

    /// What the resolver answers to `kdig`, whole.
    #[must_use]
    pub fn ask(&self, name: &str, kind: &str) -> String {
        let (namespace, address) = &self.hosts.resolver;
        let mut command = process::command(Some(namespace), "kdig");
        command.args([&format!("@{address}"), "+dnssec", name, kind]);
        process::run_ok(command, b"", PATIENCE)
    }

    fn zone_file(&self, zone: &str, records: &str) -> String {
        let origin = if zone.is_empty() { ".".to_owned() } else { format!("{zone}.") };
        let mut text = format!(
            "$ORIGIN {origin}\n$TTL 30\n@ SOA ns.root. hostmaster.root. 1 3600 600 86400 30\n@ NS ns.root.\n{records}"
        );
        for child in self.keys.keys().filter(|name| !name.is_empty() && self.parent(name) == zone) {
            let _ = writeln!(text, "{child}. NS ns.root.\n{child}. DS {}", self.keys[child].ds);
        }
        if zone.is_empty() {
            let _ = writeln!(text, "ns.root. A {}", self.hosts.authority.1);
        }
        text
    }

    /// The closest zone above.
    fn parent(&self, zone: &str) -> &str {
        let above = zone.match_indices('.').map(|(at, _)| &zone[at + 1..]);
        above
            .filter_map(|name| self.keys.get_key_value(name))
            .map(|(name, _)| name.as_str())
            .next()
            .unwrap_or("")
    }

    fn unbound(&self) -> String {
        let (authority, own, dir) =
            (self.hosts.authority.1, self.hosts.resolver.1, self.dir.path().display());
        std::fs::write(
            self.dir.path().join("root.hints"),
            format!(". 3600 NS ns.root.\nns.root. 3600 A {authority}\n"),
        )
        .expect("a file");
        format!(
            "server:\n  interface: {own}\n  access-control: 0.0.0.0/0 allow\n  do-daemonize: no\n  chroot: \"\"\n\
             \x20 username: \"\"\n  directory: \"{dir}\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n\
             \x20 verbosity: 1\n  num-threads: 1\n  do-ip6: no\n  root-hints: \"{dir}/root.hints\"\n\
             \x20 trust-anchor-file: \"{anchor}\"\n  module-config: \"validator iterator\"\n\
             \x20 local-zone: \"test.\" nodefault\n  local-zone: \"113.0.203.in-addr.arpa.\" nodefault\n\
             \x20 cache-max-negative-ttl: 5\n  infra-host-ttl: 2\n\
             remote-control:\n  control-enable: no\n",
            anchor = self.trust_anchor().display(),
        )
    }
}

fn file_name(zone: &str) -> &str {
    if zone.is_empty() { "root" } else { zone }
}

fn keys(dir: &Path, zone: &str) -> Keys {
    let zone = if zone.is_empty() { "." } else { zone };
    let keymgr = |arguments: &[&str]| {
        let mut command = process::command(None, "keymgr");
        command.arg("-c").arg(dir.join("knot.conf")).arg(zone).args(arguments);
        process::run_ok(command, b"", PATIENCE)
    };
    let _ = keymgr(&["generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes"]);
    let after = |printed: &str, kind: &str, wanted: fn(&[&str]) -> bool| {
        let rows = printed.lines().filter_map(|line| line.split_once(kind).map(|(_, rest)| rest.trim()));
        let found =
            rows.filter(|rest| wanted(&rest.split(' ').collect::<Vec<_>>())).map(str::to_owned).next();
        found.unwrap_or_else(|| panic!("no {kind} of {zone}: {printed}"))
    };
    // The digest is SHA-256 (RFC 4509).
    let ds = after(&keymgr(&["ds"]), " DS ", |fields| fields.get(2) == Some(&"2"));
    Keys { ds, dnskey: after(&keymgr(&["dnskey"]), " DNSKEY ", |_| true) }
}

fn started(command: std::process::Command, log: &Path, namespace: &str, address: Ipv4Addr) -> Process {
    let mut process = Process::start(command, log);
    until("the name server answers", PATIENCE, || {
        assert!(process.is_running(), "it ended:\n{}", process.log());
        let mut ask = process::command(Some(namespace), "kdig");
        ask.args([&format!("@{address}"), "+retry=0", "+timeout=1", "+short", ".", "SOA"]);
        let answer = process::run(ask, b"", PATIENCE);
        answer.stdout.starts_with(b"ns.root.").then_some(())
    });
    process
}

fn knot(dir: &Path, address: Ipv4Addr, zones: &[&str]) -> String {
    let dir = dir.display();
    let mut domains = String::new();
    for zone in zones {
        let _ = writeln!(domains, "  - domain: \"{zone}.\"\n    file: \"{}.zone\"", file_name(zone));
    }
    format!(
        "server:\n  rundir: \"{dir}\"\n  listen: {address}@53\n  udp-workers: 1\n  tcp-workers: 1\n  \
           background-workers: 1\n\
         log:\n  - target: stdout\n    any: warning\n\
         database:\n  storage: \"{dir}\"\n\
         policy:\n  - id: signed\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n\
         template:\n  - id: default\n    storage: \"{dir}\"\n    zonefile-sync: -1\n    journal-content: none\n    \
           dnssec-signing: on\n    dnssec-policy: signed\n\
         zone:\n{domains}"
    )
}
