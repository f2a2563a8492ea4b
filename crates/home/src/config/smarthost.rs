//! `[smarthost]` in `home.toml`: the MTA that Home gives all mail for the world to.

use std::net::IpAddr;
use std::path::PathBuf;

use mail::Domain;
use net::home_tls::Fingerprint;
use serde::{Deserialize, Deserializer, de};

/// Connections to it at one time.
const CONNECTIONS_MAX: usize = 100;
/// Octets of the user name (RFC 4616 section 2 asks for 255 at least).
const USER_OCTETS_MAX: usize = 255;

/// `[smarthost]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmarthostConfig {
    /// `HOST:PORT`.
    pub address: String,
    /// How TLS begins. Default: `"implicit"`.
    #[serde(default)]
    pub tls: TlsStart,
    /// SHA-256 of its certificate. Without it the certificate has to be for `server_name`, by a public authority or
    /// by `roots`.
    #[serde(default, deserialize_with = "fingerprint")]
    pub fingerprint: Option<Fingerprint>,
    /// The name in its certificate. Default: the host of `address`.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Authorities that are believed instead of the public ones, in PEM.
    #[serde(default)]
    pub roots: Option<PathBuf>,
    /// Who Home logs in as (RFC 4954, PLAIN).
    #[serde(default)]
    pub user: Option<String>,
    /// A file with the password, on its first line.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Or: the client certificate that Home shows, in PEM.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The file with its key, in PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Connections at one time. Default 4.
    #[serde(default = "default_connections")]
    pub connections: usize,
}

/// How TLS begins. Nothing is ever sent without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsStart {
    /// With the first octet (RFC 8314 section 3.3): port 465.
    #[default]
    Implicit,
    /// After STARTTLS (RFC 3207), without which nothing is sent: port 587.
    StartTls,
}

const fn default_connections() -> usize {
    4
}

fn fingerprint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Fingerprint>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|error| de::Error::custom(format!("'{text}': {error}")))
}

impl SmarthostConfig {
    /// Host and port of its address.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.address.rsplit_once(':')?;
        let bare = match host.strip_prefix('[') {
            Some(inside) => inside.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        Some((bare, port)).filter(|_| !bare.is_empty())
    }

    /// Says what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("[smarthost] {what}"));
        if self.host_and_port().is_none() {
            return wrong("address has to be HOST:PORT, such as \"mx.example.net:465\"");
        }
        if self.fingerprint.is_some() && (self.roots.is_some() || self.server_name.is_some()) {
            return wrong("fingerprint says all: roots and server_name would not be looked at");
        }
        let is_name = |name: &String| name.parse::<IpAddr>().is_ok() || Domain::parse(name).is_ok();
        if self.server_name.as_ref().is_some_and(|name| !is_name(name)) {
            return wrong("server_name is no host name: write the one that its certificate is for");
        }
        if self.user.is_some() != self.password_file.is_some() {
            return wrong("needs both user and password_file, or neither");
        }
        if self.certificate.is_some() != self.key.is_some() {
            return wrong("needs both certificate and key, or neither");
        }
        if self.user.is_some() == self.certificate.is_some() {
            return wrong("needs one proof of who Home is: user and password_file, or certificate and key");
        }
        let user = self.user.as_deref().unwrap_or("home");
        if !(1..=USER_OCTETS_MAX).contains(&user.len()) || user.contains(char::is_control) {
            return wrong(&format!("user has to be 1 to {USER_OCTETS_MAX} octets of text"));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return wrong(&format!("connections has to be 1 to {CONNECTIONS_MAX}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = "user = \"home\"\npassword_file = \"p\"\n";

    fn parse(text: &str) -> Result<SmarthostConfig, String> {
        let config: SmarthostConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    fn with(more: &str) -> Result<SmarthostConfig, String> {
        parse(&format!("address = \"mx.example.net:465\"\n{more}"))
    }

    #[test]
    fn a_login_or_a_certificate_proves_who_home_is_and_never_both_or_none() {
        assert_eq!(with(LOGIN).unwrap().tls, TlsStart::Implicit);
        with("certificate = \"c\"\nkey = \"k\"").unwrap();
        for (more, error) in [
            ("", "needs one proof"),
            (&*format!("{LOGIN}certificate = \"c\"\nkey = \"k\""), "needs one proof"),
            ("user = \"home\"", "both user and password_file"),
            ("key = \"k\"", "both certificate and key"),
        ] {
            let said = with(more).unwrap_err();
            assert!(said.contains(error), "{said}");
        }
    }

    #[test]
    fn addresses_are_host_and_port() {
        for (address, host, port) in [
            ("mx.example.net:465", "mx.example.net", 465),
            ("[fd00::1]:587", "fd00::1", 587),
            ("10.8.0.1:1", "10.8.0.1", 1),
        ] {
            let config = parse(&format!("address = \"{address}\"\n{LOGIN}")).unwrap();
            assert_eq!(config.host_and_port(), Some((host, port)));
        }
        for bad in ["mx.example.net", ":465", "h:0", "h:65536", "fd00::1:465", "[fd00::1:465", ""] {
            let error = parse(&format!("address = \"{bad}\"\n{LOGIN}")).unwrap_err();
            assert!(error.contains("address has to be HOST:PORT"), "{bad}: {error}");
        }
    }

    #[test]
    fn how_the_server_is_known_is_said_once() {
        let pin = format!("fingerprint = \"{}\"\n", "ab".repeat(32));
        with(&format!("{LOGIN}{pin}")).unwrap();
        with(&format!("{LOGIN}roots = \"r\"\nserver_name = \"n\"")).unwrap();
        for more in ["roots = \"r\"", "server_name = \"n\""] {
            assert!(with(&format!("{LOGIN}{pin}{more}")).unwrap_err().contains("fingerprint says all"));
        }
        let error = with(&format!("{LOGIN}server_name = \"two words\"")).unwrap_err();
        assert!(error.contains("no host name"), "{error}");
        assert!(with(&format!("{LOGIN}fingerprint = \"ab\"")).unwrap_err().contains("64 hexadecimal digits"));
        assert!(with(&format!("{LOGIN}tls = \"none\"")).unwrap_err().contains("unknown variant"));
    }

    #[test]
    fn limits_are_taken_at_their_bound_and_refused_past_it() {
        for (connections, fits) in
            [(0, false), (1, true), (CONNECTIONS_MAX, true), (CONNECTIONS_MAX + 1, false)]
        {
            assert_eq!(with(&format!("{LOGIN}connections = {connections}")).is_ok(), fits);
        }
        for (octets, fits) in [(0, false), (USER_OCTETS_MAX, true), (USER_OCTETS_MAX + 1, false)] {
            let text = format!("user = \"{}\"\npassword_file = \"p\"", "u".repeat(octets));
            assert_eq!(with(&text).is_ok(), fits);
        }
    }
}
