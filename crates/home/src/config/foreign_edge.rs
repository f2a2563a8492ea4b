//! `[foreign_edge]` in `home.toml`: an MTA of another kind that takes the world's mail and hands it in by SMTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use daemon::network::Network;
use net::home_tls::Fingerprint;
use serde::{Deserialize, Deserializer, de};

/// Certificates that are let in.
const FINGERPRINTS_MAX: usize = 16;
/// Most networks that are let in.
const NETWORKS_MAX: usize = 64;
/// Most octets of the user name.
const USER_OCTETS_MAX: usize = 255;

/// `[foreign_edge]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignEdgeConfig {
    /// Where it hands mail in: SMTP with TLS first (RFC 8314), and in no other way.
    pub listen: Vec<SocketAddr>,
    /// The client certificates that are let in, by their SHA-256.
    #[serde(default, deserialize_with = "fingerprints")]
    pub fingerprints: Vec<Fingerprint>,
    /// Or: the user name of its login (RFC 4954).
    #[serde(default)]
    pub user: Option<String>,
    /// The file with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Where it may come from, besides: from everywhere when empty.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// The name under which it writes `Authentication-Results` that mail programs may believe (RFC 8601 section 2.5).
    /// Default: none; all such fields are taken out.
    #[serde(default)]
    pub authserv_id: Option<String>,
}

fn fingerprints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Fingerprint>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parsed = texts.iter().map(|text| {
        text.parse::<Fingerprint>().map_err(|error| de::Error::custom(format!("'{text}': {error}")))
    });
    parsed.collect()
}

impl ForeignEdgeConfig {
    /// Says what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("[foreign_edge] {what}"));
        if self.listen.is_empty() {
            return wrong("listen needs an address, such as \"10.8.0.2:4465\"");
        }
        if self.user.is_some() != self.password_file.is_some() {
            return wrong("needs both user and password_file, or neither");
        }
        if self.fingerprints.is_empty() && self.user.is_none() {
            return wrong(
                "needs fingerprints, or user and password_file: networks alone let in whoever gets an address there, \
                 a tunnel or a proxy for example",
            );
        }
        if self.fingerprints.len() > FINGERPRINTS_MAX {
            return wrong(&format!("fingerprints: there can be {FINGERPRINTS_MAX} at most"));
        }
        if self.networks.len() > NETWORKS_MAX {
            return wrong(&format!("networks: there can be {NETWORKS_MAX} at most"));
        }
        let user = self.user.as_deref().unwrap_or("edge");
        if !(1..=USER_OCTETS_MAX).contains(&user.len()) || user.contains(char::is_control) {
            return wrong(&format!("user has to be 1 to {USER_OCTETS_MAX} octets of text"));
        }
        match self.authserv_id.as_deref() {
            Some("") => {
                wrong("authserv_id is empty: name the edge as its Authentication-Results do, or leave it out")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &str) -> Result<(), String> {
        let text = format!("listen = [\"127.0.0.1:465\"]\n{more}");
        let config: ForeignEdgeConfig = toml::from_str(&text).map_err(|error| error.to_string())?;
        config.check()
    }

    fn error_of(more: &str) -> String {
        parse(more).unwrap_err()
    }

    fn list(text: &str, count: usize) -> String {
        format!("[{}]", vec![format!("\"{text}\""); count].join(", "))
    }

    #[test]
    fn networks_alone_are_no_way_in() {
        let error = error_of("networks = [\"10.8.0.1/32\"]");
        assert!(error.contains("networks alone let in whoever"), "{error}");
        assert!(error_of("").contains("needs fingerprints, or user"));
    }

    #[test]
    fn a_certificate_or_a_login_is_a_way_in() {
        let pin = format!("fingerprints = [\"{}\"]", "ab".repeat(32));
        parse(&pin).unwrap();
        parse(&format!("{pin}\nnetworks = [\"10.8.0.1\"]\nauthserv_id = \"mx.example.net\"")).unwrap();
        parse("user = \"edge\"\npassword_file = \"p\"").unwrap();
        assert!(error_of("user = \"edge\"").contains("both user and password_file"));
        assert!(error_of(&format!("{pin}\npassword_file = \"p\"")).contains("both user and password_file"));
    }

    #[test]
    fn limits_are_taken_at_their_bound_and_refused_past_it() {
        let pins = |count| format!("fingerprints = {}", list(&"ab".repeat(32), count));
        parse(&pins(FINGERPRINTS_MAX)).unwrap();
        assert!(error_of(&pins(FINGERPRINTS_MAX + 1)).contains("at most"));
        let networks = |count| format!("{}\nnetworks = {}", pins(1), list("10.8.0.1", count));
        parse(&networks(NETWORKS_MAX)).unwrap();
        assert!(error_of(&networks(NETWORKS_MAX + 1)).contains("at most"));
        let user = |octets| format!("user = \"{}\"\npassword_file = \"p\"", "u".repeat(octets));
        parse(&user(USER_OCTETS_MAX)).unwrap();
        assert!(error_of(&user(USER_OCTETS_MAX + 1)).contains("255 octets"));
        assert!(error_of(&user(0)).contains("1 to 255"));
    }

    #[test]
    fn what_can_not_be_read_is_said() {
        assert!(error_of("fingerprints = [\"abcd\"]").contains("64 hexadecimal digits"));
        assert!(error_of("networks = [\"10.8.0\"]").contains("write an address or a network"));
        let pin = format!("fingerprints = [\"{}\"]", "ab".repeat(32));
        assert!(error_of(&format!("{pin}\nauthserv_id = \"\"")).contains("authserv_id is empty"));
        let text = format!("listen = []\n{pin}");
        let config: ForeignEdgeConfig = toml::from_str(&text).unwrap();
        assert!(config.check().unwrap_err().contains("listen needs an address"));
    }
}
