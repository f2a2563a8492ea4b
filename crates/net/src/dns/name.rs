//! Names between text and the wire. Any octet may stand in a label (RFC 2181 section 11): which names a host may have is
//! for other rules to say, and DNS has others as well.

use hickory_resolver::proto::rr::Name;

/// The name to be asked for, labels as they are: `mail_1.us.example` is one, and so is what a stranger's SPF macro
/// gives. `None` when a label or the whole is too long for DNS, or a label is empty: there is no such name.
pub(super) fn to_wire(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut name = Name::from_labels(text.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The other way, without the last dot: labels as they are, for SPF knows names that no host has (RFC 7208 section
/// 7.1). Only what would be misread as a name or in a log is escaped (RFC 1035 section 5.1).
pub(super) fn to_text(name: &Name) -> String {
    let labels = name.iter().map(|label| {
        let mut out = String::with_capacity(label.len());
        for octet in label {
            match octet {
                b'.' => out.push_str("\\."),
                b'!'..=b'~' => out.push(char::from(*octet)),
                other => out.push_str(&format!("\\{other:03}")),
            }
        }
        out
    });
    labels.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_an_answer_can_be_asked_for() {
        for text in ["Mail.Example", "foo:bar/baz._x", "a\\b.c", "mail_1.us.example", "-a-.example_"] {
            assert_eq!(to_text(&to_wire(text).unwrap()), text);
            assert_eq!(to_wire(&format!("{text}.")), to_wire(text));
        }
        let odd = Name::from_labels([&b"a.b"[..], b"\x00\n\xff"]).unwrap();
        assert_eq!(to_text(&odd), "a\\.b.\\000\\010\\255");
        assert_eq!(to_text(&Name::root()), "");
    }

    #[test]
    fn a_name_is_asked_for_up_to_the_length_that_dns_has_and_no_longer() {
        let labels = |last: usize| {
            [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), &"d".repeat(last)]
                .map(String::as_str)
                .join(".")
        };
        assert!(to_wire(&labels(61)).is_some());
        assert!(to_wire(&labels(62)).is_none());
        assert!(to_wire(&"a".repeat(63)).is_some() && to_wire(&"a".repeat(64)).is_none());
        assert!(to_wire("a..b").is_none() && to_wire("").is_none());
    }
}
