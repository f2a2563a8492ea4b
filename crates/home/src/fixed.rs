//! What of the configuration is read only when Home starts.

use crate::config::{self, HomeConfig};

/// The keys and tables that are not what Home started with, and wait for a restart.
pub(crate) fn that_differs(ours: &HomeConfig, now: &HomeConfig) -> Vec<String> {
    // The largest message is also told to Edge, which heeds it at once.
    let limits = config::Limits { message: ours.limits.message, ..now.limits.clone() };
    let warm_up = |config: &HomeConfig| (config.sending.warm_up, config.sending.warm_up_growth);
    let differs = [
        ("hostname", ours.hostname != now.hostname),
        ("data", ours.data != now.data),
        ("[listen]", ours.listen != now.listen),
        ("[limits]", ours.limits != limits),
        ("[queue]", ours.queue != now.queue),
        ("[sending] warm_up", warm_up(ours) != warm_up(now)),
        ("[trace]", ours.trace != now.trace),
        ("[[filter]]", ours.filters != now.filters),
        ("[deliver]", ours.deliver != now.deliver),
        ("[foreign_edge]", ours.foreign_edge != now.foreign_edge),
        ("[smarthost]", ours.smarthost != now.smarthost),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}
