//! The last look at a header section before it leaves: does it still name the house?
//!
//! [`outgoing_header`](crate::outgoing_header) removes the fields that are known to tell; this finds what a
//! field tells that nobody knew. It changes nothing but ids of the user's own earlier mail. What people write themselves is theirs: those fields
//! are not looked at, and a name that is a common word counts only where a host name stands. See ADR 11 and 27.

mod names;

use std::net::{IpAddr, Ipv4Addr};

use mail::header::{Field, fields};

use self::names::{Names, has_word};
use crate::encoded;
use crate::own_host::OwnHost;

/// Fields that hold the user's own words, or addresses and ids that he means to give; in lower case, a `*` at
/// the end stands for any rest.
const OWN_WORDS: &[&str] = &[
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "comments",
    "keywords",
    "organization",
    "in-reply-to",
    "references",
    "resent-*",
    "list-*",
    "disposition-notification-to",
    "return-receipt-to",
    "errors-to",
    "mail-followup-to",
    "mail-reply-to",
    "autocrypt*",
    "openpgp",
    "content-description",
    "content-disposition",
];

/// Fields that may show the account's own address.
const ADDRESS_FIELDS: &[&str] = &["from", "sender", "reply-to", "to", "cc"];

/// Fields of message ids.
const THREADING: [&str; 2] = ["In-Reply-To", "References"];

/// Facts about the user and this host that must not leave in a header.
#[derive(Debug)]
pub(super) struct Private<'a> {
    /// The machine that Home runs on.
    pub(super) own: &'a OwnHost,
    /// Where the edges see Home: the address of its router, as a rule.
    pub(super) seen_at: &'a [IpAddr],
    /// The address of the user's program.
    pub(super) client: Option<IpAddr>,
    /// The name that the user's program gave in EHLO.
    pub(super) helo: &'a str,
    /// The address of the account that logged in; `None` when the envelope shows it.
    pub(super) account: Option<&'a str>,
    /// Names that the world knows: the edge's, our domains.
    pub(super) public: &'a [String],
}

/// The kind of fact that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An address of Home or of the user's program.
    Address,
    /// A host name of Home or of the user's program.
    Host,
    /// The account's address, in a message that is not from it.
    Account,
}

impl What {
    /// The fact as part of a sentence for the user.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "the network address of your computer or of your mail server",
            Self::Host => "the name of your computer or of your mail server",
            Self::Account => "the address you log in with",
        }
    }
}

/// The first field that tells, and what.
pub(super) fn find<'a>(header: &'a [u8], private: &Private<'_>) -> Option<(Field<'a>, What)> {
    let names = Names::of(private);
    let account = private.account.map(str::to_ascii_lowercase).filter(|account| !shows(header, account));
    fields(header).filter(|field| !is_own_words(field)).find_map(|field| {
        let text = scanned(&field);
        let what = if names_address(&text, private) {
            What::Address
        } else if names.are_in(&text) {
            What::Host
        } else if account.as_ref().is_some_and(|account| has_word(&text, account)) {
            What::Account
        } else {
            return None;
        };
        Some((field, what))
    })
}

/// The header section without the ids in In-Reply-To and References that name the house: ids that the user's
/// program gave to mail of his own. They left under others (`outgoing_header`), so nobody misses them.
pub(super) fn without_own_ids(header: Vec<u8>, private: &Private<'_>) -> Vec<u8> {
    let names = Names::of(private);
    let tells = |text: &str| names_address(text, private) || names.are_in_id(text);
    let is_threading = |field: &Field<'_>| THREADING.iter().any(|name| field.is(name));
    let is_told = |field: &Field<'_>| is_threading(field) && tells(&field.unfolded().to_ascii_lowercase());
    let found: Vec<Field<'_>> = fields(&header).filter(is_told).collect();
    if found.is_empty() {
        return header;
    }
    let (mut out, mut at) = (Vec::with_capacity(header.len()), 0);
    for field in found {
        out.extend_from_slice(header.get(at..field.offset).unwrap_or_default());
        at = field.offset + field.raw.len();
        let text = String::from_utf8_lossy(field.value).into_owned();
        let kept: Vec<&str> = text.split_whitespace().filter(|id| !tells(&id.to_ascii_lowercase())).collect();
        if !kept.is_empty() {
            out.extend_from_slice(field.name);
            out.extend_from_slice(format!(": {}\r\n", kept.join("\r\n\t")).as_bytes());
        }
    }
    out.extend_from_slice(header.get(at..).unwrap_or_default());
    out
}

fn is_own_words(field: &Field<'_>) -> bool {
    let name = field.name.to_ascii_lowercase();
    OWN_WORDS.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => name == pattern.as_bytes(),
    })
}

/// The value in lower case, and once more with its encoded words as what they say; of Content-Type the boundary alone: `name=`
/// is what the user called his file.
fn scanned(field: &Field<'_>) -> String {
    let text = field.unfolded();
    let decoded = encoded::decoded(&text);
    let text = text.to_ascii_lowercase();
    if !field.is("Content-Type") {
        return match decoded {
            Some(decoded) => format!("{text}\n{}", decoded.to_ascii_lowercase()),
            None => text,
        };
    }
    let boundary = text.split_once("boundary=").map(|(_, rest)| rest);
    boundary.and_then(|rest| rest.split(';').next()).unwrap_or_default().to_owned()
}

fn shows(header: &[u8], account: &str) -> bool {
    let mut shown = fields(header).filter(|field| ADDRESS_FIELDS.iter().any(|name| field.is(name)));
    shown.any(|field| has_word(&field.unfolded().to_ascii_lowercase(), account))
}

fn names_address(text: &str, private: &Private<'_>) -> bool {
    let literal = private.helo.trim_start_matches('[').trim_end_matches(']');
    let said = literal.strip_prefix("IPv6:").unwrap_or(literal).parse().ok();
    let is_private = |ip: IpAddr| {
        let one = |known: &IpAddr| is_same_house(known.to_canonical(), ip.to_canonical());
        let all = private.own.addresses.iter().chain(private.seen_at);
        !is_empty(ip) && all.chain(&private.client).chain(&said).any(one)
    };
    let runs = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    let mut written = runs.filter(|run| run.len() >= "::1".len()).flat_map(addresses_in);
    written.any(is_private) || (text.contains('-') && dashed(text).any(|ip| is_private(ip.into())))
}

/// Whether an address belongs to the house of a known one. A house has 2^64 addresses of IPv6 (RFC 6177), and one of them
/// names it as well as another.
fn is_same_house(known: IpAddr, ip: IpAddr) -> bool {
    match (known, ip) {
        (IpAddr::V6(known), IpAddr::V6(ip)) => {
            known == ip || (!is_empty(known.into()) && known.segments()[..4] == ip.segments()[..4])
        }
        (known, ip) => known == ip,
    }
}

/// Addresses as providers write them into names, `203-0-113-9.dyn.example.net`, forwards and backwards.
fn dashed(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let runs = text.split(|c: char| !(c.is_ascii_digit() || c == '-'));
    runs.filter(|run| run.len() >= "1-1-1-1".len()).flat_map(|run| {
        let parts: Vec<Option<u8>> = run.split('-').map(|part| part.parse().ok()).collect();
        let four = |four: &[Option<u8>]| match four {
            &[Some(a), Some(b), Some(c), Some(d)] => {
                [Some(Ipv4Addr::new(a, b, c, d)), Some(Ipv4Addr::new(d, c, b, a))]
            }
            _ => [None, None],
        };
        parts.windows(4).flat_map(four).flatten().collect::<Vec<_>>()
    })
}

/// An address that is one on every machine.
fn is_empty(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// A run may be an address, one with a port behind it, or one behind the `6:` of `IPv6:`.
fn addresses_in(run: &str) -> impl Iterator<Item = IpAddr> {
    let whole = std::iter::once(run.trim_end_matches(['.', ':']));
    let behind = run.split_once(':').map(|(_, rest)| rest).into_iter();
    let parts = run.split(':').filter(|part| part.contains('.')).map(|part| part.trim_matches('.'));
    // `2001:db8:1:2::/64`: there the colons are a part of it.
    let open_ended = std::iter::once(run).filter(|run| run.ends_with("::"));
    whole.chain(open_ended).chain(behind).chain(parts).filter_map(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_users_own_mail_that_name_his_computer_go_and_the_others_stay() {
        let own = OwnHost::default();
        let private = Private {
            own: &own,
            seen_at: &[],
            client: None,
            helo: "laptop.home.lan",
            account: None,
            public: &[],
        };
        let cleaned =
            |header: &str| String::from_utf8(without_own_ids(header.as_bytes().to_vec(), &private)).unwrap();
        let kept =
            "From: a@b\r\nreferences : <1@x.example>\r\n  <2@y.example>\r\nSubject: laptop.home.lan\r\n\r\n";
        assert_eq!(cleaned(kept), kept);
        assert_eq!(
            cleaned(
                "A: 1\r\nIn-Reply-To: <1@laptop.home.lan>\r\nReferences: <1@x.example> <2@Laptop.home.lan>\r\n\t<3@y.example>\r\nB: 2\r\n\r\n"
            ),
            "A: 1\r\nReferences: <1@x.example>\r\n\t<3@y.example>\r\nB: 2\r\n\r\n"
        );
    }

    fn found(field: &str, helo: &str) -> Option<What> {
        let own = OwnHost {
            names: vec!["fileserver.home.lan".to_owned(), "home".to_owned()],
            domains: ["lan", "example.org", "provider.example", "house.example.net"]
                .map(str::to_owned)
                .to_vec(),
            addresses: vec!["192.168.1.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        };
        let seen_at = ["203.0.113.9".parse().unwrap(), "2001:db8:1:2:3::9".parse().unwrap()];
        let private = Private {
            own: &own,
            seen_at: &seen_at,
            client: Some("::ffff:192.168.1.77".parse().unwrap()),
            helo,
            account: Some("Alice@example.org"),
            public: &["example.org".to_owned(), "mx.example.org".to_owned()],
        };
        let header = format!("From: sales@example.org\r\nSubject: x\r\n{field}\r\n\r\n");
        find(header.as_bytes(), &private).map(|(_, what)| what)
    }

    #[test]
    fn a_field_that_names_the_house_is_found() {
        for (field, what) in [
            ("X-Odd: [192.168.1.77]", What::Address),
            ("X-Odd: sent by 192.168.1.2:465.", What::Address),
            ("X-Odd: IPv6:FD00:0::2", What::Address),
            ("X-Odd:\r\n (fd00::2)", What::Address),
            ("X-Odd: 10.9.8.7", What::Address),
            ("X-Odd: FileServer.home.lan", What::Host),
            ("X-Odd: imap.fileserver.home.lan.", What::Host),
            ("Content-Type: multipart/mixed; boundary=\"=_fileserver.home.lan_1\"; x=y", What::Host),
            ("X-Id: <1.2@home>", What::Host),
            ("X-Odd: alice@example.org", What::Account),
            ("X-Odd: <ALICE@example.org>", What::Account),
        ] {
            assert_eq!(found(field, "[10.9.8.7]"), Some(what), "{field}");
        }
        for field in ["X-Odd: desktop-4k2j9", "X-Odd: id-DESKTOP-4K2J9 9.lan.x", "X-Odd: a@desktop-4k2j9"] {
            let wanted = if field.contains("id-") { None } else { Some(What::Host) };
            assert_eq!(found(field, "DESKTOP-4K2J9"), wanted, "{field}");
        }
    }

    /// Symptom: `HOST.local`, `HOST.lan`, the router's address and encoded words left. Cause: the look was for the host name
    /// as the kernel has it and for the interfaces' addresses, in what was written. Analysis: a host has a name under
    /// each domain of its house, and a house has an address that its router alone knows, and a /64 of IPv6.
    #[test]
    fn a_house_has_more_names_and_addresses_than_its_host_knows() {
        for (field, what) in [
            ("X-Odd: fileserver.local", What::Host),
            ("X-Odd: FILESERVER.LAN", What::Host),
            ("X-Odd: (fileserver.fritz.box)", What::Host),
            ("X-Odd: fileserver.home.arpa", What::Host),
            ("X-Odd: fileserver.internal.", What::Host),
            ("X-Odd: home.provider.example", What::Host),
            ("X-Odd: fileserver.example.org", What::Host),
            ("X-Odd: laptop.local", What::Host),
            ("X-Odd: laptop.lan", What::Host),
            ("X-Odd: printer.home.lan", What::Host),
            ("X-Odd: printer.lan", What::Host),
            ("X-Odd: tv.house.example.net", What::Host),
            ("X-Odd: 203.0.113.9", What::Address),
            ("X-Odd: 203-0-113-9.dyn.provider.example", What::Address),
            ("X-Odd: p-9-113-0-203-x", What::Address),
            ("X-Odd: 2001:db8:1:2::1", What::Address),
            ("X-Odd: 2001:db8:1:2::/64", What::Address),
            ("X-Odd: IPv6:fd00::abcd", What::Address),
            ("X-Odd: =?utf-8?q?by_fileserver=2Elan?=", What::Host),
            ("X-Odd: =?utf-8?b?ZmlsZXNl?=\r\n =?utf-8?b?cnZlci5ob21lLmxhbg==?=", What::Host),
            ("X-Odd: =?us-ascii?Q?203=2E0=2E?= =?us-ascii?Q?113=2E9?=", What::Address),
            ("X-Odd: =?utf-8?q?alice=40example.org?=", What::Account),
        ] {
            assert_eq!(found(field, "laptop.home.lan"), Some(what), "{field}");
        }
        for field in [
            "X-Odd: fileserver.example.net fileserver.com nas.local",
            "X-Odd: www.provider.example provider.example www.example.org",
            "X-Odd: plan lan .lan lan.example.net printer.lan.example.net",
            "X-Odd: 203.0.113.90 203-0-113-90 1-203-0-113 2001:db8:1:3::1 2026-11-24-10",
            "X-Odd: =?utf-8?q?fileserver?= x =?utf-8?q?=2Elan?=",
        ] {
            assert_eq!(found(field, "laptop.home.lan"), None, "{field}");
        }
        // A program on the road says where it is; that is no domain of the house.
        assert_eq!(found("X-Odd: www.guest.hotel.example", "laptop.guest.hotel.example"), None);
        assert_eq!(
            found("X-Odd: laptop.guest.hotel.example", "laptop.guest.hotel.example"),
            Some(What::Host)
        );
    }

    #[test]
    fn ids_of_others_whose_houses_have_the_same_domain_stay() {
        let own = OwnHost { names: vec!["nas".into()], domains: vec!["lan".into()], addresses: vec![] };
        let private = Private { own: &own, seen_at: &[], client: None, helo: "", account: None, public: &[] };
        let header = "References: <1@their-mac.lan> <2@nas.lan>\r\n\r\n";
        let cleaned = without_own_ids(header.as_bytes().to_vec(), &private);
        assert_eq!(String::from_utf8_lossy(&cleaned), "References: <1@their-mac.lan>\r\n\r\n");
    }

    #[test]
    fn what_people_write_and_what_is_public_stays() {
        for field in [
            "To: root@fileserver.home.lan",
            "Subject: 192.168.1.77 and fileserver.home.lan are down, alice@example.org",
            "In-Reply-To: <1@fileserver.home.lan>",
            "Disposition-Notification-To: alice@example.org",
            "Content-Type: text/plain; name=\"fileserver.home.lan.log\"",
            "Content-Disposition: attachment; filename=192.168.1.77.txt",
            "X-Odd: home is where the heart is",
            "X-Odd: sweet-home home@example.net <x@home.example>",
            "X-Odd: 192.168.1.770 1192.168.1.77 192.168.1.77.1 fd00:0:0:1::2",
            "X-Odd: 127.0.0.1 ::1 0.0.0.0",
            "X-Odd: fileserver.home.lan-2 fileserver.home.lan.example.net",
            "X-Odd: malice@example.org alice@example.org.net",
            "Received: from example.org by mx.example.org (Postern)",
            "Date: Tue, 24 Nov 2026 06:00:00 +0000",
            "Message-ID: <0000@example.org>",
        ] {
            assert_eq!(found(field, "example.org"), None, "{field}");
        }
        assert_eq!(found("X-Odd: localhost a@localhost", "localhost"), None);
        assert_eq!(found("X-Odd: a@ x", ""), None);
    }

    #[test]
    fn an_address_that_the_message_shows_anyway_is_no_secret() {
        assert_eq!(found("Cc: Alice <alice@example.org>\r\nX-Odd: alice@example.org", ""), None);
    }
}
