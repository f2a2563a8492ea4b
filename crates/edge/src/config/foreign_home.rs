//! `[[foreign_home]]` in `edge.toml`: a home that is another MTA, reached by SMTPS.

use std::net::IpAddr;
use std::path::PathBuf;

use daemon::config::{Octets, Seconds};
use mail::Domain;
use net::home_tls::Fingerprint;
use serde::Deserialize;

/// Homes of one edge that are other programs.
const HOMES_MAX: usize = 100;
/// Most domains of one such home.
const DOMAINS_MAX: usize = 1000;
/// The port of message submission and relay within TLS (RFC 8314 section 3.3).
const PORT: u16 = 465;
/// Longest user name in octets (RFC 4616 section 2 asks for at least 255).
const USER_OCTETS_MAX: usize = 255;
/// What a message takes of memory besides its own size, at most: its header section once more, and rounding.
const BESIDE_MESSAGE: u64 = 1 << 20;
/// The longest that is believed what a home said of a recipient.
const REMEMBERED_MAX: Seconds = Seconds(7 * 86_400);

/// `[[foreign_home]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignHomeConfig {
    /// The domains whose mail it takes.
    pub domains: Vec<Domain>,
    /// Where it takes it, with TLS from the first octet: `HOST` or `HOST:PORT`. Default: port 465.
    pub address: String,
    /// SHA-256 of the certificate that it has.
    #[serde(default, deserialize_with = "daemon::config::parsed")]
    pub fingerprint: Option<Fingerprint>,
    /// Or the name that its certificate is for. Default: the host of `address`.
    #[serde(default)]
    pub server_name: Option<String>,
    /// PEM certificates of the authorities that may say so. Default: the public ones.
    #[serde(default)]
    pub roots: Option<PathBuf>,
    /// The certificate that Edge shows, PEM, leaf first. Default: a self-made one, unless there is a `user`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The file with its key, PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Or the name that Edge logs in with (AUTH PLAIN).
    #[serde(default)]
    pub user: Option<String>,
    /// The file whose first line is its password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// How recipients are known: `"call-ahead"`, that is by asking the home.
    #[serde(default)]
    pub recipients: Option<Recipients>,
    /// Or the file that lists recipients.
    #[serde(default)]
    pub recipients_file: Option<PathBuf>,
    /// Characters that start a sub-address, for a recipients file. Default `+`.
    #[serde(default)]
    pub subaddress_separators: Option<String>,
    /// How long a recipient that the home takes is not asked about again. Default 1 h.
    #[serde(default = "default_known_for")]
    pub known_for: Seconds,
    /// How long one that it does not take is not asked about again. Default 10 m.
    #[serde(default = "default_unknown_for")]
    pub unknown_for: Seconds,
    /// One message. It is held in memory until the home has it. Default 25 MiB.
    #[serde(default = "default_message")]
    pub message: Octets,
    /// Connections to it at one time. Default 10.
    #[serde(default = "default_connections")]
    pub connections: usize,
}

/// How recipients are known without a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipients {
    /// The home is asked with MAIL and RCPT, and its answer is remembered for a while.
    CallAhead,
}

const fn default_known_for() -> Seconds {
    Seconds(3600)
}

const fn default_unknown_for() -> Seconds {
    Seconds(600)
}

const fn default_message() -> Octets {
    Octets(25 << 20)
}

const fn default_connections() -> usize {
    10
}

impl ForeignHomeConfig {
    /// Host and port of `address`. `None` when it is neither.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let text = self.address.as_str();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => PORT,
            None => return None,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c) || text.starts_with('[');
        (!host.is_empty() && host.chars().all(plain)).then_some((host, port))
    }

    /// Says what is wrong with it.
    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("[[foreign_home]] {}: {what}", self.address));
        if self.host_and_port().is_none() {
            return wrong("address has to be HOST or HOST:PORT, an IPv6 address in brackets");
        }
        if self.domains.is_empty() || self.domains.len() > DOMAINS_MAX {
            return wrong("domains has to name 1 to 1000 domains");
        }
        if self.fingerprint.is_some() && (self.server_name.is_some() || self.roots.is_some()) {
            return wrong("it is known by its fingerprint or by server_name and roots: remove one of them");
        }
        let is_name = |name: &String| name.parse::<IpAddr>().is_ok() || Domain::parse(name).is_ok();
        if self.server_name.as_ref().is_some_and(|name| !is_name(name)) {
            return wrong("server_name is no host name: write the one that its certificate is for");
        }
        if self.subaddress_separators.is_some() && self.recipients_file.is_none() {
            return wrong("subaddress_separators counts only with a recipients_file: remove it");
        }
        if self.certificate.is_some() != self.key.is_some() {
            return wrong(
                "certificate and key belong together: add the other, or remove both for a self-made one",
            );
        }
        match (&self.user, &self.password_file) {
            (None, None) => {}
            (Some(_), Some(_)) if self.certificate.is_some() => {
                return wrong("Edge shows a certificate or logs in as a user: remove one of them");
            }
            (Some(user), Some(_))
                if user.is_empty() || user.len() > USER_OCTETS_MAX || user.contains('\0') =>
            {
                return wrong("user has to have 1 to 255 octets");
            }
            (Some(_), Some(_)) => {}
            _ => return wrong("user and password_file belong together: add the other"),
        }
        if self.recipients.is_some() == self.recipients_file.is_some() {
            return wrong("say how recipients are known: recipients = \"call-ahead\", or a recipients_file");
        }
        if [self.known_for, self.unknown_for].iter().any(|time| *time > REMEMBERED_MAX) {
            return wrong("known_for and unknown_for have to be at most 7 d");
        }
        if !(64 << 10..=1 << 30).contains(&self.message.0) {
            return wrong("message has to be 64 KiB to 1 GiB");
        }
        if !(1..=100).contains(&self.connections) {
            return wrong("connections has to be 1 to 100");
        }
        Ok(())
    }
}

/// Says what is wrong with all of them: each is checked, and no domain stands with two. `memory` is
/// `[limits] body_memory`, half of which is theirs.
pub(super) fn check(homes: &[ForeignHomeConfig], memory: Octets) -> Result<(), String> {
    if homes.len() > HOMES_MAX {
        return Err(format!("no more than {HOMES_MAX} [[foreign_home]] are possible"));
    }
    let mut seen = std::collections::HashSet::new();
    for home in homes {
        home.check()?;
        if let Some(twice) = home.domains.iter().find(|domain| !seen.insert(*domain)) {
            return Err(format!("[[foreign_home]] {}: the domain {twice} is listed twice", home.address));
        }
        if home.message.0 + BESIDE_MESSAGE > memory.0 / 2 {
            return Err(format!(
                "[[foreign_home]] {}: a message and 1 MiB have to fit into half of [limits] body_memory, which is {} \
                 octets: lower message or raise body_memory",
                home.address,
                memory.0 / 2
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use daemon::config::parse;

    use super::super::EdgeConfig;

    const GOOD: &str = "domains = [\"example.org\"]\naddress = \"10.0.0.2\"\nrecipients = \"call-ahead\"\n";

    fn edge(home: &str) -> Result<EdgeConfig, String> {
        let text = format!("hostname = \"mx.example.org\"\n[[foreign_home]]\n{home}");
        parse::<EdgeConfig>(std::path::Path::new("edge.toml"), &text).map_err(|error| error.to_string())
    }

    fn error_of(more: &str) -> String {
        edge(&format!("{GOOD}{more}")).unwrap_err()
    }

    #[test]
    fn an_address_has_port_465_unless_it_says_another() {
        let of = |address: &str| {
            let home = edge(&GOOD.replace("10.0.0.2", address)).ok()?.foreign_homes.remove(0);
            home.host_and_port().map(|(host, port)| (host.to_owned(), port))
        };
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(of("home.example.org"), is("home.example.org", 465));
        assert_eq!(of("10.0.0.2:2465"), is("10.0.0.2", 2465));
        assert_eq!(of("[fd00::2]"), is("fd00::2", 465));
        assert_eq!(of("[fd00::2]:1"), is("fd00::2", 1));
        for bad in ["", ":465", "a:0", "a:70000", "fd00::2", "[fd00::2", "[a]:1", "a b", "a:1:2"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_smallest_configuration_is_enough_and_each_contradiction_is_named() {
        let home = edge(GOOD).unwrap().foreign_homes.remove(0);
        assert_eq!(
            (home.message.0, home.connections, home.known_for.0, home.unknown_for.0),
            (25 << 20, 10, 3600, 600)
        );
        let print = format!("fingerprint = \"{}\"\n", "0a".repeat(32));
        for (more, said) in [
            ("fingerprint = \"12\"\n", "64 hexadecimal digits"),
            ("user = \"edge\"\n", "user and password_file belong together"),
            ("password_file = \"/p\"\n", "user and password_file belong together"),
            ("user = \"\"\npassword_file = \"/p\"\n", "1 to 255 octets"),
            ("certificate = \"/c\"\n", "certificate and key belong together"),
            (
                "certificate = \"/c\"\nkey = \"/k\"\nuser = \"e\"\npassword_file = \"/p\"\n",
                "remove one of them",
            ),
            ("recipients_file = \"/r\"\n", "say how recipients are known"),
            ("known_for = \"8d\"\n", "at most 7 d"),
            ("message = \"2 GiB\"\n", "64 KiB to 1 GiB"),
            ("connections = 0\n", "1 to 100"),
            ("starttls = true\n", "no key 'starttls'"),
            ("server_name = \"home example\"\n", "server_name is no host name"),
            ("server_name = \"\"\n", "server_name is no host name"),
            ("subaddress_separators = \"-\"\n", "only with a recipients_file"),
            (&format!("{print}server_name = \"a.example\"\n"), "remove one of them"),
            (&format!("{print}roots = \"/r\"\n"), "remove one of them"),
        ] {
            let error = error_of(more);
            assert!(error.contains(said), "{more}: {error}");
        }
        assert!(edge(&format!("{GOOD}{print}")).is_ok());
    }

    #[test]
    fn a_domain_has_one_home_and_a_message_fits_into_memory() {
        let twice = format!("{GOOD}[[foreign_home]]\n{GOOD}");
        assert!(edge(&twice).unwrap_err().contains("example.org is listed twice"));
        let with = |memory: &str| {
            edge(&format!("{GOOD}message = \"8 MiB\"\n[limits]\nbody_memory = \"{memory}\"\n"))
        };
        assert!(with("18 MiB").is_ok());
        assert!(with("17 MiB").unwrap_err().contains("raise body_memory"));
    }

    #[test]
    fn an_edge_without_paired_homes_needs_no_link() {
        let listen = "[listen]\nlink = []\n";
        assert!(edge(&format!("{GOOD}{listen}")).unwrap().listen.link.is_empty());
        let text = format!("hostname = \"mx.example.org\"\n{listen}");
        let error = parse::<EdgeConfig>(std::path::Path::new("edge.toml"), &text).unwrap_err().to_string();
        assert!(error.contains("[listen] link needs an address"), "{error}");
    }

    #[test]
    fn counts_are_taken_at_their_bound() {
        assert!(edge(&format!("{GOOD}connections = 100\nknown_for = \"7d\"\n")).is_ok());
        assert!(error_of("connections = 101\n").contains("1 to 100"));
        let message = |octets: u32| edge(&format!("{GOOD}message = {octets}\n"));
        assert!(message(64 << 10).is_ok() && message((64 << 10) - 1).is_err());
        let user = |octets: usize| {
            edge(&format!("{GOOD}user = \"{}\"\npassword_file = \"/p\"\n", "u".repeat(octets)))
        };
        assert!(user(255).is_ok() && user(256).is_err());
        let domains = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("\"d{number}.example\"")).collect();
            edge(&GOOD.replace("\"example.org\"", &names.join(",")))
        };
        assert!(domains(1000).is_ok() && domains(1001).is_err() && domains(0).is_err());
        let homes = |count: usize| {
            let home = |number: usize| GOOD.replace("example.org", &format!("d{number}.example"));
            edge(&(0..count).map(home).collect::<Vec<_>>().join("[[foreign_home]]\n"))
        };
        assert!(homes(100).is_ok());
        assert!(homes(101).unwrap_err().contains("no more than 100"));
    }
}
