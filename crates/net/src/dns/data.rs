//! Records as they stand in a zone, between their text and the wire: for who publishes records, not for who sends mail.

use std::fmt;

use hickory_resolver::proto::rr::rdata::caa::CAA;
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector, TLSA};
use hickory_resolver::proto::rr::rdata::{MX, PTR, SRV, TXT};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::name;

/// Octets of one string of a TXT record (RFC 1035 section 3.3).
const STRING_OCTETS_MAX: usize = 255;

/// The type of a record that a mail domain has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// An IPv4 address (RFC 1035).
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// A host that takes mail (RFC 1035).
    Mx,
    /// Text (RFC 1035).
    Txt,
    /// The name of an address (RFC 1035).
    Ptr,
    /// A host that offers a service (RFC 2782).
    Srv,
    /// A certificate (RFC 6698).
    Tlsa,
    /// Who may issue certificates (RFC 8659).
    Caa,
}

impl DataKind {
    pub(super) const fn wire(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Mx => RecordType::MX,
            Self::Txt => RecordType::TXT,
            Self::Ptr => RecordType::PTR,
            Self::Srv => RecordType::SRV,
            Self::Tlsa => RecordType::TLSA,
            Self::Caa => RecordType::CAA,
        }
    }
}

/// What one record says, exactly as a server gave it or as it is to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(pub(super) RData);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({})", self.text())
    }
}

/// A text that is no record of its kind.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no such record")]
pub struct NoSuchData(String);

impl Data {
    /// What a text says: `10 mx.example.org`, `0 1 993 host`, `3 1 1 hex`, `0 issue "ca.example"`; of TXT the text
    /// itself, without quotes. Names are absolute, with or without their last dot.
    ///
    /// # Errors
    /// When the text is no record of this kind.
    pub fn parse(kind: DataKind, text: &str) -> Result<Self, NoSuchData> {
        parsed(kind, text).map(Self).ok_or_else(|| NoSuchData(text.to_owned()))
    }

    /// The same as text, names in small letters and without their last dot; `.` where a name is the root.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.0 {
            RData::A(a) => a.0.to_string(),
            RData::AAAA(aaaa) => aaaa.0.to_string(),
            RData::MX(mx) => format!("{} {}", mx.preference, host(&mx.exchange)),
            RData::TXT(txt) => String::from_utf8_lossy(&txt.txt_data.concat()).into_owned(),
            RData::PTR(ptr) => host(&ptr.0),
            RData::SRV(srv) => {
                format!("{} {} {} {}", srv.priority, srv.weight, srv.port, host(&srv.target))
            }
            RData::TLSA(tlsa) => {
                let hex: String = tlsa.cert_data.iter().map(|octet| format!("{octet:02x}")).collect();
                let fields: [u8; 3] = [tlsa.cert_usage.into(), tlsa.selector.into(), tlsa.matching.into()];
                format!("{} {} {} {hex}", fields[0], fields[1], fields[2])
            }
            RData::CAA(caa) => {
                format!("{} {} \"{}\"", caa.flags(), caa.tag, String::from_utf8_lossy(&caa.value))
            }
            other => other.to_string(),
        }
    }
}

fn host(name: &Name) -> String {
    if name.is_root() { ".".to_owned() } else { name::to_text(name).to_ascii_lowercase() }
}

fn named(text: &str) -> Option<Name> {
    if text == "." { Some(Name::root()) } else { name::to_wire(text) }
}

fn parsed(kind: DataKind, text: &str) -> Option<RData> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Some(match (kind, &words[..]) {
        (DataKind::A, [ip]) => RData::A(ip.parse::<std::net::Ipv4Addr>().ok()?.into()),
        (DataKind::Aaaa, [ip]) => RData::AAAA(ip.parse::<std::net::Ipv6Addr>().ok()?.into()),
        (DataKind::Mx, [preference, host]) => RData::MX(MX::new(preference.parse().ok()?, named(host)?)),
        (DataKind::Ptr, [host]) => RData::PTR(PTR(named(host)?)),
        (DataKind::Srv, [priority, weight, port, host]) => RData::SRV(SRV::new(
            priority.parse().ok()?,
            weight.parse().ok()?,
            port.parse().ok()?,
            named(host)?,
        )),
        (DataKind::Tlsa, [usage, selector, matching, hex]) => RData::TLSA(TLSA::new(
            CertUsage::from(usage.parse::<u8>().ok()?),
            Selector::from(selector.parse::<u8>().ok()?),
            Matching::from(matching.parse::<u8>().ok()?),
            octets(hex)?,
        )),
        (DataKind::Caa, ["0", "issue", quoted]) => {
            let authority = quoted.strip_prefix('"')?.strip_suffix('"')?;
            RData::CAA(CAA::new_issue(false, Some(without_root(authority)?), Vec::new()))
        }
        (DataKind::Txt, _) => {
            let strings = text.as_bytes().chunks(STRING_OCTETS_MAX).collect();
            RData::TXT(TXT::from_bytes(strings))
        }
        _ => return None,
    })
}

/// An authority is named without the last dot (RFC 8659 section 4.2).
fn without_root(authority: &str) -> Option<Name> {
    let mut name = name::to_wire(authority)?;
    name.set_fqdn(false);
    Some(name)
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_so_that_it_is_read_again() {
        for (kind, text) in [
            (DataKind::A, "192.0.2.1"),
            (DataKind::Aaaa, "2001:db8::1"),
            (DataKind::Mx, "10 mx.example.org"),
            (DataKind::Ptr, "mx.example.org"),
            (DataKind::Srv, "0 1 993 mail.example.org"),
            (DataKind::Srv, "0 0 0 ."),
            (DataKind::Tlsa, "3 1 1 00ff10"),
            (DataKind::Caa, "0 issue \"ca.example\""),
            (DataKind::Txt, "v=spf1 -all"),
        ] {
            assert_eq!(Data::parse(kind, text).unwrap().text(), text);
        }
        assert_eq!(Data::parse(DataKind::Mx, "10 MX.Example.org.").unwrap().text(), "10 mx.example.org");
        for (kind, text) in [
            (DataKind::A, "192.0.2"),
            (DataKind::Mx, "mx.example.org"),
            (DataKind::Mx, "65536 mx.example.org"),
            (DataKind::Srv, "0 1 993"),
            (DataKind::Tlsa, "3 1 1 0"),
            (DataKind::Tlsa, "3 1 1 0g"),
            (DataKind::Caa, "0 issue ca.example"),
        ] {
            assert!(Data::parse(kind, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_longer_than_a_string_has_several() {
        for (length, strings) in [(255, 1), (256, 2)] {
            let data = Data::parse(DataKind::Txt, &"x".repeat(length)).unwrap();
            let RData::TXT(txt) = &data.0 else { panic!("{data:?}") };
            assert_eq!((txt.txt_data.len(), data.text().len()), (strings, length));
        }
    }
}
