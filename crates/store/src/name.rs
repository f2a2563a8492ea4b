//! Names of accounts and mailboxes, checked before they reach a file name or a statement.

use crate::StoreError;

/// Longest account name in octets.
pub const ACCOUNT_NAME_MAX: usize = 64;
/// Longest mailbox name in octets of UTF-8, its parents included.
pub const MAILBOX_NAME_MAX: usize = 512;
/// Deepest mailbox: how many names a `/` may separate.
pub const MAILBOX_DEPTH_MAX: usize = 32;

/// An account name that is safe as a file name.
///
/// # Errors
/// [`StoreError::AccountName`].
pub fn account(name: &str) -> Result<&str, StoreError> {
    let known = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let valid =
        (1..=ACCOUNT_NAME_MAX).contains(&name.len()) && name.bytes().all(known) && !name.starts_with('.');
    if valid { Ok(name) } else { Err(StoreError::AccountName) }
}

/// A mailbox name as it is stored: INBOX in capitals however it was written (RFC 9051 section 5.1).
///
/// # Errors
/// [`StoreError::MailboxName`].
pub fn mailbox(name: &str) -> Result<String, StoreError> {
    let fits = name.len() <= MAILBOX_NAME_MAX
        && name.split('/').count() <= MAILBOX_DEPTH_MAX
        && name.split('/').all(|level| !level.is_empty())
        && !name.chars().any(char::is_control);
    if !fits {
        return Err(StoreError::MailboxName);
    }
    match name.get(..5) {
        Some(first)
            if first.eq_ignore_ascii_case("INBOX") && matches!(name.as_bytes().get(5), None | Some(b'/')) =>
        {
            Ok(format!("INBOX{}", &name[5..]))
        }
        _ => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Security lesson: maddy CVE-2026-40193.
    #[test]
    fn account_names_can_not_leave_the_directory() {
        for bad in ["", ".", "..", "../x", "a/b", "A", "é", "a b", ".hidden", &"a".repeat(65)] {
            assert_eq!(account(bad), Err(StoreError::AccountName), "{bad}");
        }
        assert!(account(&"a".repeat(64)).is_ok());
        assert!(account("bob.smith_2-x").is_ok());
    }

    #[test]
    fn inbox_is_one_mailbox_however_it_is_written() {
        assert_eq!(mailbox("inBox").unwrap(), "INBOX");
        assert_eq!(mailbox("inbox/a").unwrap(), "INBOX/a");
        assert_eq!(mailbox("inboxes").unwrap(), "inboxes");
    }

    #[test]
    fn mailbox_names_are_bounded_in_length_and_depth() {
        assert!(mailbox(&"a".repeat(MAILBOX_NAME_MAX)).is_ok());
        assert!(mailbox(&"a".repeat(MAILBOX_NAME_MAX + 1)).is_err());
        assert!(mailbox(&["a"; MAILBOX_DEPTH_MAX].join("/")).is_ok());
        assert!(mailbox(&["a"; MAILBOX_DEPTH_MAX + 1].join("/")).is_err());
        for bad in ["", "/", "a//b", "/a", "a/", "a\nb"] {
            assert!(mailbox(bad).is_err(), "{bad:?}");
        }
    }
}
