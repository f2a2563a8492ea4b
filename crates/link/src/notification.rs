//! Which recipients are taken, and which notifications: reverse-paths of ours are signed, and a report to one that is
//! not is refused. Edge asks the last snapshot that Home gave it; a home with a foreign edge asks its own.
//!
//! A report of a failure that carries no tag is about mail that somebody else sent in our name. Other mail with
//! the null reverse-path goes to addresses that it found elsewhere, a header field for example, and is taken: read
//! receipts (RFC 8098), vacation replies (RFC 3834), reports to the postmaster.

mod form;

use mail::{Address, EnhancedCode, Reply, UnixTime};

use crate::{Snapshot, SnapshotDelivery, SrsError, TagError};

pub use self::form::Form;

/// The code of the reply for a recipient that does not exist (RFC 3463 section 3.2).
pub const NO_SUCH_RECIPIENT: EnhancedCode = EnhancedCode(5, 1, 1);

/// Under which reverse-path a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The null one, as a notification has it (RFC 5321 section 4.5.5).
    Nobody,
    /// Any other sender.
    Somebody,
}

/// When a recipient that exists counts as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known {
    /// Always, whatever the message is.
    #[default]
    Always,
    /// By an address that only mail from here carries: a notification to it tells of such mail, as far as three octets
    /// prove anything. Whoever got such mail knows it for a week.
    BySignature,
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
            return opened.map(|_| Known::BySignature).map_err(refuse_rewritten);
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
    if tagged.is_some() {
        return Ok(Known::BySignature);
    }
    let untagged = sender == Sender::Nobody;
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
