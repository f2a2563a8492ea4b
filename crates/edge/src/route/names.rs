//! The resolver that the way to other MTAs is asked of: a validating one where that is possible.
//!
//! DANE needs DNSSEC, and not every name server passes its records on. One that gives not even the root's
//! signatures makes no difference between a bad answer and none, and with it all mail would wait: then DANE is
//! not heeded, which is logged, and it is looked again after an hour. Servers that say nothing at all are no
//! reason for that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::problem::Problem;
use net::dns::{Dns, Validation};
use tokio::time::Instant;

use crate::config::EdgeConfig;

/// After so long name servers that were no good for DNSSEC are looked at again.
const LOOKED_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// A plain resolver, and a validating one where DANE is heeded.
pub(super) struct Names {
    plain: Dns,
    validating: Option<Validating>,
}

struct Validating {
    dns: Dns,
    /// Whether answers can be validated. What was seen to work is never given up again: an attacker who makes
    /// it stop must not turn it off.
    works: AtomicBool,
    /// When it was last seen that they can't.
    stripped: Mutex<Option<Instant>>,
}

impl Names {
    /// `plain`, and beside it what the configuration says.
    ///
    /// # Errors
    /// When the file with trust anchors can't be read.
    pub(super) fn new(config: &EdgeConfig, plain: Dns) -> Result<Self, Problem> {
        if !config.outbound.dane {
            return Ok(Self { plain, validating: None });
        }
        let anchors = config.dns.trust_anchors.as_deref();
        let dns = Dns::validating(&config.dns.servers, anchors)
            .map_err(|error| Problem::setup(error, "correct [dns] servers and trust_anchors in edge.toml"))?;
        // With anchors of its own the operator has said that it works.
        let works = AtomicBool::new(anchors.is_some());
        Ok(Self { plain, validating: Some(Validating { dns, works, stripped: Mutex::new(None) }) })
    }

    /// The one to ask now.
    pub(super) async fn resolver(&self) -> &Dns {
        match &self.validating {
            Some(validating) if validating.works().await => &validating.dns,
            _ => &self.plain,
        }
    }
}

impl Validating {
    async fn works(&self) -> bool {
        if self.works.load(Ordering::Relaxed) {
            return true;
        }
        if self.stripped().is_some_and(|at| at.elapsed() < LOOKED_AGAIN_AFTER) {
            return false;
        }
        match self.dns.validation().await {
            Validation::Works => self.works.store(true, Ordering::Relaxed),
            Validation::Unknown => {}
            Validation::Stripped => {
                *self.stripped() = Some(Instant::now());
                tracing::warn!(
                    "the name servers do not pass DNSSEC on: DANE is not heeded; run a validating one here"
                );
                return false;
            }
        }
        true
    }

    fn stripped(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stripped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
