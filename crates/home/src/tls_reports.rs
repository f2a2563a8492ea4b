//! Reports on TLS to the domains that our mail goes to (RFC 8460): counted from what Edge tells of its sessions,
//! by day and domain, and sent once the day is over.
//!
//! Home counts and composes; Edge, whom the world may see, asks where reports are wanted and posts those that go
//! by HTTPS. Those that go by mail take the outbound queue like any other message.

mod ledger;
mod letter;
mod round;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use daemon::control::Refusal;
use daemon::problem::Problem;
use daemon::request::TlsReportRequest;
use daemon::trace::Trace;
use directory::Directory;
use directory::Policy;
use link::{Errand, ErrandResult};
use mail::{Domain, UnixTime};
use outbound::queue::Queue;
use serde_json::{Value, json};
use store::StoreError;
use tlspolicy::report::Results;
use tokio_util::sync::CancellationToken;

use self::ledger::{DOMAINS_MAX, Entry, Ledger};
use self::letter::Submitter;
use super::dkim::DomainKeys;
use super::edges::NoEdge;

/// How long counts may be in memory only. A crash loses them; at midnight so much may count for the next day.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether a report is due.
const LOOKED_EVERY: Duration = Duration::from_secs(30);

/// Has an edge do something in the world.
pub(crate) type RunErrand =
    Box<dyn Fn(Errand) -> Pin<Box<dyn Future<Output = Result<ErrandResult, NoEdge>> + Send>> + Send + Sync>;

/// The parts that sending reports needs.
pub(crate) struct Parts {
    /// The domains in whose name reports go, and whether any are wanted.
    pub directory: Directory,
    /// The outbound queue, for reports by mail.
    pub queue: Queue,
    /// The edge that asks DNS and posts reports.
    pub run_errand: RunErrand,
    /// The DKIM keys that sign the messages.
    pub keys: DomainKeys,
    /// The trace.
    pub trace: Trace,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The reports of this home. Cloning shares them.
#[derive(Clone)]
pub(crate) struct TlsReports(Arc<Inner>);

struct Inner {
    parts: Parts,
    ledger: Ledger,
    /// What was counted and is not in the ledger yet.
    counted: Mutex<HashMap<Domain, Results>>,
    /// Held during a round, so that there is one at a time.
    round: tokio::sync::Mutex<()>,
}

impl TlsReports {
    /// Opens the ledger in the data directory.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn open(data: &Path, parts: Parts) -> Result<Self, Problem> {
        let (ledger, counted) = (Ledger::open(data)?, Mutex::default());
        Ok(Self(Arc::new(Inner { parts, ledger, counted, round: tokio::sync::Mutex::default() })))
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<Domain, Results>> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_on(&self) -> bool {
        let policy = self.0.parts.directory.policy();
        policy.tls_reports.send && policy.sends
    }

    /// Takes note of sessions with a domain's mail hosts. Does not block.
    pub(crate) fn count(&self, domain: &Domain, mut more: Results) {
        if more.is_empty() || domain.is_literal() || !self.is_on() {
            return;
        }
        more.belong_to(domain.as_str());
        let mut counted = self.counted();
        if counted.len() < DOMAINS_MAX || counted.contains_key(domain) {
            counted.entry(domain.clone()).or_default().add(more);
        }
    }

    /// Writes what was counted. Blocks.
    pub(crate) fn save(&self) {
        let counted = std::mem::take(&mut *self.counted());
        if counted.is_empty() {
            return;
        }
        if let Err(error) = self.0.ledger.add(counted, self.0.parts.clock.now()) {
            tracing::error!(%error, "what was counted for reports on TLS could not be written; it is lost");
        }
    }

    /// Writes and sends until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut until_look = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(WRITTEN_EVERY) => {}
            }
            let reports = self.clone();
            // Fails when the program ends.
            let _ = tokio::task::spawn_blocking(move || reports.save()).await;
            until_look = until_look.saturating_sub(WRITTEN_EVERY);
            if until_look.is_zero() {
                until_look = LOOKED_EVERY;
                tokio::select! {
                    () = stop.cancelled() => break,
                    sent = self.send_due(self.0.parts.clock.now()) => if let Err(cause) = sent {
                        tracing::debug!(%cause, "reports on TLS wait");
                    },
                }
            }
        }
    }

    /// Carries out a command of `postern tls-report`.
    ///
    /// # Errors
    /// The refusal: what is wrong, and what to do.
    pub(crate) async fn carry_out(&self, request: &TlsReportRequest) -> Result<Value, Refusal> {
        tokio::task::block_in_place(|| self.save());
        match request {
            TlsReportRequest::List => {
                let entries = tokio::task::block_in_place(|| self.0.ledger.entries(None));
                Ok(entries.map_err(|error| failed(&error))?.iter().map(described).collect())
            }
            TlsReportRequest::Show { domain } => self.show(domain),
            TlsReportRequest::Send => self.send_now().await,
        }
    }

    fn show(&self, domain: &str) -> Result<Value, Refusal> {
        let advice = "see 'postern tls-report list'";
        let domain =
            Domain::parse(domain).map_err(|error| (format!("{domain}: {error}"), advice.to_owned()))?;
        let entries = tokio::task::block_in_place(|| self.0.ledger.entries(Some(&domain)));
        let entries = entries.map_err(|error| failed(&error))?;
        if entries.is_empty() {
            return Err((format!("no TLS session with a mail host of {domain} is known"), advice.to_owned()));
        }
        let policy = self.0.parts.directory.policy();
        let Some(names) = Names::of(&policy) else { return Ok(Value::Null) };
        let reports = entries.iter().map(|entry| json!(letter::report(entry, &names.submitter())));
        Ok(json!({ "reports": reports.collect::<Vec<_>>() }))
    }

    /// The days so far, cut short.
    async fn send_now(&self) -> Result<Value, Refusal> {
        if !self.is_on() {
            return Err((
                "reports on TLS are off".to_owned(),
                "set outbound and [tls_reports] send to \"on\" in home.toml and send SIGHUP".to_owned(),
            ));
        }
        let now = self.0.parts.clock.now();
        tokio::task::block_in_place(|| self.0.ledger.cut_short(now)).map_err(|error| failed(&error))?;
        let sent = self.send_due(now).await.map_err(|cause| {
            (cause, "see 'postern status'; update an edge that is older than this; try again".to_owned())
        })?;
        Ok(sent.iter().map(described).collect())
    }
}

fn failed(error: &StoreError) -> Refusal {
    (format!("tls_reports.db: {error}"), "check the disk".to_owned())
}

/// One line of `tls-report list`.
fn described(entry: &Entry) -> Value {
    let summaries = entry.results.policies().iter().map(|results| results.summary);
    let (good, bad) = summaries.fold((0_u64, 0_u64), |(good, bad), summary| {
        let good = good.saturating_add(summary.total_successful_session_count);
        (good, bad.saturating_add(summary.total_failure_session_count))
    });
    json!({
        "begun": UnixTime::from_secs(entry.begun).rfc3339(),
        "domain": entry.domain,
        "good": good,
        "failed": bad,
        "state": entry.state.as_str(),
        "waiting": entry.targets,
    })
}

/// What this home calls itself in reports.
struct Names {
    domain: Domain,
    organization: String,
    contact: String,
}

impl Names {
    fn of(policy: &Policy) -> Option<Self> {
        let domain = policy.domains.first()?.clone();
        let config = &policy.tls_reports;
        let contact = config.contact.as_ref().map(ToString::to_string);
        Some(Self {
            organization: config.organization.clone().unwrap_or_else(|| domain.to_string()),
            contact: contact.unwrap_or_else(|| format!("postmaster@{domain}")),
            domain,
        })
    }

    fn submitter(&self) -> Submitter<'_> {
        Submitter { domain: &self.domain, organization: &self.organization, contact: &self.contact }
    }
}
