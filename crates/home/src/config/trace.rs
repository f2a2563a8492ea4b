//! `[trace]`: what is kept of what happened to messages.

use std::path::Path;

use daemon::config::Octets;
use daemon::problem::Problem;
use daemon::trace::{Keep, Trace};
use serde::Deserialize;

use super::switch::Switch;

/// `[trace]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// For how many days events are kept. Default 30.
    pub days: u64,
    /// How much disk they may take; the oldest go first. Default 512 MiB.
    pub octets: Octets,
    /// Whether the subjects of messages are in it. Default `"on"`.
    pub subjects: Switch,
}

impl Default for TraceConfig {
    fn default() -> Self {
        let Keep { days, octets } = Keep::HOME;
        Self { days, octets: Octets(octets), subjects: Switch::On }
    }
}

impl TraceConfig {
    /// Opens the trace of a home with its data here.
    ///
    /// # Errors
    /// Those of [`Trace::open_to_keep`].
    pub(crate) fn open(&self, data: &Path) -> Result<Trace, Problem> {
        let keep = Keep { days: self.days, octets: self.octets.0 };
        let trace = Trace::open_to_keep(&data.join("trace"), link::Role::Home, keep)?;
        Ok(if self.subjects == Switch::On { trace.telling_subjects() } else { trace })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=3650).contains(&self.days) {
            return Err("[trace] days has to be 1 to 3650".to_owned());
        }
        if !((16 << 20)..=(1 << 40)).contains(&self.octets.0) {
            return Err("[trace] octets has to be 16 MiB to 1024 GiB".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_have_limits() {
        let of = |text: &str| toml::from_str::<TraceConfig>(text).unwrap().check();
        for good in ["", "days = 1", "days = 3650", "octets = \"16 MiB\"", "subjects = \"off\""] {
            assert_eq!(of(good), Ok(()), "{good}");
        }
        for bad in ["days = 0", "days = 3651", "octets = \"15 MiB\"", "octets = \"1025 GiB\""] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
