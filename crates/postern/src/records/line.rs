//! Records as lines of a zone file (RFC 1035 section 5.1).

use super::kind::{Kind, TTL_SECS};

/// Octets of one string of a TXT record (RFC 1035 section 3.3).
const STRING_OCTETS_MAX: usize = 255;

/// The line of one record.
pub(super) fn of(name: &str, kind: Kind, value: &str) -> String {
    format!("{name}. {TTL_SECS} IN {} {}", kind.as_str(), written(kind, value))
}

/// What a record says, as zone files have it: names end in a dot, texts stand in quotes.
pub(super) fn written(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Txt => strings(value),
        Kind::Mx | Kind::Ptr | Kind::Srv if !value.ends_with('.') => format!("{value}."),
        _ => value.to_owned(),
    }
}

/// A text as the strings of a TXT record.
fn strings(text: &str) -> String {
    let parts = text.as_bytes().chunks(STRING_OCTETS_MAX).map(|part| {
        let escaped = String::from_utf8_lossy(part).replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"")
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_zone_files_have_it() {
        let long = "x".repeat(STRING_OCTETS_MAX + 1);
        for (kind, value, line) in [
            (Kind::Mx, "10 mx.test", "a.test. 3600 IN MX 10 mx.test."),
            (Kind::Srv, "0 0 0 .", "a.test. 3600 IN SRV 0 0 0 ."),
            (Kind::Srv, "0 1 993 m.test", "a.test. 3600 IN SRV 0 1 993 m.test."),
            (Kind::Tlsa, "3 1 1 00", "a.test. 3600 IN TLSA 3 1 1 00"),
            (Kind::Caa, "0 issue \"c\"", "a.test. 3600 IN CAA 0 issue \"c\""),
            (Kind::Txt, "a\"b\\c", "a.test. 3600 IN TXT \"a\\\"b\\\\c\""),
        ] {
            assert_eq!(of("a.test", kind, value), line);
        }
        assert_eq!(strings(&long), format!("\"{}\" \"x\"", "x".repeat(STRING_OCTETS_MAX)));
    }
}
