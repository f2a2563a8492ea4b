//! Which recipients are taken, and which notifications: reverse-paths of ours are signed, and a report to one that is
//! not is refused. Edge asks the last snapshot that Home gave it; a home with a foreign edge asks its own.
//!
//! A report of a failure that carries no tag is about mail that somebody else sent in our name. Other mail with
//! the null reverse-path goes to addresses that it found elsewhere, a header field for example, and is taken: read
//! receipts (RFC 8098), vacation replies (RFC 3834), reports to the postmaster.

use link::{Snapshot, SnapshotDelivery, SrsError, TagError};
use mail::{Address, EnhancedCode, Reply, UnixTime, address_list, header};

/// The code of the reply for a recipient that does not exist (RFC 3463 section 3.2).
pub const NO_SUCH_RECIPIENT: EnhancedCode = EnhancedCode(5, 1, 1);

/// Under which reverse-path a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The null one, as a notification has it (RFC 5321 section 4.5.5).
    Nobody,
    /// Any other.
    Somebody,
}

/// A recipient that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Whatever the message is.
    Always,
    /// Unless the message is a report of a failure: that should carry a tag. What it is shows at its end; whoever
    /// only asks whether the address exists is answered.
    UnlessFailureNotice,
}

/// Whether a recipient of a domain of the snapshot's is taken.
///
/// # Errors
/// The reply that refuses it.
pub fn check_recipient(
    snapshot: &Snapshot,
    address: &Address,
    sender: Sender,
    now: UnixTime,
) -> Result<Known, Reply> {
    match (snapshot.open_srs(address, now), sender) {
        // Only what happened to forwarded mail is told to its sender through us.
        (Some(_), Sender::Somebody) => return Err(unknown_recipient()),
        (Some(opened), Sender::Nobody) => {
            return opened.map(|_| Known::Always).map_err(refuse_rewritten);
        }
        (None, _) => {}
    }
    let tagged = snapshot.open_tag(address, now);
    let plain = match (&tagged, sender) {
        (Some(Ok(plain)), _) => plain,
        // Only a notification claims that we asked for it; anything else is for a name that nobody has.
        (Some(Err(error)), Sender::Nobody) => return Err(refuse_tag(*error)),
        (Some(Err(_)), Sender::Somebody) => return Err(unknown_recipient()),
        (None, _) => address,
    };
    if snapshot.find(plain) == SnapshotDelivery::UnknownRecipient {
        return Err(unknown_recipient());
    }
    let untagged = tagged.is_none() && sender == Sender::Nobody;
    let expected = untagged && !is_role(plain.local()) && snapshot.expects_tag(plain, now);
    Ok(if expected { Known::UnlessFailureNotice } else { Known::Always })
}

/// Addresses that must stay reachable (RFC 5321 section 4.5.1, RFC 2142).
pub fn is_role(local: &str) -> bool {
    local.eq_ignore_ascii_case("postmaster") || local.eq_ignore_ascii_case("abuse")
}

fn unknown_recipient() -> Reply {
    let EnhancedCode(class, subject, detail) = NO_SUCH_RECIPIENT;
    Reply::new(550, (class, subject, detail), "There is no such recipient here")
}

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
fn refuse_tag(error: TagError) -> Reply {
    let text = match error {
        TagError::Expired => "The signature of this reverse-path has expired: report failures sooner",
        TagError::Wrong => "The signature of this reverse-path is wrong: the message was not sent from here",
    };
    Reply::new(550, (5, 7, 1), text)
}

/// For a notification to the rewritten reverse-path of a forwarded message, when that is not good.
fn refuse_rewritten(error: SrsError) -> Reply {
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
