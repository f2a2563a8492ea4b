//! `edge.toml`.

mod foreign_home;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use daemon::config::{Checked, Octets, Seconds, TlsConfig};
use serde::Deserialize;

pub use foreign_home::ForeignHomeConfig;

/// Everything that Edge reads from its file. What Home decides is not here: Home pushes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    /// The name servers.
    #[serde(default)]
    pub dns: Dns,
    /// Limits on size, number and time.
    #[serde(default)]
    pub limits: Limits,
    /// Paired homes.
    #[serde(default)]
    pub homes: HomesConfig,
    /// The ways in which mail is sent out.
    #[serde(default)]
    pub outbound: Outbound,
    /// How many connections clients may have, and how often they may come.
    #[serde(default)]
    pub door: DoorConfig,
    /// The points that each sign counts.
    #[serde(default)]
    pub score: ScoreConfig,
    /// What becomes of mail by the signs that were found on it.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// Lists of addresses in DNS.
    #[serde(default, rename = "list")]
    pub lists: Vec<ListConfig>,
    /// What `postern doctor` asks.
    #[serde(default)]
    pub doctor: DoctorConfig,
    /// Homes that are other programs.
    #[serde(default, rename = "foreign_home")]
    pub foreign_homes: Vec<ForeignHomeConfig>,
}

impl EdgeConfig {
    /// The defaults, for commands that need no Edge of their own.
    pub fn of_nobody() -> Self {
        Self {
            hostname: "edge.invalid".to_owned(),
            data: default_data(),
            listen: Listen::default(),
            tls: TlsConfig::default(),
            dns: Dns::default(),
            limits: Limits::default(),
            homes: HomesConfig::default(),
            outbound: Outbound::default(),
            door: DoorConfig::default(),
            score: ScoreConfig::default(),
            policy: PolicyConfig::default(),
            lists: Vec::new(),
            doctor: DoctorConfig::default(),
            foreign_homes: Vec::new(),
        }
    }
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
    /// A file of DNSKEY records that are trusted instead of those of the root. For tests and networks with a
    /// root of their own.
    pub trust_anchors: Option<PathBuf>,
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

/// `[homes]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HomesConfig {
    /// How long a home may be away while mail waits for it before `status` and the log warn. Default 3 days.
    pub away_warning: Seconds,
}

impl Default for HomesConfig {
    fn default() -> Self {
        Self { away_warning: Seconds(3 * 24 * 3600) }
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
    /// Connections to the mail hosts of one provider at one time, whatever the domain: hosts whose names end alike.
    /// Default 20.
    pub connections_per_provider: usize,
    /// Whether mail is sent over IPv6 too. Default: no; turn it on when the IPv6 address has a name in DNS and
    /// SPF allows it.
    pub ipv6: bool,
    /// Whether DANE is heeded (RFC 7672). Default: yes; it takes name servers that pass DNSSEC records on.
    pub dane: bool,
    /// Whether MTA-STS is heeded (RFC 8461). Default: yes.
    pub mta_sts: bool,
    /// The port that policies are fetched from. Anything but 443 is for tests.
    pub mta_sts_port: u16,
    /// PEM certificates of authorities that are believed besides the public ones.
    pub extra_roots: Option<PathBuf>,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            port: 25,
            connections_per_domain: 5,
            connections_per_provider: 20,
            ipv6: false,
            dane: true,
            mta_sts: true,
            mta_sts_port: 443,
            extra_roots: None,
        }
    }
}

/// `[door]`: limits for one address; its network (/24, /64) may do four times as much.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorConfig {
    /// Connections at one time. Default 20.
    pub connections_per_address: u32,
    /// New connections in a minute. Default 120.
    pub connections_per_minute: u32,
    /// Errors in an hour; past it the client is turned away for ten minutes. Default 60.
    pub errors_per_hour: u32,
    /// Recipients that do not exist in an hour, likewise. Default 40.
    pub unknown_recipients_per_hour: u32,
    /// How long a client waits for the greeting, to see whether it talks first. Default 1 s; 0 turns
    /// it off.
    pub greet_pause: Seconds,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            connections_per_address: 20,
            connections_per_minute: 120,
            errors_per_hour: 60,
            unknown_recipients_per_hour: 40,
            greet_pause: Seconds(1),
        }
    }
}

/// `[score]`: thresholds in points, and rows of the table that get other points.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreConfig {
    /// Points from which on a client is asked to come again. Default 3.0.
    pub greylist_from: f64,
    /// Points from which on a message goes to Junk. Default 6.0.
    pub junk_from: f64,
    /// Points from which on a message is refused. Default 12.0.
    pub reject_from: f64,
    /// Rows of the table and their points.
    pub points: BTreeMap<String, f64>,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self { greylist_from: 3.0, junk_from: 6.0, reject_from: 12.0, points: BTreeMap::new() }
    }
}

/// What becomes of mail that fails DMARC (RFC 9989).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    /// What the owner of the author's domain asks for goes to Junk. What he wants refused is refused if there is other
    /// evidence against it (RFC 9989 section 7.4).
    #[default]
    Enforce,
    /// What the owner of the author's domain asks for: `p=reject` is a refusal.
    Strict,
    /// A failure only counts as a sign.
    Score,
}

/// What is done with mail that could not be judged, because DNS did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDnsFailure {
    /// It is taken as if nothing had been found.
    #[default]
    Accept,
    /// The sender is asked to come again.
    Defer,
}

/// `[policy]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// What is done about DMARC. Default: enforce.
    pub dmarc: DmarcPolicy,
    /// Domains whose ARC seals are believed; one below them as well.
    pub trusted_sealers: Vec<String>,
    /// When DNS does not answer for SPF, DKIM or DMARC. Default: accept.
    pub on_dns_failure: OnDnsFailure,
    /// Whether the suspicious are asked to come again. Default: yes.
    pub greylist: bool,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            dmarc: DmarcPolicy::default(),
            trusted_sealers: Vec::new(),
            on_dns_failure: OnDnsFailure::default(),
            greylist: true,
        }
    }
}

/// `[[list]]`: a list of addresses in DNS (RFC 5782).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// The zone of the list, in which addresses are looked up.
    pub zone: String,
    /// Points for an address on it; negative for a list of the good.
    pub points: f64,
    /// Answers that count. Default: all.
    #[serde(default)]
    pub codes: Vec<Ipv4Addr>,
}

impl ListConfig {
    /// Points in tenths, as they are counted.
    pub fn tenths(&self) -> i32 {
        tenths(self.points)
    }
}

/// `[doctor]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoctorConfig {
    /// Blocklists on which Edge looks for its own addresses. Default: four that are public. At most 20.
    pub lists: Vec<String>,
    /// A host that takes mail, whose port 25 is tried to see whether port 25 is open outward. Default: none; then mail that was
    /// delivered lately proves it.
    pub probe: Option<String>,
}

impl Default for DoctorConfig {
    fn default() -> Self {
        let lists = ["zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com", "dnsbl.dronebl.org"];
        Self { lists: lists.map(str::to_owned).to_vec(), probe: None }
    }
}

impl DoctorConfig {
    fn check(&self) -> Result<(), String> {
        if self.lists.len() > LISTS_MAX {
            return Err(format!("[doctor] lists has to be at most {LISTS_MAX} zones"));
        }
        for name in self.lists.iter().chain(&self.probe) {
            mail::Domain::parse(name).map_err(|error| format!("[doctor] '{name}': {error}"))?;
        }
        Ok(())
    }
}

/// Points in tenths, so that sums are exact.
pub fn tenths(points: f64) -> i32 {
    #[allow(clippy::cast_possible_truncation, reason = "bounded when the file is read")]
    let tenths = (points * 10.0).round() as i32;
    tenths
}

/// Points beyond this make no sense and would not add up.
const POINTS_MAX: f64 = 1000.0;
/// A warning after more than a year comes too late.
const AWAY_WARNING_MAX: u64 = 365 * 24 * 3600;
/// Most lists that are asked for one client.
const LISTS_MAX: usize = 20;

impl EdgeConfig {
    fn check_scores(&self) -> Result<(), String> {
        let score = &self.score;
        if let Some(row) = score.points.keys().find(|row| !crate::signs::is_row(row)) {
            return Err(format!(
                "[score.points] has no row '{row}'; see docs/src/configuration.md for their names"
            ));
        }
        let lists = self.lists.iter().map(|list| list.points);
        let thresholds = [score.greylist_from, score.junk_from, score.reject_from];
        let all = score.points.values().copied().chain(lists).chain(thresholds);
        if all.into_iter().any(|points| !points.is_finite() || points.abs() > POINTS_MAX) {
            return Err(format!(
                "[score] and [[list]]: points have to be between -{POINTS_MAX} and {POINTS_MAX}"
            ));
        }
        if !(score.greylist_from <= score.junk_from && score.junk_from <= score.reject_from) {
            return Err("[score] greylist_from, junk_from and reject_from have to rise".to_owned());
        }
        if self.lists.len() > LISTS_MAX {
            return Err(format!("no more than {LISTS_MAX} [[list]] can be asked"));
        }
        for list in &self.lists {
            mail::Domain::parse(&list.zone)
                .map_err(|error| format!("[[list]] zone '{}': {error}", list.zone))?;
        }
        let door = &self.door;
        let counts = [
            door.connections_per_address,
            door.connections_per_minute,
            door.errors_per_hour,
            door.unknown_recipients_per_hour,
        ];
        if counts.contains(&0) {
            return Err("[door] a limit of 0 would turn everybody away".to_owned());
        }
        if door.greet_pause.0 > 30 {
            return Err(
                "[door] greet_pause has to be at most 30 s: good clients do not wait longer".to_owned()
            );
        }
        Ok(())
    }
}

impl Checked for EdgeConfig {
    const ROLE: link::Role = link::Role::Edge;

    fn check(&self) -> Result<(), String> {
        mail::Domain::parse(&self.hostname).map_err(|error| format!("hostname: {error}"))?;
        self.tls.check()?;
        if self.listen.smtp.is_empty() {
            return Err("[listen] smtp needs an address".to_owned());
        }
        if self.listen.link.is_empty() && self.foreign_homes.is_empty() {
            return Err("[listen] link needs an address, or no home can connect".to_owned());
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
        if !(1..=AWAY_WARNING_MAX).contains(&self.homes.away_warning.0) {
            return Err("[homes] away_warning has to be 1 s to 365 d".to_owned());
        }
        if !(1..=100).contains(&self.outbound.connections_per_domain) {
            return Err("[outbound] connections_per_domain has to be 1 to 100".to_owned());
        }
        if !(1..=1000).contains(&self.outbound.connections_per_provider) {
            return Err("[outbound] connections_per_provider has to be 1 to 1000".to_owned());
        }
        self.doctor.check()?;
        foreign_home::check(&self.foreign_homes, self.limits.body_memory)?;
        self.check_scores()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use daemon::config::parse;

    use super::*;

    fn error_of(text: &str) -> String {
        parse::<EdgeConfig>(Path::new("postern.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_an_error_with_file_line_and_suggestion() {
        let error = error_of("hostname = \"mx.example.org\"\n[listen]\nsntp = []\n");
        assert!(error.starts_with("postern.toml:3:1: there is no key 'sntp' here"), "{error}");
        assert!(error.contains("did you mean 'smtp'?"), "{error}");
    }

    #[test]
    fn a_bad_address_names_its_line() {
        let error = error_of("hostname = \"mx.example.org\"\n[listen]\nsmtp = [\"0.0.0.0\"]\n");
        assert!(error.contains("postern.toml:3:"), "{error}");
        assert!(error.contains("an address and a port"), "{error}");
    }

    #[test]
    fn the_doctors_lists_are_zones_and_no_more_than_their_limit() {
        let edge = |lists: &str| format!("hostname = \"mx.example.org\"\n[doctor]\nlists = [{lists}]\n");
        let read = |lists: &str| {
            parse::<EdgeConfig>(Path::new("edge.toml"), &edge(lists)).map(|config| config.doctor.lists.len())
        };
        assert_eq!(read("").unwrap(), 0, "who wants none is asked for none");
        assert_eq!(read(&"\"bl.example\", ".repeat(20)).unwrap(), 20);
        let error = error_of(&edge(&"\"bl.example\", ".repeat(21)));
        assert!(error.contains("[doctor] lists has to be at most 20"), "{error}");
        assert!(error_of(&edge("\"no zone\"")).contains("[doctor] 'no zone'"));
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let error = error_of("hostname = \"mx.example.org\"\n[tls]\nkey = \"k.pem\"\n");
        assert!(error.contains("needs both certificate and key"), "{error}");
    }

    #[test]
    fn a_home_may_be_away_for_a_second_to_a_year_before_the_operator_is_warned() {
        let edge = |secs: u64| format!("hostname = \"mx.example.org\"\n[homes]\naway_warning = {secs}\n");
        let year = 365 * 24 * 3600;
        for good in [1, year] {
            assert!(parse::<EdgeConfig>(Path::new("edge.toml"), &edge(good)).is_ok());
        }
        for bad in [0, year + 1] {
            assert!(error_of(&edge(bad)).contains("away_warning has to be 1 s to 365 d"));
        }
    }
}
