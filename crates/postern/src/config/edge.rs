//! `edge.toml`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::{Checked, Octets, Seconds, TlsConfig};

/// Everything that Edge reads from its file. What Home decides is not here: Home pushes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// The name in greeting, EHLO and `Received`; what the domains' MX records point at.
    pub hostname: String,
    /// Where keys, snapshots and sealed mail are.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// Addresses to listen on.
    #[serde(default)]
    pub listen: Listen,
    /// The certificate for STARTTLS.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Name servers.
    #[serde(default)]
    pub dns: Dns,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// How mail is sent out.
    #[serde(default)]
    pub outbound: Outbound,
}

fn default_data() -> PathBuf {
    PathBuf::from("/var/lib/postern/edge")
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Mail from the internet. Default: port 25 on every address.
    pub smtp: Vec<SocketAddr>,
    /// The link, UDP and TCP. Default: port 443 on every address.
    pub link: Vec<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let every = |port| vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
        Self { smtp: every(25), link: every(443) }
    }
}

/// `[dns]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Name servers to ask, with port. Default: those of the system.
    pub servers: Vec<SocketAddr>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// SMTP sessions at one time; more are answered 421. Default 2,000.
    pub sessions: usize,
    /// Memory for bodies in flight, whatever the number of sessions. Default 128 MiB.
    pub body_memory: Octets,
    /// Disk for sealed mail; past it mail is answered 452. Default 10 GiB.
    pub spool: Octets,
    /// How long Home may take over a message before it is sealed instead. Default 60 s.
    pub hand_off: Seconds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 2000,
            body_memory: Octets(128 << 20),
            spool: Octets(10 << 30),
            hand_off: Seconds(60),
        }
    }
}

/// `[outbound]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// The port of other MTAs. Anything but 25 is for tests.
    pub port: u16,
    /// Connections to one domain at one time. Default 5.
    pub connections_per_domain: usize,
}

impl Default for Outbound {
    fn default() -> Self {
        Self { port: 25, connections_per_domain: 5 }
    }
}

impl Checked for EdgeConfig {
    fn check(&self) -> Result<(), String> {
        mail::Domain::parse(&self.hostname).map_err(|error| format!("hostname: {error}"))?;
        self.tls.check()?;
        if self.listen.smtp.is_empty() || self.listen.link.is_empty() {
            return Err("[listen] smtp and link need one address each".to_owned());
        }
        if self.limits.body_memory.0 < 4 << 20 {
            return Err("[limits] body_memory has to be at least 4 MiB".to_owned());
        }
        if !(1..=600).contains(&self.limits.hand_off.0) {
            return Err("[limits] hand_off has to be 1 s to 10 m: senders do not wait longer".to_owned());
        }
        if !(1..=100_000).contains(&self.limits.sessions) {
            return Err("[limits] sessions has to be 1 to 100000".to_owned());
        }
        if !(1..=100).contains(&self.outbound.connections_per_domain) {
            return Err("[outbound] connections_per_domain has to be 1 to 100".to_owned());
        }
        Ok(())
    }
}
