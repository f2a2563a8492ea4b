//! What keys the two roles' configuration files have.

mod deliver;
mod edge;
mod filter;
mod foreign_edge;
mod foreign_home;
mod home;
mod smarthost;

pub use deliver::DeliverConfig;
pub use edge::{
    DmarcPolicy, DoorConfig, EdgeConfig, ListConfig, OnDnsFailure, PolicyConfig, ScoreConfig, tenths,
};
pub use filter::{Direction, FilterConfig, Kind as FilterKind, OnFailure, TIMEOUT_MAX as FILTER_TIMEOUT_MAX};
pub use foreign_edge::ForeignEdgeConfig;
pub use foreign_home::ForeignHomeConfig;
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
    fn an_unknown_key_is_an_error_with_file_line_and_suggestion() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[listen]\nsntp = []\n");
        assert!(error.starts_with("postern.toml:3:1: there is no key 'sntp' here"), "{error}");
        assert!(error.contains("did you mean 'smtp'?"), "{error}");
    }

    #[test]
    fn a_bad_address_names_its_line() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[listen]\nsmtp = [\"0.0.0.0\"]\n");
        assert!(error.contains("postern.toml:3:"), "{error}");
        assert!(error.contains("an address and a port"), "{error}");
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let error = error_of::<EdgeConfig>("hostname = \"mx.example.org\"\n[tls]\nkey = \"k.pem\"\n");
        assert!(error.contains("needs both certificate and key"), "{error}");
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
    fn a_home_may_be_away_for_a_second_to_a_year_before_the_operator_is_warned() {
        let edge = |secs: u64| format!("hostname = \"mx.example.org\"\n[homes]\naway_warning = {secs}\n");
        let year = 365 * 24 * 3600;
        for good in [1, year] {
            assert!(parse::<EdgeConfig>(Path::new("edge.toml"), &edge(good)).is_ok());
        }
        for bad in [0, year + 1] {
            assert!(error_of::<EdgeConfig>(&edge(bad)).contains("away_warning has to be 1 s to 365 d"));
        }
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
