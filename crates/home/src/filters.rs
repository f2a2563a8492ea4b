//! Content filters: who is asked about a message, in which order, and what the answers come to.
//!
//! A message is judged after it is whole and before it is committed, so that the verdict of a live one is the
//! reply to its sender. What a verdict means for each recipient is not here: see `arrive`.

mod contents;
mod edit;
mod milter;
mod rspamd;
#[cfg(test)]
pub(crate) mod tests;
mod training;
mod verdict;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use content::Content;
use daemon::problem::Problem;
use daemon::trace::Trace;
use link::TraceStep;
use mail::{Envelope, ItemId};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Direction, FilterConfig, FilterKind, OnFailure};

pub(crate) use contents::{header_of, read};
pub(crate) use edit::{Rewrite, rewrite};
pub(crate) use training::Trainer;
pub(crate) use verdict::{Action, Arrived, Judgement};

use rspamd::Rspamd;
use verdict::Finding;

/// Messages that are being judged at one time; more wait for their turn.
const AT_ONE_TIME_MAX: usize = 64;
/// All filters of a message together, the wait for a turn included.
const JUDGING_MAX: Duration = crate::config::FILTER_TIMEOUT_MAX;

/// A message as filters see it.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The message's id.
    pub(crate) item: ItemId,
    /// Who sends, to whom, and who handed it over.
    pub(crate) envelope: Envelope,
    /// The edge that took it.
    pub(crate) edge: String,
    /// The message's octets.
    pub(crate) content: Content,
}

/// The filters of this home.
pub(crate) struct Filters {
    list: Vec<Filter>,
    slots: Semaphore,
    trace: Trace,
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Filter {
    config: FilterConfig,
    name: String,
}

/// The reasons why a filter gave no verdict.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Milter(#[from] net::milter_client::MilterError),
    #[error("{0}")]
    Http(#[from] net::http_client::HttpError),
    #[error("no verdict within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("it answered {0}")]
    Answer(String),
    #[error("the message could not be read: {0}")]
    Message(std::io::Error),
}

impl Filters {
    /// Those of the configuration; `None` when there are none. Has to be called on the runtime.
    pub(crate) fn new(configs: &[FilterConfig], trace: &Trace) -> Option<Arc<Self>> {
        let inbound = |config: &&FilterConfig| config.directions.contains(&Direction::Inbound);
        let list: Vec<Filter> = configs
            .iter()
            .filter(inbound)
            .map(|config| Filter { config: config.clone(), name: config.name() })
            .collect();
        if list.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            list,
            slots: Semaphore::new(AT_ONE_TIME_MAX),
            trace: trace.clone(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Runs work that waits for a verdict. When Home stops it is dropped: what it was about is not answered, and
    /// so stays with Edge.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let work = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        };
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// Drops the work that waits for verdicts, and waits up to 2 seconds for it to end.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }

    /// Asks every filter in order. The strictest answer counts; after a refusal nobody else is asked.
    pub(crate) async fn judge(&self, subject: &Subject) -> Judgement {
        let begun = Instant::now();
        let slot = tokio::time::timeout(JUDGING_MAX, self.slots.acquire()).await;
        let mut judgement = Judgement::default();
        for filter in &self.list {
            if filter.config.max_octets.is_some_and(|most| subject.content.octets() > most.0) {
                self.tell(
                    subject,
                    TraceStep::NotFiltered,
                    format!("{}: the message is larger than it takes", filter.name),
                );
                continue;
            }
            let left = JUDGING_MAX.saturating_sub(begun.elapsed());
            let asked = match &slot {
                Ok(_) => filter.ask(subject, left).await,
                Err(_) => Err(Failure::TooSlow(JUDGING_MAX)),
            };
            let finding = match asked {
                Ok(finding) => {
                    self.tell(subject, TraceStep::Filtered, format!("{}: {finding}", filter.name));
                    finding
                }
                Err(failure) => self.failed(filter, subject, &failure),
            };
            judgement.add(&filter.name, finding);
            if matches!(judgement.action, Action::Reject(_)) {
                break;
            }
        }
        judgement
    }

    fn tell(&self, subject: &Subject, step: TraceStep, detail: String) {
        self.trace.event(Some(subject.item), step, detail);
    }

    fn failed(&self, filter: &Filter, subject: &Subject, failure: &Failure) -> Finding {
        let (then, finding) = match filter.config.on_failure {
            OnFailure::Accept => ("goes on without it", Finding::accept()),
            OnFailure::Defer => ("is deferred", Finding::unchecked()),
        };
        tracing::warn!(item = %subject.item, filter = %filter.name, %failure, "a filter gave no verdict: the message {then}");
        self.tell(subject, TraceStep::NotFiltered, format!("{}: {failure}; the message {then}", filter.name));
        finding
    }
}

impl Filter {
    async fn ask(&self, subject: &Subject, left: Duration) -> Result<Finding, Failure> {
        let patience = Duration::from_secs(self.config.timeout.0);
        match self.config.kind {
            FilterKind::Rspamd => {
                let whole = patience.min(left);
                let asking = rspamd::check(&self.config.address, subject);
                tokio::time::timeout(whole, asking).await.map_err(|_| Failure::TooSlow(whole))?
            }
            // A milter that says it is at work gets its patience anew, up to what is left for all.
            FilterKind::Milter => {
                let asking = milter::check(&self.config.address, subject, patience);
                tokio::time::timeout(left, asking).await.map_err(|_| Failure::TooSlow(left))?
            }
        }
    }
}

/// The filters that learn, with their passwords.
///
/// # Errors
/// A password file that can't be read.
pub(crate) fn teachable(configs: &[FilterConfig]) -> Result<Vec<Rspamd>, Problem> {
    configs.iter().filter(|config| config.kind == FilterKind::Rspamd).map(Rspamd::new).collect()
}
