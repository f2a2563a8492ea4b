//! What a filter is told of a message beside its body.

use std::net::IpAddr;

use crate::flags::Steps;

/// A message: who handed it over, its envelope, its header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Our own name (macro `j`).
    pub hostname: String,
    /// What the listener is called (macro `{daemon_name}`).
    pub daemon: String,
    /// The message's id (macro `i`).
    pub item: String,
    /// The SMTP client that handed the message in.
    pub client: Client,
    /// The name that the client gave in HELO or EHLO.
    pub helo: String,
    /// The TLS of the client's session; `None` without.
    pub tls: Option<Tls>,
    /// The login of the client's session; `None` without.
    pub login: Option<Login>,
    /// The reverse-path without its brackets; empty for the null one.
    pub reverse_path: String,
    /// The forward-paths, likewise.
    pub recipients: Vec<String>,
    /// The header, in order.
    pub header: Vec<HeaderField>,
}

/// The SMTP client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Its name, or its address in brackets where no name is known.
    pub name: String,
    /// Its address; none when it is not known.
    pub address: Option<IpAddr>,
    /// Its port; 0 when it is not known.
    pub port: u16,
}

/// The TLS of a client's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The protocol version, such as `TLS1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
}

/// The login of a client's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The account that logged in.
    pub name: String,
}

/// A field of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// The field's name.
    pub name: Vec<u8>,
    /// All that follows the colon, but the last line end; folded lines end with LF alone.
    pub value: Vec<u8>,
}

impl HeaderField {
    /// From the octets as they stand in a message: folds of CRLF become LF.
    #[must_use]
    pub fn new(name: &[u8], value: &[u8]) -> Self {
        Self { name: name.to_vec(), value: value.iter().copied().filter(|octet| *octet != b'\r').collect() }
    }

    /// The value as the filter wants it: with the space after the colon only where it asked for that.
    pub(crate) fn value(&self, steps: Steps) -> &[u8] {
        match self.value.strip_prefix(b" ") {
            Some(stripped) if !steps.contains(Steps::LEADING_SPACE) => stripped,
            _ => &self.value,
        }
    }
}

type Macros = Vec<(&'static str, String)>;

impl Transaction {
    fn client_address(&self) -> String {
        self.client.address.map_or_else(|| "unknown".to_owned(), |address| address.to_canonical().to_string())
    }

    pub(crate) fn connect_macros(&self) -> Macros {
        let address = self.client_address();
        vec![
            ("j", self.hostname.clone()),
            ("_", format!("{} [{address}]", self.client.name)),
            ("{daemon_name}", self.daemon.clone()),
            ("{client_addr}", address),
            ("{client_name}", self.client.name.clone()),
            ("{client_port}", self.client.port.to_string()),
        ]
    }

    pub(crate) fn helo_macros(&self) -> Macros {
        self.tls.as_ref().map_or_else(Vec::new, |tls| {
            vec![("{tls_version}", tls.version.clone()), ("{cipher}", tls.cipher.clone())]
        })
    }

    pub(crate) fn mail_macros(&self) -> Macros {
        let mut macros = self.item_macros();
        macros.push(("{mail_addr}", self.reverse_path.clone()));
        if let Some(login) = &self.login {
            macros.push(("{auth_authen}", login.name.clone()));
        }
        macros
    }

    pub(crate) fn rcpt_macros(&self, recipient: &str) -> Macros {
        let mut macros = self.item_macros();
        macros.push(("{rcpt_addr}", recipient.to_owned()));
        macros
    }

    pub(crate) fn item_macros(&self) -> Macros {
        vec![("i", self.item.clone())]
    }
}
