//! What keys the two roles' configuration files have.

mod deliver;
mod filter;
mod foreign_edge;
mod home;
mod smarthost;

pub use deliver::DeliverConfig;
pub use filter::{Direction, FilterConfig, Kind as FilterKind, OnFailure, TIMEOUT_MAX as FILTER_TIMEOUT_MAX};
pub use foreign_edge::ForeignEdgeConfig;
pub use home::{
    DateZone, EdgePin, HomeConfig, Limits as HomeLimits, OnLeak, QueueConfig, SendingConfig, Switch,
};
pub use smarthost::{SmarthostConfig, TlsStart};

pub use daemon::config::{Checked, Octets, Seconds, TlsConfig, load, parse, quoted, role_of};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn error_of<C: Checked + std::fmt::Debug>(text: &str) -> String {
        parse::<C>(Path::new("postern.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn dates_leave_in_utc_unless_the_configuration_keeps_them() {
        let zone = |value: &str| {
            let text = format!("domains = [\"example.org\"]\n[submission]\n{value}");
            parse::<HomeConfig>(Path::new("home.toml"), &text).map(|config| config.submission.date_zone)
        };
        assert_eq!(zone("").unwrap(), DateZone::Utc);
        assert_eq!(zone("date_zone = \"utc\"").unwrap(), DateZone::Utc);
        assert_eq!(zone("date_zone = \"keep\"").unwrap(), DateZone::Keep);
        assert!(zone("date_zone = \"+0100\"").is_err());
    }

    #[test]
    fn limits_are_taken_at_their_bound_and_refused_past_it() {
        let home = |octets: u64| format!("domains = [\"example.org\"]\n[limits]\nmessage = {octets}\n");
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(1 << 30)).is_ok());
        let error = error_of::<HomeConfig>(&home((1 << 30) + 1));
        assert!(error.contains("message"), "{error}");
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(64 * 1024)).is_ok());
        assert!(parse::<HomeConfig>(Path::new("home.toml"), &home(64 * 1024 - 1)).is_err());
    }

    #[test]
    fn sessions_are_one_to_a_hundred_thousand_and_an_address_has_one_at_least() {
        let home = |limits: &str| {
            let text = format!("domains = [\"example.org\"]\n[limits]\n{limits}\n");
            parse::<HomeConfig>(Path::new("home.toml"), &text).is_ok()
        };
        let sessions = ["sessions = 0", "sessions = 1", "sessions = 100000", "sessions = 100001"];
        assert_eq!(sessions.map(home), [false, true, true, false]);
        assert_eq!(["sessions_per_address = 0", "sessions_per_address = 1"].map(home), [false, true]);
    }

    #[test]
    fn unsigned_addresses_are_ours_and_no_more_than_their_limit() {
        let home =
            |unsigned: &str| format!("domains = [\"example.org\"]\n[return_path]\nunsigned = [{unsigned}]\n");
        let error = error_of::<HomeConfig>(&home("\"a@example.com\""));
        assert!(error.contains("unsigned: a@example.com is not of a domain"), "{error}");
        assert!(
            parse::<HomeConfig>(Path::new("home.toml"), &home(&"\"a@example.org\", ".repeat(1000))).is_ok()
        );
        let error = error_of::<HomeConfig>(&home(&"\"a@example.org\", ".repeat(1001)));
        assert!(error.contains("at most 1000"), "{error}");
    }
}
