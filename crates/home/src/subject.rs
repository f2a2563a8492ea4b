//! The subject of a message, for the trace: a person looks for a message by it. It stays at Home.

use mail::header;

use crate::encoded;

/// Characters of a subject that are told.
const CHARS_MAX: usize = 200;

/// What the trace says of the subject in a header: nothing when there is none.
pub(crate) fn told(header: &[u8]) -> String {
    let Some(field) = header::find(header, "Subject") else { return String::new() };
    let text = field.unfolded();
    let text = encoded::decoded(&text).unwrap_or(text);
    let text: String = text.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect();
    if text.is_empty() { String::new() } else { format!(", subject \"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_as_a_person_reads_it_and_not_longer_than_the_limit() {
        let of =
            |subject: &str| told(format!("From: a\r\nSubject:{subject}\r\n\r\nSubject: no\r\n").as_bytes());
        assert_eq!(of(" Apples and\r\n pears"), ", subject \"Apples and pears\"");
        assert_eq!(of(" =?utf-8?Q?Gr=C3=BC=C3=9Fe?="), ", subject \"Grüße\"");
        assert_eq!(of(" =?utf-8?B?YQoHYg==?="), ", subject \"ab\"", "no line of the trace is broken");
        assert_eq!((of(""), of("  ")), (String::new(), String::new()));
        assert_eq!(told(b"From: a\r\n\r\nSubject: no\r\n"), "");
        for (length, kept) in [(CHARS_MAX, CHARS_MAX), (CHARS_MAX + 1, CHARS_MAX)] {
            assert_eq!(of(&"ü".repeat(length)).matches('ü').count(), kept);
        }
    }
}
