//! `home.toml`.

mod deliver;
mod filter;
mod foreign_edge;
mod smarthost;
mod switch;
mod trace;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::config::{Checked, Octets, Seconds, TlsConfig};
use directory::{Policy, ReturnPathPolicy, SendingLimits, TlsReportsPolicy};
use mail::{Address, Domain};
use serde::Deserialize;

pub use deliver::DeliverConfig;
pub use directory::{DateZone, OnLeak};
pub use filter::{Direction, FilterConfig, Kind as FilterKind, OnFailure, TIMEOUT_MAX as FILTER_TIMEOUT_MAX};
pub use foreign_edge::ForeignEdgeConfig;
pub use smarthost::{SmarthostConfig, TlsStart};
pub use switch::Switch;
pub use trace::TraceConfig;

/// Everything that Home reads from its file. Users and aliases are not here: `postern user`, `postern alias`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeConfig {
    /// The domains whose mail lives here.
    pub domains: Vec<Domain>,
    /// What Home calls itself where no edge of ours has a name for it. The world may see it. Default: `mail.` and the
    /// first domain.
    #[serde(default)]
    pub hostname: Option<Domain>,
    /// Where mailboxes, keys and the queue are.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// Who gets mail to `postmaster` and mail nobody else can have. Default: the first account.
    #[serde(default)]
    pub postmaster: Option<Address>,
    /// What Edge does with mail while Home is away: `"seal"` or `"defer"`.
    #[serde(default)]
    pub away: link::Away,
    /// Whether users may send to the world: `"off"` or `"on"`.
    #[serde(default)]
    pub outbound: Switch,
    /// Characters that start a sub-address (`bob+lists`). Default `+`.
    #[serde(default = "default_separators")]
    pub subaddress_separators: String,
    /// Addresses to listen on.
    #[serde(default)]
    pub listen: Listen,
    /// The certificate for mail programs.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Limits on size, number and time.
    #[serde(default)]
    pub limits: Limits,
    /// The outbound queue.
    #[serde(default)]
    pub queue: QueueConfig,
    /// Limits on what users may send.
    #[serde(default)]
    pub sending: SendingConfig,
    /// Mail that users hand in.
    #[serde(default)]
    pub submission: SubmissionConfig,
    /// The reverse-paths of users' mail.
    #[serde(default)]
    pub return_path: ReturnPathConfig,
    /// Reports on TLS to the domains that ask for them.
    #[serde(default)]
    pub tls_reports: TlsReportsConfig,
    /// What is kept of what happened to messages.
    #[serde(default)]
    pub trace: TraceConfig,
    /// Content filters, asked in this order.
    #[serde(default, rename = "filter")]
    pub filters: Vec<FilterConfig>,
    /// The mailboxes of another program. Default: none; they are Home's own.
    #[serde(default)]
    pub deliver: Option<DeliverConfig>,
    /// An MTA of another kind that takes the world's mail. Default: none.
    #[serde(default)]
    pub foreign_edge: Option<ForeignEdgeConfig>,
    /// The MTA that all mail for the world is given to. Default: none; the edges send.
    #[serde(default)]
    pub smarthost: Option<SmarthostConfig>,
    /// The edges this home is paired with; written by `postern home setup` and `postern home pair`.
    #[serde(default, rename = "edge")]
    pub edges: Vec<EdgePin>,
}

impl HomeConfig {
    /// The files that it names outside of its data: certificates, keys, passwords. They are the operator's.
    #[must_use]
    pub fn files_elsewhere(&self) -> Vec<&Path> {
        let smarthost = self.smarthost.iter().flat_map(|smarthost| {
            [&smarthost.roots, &smarthost.password_file, &smarthost.certificate, &smarthost.key]
        });
        let filters = self.filters.iter().map(|filter| &filter.password_file);
        let foreign_edge = self.foreign_edge.iter().map(|edge| &edge.password_file);
        let named = [&self.tls.certificate, &self.tls.key].into_iter().chain(smarthost);
        let named = named.chain(filters).chain(foreign_edge).filter_map(Option::as_deref);
        named.filter(|path| !path.starts_with(&self.data)).collect()
    }

    /// What of it can change while Home runs.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let (sending, reports) = (&self.sending, &self.tls_reports);
        Policy {
            domains: self.domains.clone(),
            postmaster: self.postmaster.clone(),
            subaddress_separators: self.subaddress_separators.clone(),
            edges: self.edges.iter().map(|pin| pin.name.clone()).collect(),
            away: self.away,
            message_octets_max: self.limits.message.0,
            sends: self.outbound == Switch::On,
            sending: SendingLimits {
                recipients_per_hour: sending.recipients_per_hour,
                recipients_per_day: sending.recipients_per_day,
            },
            return_path: ReturnPathPolicy {
                sign: self.return_path.sign == Switch::On,
                unsigned: self.return_path.unsigned.clone(),
            },
            date_zone: self.submission.date_zone,
            on_leak: self.submission.on_leak,
            tls_reports: TlsReportsPolicy {
                send: reports.send == Switch::On,
                organization: reports.organization.clone(),
                contact: reports.contact.clone(),
            },
        }
    }

    /// What the dispatcher goes by.
    pub(crate) fn sending_settings(&self) -> outbound::Settings {
        let (queue, sending) = (&self.queue, &self.sending);
        let time = |seconds: Seconds| Duration::from_secs(seconds.0);
        outbound::Settings {
            retry: queue.retry.iter().copied().map(time).collect(),
            expire: time(queue.expire),
            warn_after: time(queue.warn_after),
            edge_gone: time(queue.edge_gone),
            attempts: queue.attempts,
            per_domain: queue.per_domain,
            warm_up: outbound::WarmUpSettings {
                first_day: sending.warm_up,
                growth: sending.warm_up_growth,
                file: self.data.join("warm_up.json"),
            },
            pause: outbound::PAUSE,
        }
    }

    /// What Home calls itself where no edge of ours has a name for it.
    pub fn hostname(&self) -> String {
        let made =
            || self.domains.first().map_or_else(|| "localhost".to_owned(), |domain| format!("mail.{domain}"));
        self.hostname.as_ref().map_or_else(made, ToString::to_string)
    }

    /// What Home is called in mail that leaves, and to the users' programs: as its first edge is, which the world sees.
    pub(crate) fn name_outside(&self) -> String {
        self.edges.first().map_or_else(|| self.hostname(), |pin| pin.name.clone())
    }
}

fn default_data() -> PathBuf {
    PathBuf::from("/var/lib/postern/home")
}

fn default_separators() -> String {
    "+".to_owned()
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Mail from users' programs, TLS first (RFC 8314). Default: port 465 on every address.
    pub submission: Vec<SocketAddr>,
    /// Mailboxes, TLS first. Default: port 993 on every address.
    pub imap: Vec<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let every = |port| vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
        Self { submission: every(465), imap: every(993) }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Octets of one message, in and out. Default 50 MiB.
    pub message: Octets,
    /// Memory for bodies that arrive; past it they go through temporary files. Default 128 MiB.
    pub body_memory: Octets,
    /// Sessions of users' programs at one time, per service. Default 500.
    pub sessions: usize,
    /// Those of them that one address may have; its network (/24, /64) four times as many. Default 100.
    pub sessions_per_address: u32,
    /// Disk for the outbound queue. Default 10 GiB.
    pub queue: Octets,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: Octets(50 << 20),
            body_memory: Octets(128 << 20),
            sessions: 500,
            sessions_per_address: 100,
            queue: Octets(10 << 30),
        }
    }
}

/// `[sending]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SendingConfig {
    /// Recipients abroad to which one account may send in an hour. Default 200.
    pub recipients_per_hour: u32,
    /// The same limit for a day. Default 1,000.
    pub recipients_per_day: u32,
    /// Recipients that a new edge sends to on its first day. Default 0: as many as there are.
    pub warm_up: u32,
    /// The factor from one day's number to the next day's. Default 1.5.
    pub warm_up_growth: f64,
}

impl Default for SendingConfig {
    fn default() -> Self {
        Self { recipients_per_hour: 200, recipients_per_day: 1000, warm_up: 0, warm_up_growth: 1.5 }
    }
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Waits between attempts; the last one is repeated. Default 1m, 2m, 5m, 15m, 30m, 1h.
    pub retry: Vec<Seconds>,
    /// When an undelivered message goes back to its sender. Default 5 days.
    pub expire: Seconds,
    /// After how long its sender is told that a message takes long. Default 4 hours.
    pub warn_after: Seconds,
    /// How long an edge that is away is waited for when it may have delivered a message already; then another one
    /// tries, and the message may arrive twice. Default 1 day.
    pub edge_gone: Seconds,
    /// Attempts under way at one time. Default 400.
    pub attempts: usize,
    /// Most attempts under way to one domain; it begins with 2 and grows with success. Default 100.
    pub per_domain: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        let minutes = [1, 2, 5, 15, 30, 60];
        Self {
            retry: minutes.iter().map(|minutes| Seconds(minutes * 60)).collect(),
            expire: Seconds(5 * 86_400),
            warn_after: Seconds(4 * 3600),
            edge_gone: Seconds(86_400),
            attempts: 400,
            per_domain: 100,
        }
    }
}

/// `[submission]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubmissionConfig {
    /// What is done with a message whose header still names the house. Default `"refuse"`.
    pub on_leak: OnLeak,
    /// What becomes of the time zone in the dates of users' mail. Default `"utc"`.
    pub date_zone: DateZone,
}

/// `[return_path]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReturnPathConfig {
    /// Whether the reverse-paths of mail to the world are signed, so that reports of failures of mail that was
    /// never sent can be refused. Default `"on"`; without `outbound` nothing is signed.
    pub sign: Switch,
    /// Addresses that are never signed, with their sub-addresses: for mailing lists that know their members by
    /// the reverse-path, and for addresses under which other hosts send as well. At most 1,000.
    pub unsigned: Vec<Address>,
}

impl Default for ReturnPathConfig {
    fn default() -> Self {
        Self { sign: Switch::On, unsigned: Vec::new() }
    }
}

/// Most addresses in `unsigned`: each message's sender is compared with them.
const UNSIGNED_MAX: usize = 1000;

/// `[tls_reports]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsReportsConfig {
    /// Whether domains that ask for it are told how TLS with their mail hosts went (RFC 8460). Default `"on"`;
    /// without `outbound` there is nothing to tell.
    pub send: Switch,
    /// Where their questions go. Default: `postmaster` of the first domain.
    pub contact: Option<Address>,
    /// What the reporter is called. Default: the first domain.
    pub organization: Option<String>,
}

impl Default for TlsReportsConfig {
    fn default() -> Self {
        Self { send: Switch::On, contact: None, organization: None }
    }
}

/// Most octets of `organization`.
const ORGANIZATION_OCTETS_MAX: usize = 255;

/// `[[edge]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgePin {
    /// Edge's host name; its name in `status`, logs and traces.
    pub name: String,
    /// The address of its link, `host:port`.
    pub address: String,
    /// SHA-256 of its raw public key, 64 hexadecimal digits.
    pub key: String,
}

impl EdgePin {
    /// The pinned fingerprint, SHA-256; `None` when `key` is no fingerprint.
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        link::fingerprint::from_hex(&self.key)
    }
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        if !((64 << 10)..=(1 << 30)).contains(&self.message.0) {
            return Err("[limits] message has to be 64 KiB to 1 GiB".to_owned());
        }
        if self.body_memory.0 < 4 << 20 {
            return Err("[limits] body_memory has to be at least 4 MiB".to_owned());
        }
        if !(1..=100_000).contains(&self.sessions) {
            return Err("[limits] sessions has to be 1 to 100000".to_owned());
        }
        if self.sessions_per_address == 0 {
            return Err("[limits] sessions_per_address of 0 would turn everybody away".to_owned());
        }
        Ok(())
    }
}

impl Checked for HomeConfig {
    const ROLE: link::Role = link::Role::Home;

    fn check(&self) -> Result<(), String> {
        self.tls.check()?;
        if self.domains.is_empty() {
            return Err("domains needs at least one domain".to_owned());
        }
        if let Some(literal) = self.domains.iter().find(|domain| domain.is_literal()) {
            return Err(format!("domains: {literal} is an address literal, not a domain"));
        }
        self.limits.check()?;
        self.trace.check()?;
        if self.queue.retry.is_empty() || self.queue.retry.iter().any(|wait| wait.0 == 0) {
            return Err("[queue] retry needs at least one wait, none of them 0".to_owned());
        }
        if !(1..=10_000).contains(&self.queue.attempts) {
            return Err("[queue] attempts has to be 1 to 10000".to_owned());
        }
        if !(1..=self.queue.attempts).contains(&self.queue.per_domain) {
            return Err("[queue] per_domain has to be 1 to attempts".to_owned());
        }
        if !(1.1..=10.0).contains(&self.sending.warm_up_growth) {
            return Err("[sending] warm_up_growth has to be 1.1 to 10".to_owned());
        }
        let unsigned = &self.return_path.unsigned;
        if unsigned.len() > UNSIGNED_MAX {
            return Err(format!("[return_path] unsigned has to be at most {UNSIGNED_MAX} addresses"));
        }
        if let Some(other) = unsigned.iter().find(|address| !self.domains.contains(address.domain())) {
            return Err(format!("[return_path] unsigned: {other} is not of a domain in domains"));
        }
        let organization = self.tls_reports.organization.as_deref().unwrap_or("a name");
        let fits = (1..=ORGANIZATION_OCTETS_MAX).contains(&organization.len());
        if !fits || organization.contains(char::is_control) {
            return Err(format!(
                "[tls_reports] organization has to be 1 to {ORGANIZATION_OCTETS_MAX} octets of text"
            ));
        }
        filter::check(&self.filters)?;
        if self.hostname.as_ref().is_some_and(Domain::is_literal) {
            return Err("hostname has to be a name, not an address literal".to_owned());
        }
        if let Some(deliver) = &self.deliver {
            deliver.check()?;
        }
        if let Some(foreign_edge) = &self.foreign_edge {
            foreign_edge.check()?;
        }
        if let Some(smarthost) = &self.smarthost {
            smarthost.check()?;
        }
        if let Some(pin) = self.edges.iter().find(|pin| pin.fingerprint().is_none()) {
            return Err(format!("[[edge]] {}: key has to be 64 hexadecimal digits", pin.name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use daemon::config::parse;

    use super::*;

    fn error_of<C: Checked + std::fmt::Debug>(text: &str) -> String {
        parse::<C>(Path::new("postern.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn dates_leave_in_utc_unless_the_configuration_keeps_them() {
        let zone = |value: &str| {
            let text = format!("domains = [\"example.org\"]\n[submission]\n{value}");
            parse::<HomeConfig>(Path::new("home.toml"), &text).map(|config| config.submission.date_zone)
        };
        assert_eq!(zone("").unwrap(), DateZone::Utc);
        assert_eq!(zone("date_zone = \"utc\"").unwrap(), DateZone::Utc);
        assert_eq!(zone("date_zone = \"keep\"").unwrap(), DateZone::Keep);
        assert!(zone("date_zone = \"+0100\"").is_err());
    }

    #[test]
    fn limits_are_taken_at_their_bound_and_refused_past_it() {
        let home = |octets: u64| format!("domains = [\"example.org\"]\n[limits]\nmessage = {octets}\n");
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(1 << 30)).is_ok());
        let error = error_of::<HomeConfig>(&home((1 << 30) + 1));
        assert!(error.contains("message"), "{error}");
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(64 * 1024)).is_ok());
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(64 * 1024 - 1)).is_err());
    }

    #[test]
    fn sessions_are_one_to_a_hundred_thousand_and_an_address_has_one_at_least() {
        let home = |limits: &str| {
            let text = format!("domains = [\"example.org\"]\n[limits]\n{limits}\n");
            parse::<HomeConfig>(Path::new("home.toml"), &text).is_ok()
        };
        let sessions = ["sessions = 0", "sessions = 1", "sessions = 100000", "sessions = 100001"];
        assert_eq!(sessions.map(home), [false, true, true, false]);
        assert_eq!(["sessions_per_address = 0", "sessions_per_address = 1"].map(home), [false, true]);
    }

    #[test]
    fn unsigned_addresses_are_ours_and_no_more_than_their_limit() {
        let home =
            |unsigned: &str| format!("domains = [\"example.org\"]\n[return_path]\nunsigned = [{unsigned}]\n");
        let error = error_of::<HomeConfig>(&home("\"a@example.com\""));
        assert!(error.contains("unsigned: a@example.com is not of a domain"), "{error}");
        assert!(
            parse::<HomeConfig>(Path::new("home.toml"), &home(&"\"a@example.org\", ".repeat(1000))).is_ok()
        );
        let error = error_of::<HomeConfig>(&home(&"\"a@example.org\", ".repeat(1001)));
        assert!(error.contains("at most 1000"), "{error}");
    }
}
