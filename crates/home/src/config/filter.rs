//! `[[filter]]` in `home.toml`: who is asked about the content of a message, and what if nobody answers.

use std::path::PathBuf;
use std::time::Duration;

use daemon::config::{Octets, Seconds};
use net::endpoint::Endpoint;
use serde::{Deserialize, Deserializer, de};

/// Most filters of one home.
const FILTERS_MAX: usize = 16;
/// The longest timeout: below the time that Edge waits for Home by default (`[limits] hand_off`, 60 s), so that
/// the verdict still reaches the sender.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(50);

/// `[[filter]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// The protocol that it speaks.
    pub kind: Kind,
    /// Where it listens: `HOST:PORT`, `inet:HOST:PORT` or `unix:/PATH`.
    #[serde(deserialize_with = "endpoint")]
    pub address: Endpoint,
    /// How long it may take. Default 20 s.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// What becomes of a message when the filter can't be asked: `"accept"` (default) or `"defer"`.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The mail that it is asked about. Default: `["inbound"]`.
    #[serde(default = "default_directions", rename = "for")]
    pub directions: Vec<Direction>,
    /// Larger messages are not shown to it. Default: all are.
    #[serde(default)]
    pub max_octets: Option<Octets>,
    /// Where rspamd learns, when that is not `address`: its controller.
    #[serde(default, deserialize_with = "some_endpoint")]
    pub learn_address: Option<Endpoint>,
    /// rspamd's password for learning.
    #[serde(default)]
    pub password: Option<String>,
    /// The file that holds the password instead.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// The protocol that a filter speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// HTTP, as rspamd's normal worker and controller do.
    Rspamd,
    /// The milter protocol.
    Milter,
}

/// What becomes of a message that a filter could not be asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It goes on as if the filter were not there.
    #[default]
    Accept,
    /// Its sender is asked to try again later.
    Defer,
}

/// The mail that a filter is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Mail that an edge took from the world.
    Inbound,
}

const fn default_timeout() -> Seconds {
    Seconds(20)
}

fn default_directions() -> Vec<Direction> {
    vec![Direction::Inbound]
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| de::Error::custom(format!("'{text}': {error}")))
}

fn some_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Endpoint>, D::Error> {
    endpoint(deserializer).map(Some)
}

impl FilterConfig {
    /// Its name in logs and traces.
    pub fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Rspamd => "rspamd",
            Kind::Milter => "milter",
        };
        format!("{kind} {}", self.address)
    }
}

/// Says what is wrong with the filters.
pub(super) fn check(filters: &[FilterConfig]) -> Result<(), String> {
    if filters.len() > FILTERS_MAX {
        return Err(format!("[[filter]]: there can be {FILTERS_MAX} at most"));
    }
    for filter in filters {
        let wrong = |what: &str| Err(format!("[[filter]] {}: {what}", filter.address));
        if !(1..=TIMEOUT_MAX.as_secs()).contains(&filter.timeout.0) {
            return wrong("timeout has to be 1 s to 50 s: Edge does not wait longer for Home");
        }
        if filter.directions.is_empty() {
            return wrong("for needs at least one of \"inbound\"");
        }
        if filter.password.is_some() && filter.password_file.is_some() {
            return wrong("give password or password_file, not both");
        }
        let teaches =
            filter.password.is_some() || filter.password_file.is_some() || filter.learn_address.is_some();
        if filter.kind == Kind::Milter && teaches {
            return wrong("a milter does not learn; remove password and learn_address");
        }
        if filter.max_octets == Some(Octets(0)) {
            return wrong("max_octets 0 would show it nothing; remove the filter instead");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HomeConfig;
    use daemon::config::Checked as _;

    fn parsed(filter: &str) -> Result<FilterConfig, String> {
        let text = format!("domains = [\"example.org\"]\n[[filter]]\n{filter}\n");
        let config: HomeConfig = toml::from_str(&text).map_err(|error| error.to_string())?;
        config.check()?;
        config.filters.into_iter().next().ok_or_else(String::new)
    }

    #[test]
    fn a_filter_needs_a_kind_and_an_address_and_has_defaults_for_the_rest() {
        let filter = parsed("kind = \"rspamd\"\naddress = \"127.0.0.1:11333\"").unwrap();
        assert_eq!((filter.timeout, filter.on_failure), (Seconds(20), OnFailure::Accept));
        assert_eq!(filter.directions, [Direction::Inbound]);
        assert_eq!(filter.name(), "rspamd 127.0.0.1:11333");
        let milter = parsed("kind = \"milter\"\naddress = \"unix:/run/x\"\non_failure = \"defer\"").unwrap();
        assert_eq!((milter.name(), milter.on_failure), ("milter unix:/run/x".to_owned(), OnFailure::Defer));
    }

    #[test]
    fn timeouts_are_taken_at_their_bounds_and_refused_past_them() {
        let with = |seconds: u64| {
            parsed(&format!("kind = \"milter\"\naddress = \"h:1\"\ntimeout = {seconds}")).is_ok()
        };
        assert!(with(1) && with(50));
        assert!(!with(0) && !with(51));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rspamd = "kind = \"rspamd\"\naddress = \"h:1\"\n";
        let milter = "kind = \"milter\"\naddress = \"h:1\"\n";
        for (start, wrong) in [
            ("", "kind = \"spamd\"\naddress = \"h:1\""),
            ("", "kind = \"milter\"\naddress = \"nowhere\""),
            (milter, "password = \"x\""),
            (milter, "learn_address = \"h:2\""),
            (rspamd, "password = \"x\"\npassword_file = \"y\""),
            (rspamd, "for = []"),
            (rspamd, "for = [\"submission\"]"),
            (rspamd, "on_failure = \"bounce\""),
            (rspamd, "max_octets = 0"),
            (rspamd, "colour = 1"),
        ] {
            assert!(parsed(&format!("{start}{wrong}")).is_err(), "{wrong}");
        }
    }
}
