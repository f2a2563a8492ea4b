//! The last look at a header section before it leaves: does it still name the house?
//!
//! [`outgoing_header`](crate::home::outgoing_header) removes the fields that are known to tell; this finds what a
//! field tells that nobody knew. It changes nothing but ids of the user's own earlier mail. What people write themselves is theirs: those fields
//! are not looked at, and a name that is a common word counts only where a host name stands. See ADR 11.

use std::net::IpAddr;

use mail::header::{Field, fields};

use crate::home::own_host::OwnHost;

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

/// Names of a host that tell nothing.
const PUBLIC_NAMES: &[&str] = &["localhost", "localhost.localdomain"];

/// Shortest name of one label that counts anywhere; it needs a digit or a hyphen as well.
const DISTINCT_CHARS_MIN: usize = 8;

/// What must not leave.
#[derive(Debug)]
pub(super) struct Private<'a> {
    /// The machine that Home runs on.
    pub(super) own: &'a OwnHost,
    /// The address of the user's program.
    pub(super) client: Option<IpAddr>,
    /// What it called itself.
    pub(super) helo: &'a str,
    /// The address of the account that logged in; `None` when the envelope shows it.
    pub(super) account: Option<&'a str>,
    /// Names that the world knows: the edge's, our domains.
    pub(super) public: &'a [String],
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An address of Home or of the user's program.
    Address,
    /// A host name of either.
    Host,
    /// The account's address, in a message that is not from it.
    Account,
}

impl What {
    /// For a sentence.
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
    let tells = |text: &str| names_address(text, private) || names.are_in(text);
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

/// Name and value in lower case; of Content-Type the boundary alone: `name=` is what the user called his file.
fn scanned(field: &Field<'_>) -> String {
    let text = field.unfolded().to_ascii_lowercase();
    if !field.is("Content-Type") {
        return text;
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
        let ip = ip.to_canonical();
        private.client.map(|client| client.to_canonical()) == Some(ip)
            || private.own.addresses.contains(&ip)
            || said == Some(ip)
    };
    let runs = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    runs.filter(|run| run.len() >= "::1".len())
        .flat_map(addresses_in)
        .any(|ip| !is_empty(ip) && is_private(ip))
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
    whole.chain(behind).chain(parts).filter_map(|text| text.parse().ok())
}

/// Host names, in lower case.
struct Names {
    /// They count wherever they stand.
    distinct: Vec<String>,
    /// They count behind an `@` only.
    common: Vec<String>,
}

impl Names {
    fn of(private: &Private<'_>) -> Self {
        let (mut distinct, mut common) = (Vec::new(), Vec::new());
        let all = private.own.names.iter().map(String::as_str).chain([private.helo]);
        for name in all.map(|name| name.trim_matches('.').to_ascii_lowercase()) {
            let is_public = PUBLIC_NAMES.contains(&name.as_str()) || private.public.contains(&name);
            if is_public || name.is_empty() || name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
                continue;
            }
            let label = name.split('.').next().unwrap_or_default();
            for name in [name.as_str(), label] {
                if name.contains('.') || is_distinct(name) { &mut distinct } else { &mut common }
                    .push(name.to_owned());
            }
        }
        Self { distinct, common }
    }

    fn are_in(&self, text: &str) -> bool {
        self.distinct.iter().any(|name| has_word(text, name))
            || self.common.iter().any(|name| !name.is_empty() && has_word(text, &format!("@{name}")))
    }
}

fn is_distinct(label: &str) -> bool {
    label.len() >= DISTINCT_CHARS_MIN && label.contains(|c: char| c.is_ascii_digit() || c == '-')
}

/// Whether `word` stands in `text` and is not a part of a longer name. A name below it counts, one above it
/// does not.
fn has_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let mut after = text.get(at + word.len()..).unwrap_or_default().chars();
        let ends = match after.next() {
            Some('.') => !after.next().is_some_and(is_name),
            other => !other.is_some_and(is_name),
        };
        ends && (word.starts_with('@') || !before.is_some_and(is_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_users_own_mail_that_name_his_computer_go_and_the_others_stay() {
        let own = OwnHost::default();
        let private =
            Private { own: &own, client: None, helo: "laptop.home.lan", account: None, public: &[] };
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
            addresses: vec!["192.168.1.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        };
        let private = Private {
            own: &own,
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
        for field in ["X-Odd: desktop-4k2j9", "X-Odd: id-DESKTOP-4K2J9.lan", "X-Odd: a@desktop-4k2j9"] {
            let wanted = if field.contains("id-") { None } else { Some(What::Host) };
            assert_eq!(found(field, "DESKTOP-4K2J9"), wanted, "{field}");
        }
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
            "X-Odd: 192.168.1.770 1192.168.1.77 192.168.1.77.1 fd00::22",
            "X-Odd: 127.0.0.1 ::1 0.0.0.0",
            "X-Odd: xfileserver.home.lan fileserver.home.lan-2 fileserver.home.lan.example.net",
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
