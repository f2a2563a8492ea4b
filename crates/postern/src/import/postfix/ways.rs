//! Where a Postfix takes mail (transport(5), postconf(5)), and what those ways are here: mailboxes of another program
//! are `[deliver]`, a relay host with a login is `[smarthost]`, and an inner MTA can be a `[[foreign_home]]` of Edge.
//!
//! Passwords stay where they are: the report says which one goes into which file.

use net::home_tls::Fingerprint;

use super::super::main_cf::MainCf;
use super::super::maps::{Files, Format};
use super::{Translation, quoted};

/// Where the password for the smarthost is looked for.
const PASSWORD_FILE: &str = "/etc/postern/smarthost-password";
/// RFC 2033 gives LMTP no port; 24 is what Postfix takes.
const LMTP: u16 = 24;
const SMTP: u16 = 25;
/// The port of submission within TLS (RFC 8314 section 3.3).
const SUBMISSIONS: u16 = 465;
const SUBMISSION: u16 = 587;

/// Parameters that name a way, and those that name the domains whose mail takes it.
const WAYS: [(&str, &str); 4] = [
    ("virtual_transport", "virtual_mailbox_domains"),
    ("mailbox_transport", "mydestination"),
    ("local_transport", "mydestination"),
    ("relay_transport", "relay_domains"),
];

/// A transport and its next hop: `transport:nexthop`.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// Postfix' own mailboxes, or whatever it does when it is told nothing.
    Own,
    /// A mailbox server, as `[deliver] lmtp` names it.
    Lmtp(String),
    /// Another MTA, by its host.
    Mta(String),
    /// A program, or a refusal.
    Other,
}

impl Way {
    /// `queue` is Postfix' queue directory, below which its processes see the world.
    fn parse(text: &str, queue: &str) -> Self {
        let (transport, nexthop) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        match transport {
            "local" | "virtual" => Self::Own,
            "lmtp" => lmtp(nexthop, queue).map_or(Self::Other, Self::Lmtp),
            "" | "smtp" | "smtps" | "relay" if nexthop.is_empty() => Self::Own,
            "" | "smtp" | "smtps" | "relay" => {
                host_and_port(nexthop, SMTP).map_or(Self::Other, |(host, _)| Self::Mta(host))
            }
            _ => Self::Other,
        }
    }
}

fn lmtp(nexthop: &str, queue: &str) -> Option<String> {
    match nexthop.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Some(nexthop.to_owned()),
        Some(path) if !path.is_empty() => Some(format!("unix:{queue}/{path}")),
        Some(_) => None,
        None => {
            let (host, port) = host_and_port(nexthop.strip_prefix("inet:").unwrap_or(nexthop), LMTP)?;
            Some(format!("inet:{}", joined(&host, port)))
        }
    }
}

/// `HOST`, `[HOST]`, either with `:PORT`; an IPv6 address is written `[ipv6:…]`.
fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let host = host.strip_prefix("ipv6:").unwrap_or(host);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        None => return None,
        Some("smtp") => SMTP,
        Some("submission") => SUBMISSION,
        Some("smtps" | "submissions") => SUBMISSIONS,
        Some(number) => number.parse().ok().filter(|number| *number > 0)?,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Translation {
    /// What its transports come to. The domains are known by now.
    pub(super) fn ways(&mut self, main: &MainCf, files: &Files) {
        let queue = main.value("queue_directory");
        for (parameter, class) in WAYS {
            let text = main.value(parameter);
            if text.is_empty() {
                continue;
            }
            let listed = main.list(class).into_iter();
            let mut domains: Vec<String> =
                listed.flat_map(|element| self.elements(class, &element, files)).collect();
            domains.retain(|name| self.is_domain(name));
            if domains.is_empty() {
                self.taken.push(format!("{parameter}: no mail takes it, {class} names no domain"));
                continue;
            }
            self.way(parameter, &domains, &text, &queue);
        }
        let listed = main.written("transport_maps").map(|_| main.list("transport_maps")).unwrap_or_default();
        for (name, value) in self.tables("transport_maps", listed, files) {
            self.route(&name, &value, &queue);
        }
    }

    fn way(&mut self, parameter: &str, domains: &[String], text: &str, queue: &str) {
        match Way::parse(text, queue) {
            Way::Own => self.taken.push(format!("{parameter}: {text}: mailboxes are Home's own store, read by IMAP")),
            Way::Lmtp(endpoint) => self.deliver(parameter, endpoint),
            Way::Mta(host) => {
                self.look.push(format!(
                    "{parameter}: {text}: here mailboxes are Home's own store. To leave them at {host} take the \
                     [[foreign_home]] below for edge.toml instead of a Home"
                ));
                self.inner.entry(host).or_default().extend(domains.iter().cloned());
            }
            Way::Other => self.without.push(format!(
                "{parameter}: {text}: mail goes into Home's own store, or by LMTP to another program: [deliver] in home.toml"
            )),
        }
    }

    /// An entry of `transport_maps`.
    fn route(&mut self, name: &str, value: &str, queue: &str) {
        let parameter = format!("transport_maps: {name}");
        if self.is_domain(name) {
            return self.way(&parameter, &[name.to_owned()], value, queue);
        }
        if name == "*" {
            return self.look.push(format!(
                "{parameter} {value}: all other mail leaves by the edge; a host that takes it after a login can be the \
                 [smarthost] in home.toml"
            ));
        }
        self.without
            .push(format!("{parameter} {value}: Edge goes where MX records lead; other ways are not there"));
    }

    fn deliver(&mut self, parameter: &str, endpoint: String) {
        match &self.deliver {
            Some(known) if *known != endpoint => self
                .look
                .push(format!("{parameter}: {endpoint}: Home delivers to one program only, here {known}")),
            Some(_) => {}
            None => {
                self.sections.push(format!("[deliver]\nlmtp = {}", quoted(&endpoint)));
                self.taken.push(format!("{parameter}: [deliver] lmtp = \"{endpoint}\""));
                self.look.push(format!(
                    "{parameter}: Postern has to be able to open {endpoint}; in Dovecot give the unix_listener to its user. \
                     To have mailboxes in Home's own store take [deliver] out of home.toml"
                ));
                self.deliver = Some(endpoint);
            }
        }
    }

    /// The host that all mail is given to, if Home can prove there who it is.
    pub(super) fn smarthost(&mut self, main: &MainCf, files: &Files) {
        let written = main.value("relayhost");
        if written.is_empty() {
            return;
        }
        let Some((host, port)) = host_and_port(&written, SMTP) else {
            return self.look.push(format!("relayhost: {written} is no host that could be read"));
        };
        let Some(proof) = self.proof(main, files, &written) else {
            return self.without.push(format!(
                "relayhost: {written} knows this host by its address. A [smarthost] in home.toml needs a login or a client \
                 certificate there; without it mail leaves by the edge"
            ));
        };
        let mut section = format!("[smarthost]\naddress = {}", quoted(&joined(&host, port)));
        if port != SUBMISSIONS && main.value("smtp_tls_wrappermode") != "yes" {
            section.push_str("\ntls = \"starttls\"");
        }
        section.push_str(&known_by(main));
        section.push_str(&proof);
        self.sections.push(section);
        self.taken.push(format!(
            "relayhost: {written}: [smarthost]; nothing is sent there without TLS and a certificate that is right"
        ));
        self.smarthost = true;
    }

    /// Who Home is at the smarthost, as keys of its section.
    fn proof(&mut self, main: &MainCf, files: &Files, relayhost: &str) -> Option<String> {
        let certificate = main.value("smtp_tls_cert_file");
        if main.value("smtp_sasl_auth_enable") != "yes" {
            let key = main.value("smtp_tls_key_file");
            let key = if key.is_empty() { &certificate } else { &key };
            let keys = format!("\ncertificate = {}\nkey = {}", quoted(&certificate), quoted(key));
            return (!certificate.is_empty()).then_some(keys);
        }
        let mut entries = Vec::new();
        for table in main.list("smtp_sasl_password_maps") {
            match files.table(&table, Format::Blank) {
                Ok((found, _)) => entries.extend(found),
                Err(why) => self.look.push(format!("smtp_sasl_password_maps: {why}")),
            }
        }
        let bare = host_and_port(relayhost, SMTP).map(|(host, _)| host).unwrap_or_default();
        let found = [relayhost, &bare].iter().find_map(|wanted| {
            let (_, value) = entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            value.split_once(':').map(|(user, _)| user.to_owned())
        });
        let user = found.unwrap_or_else(|| "USER".to_owned());
        self.look.push(format!(
            "smtp_sasl_password_maps: write the password of {user} at {relayhost} into {PASSWORD_FILE}, which only Postern may \
             read; nothing of it was taken over"
        ));
        Some(format!("\nuser = {}\npassword_file = {}", quoted(&user), quoted(PASSWORD_FILE)))
    }

    /// Sections for edge.toml, of hosts behind this one.
    pub(super) fn foreign_homes(&self) -> impl Iterator<Item = String> {
        self.inner.iter().filter(|(_, domains)| !domains.is_empty()).map(|(host, domains)| {
            let names: Vec<String> = domains.iter().map(|name| quoted(name)).collect();
            format!(
                "# Only if {host} goes on keeping the mailboxes. It has to take mail on port 465 with TLS first, and to\n# know \
                 Edge by its certificate: see the page on standard hops.\n[[foreign_home]]\ndomains = [{}]\naddress = \
                 {}\nrecipients = \"call-ahead\"",
                names.join(", "),
                quoted(&if host.contains(':') { format!("[{host}]") } else { host.clone() })
            )
        })
    }
}

/// How the smarthost's certificate is judged.
fn known_by(main: &MainCf) -> String {
    if main.value("smtp_tls_security_level") == "fingerprint" {
        let pins = main.list("smtp_tls_fingerprint_cert_match");
        if let [pin] = &pins[..]
            && pin.parse::<Fingerprint>().is_ok()
        {
            return format!("\nfingerprint = {}", quoted(pin));
        }
    }
    let roots = main.value("smtp_tls_CAfile");
    let is_public = roots.is_empty() || roots.ends_with("/ca-certificates.crt");
    if is_public { String::new() } else { format!("\nroots = {}", quoted(&roots)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_as_transport_5_has_them() {
        let lmtp = |text: &str| Way::Lmtp(text.to_owned());
        let mta = |text: &str| Way::Mta(text.to_owned());
        for (text, way) in [
            ("virtual", Way::Own),
            ("local:", Way::Own),
            (":", Way::Own),
            ("smtp", Way::Own),
            ("lmtp:unix:private/dovecot-lmtp", lmtp("unix:/var/spool/postfix/private/dovecot-lmtp")),
            ("lmtp:unix:/run/dovecot/lmtp", lmtp("unix:/run/dovecot/lmtp")),
            ("lmtp:inet:mail.lan:2424", lmtp("inet:mail.lan:2424")),
            ("lmtp:[10.0.0.3]", lmtp("inet:10.0.0.3:24")),
            ("lmtp:[ipv6:fd00::3]:24", lmtp("inet:[fd00::3]:24")),
            ("lmtp:unix:", Way::Other),
            ("smtp:[10.0.0.5]:2525", mta("10.0.0.5")),
            ("relay:inner.lan", mta("inner.lan")),
            (":[inner.lan]", mta("inner.lan")),
            ("smtp:[inner.lan", Way::Other),
            ("smtp:a b", Way::Other),
            ("dovecot", Way::Other),
            ("error:5.1.2 gone", Way::Other),
        ] {
            assert_eq!(Way::parse(text, "/var/spool/postfix"), way, "{text}");
        }
    }

    #[test]
    fn hosts_have_ports_by_number_and_by_name() {
        for (text, host, port) in [
            ("[mx.example.net]:587", "mx.example.net", 587),
            ("[mx.example.net]:submission", "mx.example.net", 587),
            ("mx.example.net:smtps", "mx.example.net", 465),
            ("mx.example.net", "mx.example.net", 25),
            ("[ipv6:2001:db8::1]:465", "2001:db8::1", 465),
        ] {
            assert_eq!(host_and_port(text, SMTP), Some((host.to_owned(), port)), "{text}");
        }
        for text in ["", "[]", "[a]b", "a:0", "a:65536", "a:x", "a\"b"] {
            assert_eq!(host_and_port(text, SMTP), None, "{text}");
        }
    }
}
