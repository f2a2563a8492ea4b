//! Whatever strangers have written into a field or into what we write there: whose field one is can't be hidden
//! from us, and our own field is bounded, says what was found and nothing that somebody slipped in.
//!
//! The first line is a name for the writer, the second method, result and reason, the rest the properties; all
//! of the input is, besides, the value of somebody else's field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::Finding;
use mailauth::results::{authserv_id_of, claims, write};

const FIELD_NAME: &str = "Authentication-Results:";
/// What a field with all findings that fit takes at most.
const FIELD_OCTETS: usize = 8 * 1024 + 2;
/// Octets of a name that is written whole, whatever has to be escaped in it.
const HOST_OCTETS: usize = 100;

fuzz_target!(|data: &[u8]| {
    // Somebody else's.
    match authserv_id_of(data) {
        Some(id) => assert!(!id.is_empty() && claims(data, &id) && claims(data, &id.to_ascii_uppercase())),
        None => assert!(claims(data, "mx.example.org") && claims(data, "other.example")),
    }

    // Ours.
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let id = line();
    let (method, rest) = line().split_once(' ').unwrap_or_default();
    let (result, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut finding = Finding::new(method, result).because(reason);
    for property in lines.take(100) {
        let (name, value) = property.split_once('=').unwrap_or((property, property));
        finding = finding.with(name, value);
    }
    // The second may be left out where the first is long; never the other way.
    let field = write(id, &[finding.clone(), finding]);
    assert!(field.len() <= FIELD_OCTETS, "{} octets", field.len());
    let lines: Vec<&str> = field.strip_suffix("\r\n").expect("a line end").split("\r\n").collect();
    assert!(lines[0].starts_with(FIELD_NAME));
    assert!(lines[1..].iter().all(|line| line.starts_with('\t')), "a field of its own: {field:?}");
    assert!(!field.replace("\r\n", "").contains(|c: char| c.is_control() && c != '\t'), "{field:?}");
    let ours = &field.as_bytes()[FIELD_NAME.len()..];
    let expected: String = id.chars().filter(|c| !c.is_control()).collect();
    if let Some(written) = authserv_id_of(ours) {
        assert!(expected.starts_with(&written), "{written:?} is not {expected:?}");
    }
    // A longer name may be cut; no host has one.
    assert!(claims(ours, &expected) || expected.len() > HOST_OCTETS);
    let semicolons = outside_strings(&field).filter(|c| *c == ';').count();
    assert!(semicolons <= 2, "{semicolons} results, two were found: {field:?}");
});

/// The characters of a field that are not within quotation marks.
fn outside_strings(field: &str) -> impl Iterator<Item = char> {
    let (mut quoted, mut escaped) = (false, false);
    field.chars().filter(move |c| {
        let was_quoted = quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !was_quoted
    })
}
