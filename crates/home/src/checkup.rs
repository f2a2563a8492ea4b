//! Home's half of the doctor: what Home knows of itself, asked for by the operator and once a day by itself.
//!
//! Of each run the outcome is kept in `doctor.json` in the data directory, for `status` and to see what became worse; the edges
//! hear names and verdicts of Home's own findings, and no word of theirs.

mod facts;
mod parts;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::{Clock as _, SystemClock};
use daemon::json_file;
use daemon::request::DoctorRequest;
use doctor::facts::{DomainFacts, Fact, HomeFacts, RoundTrip};
use doctor::look::{HOME_PATIENCE, HomeKnows, HostKnows, RealWorld};
use doctor::report::LastRun;
use doctor::{Examination, judge, look, told};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::facts::{filters, from_configuration, from_daemon};
pub(crate) use self::parts::CheckupParts;
use crate::config::HomeConfig;
use crate::dkim::DomainRecords;
use crate::edges::EdgeHealth;
use crate::traveller::Traveller;

/// When Home looks the first time: links are up by then, and a filter or a resolver that starts beside it, too.
const FIRST: Duration = Duration::from_secs(5 * 60);
/// How often it looks by itself.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long the answer to a message that is sent round may take: a host that does not know Edge may be put off for a minute.
const TRIP_PATIENCE: Duration = Duration::from_secs(90);
/// The same for somebody who waits at a terminal: less than a command waits for the daemon.
const ROUND_PATIENCE: Duration = Duration::from_secs(50);
/// How long a run waits for it.
const TRIP_WAIT: Duration = Duration::from_secs(2);
/// Homes that were started together do not ask the lists together: each waits up to so much longer.
const SPREAD: Duration = Duration::from_secs(20 * 60);

/// Home's doctor. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Checkup(Arc<CheckupState>);

struct CheckupState {
    /// What is kept of the last run.
    file: PathBuf,
    last: Mutex<Option<LastRun>>,
    round_trip: Mutex<Option<RoundTrip>>,
    /// Each run opens connections: one at a time.
    running: tokio::sync::Mutex<()>,
}

impl Checkup {
    /// With what the last run of an earlier start found. A file that can't be read is as good as none: the next run writes it.
    pub(crate) fn open(data: &Path) -> Self {
        let file = data.join("doctor.json");
        let last = json_file::read::<LastRun>(&file).unwrap_or_else(|problem| {
            tracing::warn!(%problem, "what the doctor found last can't be read");
            None
        });
        let (last, round_trip, running) = (Mutex::new(last), Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(CheckupState { file, last, round_trip, running }))
    }

    fn round_trip(&self) -> MutexGuard<'_, Option<RoundTrip>> {
        self.0.round_trip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message round and waits for it, for who wants to see it.
    ///
    /// # Errors
    /// Why none could be sent.
    pub(crate) async fn round(&self, traveller: &Traveller) -> Result<Value, String> {
        let travelled = traveller.go(ROUND_PATIENCE).await?;
        let told = travelled.to_json();
        *self.round_trip() = Some(travelled.trip);
        Ok(told)
    }

    /// Sends a message round. It is waited for a moment; what comes later is for the next run.
    async fn send_round(&self, parts: &CheckupParts, until: Instant) {
        let (checkup, traveller) = (self.clone(), parts.traveller.clone());
        let travelling = tokio::spawn(async move {
            match traveller.go(TRIP_PATIENCE).await {
                Ok(travelled) => *checkup.round_trip() = Some(travelled.trip),
                Err(why) => tracing::info!(why, "no message was sent round"),
            }
        });
        let _ = tokio::time::timeout_at(until, travelling).await;
    }

    /// Looks, remembers, and tells the edges.
    ///
    /// # Errors
    /// When DNS or TLS can't be set up on this host.
    pub(crate) async fn run(&self, parts: &CheckupParts, request: &DoctorRequest) -> Fact<Examination> {
        let _one = self.0.running.lock().await;
        let report = self.look(parts, request).await?;
        self.remember(&report);
        let (edges, names) = (parts.edges.clone(), told::names(&report.findings));
        // The operator does not wait for that.
        tokio::spawn(async move { edges.tell_findings(&names).await });
        Ok(report)
    }

    async fn look(&self, parts: &CheckupParts, request: &DoctorRequest) -> Fact<Examination> {
        let (at, config) = (parts.clock.now(), parts.config.now());
        let host = HostKnows { now: at, firewall: request.firewall, ..HostKnows::here(&config.data) };
        let knows = from_daemon(parts, host).await;
        let (facts, health, filters) =
            tokio::join!(looked_at(knows), parts.edges.health(request.probe.as_deref()), filters(&config),);
        let mut facts = facts?;
        // Without an MX record no answer can come, and name servers would remember that there was none.
        let leads_here = |domain: &DomainFacts| {
            domain.mx.as_ref().is_ok_and(|hosts| hosts.iter().any(|(_, host)| is_edge(&config, host)))
        };
        if facts.domains.iter().any(leads_here) {
            self.send_round(parts, Instant::now() + TRIP_WAIT).await;
        }
        facts.round_trip.clone_from(&self.round_trip());
        facts.filters = filters;
        for EdgeHealth { name, link, half, served } in health {
            if let Some(edge) = facts.edges.iter_mut().find(|edge| edge.name == name) {
                (edge.link, edge.half, edge.served) = (link, half, served);
            }
        }
        Ok(Examination::of(at, judge::home(&facts)))
    }

    fn remember(&self, report: &Examination) {
        let now = LastRun::from(report);
        let before = self.0.last.lock().unwrap_or_else(PoisonError::into_inner).replace(now.clone());
        for (half, check) in now.worse_than(before.as_ref()) {
            let found = report.findings.iter().find(|one| (one.half, one.check) == (half, check));
            let (what, advice) = found.map_or(("", ""), |one| (one.what.as_str(), one.advice.as_str()));
            tracing::warn!(%check, half = half.as_str(), what, what_to_do = advice, "the doctor found a fault that was not there before");
        }
        let path = &self.0.file;
        let kept = tokio::task::block_in_place(|| json_file::replace(path, &now));
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "what the doctor found can't be kept");
        }
    }

    /// For `status`; nothing before the first run.
    pub(crate) fn as_json(&self) -> Option<Value> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(LastRun::to_json)
    }

    /// Looks some minutes after the start and then daily, until `stop`.
    pub(crate) async fn daily(self, parts: CheckupParts, stop: CancellationToken) {
        let (mut wait, request) = (FIRST, DoctorRequest::default());
        loop {
            let spread = u64::try_from(SPREAD.as_millis()).unwrap_or(u64::MAX);
            let jitter = Duration::from_millis(parts.clock.random_u64() % spread);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait + jitter) => {}
            }
            wait = EVERY;
            let ran = tokio::select! {
                () = stop.cancelled() => return,
                ran = self.run(&parts, &request) => ran,
            };
            if let Err(why) = ran {
                tracing::warn!(why, "the doctor could not look today");
            }
        }
    }
}

async fn looked_at(knows: HomeKnows) -> Fact<HomeFacts> {
    look::apart(move || async move {
        let world = RealWorld::new(&[], None, None)?;
        Ok(Box::pin(look::home(&world, knows, Instant::now() + HOME_PATIENCE)).await)
    })
    .await
}

fn is_edge(config: &HomeConfig, host: &str) -> bool {
    config.edges.iter().any(|pin| pin.name.eq_ignore_ascii_case(host.trim_end_matches('.')))
}

/// Of a Home whose daemon does not run: what can be seen without it.
///
/// # Errors
/// When DNS or TLS can't be set up on this host.
pub async fn examine_alone(
    config: &HomeConfig,
    keys: Vec<DomainRecords>,
    request: &DoctorRequest,
) -> Fact<Examination> {
    let at = SystemClock.now();
    let host = HostKnows { firewall: request.firewall, is_daemon: false, ..HostKnows::here(&config.data) };
    let knows = from_configuration(config, &keys, host);
    let (facts, filters) = tokio::join!(looked_at(knows), filters(config));
    let mut facts = facts?;
    facts.filters = filters;
    Ok(Examination::of(at, judge::home(&facts)))
}

#[cfg(test)]
mod tests {
    use doctor::{Check, Finding, Half, Verdict};

    use super::*;

    fn found(verdict: Verdict) -> Examination {
        let finding = Finding::new(Half::Home, Check::Spf, verdict, "seen");
        Examination::of(SystemClock.now(), vec![finding])
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_found_last_is_shown_and_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let checkup = Checkup::open(dir.path());
        assert_eq!(checkup.as_json(), None, "nobody has looked yet");
        checkup.remember(&found(Verdict::Fault));
        let shown = checkup.as_json().unwrap();
        assert_eq!((&shown["send"], &shown["faults"][0]), (&"no".into(), &"spf (home)".into()));
        let again = Checkup::open(dir.path());
        assert_eq!(again.as_json(), Some(shown));
        again.remember(&found(Verdict::Fine));
        assert_eq!(Checkup::open(dir.path()).as_json().unwrap()["faults"], serde_json::json!([]));
        // A file that nobody can read is no reason not to start.
        std::fs::write(dir.path().join("doctor.json"), "nonsense").unwrap();
        assert_eq!(Checkup::open(dir.path()).as_json(), None);
    }
}
