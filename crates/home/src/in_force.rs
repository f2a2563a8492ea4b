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
        const BEGUN: &str = "domains = [\"a.example\"]\ndata = \"/a\"\n";
        const WAIT: [(&str, &str); 11] = [
            ("hostname", "hostname = \"mail.a.example\""),
            ("data", ""),
            ("[listen]", "[listen]\nimap = [\"127.0.0.1:1993\"]"),
            ("[limits]", "[limits]\nsessions = 77"),
            ("[queue]", "[queue]\nexpire = \"4d\""),
            ("[sending] warm_up", "[sending]\nwarm_up = 77"),
            ("[trace]", "[trace]\ndays = 7"),
            ("[[filter]]", "[[filter]]\nkind = \"rspamd\"\naddress = \"127.0.0.1:11333\""),
            ("[deliver]", "[deliver]\nlmtp = \"unix:/run/lmtp\""),
            (
                "[foreign_edge]",
                "[foreign_edge]\nlisten = [\"127.0.0.1:4465\"]\nuser = \"edge\"\npassword_file = \"/p\"",
            ),
            (
                "[smarthost]",
                "[smarthost]\naddress = \"mx.example.net:465\"\nuser = \"home\"\npassword_file = \"/p\"",
            ),
        ];
        let begun = config(BEGUN);
        for (key, text) in WAIT {
            let before = if key == "data" { "data = \"/b\"\n" } else { "data = \"/a\"\n" };
            let new = config(&format!(
                "domains = [\"a.example\", \"b.example\"]\noutbound = \"on\"\n{before}{text}\n"
            ));
            assert_eq!(fixed::that_differs(&begun, &new), [key]);
            let in_force = InForce::new(begun.clone());
            in_force.adopt(new.clone());
            let now = in_force.now();
            assert_eq!((&now.domains, now.outbound), (&new.domains, new.outbound), "{key}");
            assert!(fixed::that_differs(&begun, &now).is_empty(), "{key} waits, and is in force");
        }
    }
}
