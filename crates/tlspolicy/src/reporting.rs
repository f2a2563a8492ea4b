//! The TLSRPT record: where a domain wants to hear how TLS with its mail hosts went (RFC 8460 section 3).

use std::fmt;

/// Most octets of a record that is read.
pub const RECORD_OCTETS_MAX: usize = 4096;
/// Most addresses of one record that get a report; those after them are passed over.
pub const URIS_MAX: usize = 4;
/// Most octets of one URI in a record.
const URI_OCTETS_MAX: usize = 1024;
/// Most octets of a mail address (RFC 5321 section 4.5.3.1): with each of them escaped it is a place still.
const ADDRESS_OCTETS_MAX: usize = 64 + 1 + 255;
/// How a record begins; any other is not for us.
const VERSION: &str = "v=TLSRPTv1";

/// Where a report goes: one `rua` of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportUri {
    /// By mail to this address (RFC 8460 section 5.3).
    Mailto(String),
    /// By POST (RFC 8460 section 5.4).
    Https(HttpsUri),
}

/// An `https` address whose host is a name: what has no certificate of its name gets no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsUri {
    /// The host's name, in lower case.
    pub host: String,
    /// Its port, 443 unless the address says another.
    pub port: u16,
    /// Path and query, with the slash.
    pub path: String,
}

impl fmt::Display for HttpsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => write!(f, "https://{}{}", self.host, self.path),
            port => write!(f, "https://{}:{port}{}", self.host, self.path),
        }
    }
}

impl fmt::Display for ReportUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailto(address) => {
                f.write_str("mailto:")?;
                address.bytes().try_for_each(|octet| match octet {
                    // What would end the address, the record's field or its value, or stands for another octet.
                    b'%' | b'?' | b'#' | b',' | b';' | b'!' => write!(f, "%{octet:02X}"),
                    octet => write!(f, "{}", char::from(octet)),
                })
            }
            Self::Https(uri) => uri.fmt(f),
        }
    }
}

/// Whether a TXT record is a TLSRPT record, whatever else it holds.
#[must_use]
pub fn is_record(text: &[u8]) -> bool {
    let rest = text.strip_prefix(VERSION.as_bytes()).map(<[u8]>::trim_ascii_start);
    rest.is_some_and(|rest| rest.first() == Some(&b';'))
}

/// Where the TXT records of `_smtp._tls` below a domain ask for reports, in the order given, each place once.
/// Empty when there is not exactly one TLSRPT record: the domain does not take part (RFC 8460 section 3). What
/// is no address that a report can go to, or of a scheme that is not known, is passed over.
#[must_use]
pub fn report_uris<T: AsRef<[u8]>>(records: &[T]) -> Vec<ReportUri> {
    let mut ours = records.iter().map(AsRef::as_ref).filter(|text| is_record(text));
    let (Some(record), None) = (ours.next(), ours.next()) else { return Vec::new() };
    let Ok(text) = std::str::from_utf8(record) else { return Vec::new() };
    if text.len() > RECORD_OCTETS_MAX {
        return Vec::new();
    }
    let rua = text.split(';').skip(1).find_map(|field| field.trim().strip_prefix("rua="));
    let mut uris = Vec::new();
    for uri in rua.unwrap_or_default().split(',').filter_map(ReportUri::parse) {
        if !uris.contains(&uri) && uris.len() < URIS_MAX {
            uris.push(uri);
        }
    }
    uris
}

impl ReportUri {
    /// Reads one address; `None` when no report can go there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > URI_OCTETS_MAX {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        if scheme.eq_ignore_ascii_case("mailto") {
            let address = decoded(rest.split('?').next()?)?;
            let (local, domain) = address.rsplit_once('@')?;
            let plain = address.bytes().all(|octet| octet.is_ascii_graphic());
            let plain = plain && address.len() <= ADDRESS_OCTETS_MAX;
            return (plain && !local.is_empty() && !domain.is_empty()).then_some(Self::Mailto(address));
        }
        if scheme.eq_ignore_ascii_case("https") {
            return HttpsUri::after_scheme(rest).map(Self::Https);
        }
        None
    }
}

impl HttpsUri {
    fn after_scheme(rest: &str) -> Option<Self> {
        let rest = rest.strip_prefix("//")?.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port_number(port)?),
            None => (authority, 443),
        };
        // In lower case before it is looked at: `0X7F.1` is the same address as `0x7f.1`.
        let host = host.to_ascii_lowercase();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // What is no printable ASCII could end the request's first line and begin another.
        let plain = path.bytes().all(|octet| octet.is_ascii_graphic());
        let uri = Self { host, port, path };
        // The slash that was added counts: what is written must be short enough to be read again.
        (is_host_name(&uri.host) && plain && uri.to_string().len() <= URI_OCTETS_MAX).then_some(uri)
    }
}

/// A port in digits (RFC 3986 section 3.2.3), with no sign; 0 is none.
fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// A name of labels in lower case; an address is none.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    let top = host.rsplit('.').next().unwrap_or_default();
    let is_address = top.bytes().all(|octet| octet.is_ascii_digit()) || top.starts_with("0x");
    host.len() <= 253 && host.contains('.') && host.split('.').all(label) && !is_address
}

/// Text with `%40` and the like as the octets they stand for; `None` when they are broken.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        out.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        out.push_str(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(records: &[&str]) -> Vec<String> {
        report_uris(records).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        assert_eq!(
            uris(&["v=TLSRPTv1;rua=mailto:reports@example.com"]),
            ["mailto:reports@example.com"],
            "RFC 8460 section 3.1.1"
        );
        let https = "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt";
        assert_eq!(uris(&[https]), ["https://reporting.example.com/v1/tlsrpt"], "section 3.1.2");
    }

    #[test]
    fn several_places_are_kept_in_their_order_and_each_once() {
        let record = "v=TLSRPTv1 ; x=y; rua=MAILTO:a%40b@example.com?subject=x , HTTPS://R.example:8443 ,\
                      ftp://x.example/, https://r.example:8443/ ; rua=mailto:later@example.com;";
        assert_eq!(uris(&["v=spf1 -all", record]), ["mailto:a@b@example.com", "https://r.example:8443/"]);
    }

    /// Symptom: a report to `a%b@example.com` was lost. Cause: the address was written as it is into the ledger, and
    /// not read as one from there. Analysis: fuzzing, an address that is written is not the one that was read.
    #[test]
    fn an_address_is_written_so_that_it_is_read_again() {
        for text in
            ["mailto:a%25b@example.com", "mailto:a%3F%2C%3B%23%21@example.com", "mailto:a+b@example.com"]
        {
            let uri = ReportUri::parse(text).unwrap();
            assert_eq!((uri.to_string().as_str(), ReportUri::parse(&uri.to_string())), (text, Some(uri)));
        }
    }

    /// Symptom: a place that was taken into the ledger was none when it was read from there. Cause: an address with
    /// `0X` was taken for a name, since its case was folded later; and the slash that is added to a bare query made
    /// the longest place one octet too long. Analysis: fuzzing, and the search for what else is changed when written.
    #[test]
    fn an_https_place_is_written_so_that_it_is_read_again() {
        let longest = format!("https://a.example?{}", "x".repeat(URI_OCTETS_MAX - 19));
        for text in ["HTTPS://R.Example:443?a", "https://r.example:08443/x!y,z", longest.as_str()] {
            let uri = ReportUri::parse(text).unwrap();
            assert_eq!(ReportUri::parse(&uri.to_string()), Some(uri), "{text}");
        }
        assert_eq!(ReportUri::parse(&format!("{longest}x")), None);
    }

    #[test]
    fn what_is_not_exactly_one_record_asks_for_nothing() {
        let good = "v=TLSRPTv1;rua=mailto:a@example.com";
        for records in [&[][..], &[good, good], &["v=TLSRPTv2;rua=mailto:a@example.com"], &["v=TLSRPTv1"]] {
            assert!(uris(records).is_empty(), "{records:?}");
        }
        assert!(uris(&["v=TLSRPTv1;"]).is_empty());
        assert!(report_uris(&[b"v=TLSRPTv1;rua=mailto:\xff@example.com".to_vec()]).is_empty());
    }

    #[test]
    fn addresses_that_a_report_could_do_harm_at_are_passed_over() {
        for uri in [
            "mailto:",
            "mailto:a",
            "mailto:@example.com",
            "mailto:a@",
            "mailto:a%0d%0aX:y@example.com",
            "mailto:a%4@example.com",
            "mailto:a%+4@example.com",
            "mailto:ä@example.com",
            "http://example.com/",
            "https:/example.com/",
            "https://",
            "https://localhost/",
            "https://127.0.0.1/",
            "https://0x7f.0x1/",
            "https://0X7F.0X1/",
            "https://127.0.0.0X1/",
            "https://[::1]/",
            "https://user@example.com/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://example.com:+443/",
            "https://exa mple.com/",
            "https://example.com/a b",
            "https://example.com/a\r\nb",
            "https://.example.com/",
            "//example.com/",
            "%",
        ] {
            assert_eq!(ReportUri::parse(uri), None, "{uri}");
        }
        assert!(
            ReportUri::parse("https://example.com?a=b#c")
                .is_some_and(|uri| { uri.to_string() == "https://example.com/?a=b" })
        );
    }

    #[test]
    fn length_and_number_are_bounded() {
        let places = |count: usize| {
            let all: Vec<String> = (0..count).map(|number| format!("mailto:{number}@a.example")).collect();
            uris(&[&format!("v=TLSRPTv1;rua={}", all.join(","))]).len()
        };
        assert_eq!((places(URIS_MAX), places(URIS_MAX + 1)), (URIS_MAX, URIS_MAX));
        let record = |octets: usize| {
            let text = "v=TLSRPTv1;rua=mailto:a@b.example;x=";
            uris(&[&format!("{text}{}", "x".repeat(octets - text.len()))]).len()
        };
        assert_eq!((record(RECORD_OCTETS_MAX), record(RECORD_OCTETS_MAX + 1)), (1, 0));
        let uri = |octets: usize| {
            let text = "https://a.example/";
            ReportUri::parse(&format!("{text}{}", "x".repeat(octets - text.len())))
        };
        assert!(uri(URI_OCTETS_MAX).is_some() && uri(URI_OCTETS_MAX + 1).is_none());
        let address = |octets: usize| {
            let uri = ReportUri::parse(&format!("mailto:{}@a", "%25".repeat(octets - 2)));
            uri.map(|uri| assert_eq!(ReportUri::parse(&uri.to_string()), Some(uri)))
        };
        assert_eq!((address(ADDRESS_OCTETS_MAX), address(ADDRESS_OCTETS_MAX + 1)), (Some(()), None));
        let host = |label: usize| ReportUri::parse(&format!("https://{}.example/", "x".repeat(label)));
        assert!(host(63).is_some() && host(64).is_none());
    }
}
