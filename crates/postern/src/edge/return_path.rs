//! Notifications to addresses whose reverse-paths are signed: which of them are refused, and with what words.
//!
//! A report of a failure that carries no tag is about mail that somebody else sent in our name. Other mail with
//! the null reverse-path goes to addresses that it found elsewhere, a header field for example, and is taken: read
//! receipts (RFC 8098), vacation replies (RFC 3834), reports to the postmaster.

use link::{SrsError, TagError};
use mail::{Reply, address_list, header};

/// Whether a message with the null reverse-path, given as its header section, tells of a failed delivery: it is a
/// delivery report (RFC 3464), or it comes from `mailer-daemon` and is no other report, as older hosts write it.
pub fn is_failure_notice(section: &[u8]) -> bool {
    let content = header::find(section, "Content-Type").map(|field| field.unfolded().to_ascii_lowercase());
    match content.filter(|content| content.starts_with("multipart/report")) {
        Some(report) => report_type(&report).is_none_or(|kind| kind == "delivery-status"),
        None => header::find(section, "From").is_some_and(|from| {
            let entries = address_list::parse(from.value);
            address_list::mailboxes(&entries).any(|from| from.local.eq_ignore_ascii_case("mailer-daemon"))
        }),
    }
}

/// The parameter `report-type` (RFC 6522 section 3) of a value in lower case, quotes removed.
fn report_type(content: &str) -> Option<&str> {
    let mut parameters = content.split(';').filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim() == "report-type")?;
    Some(value.trim().trim_matches('"'))
}

/// For a report without a tag.
pub fn refuse_untagged() -> Reply {
    let text = "All mail from this address has a signed reverse-path, and this report is not addressed to it: \
        the message it is about was not sent from here";
    Reply::new(550, (5, 7, 1), text)
}

/// For a notification to an address with a tag that is not good.
pub fn refuse_tag(error: TagError) -> Reply {
    let text = match error {
        TagError::Expired => "The signature of this reverse-path has expired: report failures sooner",
        TagError::Wrong => "The signature of this reverse-path is wrong: the message was not sent from here",
    };
    Reply::new(550, (5, 7, 1), text)
}

/// For a notification to the rewritten reverse-path of a forwarded message, when that is not good.
pub fn refuse_rewritten(error: SrsError) -> Reply {
    let text = match error {
        SrsError::Expired => "This rewritten reverse-path has expired: report failures sooner",
        SrsError::Wrong => "This rewritten reverse-path is wrong: the message was not forwarded from here",
    };
    Reply::new(550, (5, 7, 1), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_failures_are_told_from_other_mail_with_the_null_path() {
        for failure in [
            "Content-Type: multipart/report; report-type=delivery-status; boundary=x",
            "Content-Type: Multipart/Report;\r\n\tboundary=\"a;b\"; Report-Type=\"Delivery-Status\"",
            "Content-Type: multipart/report; boundary=x",
            "From: Mail Delivery System <Mailer-Daemon@mx.example.net>\r\nAuto-Submitted: auto-replied",
            "From: MAILER-DAEMON@example.net\r\nContent-Type: text/plain",
        ] {
            assert!(is_failure_notice(format!("{failure}\r\n\r\n").as_bytes()), "{failure}");
        }
        for other in [
            "Content-Type: multipart/report; report-type=disposition-notification; boundary=x",
            "From: MAILER-DAEMON@example.net\r\nContent-Type: multipart/report; report-type=feedback-report",
            "From: Bob <bob@example.net>\r\nAuto-Submitted: auto-replied",
            "From: mailer-daemon <bob@example.net>",
            "Subject: x",
        ] {
            assert!(!is_failure_notice(format!("{other}\r\n\r\n").as_bytes()), "{other}");
        }
        assert!(!is_failure_notice(b""));
    }
}
