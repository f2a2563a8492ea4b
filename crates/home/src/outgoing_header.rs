//! The header section of mail that users send: who it claims to be from, and what it must not tell.
//!
//! Pure functions over octets. Fields that stay keep every octet, their folding too, but for two kinds: dates lose their
//! zone (`dates`), and who it is from leaves in the form that was checked (`identity`). The body is not seen
//! here. What goes are the fields that name the user's program, host or network, and old traces; what comes
//! is one redacted trace field, and the fields that a program left to its server.

mod dates;
mod identity;

use directory::DateZone;
use mail::header::{Field, fields};
use mail::{Address, Domain, ItemId, Reply, UnixTime};

use self::dates::Dates;
use self::identity::Identity;

/// Fields that are removed, in lower case; a `*` at the end stands for any rest.
///
/// `Bcc` would tell every recipient who the others are (RFC 5322 section 3.6.3), and so do the fields in which programs
/// and servers write down the envelope, such as `Apparently-To`. The traces and results are those of other systems, or
/// forged, or notes of the mailbox that a message was in. All others name the sender's program, account, host or address.
const REMOVED: &[&str] = &[
    "bcc",
    "resent-bcc",
    "x-bcc",
    "apparently-to",
    "x-apparently-*",
    "envelope-to",
    "envelope-from",
    "x-envelope-*",
    "x-rcpt-to",
    "x-real-to",
    "x-delivered-to",
    "x-forwarded-to",
    "x-forwarded-for",
    "original-recipient",
    "received",
    "x-received",
    "return-path",
    "delivered-to",
    "delivery-date",
    "status",
    "x-status",
    "x-uid",
    "x-uidl",
    "x-keywords",
    "x-spam-*",
    "x-virus-*",
    "authentication-results",
    "arc-*",
    "received-spf",
    "user-agent",
    "mail-user-agent",
    "x-mailer",
    "x-newsreader",
    "x-mimeole",
    "x-sender",
    "x-x-sender",
    "x-originating-*",
    "x-original-to",
    "x-authenticated-*",
    "x-authentication-*",
    "x-auth-*",
    "x-client-*",
    "x-remote-*",
    "x-sender-*",
    "x-user-agent",
    "nntp-posting-*",
    "injection-*",
    "x-trace",
    "x-source*",
    "x-antiabuse",
    "x-php-*",
    "x-get-message-sender-via",
    "x-mozilla-*",
    "x-identity-key",
    "x-account-key",
    "x-enigmail-*",
    "x-evolution-*",
    "x-apple-*",
    "x-universally-unique-identifier",
    "x-uniform-type-identifier",
    "x-ms-*",
    "x-kmail-*",
    "x-local-*",
];

/// What the rewriting needs to know besides the header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The id the message is queued under.
    pub item: ItemId,
    /// The host name the world sees; never Home's.
    pub edge_hostname: &'a str,
    /// The time when the message was submitted.
    pub now: UnixTime,
    /// For a `Message-ID` of our own: nobody can guess it, and it says nothing.
    pub random: u128,
    /// Whether the transaction is under SMTPUTF8, for the `with` word (RFC 6531 section 4.3).
    pub smtputf8: bool,
    /// What becomes of the zone in dates.
    pub date_zone: DateZone,
}

/// A header section that may leave.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// The header section with its empty line.
    pub header: Vec<u8>,
    /// The first author, an address of the user's.
    pub author: Address,
}

/// Checks and rewrites a header section. `header` ends with its empty line, or lacks it; the result has it.
/// Lines that are no field are left out: no program can rely on what they would mean.
///
/// # Errors
/// The reply that refuses the message: an address the user may not send as, or no or two `From`.
pub(crate) fn rewrite(
    header: &[u8],
    facts: &Facts<'_>,
    may_send_as: impl Fn(&Address) -> bool,
    is_local: impl Fn(&Domain) -> bool,
) -> Result<Rewritten, Reply> {
    let identity = Identity::check(header, &may_send_as)?;
    let dates = Dates::of(header, facts.date_zone);
    let author = &identity.author;
    let message_id = MessageId::of(header, &is_local);
    let mut out = Vec::with_capacity(header.len() + 512);
    out.extend_from_slice(trace_field(author.domain(), facts).as_bytes());
    for field in fields(header).filter(|field| !is_removed(field)) {
        if field.is("Message-ID") && message_id == MessageId::Replace {
            continue;
        }
        match (identity.in_place_of(&field), dates.in_place_of(&field)) {
            (Some(line), _) => out.extend_from_slice(line),
            (None, Some(line)) => out.extend_from_slice(&line),
            (None, None) => put_field(&field, &mut out),
        }
    }
    if mail::header::count(header, "Date") == 0 {
        out.extend_from_slice(format!("Date: {}\r\n", facts.now.rfc5322_without_zone()).as_bytes());
    }
    if message_id == MessageId::Replace {
        let line = format!("Message-ID: <{:032x}@{}>\r\n", facts.random, author.domain());
        out.extend_from_slice(line.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(Rewritten { header: out, author: identity.author })
}

/// What becomes of the message's own `Message-ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageId {
    Keep,
    /// There is none, there are several, or its right side is no domain of ours: programs write the name of
    /// the host they run on there. A copy the program keeps has the old one, which costs some threading.
    Replace,
}

impl MessageId {
    fn of(header: &[u8], is_local: &impl Fn(&Domain) -> bool) -> Self {
        let mut found = fields(header).filter(|field| field.is("Message-ID"));
        let (Some(field), None) = (found.next(), found.next()) else { return Self::Replace };
        let text = field.unfolded();
        let right = text
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix('>'))
            .and_then(|inner| inner.rsplit_once('@'))
            .filter(|(left, _)| !left.is_empty() && left.bytes().all(|b| b.is_ascii_graphic() && b != b'<'))
            .and_then(|(_, right)| Domain::parse(right).ok());
        if right.is_some_and(|domain| is_local(&domain)) { Self::Keep } else { Self::Replace }
    }
}

/// The reply to somebody who sends under an address that is not his.
pub(crate) fn not_yours(address: &Address) -> Reply {
    let text = format!("you may not send as {address}; log in as its owner or ask for an alias");
    Reply::new(550, (5, 7, 1), text)
}

/// Whether a message was written for many: the marks that lists and newsletters set (RFC 2919, RFC 2369, RFC 3834
/// section 3.1.8).
pub(crate) fn is_bulk(header: &[u8]) -> bool {
    let listed =
        ["List-Id", "List-Unsubscribe"].iter().any(|name| mail::header::find(header, name).is_some());
    let precedence = mail::header::find(header, "Precedence").map(|field| field.unfolded());
    listed
        || precedence
            .is_some_and(|word| ["bulk", "list", "junk"].iter().any(|bulk| word.eq_ignore_ascii_case(bulk)))
}

/// Whether its sender would rather have it arrive than be protected: `TLS-Required: No` (RFC 8689 section 5). A
/// field that is there twice, or says anything else, says nothing.
pub(crate) fn is_tls_optional(header: &[u8]) -> bool {
    let mut found = fields(header).filter(|field| field.is("TLS-Required"));
    let (Some(field), None) = (found.next(), found.next()) else { return false };
    field.unfolded().trim().eq_ignore_ascii_case("no")
}

fn is_removed(field: &Field<'_>) -> bool {
    REMOVED.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => {
            field.name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start.as_bytes()))
        }
        None => field.is(pattern),
    })
}

fn put_field(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(field.raw);
    if !field.raw.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
}

/// The one trace field. It names the sender's domain and Edge: no host, address or program of the user.
fn trace_field(domain: &Domain, facts: &Facts<'_>) -> String {
    let with = if facts.smtputf8 { "UTF8SMTPSA" } else { "ESMTPSA" };
    let Facts { item, edge_hostname, now, .. } = facts;
    format!(
        "Received: from {domain} by {edge_hostname} (Postern)\r\n\twith {with} id {item};\r\n\t{}\r\n",
        now.rfc5322()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(header: &str) -> Result<String, Reply> {
        let facts = Facts {
            item: ItemId::from_bytes([1; 16]),
            edge_hostname: "mx.example.org",
            now: UnixTime::from_secs(1_795_500_000),
            random: 7,
            smtputf8: false,
            date_zone: DateZone::Utc,
        };
        let mine = |address: &Address| {
            ["a@example.org", "b@example.org", "\"a b\"@example.org"].contains(&address.canonical().as_str())
        };
        let local = |domain: &Domain| domain.as_str() == "example.org";
        rewrite(header.as_bytes(), &facts, mine, local).map(|out| String::from_utf8(out.header).unwrap())
    }

    #[test]
    fn lists_and_newsletters_are_known_by_their_marks() {
        for (header, bulk) in [
            ("List-Id: <a.example.org>\r\n\r\n", true),
            ("list-unsubscribe: <mailto:a@example.org>\r\n\r\n", true),
            ("Precedence: BULK\r\n\r\n", true),
            ("Precedence: first-class\r\n\r\n", false),
            ("Subject: List-Id: x\r\n\r\n", false),
        ] {
            assert_eq!(is_bulk(header.as_bytes()), bulk, "{header}");
        }
    }

    #[test]
    fn one_field_that_says_no_makes_tls_optional() {
        for (header, optional) in [
            ("TLS-Required: No\r\n\r\n", true),
            ("tls-required:\r\n no\r\n", true),
            ("TLS-Required: Yes\r\n", false),
            ("TLS-Required: No\r\nTLS-Required: No\r\n", false),
            ("Subject: x\r\n\r\nTLS-Required: No\r\n", false),
        ] {
            assert_eq!(is_tls_optional(header.as_bytes()), optional, "{header}");
        }
    }

    #[test]
    fn what_stays_keeps_every_octet_and_the_trace_comes_first() {
        let kept = "FROM :  A\r\n\t<a@example.org>\r\nSubject: =?utf-8?q?x?=\r\n  y \r\nDate: d\r\nMessage-ID: <x@example.org>\r\n";
        let out = rewritten(&format!("{kept}\r\n")).unwrap();
        let (trace, rest) = out.split_at(out.find("FROM").unwrap());
        assert_eq!(rest, format!("{kept}\r\n"));
        let id = ItemId::from_bytes([1; 16]);
        assert_eq!(
            trace,
            format!(
                "Received: from example.org by mx.example.org (Postern)\r\n\twith ESMTPSA id {id};\r\n\tTue, 24 Nov 2026 06:00:00 +0000\r\n"
            )
        );
    }

    #[test]
    fn fields_that_name_the_users_program_or_host_are_removed() {
        for name in [
            "Bcc",
            "RESENT-BCC",
            "Received",
            "X-Originating-IP",
            "x-originating-client",
            "X-Mailer",
            "User-Agent",
            "X-Sender",
            "X-Authenticated-Sender",
            "X-Mozilla-Status",
            "X-MimeOLE",
            "X-Identity-Key",
            "X-Account-Key",
            "X-Enigmail-Version",
            "X-X-Sender",
            "X-Source",
            "X-Source-Args",
            "X-AntiAbuse",
            "Return-Path",
            "Delivered-To",
            "Authentication-Results",
            "X-Newsreader",
            "Mail-User-Agent",
            "Apparently-To",
            "X-Apparently-From",
            "X-Bcc",
            "Envelope-To",
            "X-Envelope-From",
            "X-Original-To",
            "X-Delivered-To",
            "X-Forwarded-For",
            "Original-Recipient",
            "X-Received",
            "Delivery-Date",
            "X-Spam-Checker-Version",
            "X-Virus-Scanned",
            "X-Remote-Addr",
            "X-Sender-IP",
            "NNTP-Posting-Host",
            "X-Keywords",
        ] {
            let out = rewritten(&format!(
                "From: a@example.org\r\n{name}: [192.168.1.2]\r\n secret\r\nTo: x@y.z\r\n\r\n"
            ))
            .unwrap();
            assert!(!out.contains("192.168") && !out.contains("secret"), "{name}: {out}");
            assert!(out.contains("To: x@y.z\r\n"));
        }
    }

    #[test]
    fn missing_fields_are_added_without_a_zone() {
        let out = rewritten("From: a@example.org\r\n\r\n").unwrap();
        assert!(out.contains("\r\nDate: Tue, 24 Nov 2026 06:00:00 -0000\r\n"), "{out}");
        assert!(out.ends_with("Message-ID: <00000000000000000000000000000007@example.org>\r\n\r\n"), "{out}");
    }

    #[test]
    fn a_message_id_stays_only_when_it_names_a_domain_of_ours() {
        let kept = |id: &str| {
            rewritten(&format!("From: a@example.org\r\nMessage-ID: {id}\r\n\r\n")).unwrap().contains(id)
        };
        assert!(kept("<x.1@example.org>"));
        assert!(kept("<x.1@EXAMPLE.org>"));
        for bad in [
            "<x@laptop.lan>",
            "<x@192.168.1.2>",
            "<x@[192.168.1.2]>",
            "<x>",
            "x@example.org",
            "<laptop.lan>, <x@example.org>",
        ] {
            assert!(!kept(bad), "{bad}");
        }
        let two = "From: a@example.org\r\nMessage-ID: <1@example.org>\r\nMessage-ID: <2@example.org>\r\n\r\n";
        assert_eq!(rewritten(two).unwrap().matches("Message-ID").count(), 1);
    }

    #[test]
    fn every_author_and_the_sender_have_to_be_the_user() {
        let cases = [
            ("From: a@example.org\r\n", None),
            ("From: A <A@Example.org>, b@example.org\r\n", None),
            ("From: \"a b\"@example.org\r\n", None),
            ("From: a@example.org\r\nSender: b@example.org\r\n", None),
            ("From: us: a@example.org, b@example.org;\r\n", None),
            ("From: eve@example.org\r\n", Some((5, 7, 1))),
            ("From: a@example.org, eve@example.net\r\n", Some((5, 7, 1))),
            ("From: a@example.org <eve@example.net>\r\n", Some((5, 7, 1))),
            ("From: <eve@example.net> a@example.org\r\n", Some((5, 7, 1))),
            ("From: us: a@example.org, eve@example.net;\r\n", Some((5, 7, 1))),
            ("From: a@example.org\r\nSender: eve@example.net\r\n", Some((5, 7, 1))),
            ("From: a@example.org\r\nSender: a@example.org\r\nSender: b@example.org\r\n", Some((5, 6, 0))),
            ("From: a@example.org\r\nfrom : eve@example.net\r\n", Some((5, 6, 0))),
            ("From: nobody\r\n", Some((5, 6, 0))),
            ("From: none:;\r\n", Some((5, 6, 0))),
            ("From:\r\n", Some((5, 6, 0))),
            ("Subject: x\r\n", Some((5, 6, 0))),
            ("", Some((5, 6, 0))),
        ];
        for (header, refused) in cases {
            let got = rewritten(&format!("{header}\r\n")).err().and_then(|reply| reply.enhanced);
            assert_eq!(got, refused.map(|(a, b, c)| mail::EnhancedCode(a, b, c)), "{header}");
        }
    }

    #[test]
    fn lines_that_are_no_field_do_not_leave() {
        let out = rewritten("From eve@laptop Mon\r\nFrom: a@example.org\r\nnonsense\r\nTo: x@y.z").unwrap();
        assert!(!out.contains("laptop") && !out.contains("nonsense"), "{out}");
        assert!(out.contains("\r\nTo: x@y.z\r\nDate: "), "{out}");
    }
}
