//! Values of ESMTP parameters that both sessions speak: xtext, `ORCPT`, `NOTIFY` (RFC 3461 section 4).

use mail::{Notify, Orcpt};

/// Longest `ENVID` in characters (RFC 3461 section 4.4).
pub(crate) const ENVID_MAX: usize = 100;
/// Longest `ORCPT` in characters (RFC 3461 section 4.2).
pub(crate) const ORCPT_MAX: usize = 500;

/// Whether `text` is xtext whose decoded form is printable ASCII: what it says goes into a report's
/// header, where a hidden CRLF would start a field of the peer's choosing.
pub(crate) fn is_xtext(text: &str) -> bool {
    is_xtext_of(text, |_| false)
}

/// Whether this is an `ENVID` value that may be passed on.
pub(crate) fn is_envid(text: &str) -> bool {
    !text.is_empty() && text.len() <= ENVID_MAX && is_xtext(text)
}

/// Whether this is an `ORCPT` that may be passed on: an atom and xtext, or what RFC 6533 section 3 allows
/// for the address type `utf-8`.
pub(crate) fn is_orcpt(orcpt: &Orcpt) -> bool {
    let kind_is_atom = !orcpt.kind.is_empty()
        && orcpt.kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~".contains(&b));
    let utf8 = orcpt.kind.eq_ignore_ascii_case("utf-8");
    kind_is_atom
        && !orcpt.address.is_empty()
        && orcpt.kind.len() + 1 + orcpt.address.len() <= ORCPT_MAX
        && is_xtext_of(&orcpt.address, |c| utf8 && !c.is_ascii() && !c.is_control())
}

fn is_xtext_of(text: &str, also: impl Fn(char) -> bool) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let valid = match c {
            '+' => hex_pair(chars.next(), chars.next()).is_some_and(|octet| (0x20..0x7f).contains(&octet)),
            '=' => false,
            c => c.is_ascii_graphic() || also(c),
        };
        if !valid {
            return false;
        }
    }
    true
}

fn hex_pair(high: Option<char>, low: Option<char>) -> Option<u32> {
    let digit = |c: char| c.to_digit(16).filter(|_| !c.is_ascii_lowercase());
    Some(digit(high?)? * 16 + digit(low?)?)
}

/// Parses the value of `ORCPT=`.
pub(crate) fn orcpt(value: &str) -> Option<Orcpt> {
    let (kind, address) = value.split_once(';')?;
    Some(Orcpt { kind: kind.to_owned(), address: address.to_owned() }).filter(is_orcpt)
}

/// Parses the value of `NOTIFY=`.
pub(crate) fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::NEVER);
    }
    let mut notify = Notify::NEVER;
    for word in value.split(',') {
        match word {
            word if word.eq_ignore_ascii_case("SUCCESS") => notify.success = true,
            word if word.eq_ignore_ascii_case("FAILURE") => notify.failure = true,
            word if word.eq_ignore_ascii_case("DELAY") => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_hides_nothing_but_printable_characters() {
        for good in ["QQ314159", "a+2Bb", "+3D", "bob@example.org"] {
            assert!(is_xtext(good), "{good}");
        }
        for bad in ["a=b", "+", "+2", "+2b", "+0D+0A", "+7F", "é", "a b", "a\tb"] {
            assert!(!is_xtext(bad), "{bad}");
        }
    }

    #[test]
    fn envid_and_orcpt_are_taken_at_their_limit_and_refused_past_it() {
        assert!(is_envid(&"x".repeat(ENVID_MAX)));
        assert!(!is_envid(&"x".repeat(ENVID_MAX + 1)));
        assert!(!is_envid(""));
        let room = ORCPT_MAX - "rfc822;".len();
        assert!(orcpt(&format!("rfc822;{}", "x".repeat(room))).is_some());
        assert!(orcpt(&format!("rfc822;{}", "x".repeat(room + 1))).is_none());
    }

    #[test]
    fn orcpt_is_a_type_and_xtext_and_only_utf8_ones_go_beyond_ascii() {
        assert!(orcpt("rfc822;bob@example.org").is_some());
        assert!(orcpt("utf-8;dédé@example.org").is_some());
        for bad in ["rfc822;dédé@example.org", "rfc822", ";x", "rfc822;", "rfc 822;x", "rfc822;a+0Ab"] {
            assert!(orcpt(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn never_stands_alone_in_notify() {
        assert_eq!(notify("never"), Some(Notify::NEVER));
        assert_eq!(notify("SUCCESS,delay"), Some(Notify { success: true, failure: false, delay: true }));
        for bad in ["", "NEVER,SUCCESS", "SUCCESS,", "ALWAYS"] {
            assert_eq!(notify(bad), None, "{bad}");
        }
    }
}
