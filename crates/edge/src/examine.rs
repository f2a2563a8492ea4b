//! Edge's half of the doctor: what Edge knows of itself, for findings that its operator sees and its homes ask for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daemon::clock::{Clock, SystemClock};
use daemon::json_file;
use daemon::request::DoctorRequest;
use doctor::facts::{Fact, HomeSeen};
use doctor::look::{EDGE_PATIENCE, EdgeKnows, HostKnows, NOBODY, RealWorld};
use doctor::{Examination, Finding, judge, look, told};
use link::{Examined, Hello, Snapshot};
use mail::{Domain, UnixTime};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::homes::{Home, Homes, anybody_sends};
use crate::config::EdgeConfig;

/// The file of [`Noticed`] in the data directory.
const NOTICED: &str = "noticed.json";

/// What is noticed of the world, for the doctor alone: times in seconds since 1970, 0 for never. It outlives a restart.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    stranger: AtomicU64,
    delivered: AtomicU64,
}

/// Its file: two times, and nobody's name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct KeptNoticed {
    stranger: u64,
    delivered: u64,
}

impl Noticed {
    /// What was noticed before; of a file that can't be read, nothing.
    pub(crate) fn open(data: &Path) -> Self {
        let kept = json_file::read::<KeptNoticed>(&data.join(NOTICED)).ok().flatten().unwrap_or_default();
        Self { stranger: kept.stranger.into(), delivered: kept.delivered.into() }
    }

    /// Writes it down. That it can't be written is no harm: it is noticed again.
    pub(crate) fn save(&self, data: &Path) {
        let [stranger, delivered] =
            [&self.stranger, &self.delivered].map(|secs| secs.load(Ordering::Relaxed));
        let path = data.join(NOTICED);
        if let Err(error) = json_file::replace(&path, &KeptNoticed { stranger, delivered }) {
            tracing::debug!(%error, "what was noticed is not kept");
        }
    }

    /// Somebody connected to port 25. Neighbours prove nothing.
    pub(crate) fn came(&self, from: IpAddr, now: UnixTime) {
        if !judge::is_inner(from) {
            self.stranger.store(now.as_secs(), Ordering::Relaxed);
        }
    }

    /// Another host took a message.
    pub(crate) fn delivered(&self, now: UnixTime) {
        self.delivered.store(now.as_secs(), Ordering::Relaxed);
    }

    fn times(&self) -> [Option<UnixTime>; 2] {
        let time = |secs: &AtomicU64| {
            Some(secs.load(Ordering::Relaxed)).filter(|secs| *secs > 0).map(UnixTime::from_secs)
        };
        [time(&self.stranger), time(&self.delivered)]
    }
}

/// Examines this Edge when asked, once at a time: each run opens connections.
pub(crate) struct Examiner {
    config: EdgeConfig,
    homes: Arc<Homes>,
    noticed: Arc<Noticed>,
    clock: Arc<dyn Clock>,
    one_at_a_time: Semaphore,
}

impl Examiner {
    pub(crate) fn new(
        config: EdgeConfig,
        homes: Arc<Homes>,
        noticed: Arc<Noticed>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { config, homes, noticed, clock, one_at_a_time: Semaphore::new(1) })
    }

    /// The time, by Edge's clock.
    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Everything, for the operator of Edge.
    ///
    /// # Errors
    /// When DNS or TLS can't be set up on this host.
    pub(crate) async fn report(&self, request: &DoctorRequest) -> Fact<Examination> {
        let at = self.clock.now();
        Ok(Examination::of(at, self.findings(request, self.homes_seen(at)).await?))
    }

    /// What a home hears: Edge's own findings, and of the homes only itself.
    ///
    /// # Errors
    /// As [`Examiner::report`].
    pub(crate) async fn for_home(&self, home: &Home, probe: Option<String>) -> Fact<Examined> {
        // A home has no host tried that has no name in DNS: nothing of Edge's neighbourhood.
        let is_name = |host: &String| {
            host.parse::<IpAddr>().is_err() && Domain::parse(host).is_ok_and(|name| !name.is_literal())
        };
        let probe = probe.filter(is_name);
        let now = self.clock.now();
        let seen = self.homes_seen(now).into_iter().filter(|one| one.name == home.name);
        // What it told itself it knows.
        let seen = seen.map(|one| HomeSeen { told: Some((now, Vec::new())), ..one }).collect();
        let findings = self.findings(&DoctorRequest { probe, firewall: None }, seen).await?;
        Ok(told::to_link(&findings, &Hello::ours(None).software, now))
    }

    async fn findings(&self, request: &DoctorRequest, homes: Vec<HomeSeen>) -> Fact<Vec<Finding>> {
        let _one = self.one_at_a_time.acquire().await.map_err(|error| error.to_string())?;
        let [strangers, delivered] = self.noticed.times();
        let sends =
            self.homes.list().iter().any(|home| home.kept().is_some_and(|kept| kept.snapshot.outbound));
        let host = HostKnows {
            now: self.clock.now(),
            firewall: request.firewall,
            ..HostKnows::here(&self.config.data)
        };
        let knows = EdgeKnows {
            strangers,
            delivered,
            sends,
            own_port: own_port(&self.config, self.a_domain()),
            homes: Ok(homes),
            ..knows(&self.config, host, request.probe.clone())
        };
        looked_at(&self.config, knows).await
    }

    /// A domain that is served here, to ask for somebody who is not there.
    fn a_domain(&self) -> Option<String> {
        let homes = self.homes.list();
        let mut domains =
            homes.iter().filter_map(|home| Some(home.kept()?.snapshot.domains.first()?.name.to_string()));
        domains.next()
    }

    fn homes_seen(&self, now: UnixTime) -> Vec<HomeSeen> {
        self.homes.list().iter().map(|home| seen(home, now)).collect()
    }
}

/// Of an Edge whose daemon does not run, or is not there yet: what can be seen without it.
///
/// # Errors
/// When DNS or TLS can't be set up on this host.
pub async fn examine_alone(config: &EdgeConfig, request: &DoctorRequest) -> Fact<Examination> {
    let at = SystemClock.now();
    let host = HostKnows { firewall: request.firewall, is_daemon: false, ..HostKnows::here(&config.data) };
    let sends = anybody_sends(&config.data.join("homes")).unwrap_or(false);
    let runs = Err("no daemon runs with this data".to_owned());
    // Nobody listens, which is said once.
    let knows = EdgeKnows { runs, sends, ports: Vec::new(), ..knows(config, host, request.probe.clone()) };
    Ok(Examination::of(at, looked_at(config, knows).await?))
}

async fn looked_at(config: &EdgeConfig, knows: EdgeKnows) -> Fact<Vec<Finding>> {
    let config = config.clone();
    look::apart(move || async move {
        let anchors = config.dns.trust_anchors.as_deref();
        let world = RealWorld::new(&config.dns.servers, anchors, config.outbound.extra_roots.as_deref())?;
        let world = world.with_ports(config.outbound.port, config.outbound.mta_sts_port);
        let facts = Box::pin(look::edge(&world, knows, Instant::now() + EDGE_PATIENCE)).await;
        Ok(judge::edge(&facts))
    })
    .await
}

/// What the configuration says.
fn knows(config: &EdgeConfig, host: HostKnows, probe: Option<String>) -> EdgeKnows {
    let smtp = config.listen.smtp.iter().map(|at| ("SMTP", *at));
    let links = config.listen.link.iter().map(|at| ("the link", *at));
    EdgeKnows {
        host,
        runs: Ok(()),
        hostname: config.hostname.clone(),
        sends: false,
        sends_ipv6: config.outbound.ipv6,
        lists: config.doctor.lists.clone(),
        probe: probe.or_else(|| config.doctor.probe.clone()),
        delivered: None,
        strangers: None,
        ports: smtp
            .chain(links)
            .filter_map(|(name, at)| Some((format!("{name} ({at})"), on_this_host(at)?)))
            .collect(),
        own_port: None,
        homes: Err("the daemon does not run".to_owned()),
        spool_octets_max: config.limits.spool.0,
    }
}

/// Where a stranger on this host finds the mail port, and whom he asks for who does not exist.
fn own_port(config: &EdgeConfig, domain: Option<String>) -> Option<(SocketAddr, Option<String>)> {
    let place = config.listen.smtp.iter().find_map(|at| on_this_host(*at))?;
    Some((place, domain.map(|domain| format!("{NOBODY}@{domain}"))))
}

/// Where to connect to for a listener's address; `None` for IPv6 where this host has none.
fn on_this_host(at: SocketAddr) -> Option<SocketAddr> {
    if at.is_ipv6() && !daemon::process::has_ipv6() {
        return None;
    }
    Some(match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        _ => at,
    })
}

fn seen(home: &Home, now: UnixTime) -> HomeSeen {
    let oldest = home.sealed.list(None, 1).first().map(|item| item.id.taken());
    HomeSeen {
        name: home.name.clone(),
        linked: home.live().is_some(),
        last_here: home.last_here(now),
        recipients: home.kept().map(|kept| recipients(&kept.snapshot)),
        takes_everybody: home
            .kept()
            .is_some_and(|kept| kept.snapshot.domains.iter().any(|domain| domain.catch_all)),
        sealed: home.sealed.count(),
        oldest,
        sealed_octets: home.sealed.item_octets(),
        told: home.told(),
    }
}

/// Those that are listed; a domain that takes everybody counts as one.
fn recipients(snapshot: &Snapshot) -> usize {
    snapshot.recipients.len() + snapshot.domains.iter().filter(|domain| domain.catch_all).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_noticed_and_a_neighbour_is_not() {
        let noticed = Noticed::default();
        let now = UnixTime::from_secs(1_800_000_000);
        noticed.came("10.0.0.7".parse().unwrap(), now);
        assert_eq!(noticed.times(), [None, None]);
        noticed.came("203.0.113.7".parse().unwrap(), now);
        noticed.delivered(now);
        assert_eq!(noticed.times(), [Some(now), Some(now)]);
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let at = |text: &str| on_this_host(text.parse().unwrap());
        assert_eq!(at("0.0.0.0:25"), Some("127.0.0.1:25".parse().unwrap()));
        assert_eq!(at("203.0.113.1:25"), Some("203.0.113.1:25".parse().unwrap()));
    }
}
