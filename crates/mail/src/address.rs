//! Mailbox addresses and domains as SMTP writes them (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest local part in octets (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_PART_MAX: usize = 64;
/// Longest local part of a reverse-path in octets: lists put the recipient into it (VERP), and the path as a whole has
/// no room for more (RFC 5321 section 4.5.3.1.3).
pub const REVERSE_LOCAL_PART_MAX: usize = 255;
/// Longest domain in octets (RFC 5321 section 4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;

/// Why a string is no address. The peer that sent it is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// No `@`, or nothing on one side of it.
    Incomplete,
    /// The local part is neither a dot-string nor a quoted string.
    LocalPart,
    /// The local part is longer than [`LOCAL_PART_MAX`] octets.
    LocalPartTooLong,
    /// The domain is neither a host name nor an address literal.
    Domain,
    /// The domain is longer than [`DOMAIN_MAX`] octets.
    DomainTooLong,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "an address is local-part@domain",
            Self::LocalPart => "the part before the @ has a character that must be quoted, or a dot at one of its ends or beside another",
            Self::LocalPartTooLong => "the part before the @ is longer than 64 octets",
            Self::Domain => "that is no domain name, such as example.org",
            Self::DomainTooLong => "the part after the @ is longer than 255 octets",
        })
    }
}

impl std::error::Error for AddressError {}

/// A domain in lower-case A-label form (`xn--…`), or an address literal such as `[192.0.2.1]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// Parses a host name, an internationalised one (turned into A-labels, RFC 5890) or an address literal.
    ///
    /// # Errors
    /// [`AddressError::Domain`] or [`AddressError::DomainTooLong`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > DOMAIN_MAX {
            return Err(AddressError::DomainTooLong);
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return Self::literal(inner);
        }
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| AddressError::Domain)?
        };
        if ascii.len() > DOMAIN_MAX {
            return Err(AddressError::DomainTooLong);
        }
        if ascii.split('.').all(is_label) { Ok(Self(ascii)) } else { Err(AddressError::Domain) }
    }

    fn literal(inner: &str) -> Result<Self, AddressError> {
        let v6 = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).map(|_| &inner[5..]);
        let valid = match v6 {
            Some(rest) => rest.parse::<std::net::Ipv6Addr>().is_ok(),
            None => inner.parse::<std::net::Ipv4Addr>().is_ok(),
        };
        if valid { Ok(Self(format!("[{}]", inner.to_ascii_lowercase()))) } else { Err(AddressError::Domain) }
    }

    /// The domain as text, lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an address literal (`[192.0.2.1]`), which has no MX.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }
}

/// One label of a host name: letters, digits, hyphens, and the underscore that real senders use.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A mailbox: `local-part@domain`. The local part is kept as it was written, quotes included.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: String,
    domain: Domain,
}

impl Address {
    /// Parses `local-part@domain` without angle brackets or source route.
    ///
    /// # Errors
    /// The part that is wrong, as [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::within(text, LOCAL_PART_MAX)
    }

    fn within(text: &str, local_part_max: usize) -> Result<Self, AddressError> {
        let at = text.rfind('@').ok_or(AddressError::Incomplete)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Incomplete);
        }
        if local.len() > local_part_max {
            return Err(AddressError::LocalPartTooLong);
        }
        if !(is_dot_string(local) || is_quoted_string(local)) {
            return Err(AddressError::LocalPart);
        }
        Ok(Self { local: local.to_owned(), domain: Domain::parse(domain)? })
    }

    /// An address at `domain` with a local part that is known to be a plain atom, such as `postmaster`.
    ///
    /// # Errors
    /// [`AddressError::LocalPart`] when it is not.
    pub fn at(local: &str, domain: &Domain) -> Result<Self, AddressError> {
        if local.len() > LOCAL_PART_MAX {
            return Err(AddressError::LocalPartTooLong);
        }
        if is_dot_string(local) || is_quoted_string(local) {
            Ok(Self { local: local.to_owned(), domain: domain.clone() })
        } else {
            Err(AddressError::LocalPart)
        }
    }

    /// The local part as it was written.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain of the address.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether sending this address needs SMTPUTF8 (RFC 6531): its local part is not ASCII.
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }

    /// The form under which Postern's own domains look an address up: quotes that say nothing removed,
    /// lower case. Only meaningful for domains that are ours: elsewhere a local part is opaque.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}@{}", self.canonical_local(), self.domain)
    }

    /// The local part of [`Address::canonical`].
    #[must_use]
    pub fn canonical_local(&self) -> String {
        unquote(&self.local).to_lowercase()
    }
}

/// Removes the quotes of a quoted string when what is inside needs none.
fn unquote(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    if is_dot_string(&plain) { plain } else { local.to_owned() }
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn is_quoted_string(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return false;
    };
    if text.len() < 2 {
        return false;
    }
    let mut escaped = false;
    for c in inner.chars() {
        let printable = c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && !c.is_control());
        match (escaped, c) {
            (true, _) => escaped = false,
            (false, '\\') => escaped = true,
            (false, '"') => return false,
            (false, _) => {}
        }
        if !printable {
            return false;
        }
    }
    !escaped
}

/// The reverse-path of a transaction: an address, or the null path `<>` of bounces and reports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReversePath {
    /// `<>`: nobody is to be told of failure (RFC 5321 section 4.5.5).
    Null,
    /// The address that is told of failure.
    Address(Address),
}

impl ReversePath {
    /// Parses what stands between the angle brackets, without a source route. The local part may have
    /// [`REVERSE_LOCAL_PART_MAX`] octets: what others write for themselves is theirs to choose.
    ///
    /// # Errors
    /// The part that is wrong, as [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self::Null);
        }
        Address::within(text, REVERSE_LOCAL_PART_MAX).map(Self::Address)
    }

    /// Whether the local part is longer than that of other addresses, [`LOCAL_PART_MAX`] octets.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.address().is_some_and(|address| address.local().len() > LOCAL_PART_MAX)
    }

    /// The address, unless the path is null.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Domain {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Domain {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl TryFrom<String> for ReversePath {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl From<ReversePath> for String {
    fn from(path: ReversePath) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_the_local_part_as_written_and_fold_the_domain() {
        let address = Address::parse("Bob.Smith+x@Example.ORG").unwrap();
        assert_eq!(address.local(), "Bob.Smith+x");
        assert_eq!(address.domain().as_str(), "example.org");
        assert_eq!(address.canonical(), "bob.smith+x@example.org");
    }

    #[test]
    fn quotes_that_say_nothing_are_no_second_mailbox() {
        assert_eq!(Address::parse("\"bob\"@example.org").unwrap().canonical(), "bob@example.org");
        assert_eq!(Address::parse("\"b\\ob\"@example.org").unwrap().canonical(), "bob@example.org");
        assert_eq!(Address::parse("\"b ob\"@example.org").unwrap().canonical(), "\"b ob\"@example.org");
    }

    #[test]
    fn malformed_addresses_are_refused_with_their_reason() {
        let cases = [
            ("bob", AddressError::Incomplete),
            ("@example.org", AddressError::Incomplete),
            ("bob@", AddressError::Incomplete),
            ("b ob@example.org", AddressError::LocalPart),
            (".bob@example.org", AddressError::LocalPart),
            ("bo..b@example.org", AddressError::LocalPart),
            ("\"bob@example.org", AddressError::LocalPart),
            ("\"bo\"b\"@example.org", AddressError::LocalPart),
            ("\"bob\\\"@example.org", AddressError::LocalPart),
            ("bob@-example.org", AddressError::Domain),
            ("bob@exa mple.org", AddressError::Domain),
            ("bob@example..org", AddressError::Domain),
            ("bob@[300.1.1.1]", AddressError::Domain),
            ("bob@[IPv6:zz]", AddressError::Domain),
        ];
        for (text, error) in cases {
            assert_eq!(Address::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn local_part_and_domain_are_taken_at_their_limit_and_refused_past_it() {
        let local = "a".repeat(LOCAL_PART_MAX);
        assert!(Address::parse(&format!("{local}@example.org")).is_ok());
        assert_eq!(Address::parse(&format!("{local}a@example.org")), Err(AddressError::LocalPartTooLong));
        let domain = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(63));
        assert_eq!(domain.len(), DOMAIN_MAX);
        assert!(Domain::parse(&domain).is_ok());
        assert_eq!(Domain::parse(&format!("{domain}.")), Err(AddressError::DomainTooLong));
    }

    /// Symptom: a mailing list's messages were refused with 501 5.1.7. Cause: 64 octets held for the local part of every
    /// address. Analysis: with VERP it holds the list's name and the whole address of the recipient.
    #[test]
    fn the_local_part_of_a_reverse_path_may_be_longer_than_that_of_an_address() {
        let path = |octets: usize| ReversePath::parse(&format!("{}@example.org", "a".repeat(octets)));
        assert!(!path(LOCAL_PART_MAX).unwrap().is_long() && path(LOCAL_PART_MAX + 1).unwrap().is_long());
        let longest = path(REVERSE_LOCAL_PART_MAX).unwrap();
        assert_eq!(path(REVERSE_LOCAL_PART_MAX + 1), Err(AddressError::LocalPartTooLong));
        let json = serde_json::to_string(&longest).unwrap();
        assert_eq!(serde_json::from_str::<ReversePath>(&json).unwrap(), longest);
        assert!(Address::parse(&longest.to_string()).is_err(), "nobody is written to under such a name");
        assert_eq!(ReversePath::parse(""), Ok(ReversePath::Null));
    }

    #[test]
    fn internationalised_addresses_know_that_they_need_smtputf8() {
        let address = Address::parse("dédé@exämple.org").unwrap();
        assert!(address.needs_smtputf8());
        assert_eq!(address.domain().as_str(), "xn--exmple-cua.org");
    }

    #[test]
    fn literals_are_domains_of_their_own() {
        assert!(Address::parse("bob@[192.0.2.1]").unwrap().domain().is_literal());
        assert!(Address::parse("bob@[IPv6:2001:db8::1]").unwrap().domain().is_literal());
    }

    #[test]
    fn paths_survive_json() {
        let path = ReversePath::Address(Address::parse("bob@example.org").unwrap());
        for path in [ReversePath::Null, path] {
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<ReversePath>(&json).unwrap(), path);
        }
    }
}
