//! What a message with the null reverse-path is, as far as its header section shows: a report of a failure, another
//! notification, or neither. The forms are those in which mail systems of the last thirty years report; many of them
//! know nothing of RFC 6522. Only the header section is read: the answer is wanted before the body is kept.

use mail::address_list;
use mail::header::{self, Field};

/// Most characters of a subject that are read.
const SUBJECT_MAX: usize = 400;
/// Most characters of a name.
const NAME_MAX: usize = 64;

/// Names of the programs that deliver, without what is no letter: as a local part, or as the name of an author who has
/// no address.
const DAEMONS: &[&str] = &[
    "mailerdaemon",
    "maildaemon",
    "mdaemon",
    "maildeliversystem",
    "maildeliverysystem",
    "maildeliverysubsystem",
    "maildeliveryservice",
];

/// The same of those who look after them. People read and answer under these names, too.
const POSTMASTERS: &[&str] =
    &["postmaster", "systemadministrator", "mailadministrator", "mailsystem", "deliverysubsystem"];

/// Fields that only reports of failures have: Exim and Gmail, Exchange 5.5, the SMTP service of Windows, MDaemon.
const MARKS: &[&str] = &["X-Failed-Recipients", "X-MS-Embedded-Report", "X-DSNContext", "X-MDDSN-Message"];

/// What subjects of such reports hold, in lower case. Exchange and Notes put them into the language of the house.
const SUBJECTS: &[&str] = &[
    "undeliver",
    "non-deliver",
    "nondeliver",
    "not delivered",
    "not be delivered",
    "not been delivered",
    "not yet been delivered",
    "unable to deliver",
    "delivery fail",
    "delivery has failed",
    "delivery status",
    "delivery error",
    "delivery problem",
    "delivery warning",
    "delivery notification",
    "delivery report",
    "delivery delay",
    "delayed mail",
    "failure delivery",
    "failure notice",
    "failed mail",
    "mail fail",
    "mail error",
    "mail system error",
    "mail delivery",
    "returned mail",
    "returned to sender",
    "returning message to sender",
    "returning to sender",
    "error sending message",
    "user unknown",
    "unknown user",
    "ndn:",
    "ndr:",
    "unzustellbar",
    "non remis",
    "onbestelbaar",
    "no se puede entregar",
    "no entregado",
    "non recapitabile",
    "impossibile recapitare",
    "ej levererat",
    "kan inte levereras",
    "kan ikke leveres",
    "niedostarcz",
];

/// The kind of author that the header section names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Author {
    /// A program that delivers.
    Daemon,
    /// Whoever looks after it, or an address that is empty.
    Postmaster,
    /// Any other author.
    #[default]
    Other,
}

/// The kind of content that the header section declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Content {
    /// `multipart/report` about a delivery, or about nothing in particular (RFC 6522 section 3, RFC 3464).
    DeliveryReport,
    /// `multipart/report` about something else: a receipt (RFC 8098), abuse (RFC 5965).
    OtherReport,
    /// Any other content.
    #[default]
    Plain,
}

/// What the header section shows of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    author: Author,
    content: Content,
    /// `Auto-Submitted` with anything but `no` (RFC 3834 section 5).
    automatic: bool,
    /// The subject, or a field that nothing else has, tells of a failure.
    tells_of_failure: bool,
    marked: bool,
}

impl Form {
    /// Reads a header section. Of each field the first counts.
    pub fn of(section: &[u8]) -> Self {
        let mut form = Self::default();
        let (mut from, mut content, mut automatic, mut subject) = (None, None, None, None);
        for field in header::fields(section) {
            for (name, place) in [
                ("From", &mut from),
                ("Content-Type", &mut content),
                ("Auto-Submitted", &mut automatic),
                ("Subject", &mut subject),
            ] {
                if field.is(name) {
                    place.get_or_insert(field);
                }
            }
            form.marked |= MARKS.iter().any(|mark| field.is(mark));
        }
        form.author = from.map_or(Author::Postmaster, |from| author(&from));
        form.content = content.map_or(Content::Plain, |content| content_of(&lower(&content)));
        form.automatic = automatic.is_some_and(|field| !lower(&field).starts_with("no"));
        form.tells_of_failure = subject.is_some_and(|field| tells_of_failure(&field));
        form
    }

    /// Whether it tells of a failed delivery: it is a delivery report; or it is no other report and comes from a program
    /// that delivers, or from its postmaster with a subject that says so; or it has a field that only such reports have.
    pub fn is_failure_notice(self) -> bool {
        match self.content {
            Content::DeliveryReport => true,
            Content::OtherReport => false,
            Content::Plain => {
                self.marked
                    || self.author == Author::Daemon
                    || self.author == Author::Postmaster && self.tells_of_failure
            }
        }
    }

    /// Whether it is one that may have the null reverse-path: a report, marked as automatic, or a report in a form of its
    /// own.
    pub fn is_notification(self) -> bool {
        self.content != Content::Plain || self.automatic || self.is_failure_notice()
    }

    /// Whether it has the form of a report and names a program that delivers, or its postmaster, as its author. Together
    /// with a tag of ours it is taken for a report of our own mail, and only then: anybody can write it so.
    pub fn is_mailers_report(self) -> bool {
        self.author != Author::Other && (self.content != Content::Plain || self.is_failure_notice())
    }
}

fn lower(field: &Field<'_>) -> String {
    field.unfolded().to_ascii_lowercase()
}

/// The author that the field names. A `From` in the old forms has no address, an empty one, or a local part alone; then
/// the name stands for it, and may have more words in it. Beside an address a name says nothing.
fn author(from: &Field<'_>) -> Author {
    let entries = address_list::parse(from.value);
    let mut mailboxes = address_list::mailboxes(&entries);
    let (first, second) = (mailboxes.next(), mailboxes.next());
    let Some(mailbox) = first.filter(|_| second.is_none()) else {
        return if first.is_none() { Author::Postmaster } else { Author::Other };
    };
    let name = if mailbox.local.is_empty() { mailbox.name.as_deref() } else { Some(mailbox.local.as_str()) };
    let Some(name) = name.filter(|name| !name.trim().is_empty()) else { return Author::Postmaster };
    let letters = name.chars().filter(char::is_ascii_alphanumeric).take(NAME_MAX);
    let word: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    let is_one_of = |names: &[&str]| match mailbox.domain.is_empty() {
        true => names.iter().any(|name| word.contains(name)),
        false => names.contains(&word.as_str()),
    };
    if is_one_of(DAEMONS) {
        Author::Daemon
    } else if is_one_of(POSTMASTERS) {
        Author::Postmaster
    } else {
        Author::Other
    }
}

/// Of a value in lower case. Some gateways make `multipart/mixed` of a report and leave its parameter.
fn content_of(value: &str) -> Content {
    let kind = report_type(value);
    match kind {
        Some("delivery-status") => Content::DeliveryReport,
        None if value.starts_with("multipart/report") => Content::DeliveryReport,
        Some(_) if value.starts_with("multipart/report") => Content::OtherReport,
        _ => Content::Plain,
    }
}

/// The parameter `report-type` (RFC 6522 section 3) of a value in lower case, quotes removed.
fn report_type(content: &str) -> Option<&str> {
    let mut parameters = content.split(';').filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim() == "report-type")?;
    Some(value.trim().trim_matches('"'))
}

fn tells_of_failure(subject: &Field<'_>) -> bool {
    let subject = subject.unfolded();
    let head: String = subject.chars().take(SUBJECT_MAX).collect::<String>().to_lowercase();
    // Folding leaves blanks and tabs in odd places.
    let words = head.split_whitespace().collect::<Vec<_>>().join(" ");
    SUBJECTS.iter().any(|said| words.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(header: &str) -> Form {
        Form::of(format!("{header}\r\n\r\n").as_bytes())
    }

    #[test]
    fn reports_of_failures_are_told_from_other_mail_with_the_null_path() {
        for failure in [
            "Content-Type: multipart/report; report-type=delivery-status; boundary=x",
            "Content-Type: Multipart/Report;\r\n\tboundary=\"a;b\"; Report-Type=\"Delivery-Status\"",
            "Content-Type: multipart/report; boundary=x",
            "Content-Type: multipart/mixed; report-type=delivery-status; boundary=x",
            "From: Mail Delivery System <Mailer-Daemon@mx.example.net>\r\nAuto-Submitted: auto-replied",
            "From: MAILER-DAEMON@example.net\r\nContent-Type: text/plain",
        ] {
            assert!(form(failure).is_failure_notice(), "{failure}");
        }
        for other in [
            "Content-Type: multipart/report; report-type=disposition-notification; boundary=x",
            "From: MAILER-DAEMON@example.net\r\nContent-Type: multipart/report; report-type=feedback-report",
            "From: Bob <bob@example.net>\r\nAuto-Submitted: auto-replied",
            "From: mailer-daemon <bob@example.net>",
            "From: Bob <bob@example.net>\r\nSubject: Returned mail",
            "Subject: x",
        ] {
            assert!(!form(other).is_failure_notice(), "{other}");
        }
        assert!(!Form::of(b"").is_failure_notice());
    }

    /// Symptom: `MAILER-DAEMON <>` and a bare `mailer-daemon` were taken for letters. Cause: only a whole address counted.
    #[test]
    fn an_author_without_an_address_is_known_by_his_name() {
        for (from, author) in [
            ("MAILER-DAEMON <>", Author::Daemon),
            ("\"MAILER-DAEMON\" <>", Author::Daemon),
            ("mailer-daemon", Author::Daemon),
            ("<MAILER-DAEMON>", Author::Daemon),
            ("Mail Delivery Subsystem <MAILER-DAEMON>", Author::Daemon),
            ("\"Mail Deliver System\" <MAILER-DAEMON>", Author::Daemon),
            ("Mail Delivery System", Author::Daemon),
            ("MAILER-DAEMON@HotPOP.example (Mail Delivery System)", Author::Daemon),
            ("MDaemon@receive.example", Author::Daemon),
            ("Postmaster <>", Author::Postmaster),
            ("<>", Author::Postmaster),
            ("\"\" <>", Author::Postmaster),
            ("\u{411}\u{430}\u{43d}\u{43a} <>", Author::Other),
            ("", Author::Postmaster),
            ("\"Jetmail System\" <>", Author::Postmaster),
            ("Mail System of the House", Author::Postmaster),
            ("mailsystem@example.com", Author::Postmaster),
            ("jetmailsystem@example.com", Author::Other),
            ("System Administrator <postmaster@example.com>", Author::Postmaster),
            ("post_master@example.com", Author::Postmaster),
            ("<\"System Administrator\"@example.com>", Author::Postmaster),
            ("Bob <>", Author::Other),
            ("mailer-daemon <bob@example.net>", Author::Other),
            ("MAILER-DAEMON <>, bob@example.net", Author::Other),
        ] {
            assert_eq!(form(&format!("From: {from}")).author, author, "{from}");
        }
    }

    /// Symptom: one in six of the reports that two hundred mail systems write passed for an ordinary letter, whatever the
    /// tag. Cause: but for RFC 6522 only `mailer-daemon` was known. Analysis: others report as their postmaster, who also
    /// writes letters; the subject, or a field of the program, tells the two apart.
    #[test]
    fn what_postmasters_of_notes_exchange_and_others_report_is_a_report() {
        for (from, rest) in [
            ("postmaster@n.example", "Subject: Undeliverable message\r\nContent-Type: text/plain"),
            (
                "Postmaster@notes.example",
                "Subject: DELIVERY FAILURE: User bob (bob@example.com) not\r\n\tlisted in Domino",
            ),
            ("System Administrator <postmaster@ex4.example>", "Subject: Undeliverable: Hello"),
            ("System Administrator <postmaster@ex5.example>", "Subject: Hello\r\nX-MS-Embedded-Report:"),
            ("postmaster@smtpsvc.example", "Subject: Delivery Status Notification (Failure)"),
            ("\"Postmaster\" <postmaster@imail.example>", "Subject:  Undeliverable Mail"),
            ("POSTMASTER <postmaster@m-filter.example>", "Subject: failure notice"),
            ("postmaster@marshal.example", "Subject: Undeliverable Mail: \"Hello\""),
            (
                "postmaster@llnl.example (Automated response)",
                "Subject: FAILED MAIL to \"bob\" regarding \"Hello\"",
            ),
            ("\"LSMTP for Windows NT v1.1b\" <postmaster@lsmtp.example>", "Subject: Undelivered mail"),
            ("\"Delivery Subsystem\" <POSTMASTER@mailenable.example>", "Subject: Message Delivery Failure"),
            ("Mail Administrator <Postmaster@ezweb.example>", "Subject: Mail System Error - Returned Mail"),
            ("Administrator <postmaster@exchange.example>", "Subject: Unzustellbar: Hallo"),
            ("bob@exim.example", "X-Failed-Recipients: a@example.net"),
        ] {
            let form = form(&format!("From: {from}\r\n{rest}"));
            assert!(form.is_failure_notice() && form.is_notification(), "{from}: {rest}");
        }
        for letter in ["Subject: Your quota", "Subject: Re: your question", "X-Mailer: x"] {
            let form = form(&format!("From: postmaster@example.com\r\n{letter}"));
            assert!(
                !form.is_failure_notice() && !form.is_notification() && !form.is_mailers_report(),
                "{letter}"
            );
        }
    }

    #[test]
    fn a_mailers_report_has_a_form_and_an_author() {
        const REPORT: &str = "Content-Type: multipart/report; report-type=delivery-status";
        for from in ["MAILER-DAEMON <>", "mailer-daemon", "postmaster@example.com", "<>"] {
            assert!(form(&format!("From: {from}\r\n{REPORT}")).is_mailers_report(), "{from}");
        }
        assert!(form("From: MAILER-DAEMON <>\r\nSubject: Returned mail").is_mailers_report());
        assert!(!form(&format!("From: The Bank <bank@example.com>\r\n{REPORT}")).is_mailers_report());
        assert!(!form("From: The Bank <>\r\nSubject: Returned mail").is_mailers_report());
    }

    #[test]
    fn reports_and_automatic_replies_may_have_the_null_reverse_path() {
        // Symptom: two thirds of what it takes to be junk for every report that OpenSMTPD writes. Cause: it calls them
        // multipart/mixed and marks them in no way but by their author.
        let opensmtpd = "From: Mailer Daemon <MAILER-DAEMON@mx.example.net>\r\n\
            Content-Type: multipart/mixed;boundary=\"1/mx.example.net\"";
        let receipt = "Content-Type: multipart/report; report-type=disposition-notification";
        for header in [receipt, "Auto-Submitted: auto-replied", opensmtpd] {
            assert!(form(header).is_notification(), "{header}");
        }
        for header in ["Subject: x", "Content-Type: text/plain\r\nAuto-Submitted: no"] {
            assert!(!form(header).is_notification(), "{header}");
        }
    }

    #[test]
    fn a_subject_is_read_up_to_its_limit() {
        let subject = |before: usize| {
            format!("From: postmaster@example.com\r\nSubject: {}failure notice", "x".repeat(before))
        };
        assert!(form(&subject(SUBJECT_MAX - "failure notice".len())).is_failure_notice());
        assert!(!form(&subject(SUBJECT_MAX - "failure notice".len() + 1)).is_failure_notice());
    }
}
