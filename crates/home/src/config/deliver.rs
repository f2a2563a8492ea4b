//! `[deliver]` in `home.toml`: mail goes into the mailboxes of another program.

use net::endpoint::Endpoint;
use serde::{Deserialize, Deserializer, de};

/// Most connections at one time.
const CONNECTIONS_MAX: usize = 100;

/// `[deliver]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverConfig {
    /// Where LMTP is spoken (RFC 2033): `unix:/PATH` or `inet:HOST:PORT`. Not encrypted.
    #[serde(deserialize_with = "endpoint")]
    pub lmtp: Endpoint,
    /// Connections at one time. Default 4.
    #[serde(default = "default_connections")]
    pub connections: usize,
}

const fn default_connections() -> usize {
    4
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| de::Error::custom(format!("'{text}': {error}")))
}

impl DeliverConfig {
    /// Says what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        if (1..=CONNECTIONS_MAX).contains(&self.connections) {
            Ok(())
        } else {
            Err(format!("[deliver] connections has to be 1 to {CONNECTIONS_MAX}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(), String> {
        toml::from_str::<DeliverConfig>(text).map_err(|error| error.to_string())?.check()
    }

    #[test]
    fn where_lmtp_is_spoken_and_how_often_has_bounds() {
        parse("lmtp = \"unix:/run/dovecot/lmtp\"").unwrap();
        parse("lmtp = \"inet:10.0.0.3:24\"").unwrap();
        assert!(parse("lmtp = \"run/dovecot/lmtp\"").unwrap_err().contains("inet:HOST:PORT or unix:/PATH"));
        for (connections, fits) in
            [(0, false), (1, true), (CONNECTIONS_MAX, true), (CONNECTIONS_MAX + 1, false)]
        {
            assert_eq!(parse(&format!("lmtp = \"unix:/x\"\nconnections = {connections}")).is_ok(), fits);
        }
    }
}
