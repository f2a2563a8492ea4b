//! Delivery status notifications: what the sender is told of a message (RFC 3464, RFC 3461, RFC 6522).
//!
//! Written, never read. A report has a text for people first, then the same for programs, then the original
//! or its header. It names domains and the hosts that answered; no name of a host of ours is in it. What a
//! remote host said is hostile text: control characters go, lengths are bounded.

mod original;

use std::fmt::Write as _;

use self::original::Shown;
use crate::{Address, Domain, EnhancedCode, ItemId, Recipient, Reply, UnixTime, Why};

/// Most octets of one value that came from elsewhere.
const VALUE_OCTETS_MAX: usize = 1000;
/// Where lines of the machine-readable part are folded.
const LINE_OCTETS: usize = 76;

/// What became of a recipient (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It never will be delivered.
    Failed,
    /// It was given up after too long.
    Expired,
    /// It is not there yet, and goes on being tried.
    Delayed,
    /// The next host took responsibility; whether it tells more is not known.
    Relayed,
    /// It is in a mailbox here.
    Delivered,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Failed | Self::Expired => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
        }
    }

    const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Expired)
    }
}

/// One recipient of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedRecipient {
    /// The recipient's address and its DSN parameters (RFC 3461).
    pub recipient: Recipient,
    /// What became of the recipient.
    pub action: Action,
    /// The status, the reply and the host that the report names for it.
    pub why: Why,
}

/// How much of the original a report carries (`RET`, RFC 3461 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original<'a> {
    /// The whole message.
    Full(&'a [u8]),
    /// The message or its beginning, of which the header is taken.
    Header(&'a [u8]),
}

/// A delivery status notification on one message (RFC 3464).
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The report's own id, for its `Message-ID`.
    pub item: ItemId,
    /// The sender's domain, in whose name the report is written.
    pub domain: &'a Domain,
    /// The address that the report goes to.
    pub to: &'a Address,
    /// When the report is written.
    pub now: UnixTime,
    /// When the original was taken.
    pub arrived: UnixTime,
    /// Until when recipients that are [`Action::Delayed`] are tried (RFC 3464 section 2.3.9).
    pub retry_until: UnixTime,
    /// `ENVID` of the original, as xtext.
    pub envid: Option<&'a str>,
    /// The recipients it tells of, at least one.
    pub recipients: &'a [ReportedRecipient],
    /// The original message, or what the report carries of it.
    pub original: Original<'a>,
    /// Letters and digits that nobody can guess, so that the original can't close its part.
    pub boundary: &'a str,
}

impl Report<'_> {
    /// The whole message, with CRLF line ends.
    #[must_use]
    pub fn to_message(&self) -> Vec<u8> {
        let international = self.is_international();
        let mut out = self.header().into_bytes();
        self.part(&mut out, "Content-Type: text/plain; charset=utf-8", self.text().as_bytes());
        let status = if international { "message/global-delivery-status" } else { "message/delivery-status" };
        self.part(&mut out, &format!("Content-Type: {status}"), self.status().as_bytes());
        let Shown { kind, encoding, content } = self.original.shown(international);
        self.encoded_part(&mut out, (&format!("Content-Type: {kind}"), encoding), &content);
        out.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        out
    }

    fn header(&self) -> String {
        let Self { domain, boundary, item, to, .. } = self;
        let now = self.now.rfc5322();
        let subject = if self.any_failure() {
            "Your message could not be delivered"
        } else if self.recipients.iter().any(|reported| reported.action == Action::Delayed) {
            "Your message is delayed"
        } else {
            "Your message was delivered"
        };
        format!(
            "Return-Path: <>\r\n\
             Date: {now}\r\n\
             From: Mail Delivery System <postmaster@{domain}>\r\n\
             To: {to}\r\n\
             Subject: {subject}\r\n\
             Message-ID: <{item}@{domain}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\
             \r\n"
        )
    }

    fn part(&self, out: &mut Vec<u8>, content_type: &str, content: &[u8]) {
        let encoding = if content.is_ascii() { "7bit" } else { "8bit" };
        self.encoded_part(out, (content_type, encoding), content);
    }

    fn encoded_part(&self, out: &mut Vec<u8>, (content_type, encoding): (&str, &str), content: &[u8]) {
        let head =
            format!("--{}\r\n{content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n", self.boundary);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }

    fn any_failure(&self) -> bool {
        self.recipients.iter().any(|reported| reported.action.is_failure())
    }

    /// Whether anything needs the forms of RFC 6533.
    fn is_international(&self) -> bool {
        let address = |reported: &ReportedRecipient| reported.recipient.address.needs_smtputf8();
        self.to.needs_smtputf8() || self.recipients.iter().any(address) || self.original.is_international()
    }

    /// For people: what happened, to whom, and what to do.
    fn text(&self) -> String {
        let mut text = String::new();
        let of = |wanted: fn(Action) -> bool| -> Vec<&ReportedRecipient> {
            self.recipients.iter().filter(|reported| wanted(reported.action)).collect()
        };
        let failed = of(Action::is_failure);
        let delayed = of(|action| action == Action::Delayed);
        let done = of(|action| matches!(action, Action::Relayed | Action::Delivered));
        if !failed.is_empty() {
            let _ = write!(
                text,
                "The message you sent on {} could not be delivered to:\r\n\r\n",
                self.arrived.rfc5322()
            );
            failed.iter().for_each(|reported| explain(reported, &mut text));
            text.push_str(
                "The message is not tried again. Nobody else received this report. What you can do:\r\ncorrect \
                 the address if it has a mistake, or reach the person by other means, then\r\nsend the message \
                 again. The beginning of your message is below.\r\n",
            );
        }
        if !delayed.is_empty() {
            let _ = write!(
                text,
                "The message you sent on {} is not yet delivered to:\r\n\r\n",
                self.arrived.rfc5322()
            );
            delayed.iter().for_each(|reported| explain(reported, &mut text));
            let _ = write!(
                text,
                "It is tried again until {}.\r\nThere is nothing you have to do: do not send it again. If it can't be \
                 delivered by\r\nthen, you are told.\r\n",
                self.retry_until.rfc5322()
            );
        }
        if !done.is_empty() {
            let _ = write!(
                text,
                "{}You asked to be told when the message is delivered. It was, to:\r\n\r\n",
                if text.is_empty() { "" } else { "\r\n" }
            );
            done.iter().for_each(|reported| explain(reported, &mut text));
            text.push_str("There is nothing you have to do.\r\n");
        }
        text
    }

    /// For programs: fields of the message, then one group of fields per recipient (RFC 3464 section 2).
    fn status(&self) -> String {
        let mut out = String::new();
        put(&mut out, "Reporting-MTA", &format!("dns; {}", self.domain));
        if let Some(envid) = self.envid.and_then(decode_xtext) {
            put(&mut out, "Original-Envelope-Id", &envid);
        }
        put(&mut out, "Arrival-Date", &self.arrived.rfc5322());
        for reported in self.recipients {
            out.push_str("\r\n");
            put_recipient(reported, &mut out);
            if reported.action == Action::Delayed {
                put(&mut out, "Will-Retry-Until", &self.retry_until.rfc5322());
            }
        }
        out
    }
}

fn put_recipient(reported: &ReportedRecipient, out: &mut String) {
    let ReportedRecipient { recipient, action, why } = reported;
    if let Some(orcpt) = &recipient.orcpt
        && let Some(address) = decode_xtext(&orcpt.address)
    {
        put(out, "Original-Recipient", &format!("{}; {address}", orcpt.kind));
    }
    let kind = if recipient.address.needs_smtputf8() { "utf-8" } else { "rfc822" };
    put(out, "Final-Recipient", &format!("{kind}; {}", recipient.address));
    put(out, "Action", action.word());
    put(out, "Status", &status_of(reported).to_string());
    if let Some(mta) = &why.mta {
        put(out, "Remote-MTA", &format!("dns; {}", ascii(mta)));
    }
    if let Some(reply) = &why.reply {
        put(out, "Diagnostic-Code", &format!("smtp; {}", ascii(&reply.to_string())));
    } else if !why.cause.is_empty() {
        put(out, "Diagnostic-Code", &format!("x-postern; {}", ascii(&why.cause)));
    }
}

/// The status in the class that the action has (RFC 3464 section 2.3.4). What expired keeps `4.4.7`.
fn status_of(reported: &ReportedRecipient) -> EnhancedCode {
    match reported.action {
        Action::Expired => EnhancedCode(4, 4, 7),
        Action::Failed => reported.why.status.with_class(5),
        Action::Delayed => reported.why.status.with_class(4),
        Action::Relayed | Action::Delivered => reported.why.status.with_class(2),
    }
}

/// Writes what became of one recipient, for people.
fn explain(reported: &ReportedRecipient, text: &mut String) {
    let _ = write!(text, "  {}\r\n", reported.recipient.address);
    let Why { mta, reply, cause, .. } = &reported.why;
    let host = mta.as_deref().map_or_else(|| "the receiving host".to_owned(), clean);
    let reason = match (reported.action, reply) {
        (Action::Relayed, _) => format!("{host} took it; it may or may not tell you more."),
        (Action::Delivered, _) => "It is in the mailbox.".to_owned(),
        (Action::Failed, Some(reply)) => format!("{host} refused it and said: {}", said(reply)),
        (Action::Failed, None) => clean(cause),
        (Action::Delayed, Some(reply)) => format!("{host} said: {}", said(reply)),
        (Action::Delayed, None) => clean(cause),
        (Action::Expired, Some(reply)) => {
            format!("It was tried for too long. In the end {host} said: {}", said(reply))
        }
        (Action::Expired, None) => format!("It was tried for too long. The last reason: {}", clean(cause)),
    };
    for line in wrap(&reason, LINE_OCTETS - 4) {
        let _ = write!(text, "    {line}\r\n");
    }
    text.push_str("\r\n");
}

fn said(reply: &Reply) -> String {
    clean(&reply.to_string())
}

/// A field, folded at white space (RFC 5322 section 2.2.3).
fn put(out: &mut String, name: &str, value: &str) {
    let line = format!("{name}: {}", clean(value));
    for (place, piece) in wrap(&line, LINE_OCTETS).into_iter().enumerate() {
        let _ = write!(out, "{}{piece}\r\n", if place == 0 { "" } else { " " });
    }
}

/// `text` cut at spaces into lines of at most `room` octets, where its words let it.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= room) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Without control characters, cut to [`VALUE_OCTETS_MAX`].
fn clean(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(VALUE_OCTETS_MAX)];
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// `+HH` decoded (RFC 3461 section 4). `None` when it is no xtext or not UTF-8.
fn decode_xtext(xtext: &str) -> Option<String> {
    let mut out = Vec::with_capacity(xtext.len());
    let mut octets = xtext.bytes();
    while let Some(octet) = octets.next() {
        if octet == b'+' {
            let high = char::from(octets.next()?).to_digit(16)?;
            let low = char::from(octets.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(octet);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::original::HEADER_OCTETS_MAX;
    use super::*;
    use crate::header::{body_offset, count, find};
    use crate::{Orcpt, Outcome};

    fn recipient(address: &str, action: Action, why: Why) -> ReportedRecipient {
        ReportedRecipient { recipient: Address::parse(address).unwrap().into(), action, why }
    }

    fn refused(text: &str) -> Why {
        let reply = Reply::new(550, (5, 1, 1), text);
        Outcome::from_reply(Some("mx.example.net".to_owned()), &reply).why().clone()
    }

    fn message(recipients: &[ReportedRecipient], original: Original<'_>) -> String {
        let domain = Domain::parse("example.org").unwrap();
        let to = Address::parse("a@example.org").unwrap();
        let report = Report {
            item: ItemId::from_bytes([1; 16]),
            domain: &domain,
            to: &to,
            now: UnixTime::from_secs(1_795_500_000),
            arrived: UnixTime::from_secs(1_795_400_000),
            retry_until: UnixTime::from_secs(1_795_800_000),
            envid: Some("QQ+2B1"),
            recipients,
            original,
            boundary: "b0undary",
        };
        String::from_utf8(report.to_message()).unwrap()
    }

    fn parts(message: &str) -> Vec<&str> {
        let body = &message[body_offset(message.as_bytes()) - 2..];
        let mut parts: Vec<&str> = body.split("\r\n--b0undary").skip(1).collect();
        assert_eq!(parts.pop(), Some("--\r\n"));
        parts.into_iter().map(|part| part.strip_prefix("\r\n").unwrap()).collect()
    }

    #[test]
    fn a_failure_is_told_to_people_and_to_programs() {
        let mut failed = recipient("bob@example.net", Action::Failed, refused("no such\nuser"));
        failed.recipient.orcpt =
            Some(Orcpt { kind: "rfc822".to_owned(), address: "Bob+2Bx@example.com".to_owned() });
        let original = b"Subject: hi\r\nX: y\r\n\r\nsecret body\r\n";
        let text = message(&[failed], Original::Header(original));
        let head = text.as_bytes();
        assert_eq!(find(head, "From").unwrap().unfolded(), "Mail Delivery System <postmaster@example.org>");
        assert_eq!(find(head, "Auto-Submitted").unwrap().unfolded(), "auto-replied");
        assert!(find(head, "Date").unwrap().unfolded().ends_with(" +0000"), "in UTC");
        assert_eq!(find(head, "Return-Path").unwrap().unfolded(), "<>");
        assert!(find(head, "Content-Type").unwrap().unfolded().contains("report-type=delivery-status"));
        let parts = parts(&text);
        assert_eq!(parts.len(), 3);
        assert!(parts[0].contains("bob@example.net"), "{}", parts[0]);
        assert!(
            parts[0].contains("mx.example.net refused it and said: 550 5.1.1 no such user"),
            "{}",
            parts[0]
        );
        let status = &parts[1][body_offset(parts[1].as_bytes())..];
        assert_eq!(
            status,
            "Reporting-MTA: dns; example.org\r\nOriginal-Envelope-Id: QQ+1\r\n\
             Arrival-Date: Mon, 23 Nov 2026 02:13:20 +0000\r\n\r\n\
             Original-Recipient: rfc822; Bob+x@example.com\r\nFinal-Recipient: rfc822; bob@example.net\r\n\
             Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.net\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        );
        assert!(parts[2].starts_with("Content-Type: text/rfc822-headers\r\n"));
        assert!(parts[2].contains("Subject: hi\r\n") && !text.contains("secret"));
    }

    #[test]
    fn a_delay_says_until_when_it_goes_on_and_that_there_is_nothing_to_do() {
        let late = recipient("b@example.net", Action::Delayed, refused("try later"));
        let text = message(&[late], Original::Header(b"Subject: hi\r\n\r\n"));
        assert_eq!(find(text.as_bytes(), "Subject").unwrap().unfolded(), "Your message is delayed");
        let parts = parts(&text);
        for said in [
            "mx.example.net said: 550 5.1.1 try later",
            "tried again until Fri, 27 Nov 2026",
            "do not send it again",
        ] {
            assert!(parts[0].contains(said), "{said}: {}", parts[0]);
        }
        for field in ["Action: delayed", "Status: 4.1.1", "Will-Retry-Until: Fri, 27 Nov 2026 17:20:00 +0000"]
        {
            assert!(parts[1].contains(field), "{field}: {}", parts[1]);
        }
    }

    #[test]
    fn what_expired_and_what_was_relayed_have_their_own_words() {
        let expired = recipient(
            "b@example.net",
            Action::Expired,
            Outcome::deferred(EnhancedCode(4, 4, 1), "no answer").why().clone(),
        );
        let relayed = recipient("c@example.net", Action::Relayed, refused("queued"));
        let text = message(&[expired, relayed], Original::Full(b"Subject: hi\r\n\r\nbody\r\n"));
        let parts = parts(&text);
        assert!(parts[0].contains("tried for too long. The last reason: no answer"), "{}", parts[0]);
        assert!(parts[0].contains("You asked to be told"));
        assert!(
            parts[1].contains("Action: failed\r\nStatus: 4.4.7\r\nDiagnostic-Code: x-postern; no answer\r\n")
        );
        assert!(parts[1].contains("Action: relayed\r\nStatus: 2.1.1\r\n"));
        assert!(parts[2].starts_with("Content-Type: message/rfc822\r\n") && parts[2].ends_with("body\r\n"));
    }

    #[test]
    fn what_a_remote_host_says_can_not_add_fields() {
        let evil = refused(&format!("x\r\nAction: delivered\r\n\r\n{}", "word ".repeat(2000)));
        let text = message(&[recipient("b@example.net", Action::Failed, evil)], Original::Header(b""));
        let status = parts(&text)[1];
        let fields = &status[body_offset(status.as_bytes())..];
        let group = &fields[body_offset(fields.as_bytes())..];
        assert_eq!(count(group.as_bytes(), "Action"), 1);
        assert!(group.lines().all(|line| line.len() <= LINE_OCTETS + 1), "{group}");
        assert!(group.len() < 2000);
        assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    }

    #[test]
    fn addresses_beyond_ascii_use_the_forms_of_rfc_6533() {
        let text = message(
            &[recipient("dédé@example.net", Action::Failed, refused("no"))],
            Original::Header(b"A: b\r\n\r\n"),
        );
        let parts = parts(&text);
        assert!(
            parts[1].starts_with(
                "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit"
            )
        );
        assert!(parts[1].contains("Final-Recipient: utf-8; dédé@example.net"));
        assert!(parts[2].starts_with("Content-Type: message/global-headers\r\n"));
    }

    #[test]
    fn long_headers_are_cut_at_a_line() {
        let line = format!("X: {}\r\n", "y".repeat(95));
        let header = line.repeat(HEADER_OCTETS_MAX / 100 + 10);
        let text = message(
            &[recipient("b@example.net", Action::Failed, refused("no"))],
            Original::Header(header.as_bytes()),
        );
        assert!(text.len() < HEADER_OCTETS_MAX + 4096);
        assert!(parts(&text)[2].ends_with("y\r\n"));
    }

    #[test]
    fn xtext_is_decoded_or_left_out() {
        assert_eq!(decode_xtext("a+2Bb").as_deref(), Some("a+b"));
        for bad in ["+", "+2", "+zz", "+FF"] {
            assert_eq!(decode_xtext(bad), None, "{bad}");
        }
    }
}
