//! The configuration that is in force: what Home started with, and of the file as it was last read what takes effect at once.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::{HomeConfig, Limits, SendingConfig};

/// Cloning shares it.
#[derive(Clone)]
pub(crate) struct InForce(Arc<RwLock<Arc<HomeConfig>>>);

impl InForce {
    /// What Home starts with.
    pub(crate) fn new(config: HomeConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// As it is now.
    pub(crate) fn now(&self) -> Arc<HomeConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over of `new` what needs no restart: all but what `fixed` names.
    pub(crate) fn adopt(&self, new: HomeConfig) {
        let ours = self.now();
        let kept = HomeConfig {
            hostname: ours.hostname.clone(),
            data: ours.data.clone(),
            listen: ours.listen.clone(),
            limits: Limits { message: new.limits.message, ..ours.limits.clone() },
            queue: ours.queue.clone(),
            sending: SendingConfig {
                warm_up: ours.sending.warm_up,
                warm_up_growth: ours.sending.warm_up_growth,
                ..new.sending.clone()
            },
            trace: ours.trace.clone(),
            filters: ours.filters.clone(),
            deliver: ours.deliver.clone(),
            foreign_edge: ours.foreign_edge.clone(),
            smarthost: ours.smarthost.clone(),
            ..new
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed;

    fn config(text: &str) -> HomeConfig {
        daemon::config::parse(std::path::Path::new("home.toml"), text)
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Symptom: after a reload `status` and the doctor spoke of domains that were no more. Cause: they had the configuration
    /// of the start.
    #[test]
    fn what_takes_effect_at_once_is_taken_over_and_what_waits_for_a_restart_is_not() {
        let begun = config("domains = [\"a.example\"]\n[queue]\nexpire = \"4d\"\n");
        let in_force = InForce::new(begun.clone());
        let new =
            config("domains = [\"a.example\", \"b.example\"]\noutbound = \"on\"\n[queue]\nexpire = \"5d\"\n");
        in_force.adopt(new.clone());
        let now = in_force.now();
        assert_eq!((&now.domains, now.outbound), (&new.domains, new.outbound));
        assert_eq!(now.queue, begun.queue);
        assert!(fixed::that_differs(&begun, &now).is_empty(), "nothing that waits is in force");
    }
}
