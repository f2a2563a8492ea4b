//! Recipients that a host took no more of in one transaction (RFC 5321 section 4.5.3.1.10, RFC 9422). They were not tried,
//! so they do not wait for the next round: they are the next attempt of this one.

use std::collections::HashMap;

use link::{Outcomes, TraceStep};
use mail::{Domain, EnhancedCode, Outcome};

use super::Round;
use crate::carriers::{CarrierName, Carriers};
use crate::house::House;
use crate::queue::RunningAttempt;
use crate::reporter::Reporter;

/// Places of such recipients, by domain, until an attempt has them.
#[derive(Debug, Default)]
pub(super) struct LeftOver(HashMap<Domain, Vec<usize>>);

impl LeftOver {
    /// Of the places that wait: those that are left over.
    pub(super) fn of(&self, domain: &Domain, waiting: &[usize]) -> Vec<usize> {
        let left = self.0.get(domain).map(Vec::as_slice).unwrap_or_default();
        waiting.iter().copied().filter(|place| left.contains(place)).collect()
    }

    /// The domain's are ordered, or wait with all others.
    pub(super) fn forget(&mut self, domain: &Domain) {
        self.0.remove(domain);
    }
}

impl<C: Carriers, H: House, R: Reporter> Round<C, H, R> {
    /// Domains with recipients for an attempt of this round.
    pub(super) fn domains_to_try(&self) -> Vec<(Domain, Vec<usize>)> {
        let waiting = self.state.waiting_by_domain().into_iter();
        let wanted = waiting.map(|(domain, places)| {
            let places =
                if self.tried.contains(&domain) { self.left_over.of(&domain, &places) } else { places };
            (domain, places)
        });
        wanted
            .filter(|(_, places)| !self.state.held && !places.is_empty())
            .filter(|(domain, _)| !self.full.contains(domain) && !self.shared.house.is_local(domain))
            .collect()
    }

    /// Notes what came of an attempt for each of its recipients.
    pub(super) fn settle_all(&mut self, edge: &CarrierName, running: &RunningAttempt, outcomes: &Outcomes) {
        // Each attempt that leaves some over has settled others, so that there is an end to it.
        let settles = outcomes.outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Deferred(_)));
        let mut left = Vec::new();
        let mut outcomes = outcomes.outcomes.iter();
        for place in &running.recipients {
            let outcome = outcomes.next().cloned().unwrap_or_else(|| {
                Outcome::deferred(EnhancedCode(4, 3, 0), "the edge gave no outcome for this recipient")
            });
            if settles && outcome.is_left_over() {
                left.push(*place);
            } else {
                self.settle(*place, outcome, edge.as_str());
            }
        }
        if let Some(domain) = self.domain_of(running).filter(|_| !left.is_empty()) {
            let detail = format!("{} recipients of {domain}, for the next attempt", left.len());
            self.trace(TraceStep::LeftOver, detail);
            self.left_over.0.insert(domain, left);
        }
    }
}
