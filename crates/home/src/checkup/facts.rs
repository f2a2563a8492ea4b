//! What Home knows without asking the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use doctor::facts::{Fact, QueueSeen};
use doctor::look::{DomainKnows, EdgePlace, HomeKnows, HostKnows, NOBODY};
use mail::{Address, UnixTime};

use super::parts::CheckupParts;
use crate::config::{HomeConfig, Switch};
use crate::dkim::{DomainRecords, Stage};

/// Why what only the daemon knows is not known.
const NO_DAEMON: &str = "the daemon does not run";
/// Where the world's mail goes in.
const SMTP_PORT: u16 = 25;

/// Of a Home that runs.
pub(super) async fn from_daemon(parts: &CheckupParts, host: HostKnows) -> HomeKnows {
    let now = host.now;
    let queue = parts.queue.list().await;
    let quarantine = parts.quarantine.count().await;
    let config = parts.config.now();
    let mut knows = from_configuration(&config, &parts.keys.records(now), host);
    let reached = |local: &str, domain: &str| -> Fact<bool> {
        let address = Address::parse(&format!("{local}@{domain}")).map_err(|error| error.to_string())?;
        Ok(parts.directory.resolve(&address).is_some())
    };
    for domain in &mut knows.domains {
        domain.postmaster = reached("postmaster", &domain.name);
        domain.abuse = reached("abuse", &domain.name);
    }
    let takes_everybody = match config.domains.first() {
        Some(domain) => reached(NOBODY, domain.as_str()),
        None => Ok(false),
    };
    HomeKnows {
        runs: Ok(()),
        accounts: Ok(parts.directory.accounts().len()),
        outbound: parts.directory.policy().sends,
        queue: Ok(QueueSeen {
            waiting: queue.len(),
            oldest: queue.iter().filter(|one| !one.held).map(|one| one.submitted).min(),
            held: queue.iter().filter(|one| one.held).count(),
        }),
        quarantine: quarantine
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| "the quarantine can't be read".to_owned()),
        takes_everybody,
        ..knows
    }
}

/// Of its files alone.
pub(super) fn from_configuration(config: &HomeConfig, keys: &[DomainRecords], host: HostKnows) -> HomeKnows {
    let none = || NO_DAEMON.to_owned();
    let domains = config.domains.iter().map(|domain| DomainKnows {
        name: domain.to_string(),
        keys: keys_of(domain.as_str(), keys),
        postmaster: Err(none()),
        abuse: Err(none()),
    });
    let edges = config.edges.iter().map(|pin| EdgePlace {
        name: pin.name.clone(),
        smtp_port: SMTP_PORT,
        link: Err(none()),
        served: None,
    });
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let port = |listen: &[SocketAddr]| listen.first().copied().map_or(loopback, on_this_host);
    HomeKnows {
        host,
        runs: Err("no daemon runs with this data".to_owned()),
        outbound: config.outbound == Switch::On,
        smarthost: config.smarthost.is_some(),
        domains: domains.collect(),
        edges: edges.collect(),
        submission: port(&config.listen.submission),
        imap: config.deliver.is_none().then(|| port(&config.listen.imap)),
        hostname: config.name_outside(),
        accounts: Err(none()),
        queue: Err(none()),
        quarantine: Err(none()),
        filters: Vec::new(),
        backup: None,
        takes_everybody: Err(none()),
        round_trip: None,
    }
}

/// The keys whose records are to be there: those that sign, and the next.
fn keys_of(domain: &str, keys: &[DomainRecords]) -> Vec<(String, bool, String, Option<UnixTime>)> {
    let of_domain = keys.iter().filter(|of| of.domain.eq_ignore_ascii_case(domain));
    let all =
        of_domain.flat_map(|of| &of.keys).filter(|key| matches!(key.stage, Stage::Signing | Stage::Next));
    all.map(|key| {
        (key.selector.clone(), key.stage == Stage::Signing, key.record.clone(), made(&key.selector))
    })
    .collect()
}

/// Selectors of ours begin with the day on which they were made: `20261124r`.
fn made(selector: &str) -> Option<UnixTime> {
    let (year, month, day) = (selector.get(..4)?, selector.get(4..6)?, selector.get(6..8)?);
    UnixTime::parse_rfc3339(&format!("{year}-{month}-{day}T00:00:00Z"))
}

/// Where to connect to for a listener's address.
fn on_this_host(at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        _ => at,
    }
}

/// Each filter, and whether it takes connections.
pub(super) async fn filters(config: &HomeConfig) -> Vec<(String, Fact<()>)> {
    let asked = config.filters.iter().map(|filter| {
        let (name, address) = (filter.name(), filter.address.clone());
        tokio::spawn(async move {
            (name, address.answers().await.map_err(|error| daemon::problem::io_words(&error)))
        })
    });
    let asked: Vec<_> = asked.collect();
    let mut all = Vec::new();
    for one in asked {
        all.extend(one.await);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_key_is_read_from_its_selector() {
        assert_eq!(made("20261124r"), UnixTime::parse_rfc3339("2026-11-24T00:00:00Z"));
        assert_eq!(made("20261124-2e"), UnixTime::parse_rfc3339("2026-11-24T00:00:00Z"));
        for other in ["mail", "2026", "20261399r", "ä0261124r"] {
            assert_eq!(made(other), None, "{other}");
        }
    }
}
