//! `Authentication-Results`: findings as a header field, and whose field one is (RFC 8601).

use mail::Finding;

/// Most octets of a field that is written; findings that do not fit are left out.
const FIELD_OCTETS_MAX: usize = 8 * 1024;
/// Most octets of one value.
const VALUE_OCTETS_MAX: usize = 255;

/// The field for these findings, with its line end, or `none` when there are none (RFC 8601 section 2.2).
#[must_use]
pub fn write(authserv_id: &str, findings: &[Finding]) -> String {
    let mut field = format!("Authentication-Results: {}", value(authserv_id));
    if findings.is_empty() {
        field.push_str("; none");
    }
    for finding in findings {
        let mut part = format!(";\r\n\t{}={}", keyword(&finding.method), keyword(&finding.result));
        if let Some(reason) = &finding.reason {
            part.push_str(&format!(" reason={}", quoted(reason)));
        }
        for (name, said) in &finding.properties {
            part.push_str(&format!("\r\n\t {}={}", property_name(name), value(said)));
        }
        if field.len() + part.len() > FIELD_OCTETS_MAX {
            break;
        }
        field.push_str(&part);
    }
    field.push_str("\r\n");
    field
}

/// Whether the value of an `Authentication-Results` field claims to come from `authserv_id`. One that can't
/// be read claims everything: nobody should act on it.
#[must_use]
pub fn claims(field_value: &[u8], authserv_id: &str) -> bool {
    match authserv_id_of(field_value) {
        Some(claimed) => claimed.eq_ignore_ascii_case(authserv_id),
        None => true,
    }
}

/// Whose field it is: the first word, behind comments and white space, a token or a quoted string.
#[must_use]
pub fn authserv_id_of(field_value: &[u8]) -> Option<String> {
    let rest = skip_comments(field_value)?;
    let (id, rest) = match rest.split_first() {
        Some((b'"', inside)) => unquote(inside)?,
        _ => {
            let end = rest.iter().position(|octet| !is_token(*octet)).unwrap_or(rest.len());
            let (id, rest) = rest.split_at(end);
            (id.to_vec(), rest)
        }
    };
    // Behind it stand a version, the results, or nothing.
    let after = skip_comments(rest)?;
    let ends = after.first().is_none_or(|octet| *octet == b';' || octet.is_ascii_digit());
    if id.is_empty() || !ends {
        return None;
    }
    String::from_utf8(id).ok()
}

/// What stands behind white space and comments; `None` when a comment does not end.
fn skip_comments(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some(octet) = text.get(at) {
        match octet {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\\' if depth > 0 => at += 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if depth > 0 => {}
            _ => break,
        }
        at += 1;
    }
    (depth == 0).then(|| text.get(at..).unwrap_or_default())
}

fn unquote(inside: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        match inside.get(at)? {
            b'"' => return Some((text, inside.get(at + 1..).unwrap_or_default())),
            b'\\' => {
                at += 1;
                text.push(*inside.get(at)?);
            }
            octet => text.push(*octet),
        }
        at += 1;
    }
}

/// RFC 2045 section 5.1's token, and what addresses have beyond it (RFC 8601 section 2.2 allows them as values).
fn is_token(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>,;:\\\"/[]?=".contains(&octet) || octet > 127
}

/// Methods and results are ours; anything else in them is left out.
fn keyword(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(VALUE_OCTETS_MAX).collect()
}

fn property_name(text: &str) -> String {
    keyword(text)
}

/// A token, or a quoted string when it has to be one.
fn value(text: &str) -> String {
    let plain = !text.is_empty()
        && text.len() <= VALUE_OCTETS_MAX
        && text.bytes().all(|octet| octet.is_ascii() && is_token(octet));
    if plain { text.to_owned() } else { quoted(text) }
}

/// Nothing that a stranger wrote can end the string or the line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if quoted.len() + c.len_utf8() + 2 > VALUE_OCTETS_MAX {
            break;
        }
        if c == '"' || c == '\\' {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_become_a_field() {
        let findings = [
            Finding::new("spf", "pass").with("smtp.mailfrom", "example.com"),
            Finding::new("dkim", "fail").because("the body was \"changed\"").with("header.d", "example.com"),
        ];
        assert_eq!(
            write("mx.home.example", &findings),
            "Authentication-Results: mx.home.example;\r\n\tspf=pass\r\n\t smtp.mailfrom=example.com;\r\n\t\
             dkim=fail reason=\"the body was \\\"changed\\\"\"\r\n\t header.d=example.com\r\n"
        );
        assert_eq!(write("mx.home.example", &[]), "Authentication-Results: mx.home.example; none\r\n");
    }

    #[test]
    fn a_stranger_s_words_stay_inside_their_value() {
        let evil = "x\r\nX-Evil: 1; spf=pass \" \\ (";
        let written = write("mx", &[Finding::new("spf", "none").with("smtp.helo", evil).because(evil)]);
        assert!(!written.contains("\r\nX-Evil"));
        assert_eq!(written.matches("\r\n").count(), 3, "{written}");
        assert!(written.contains(r#"smtp.helo="xX-Evil: 1; spf=pass \" \\ (""#), "{written}");
        let long = "y".repeat(10_000);
        let written = write("mx", &vec![Finding::new("spf", "none").with("smtp.helo", &long); 100]);
        assert!(written.len() <= FIELD_OCTETS_MAX + 2 && written.ends_with("\"\r\n"));
    }

    #[test]
    fn whose_field_it_is() {
        let ours = [
            "mx.home.example; spf=pass",
            " (a (nested \\) ) comment) MX.Home.Example\r\n\t1 ; none",
            "\"mx.home.\\example\"; none",
            "mx.home.example",
            "mx.home.example (comment); none",
        ];
        for field in ours {
            assert!(claims(field.as_bytes(), "mx.home.example"), "{field}");
        }
        for field in
            ["other.example; spf=pass", "xmx.home.example; none", "(mx.home.example) other.example; none"]
        {
            assert!(!claims(field.as_bytes(), "mx.home.example"), "{field}");
        }
        for unreadable in ["", ";", "(never ends", "\"never ends", "a b c; spf=pass", "= ; x", "a/b; none"] {
            assert!(claims(unreadable.as_bytes(), "mx.home.example"), "{unreadable}");
        }
    }

    #[test]
    fn what_is_written_claims_to_be_ours() {
        for id in ["mx.home.example", "a b", "\"", "\u{fc}.example"] {
            let field = write(id, &[]);
            assert!(claims(&field.as_bytes()["Authentication-Results:".len()..], id), "{field}");
        }
    }

    #[test]
    fn results_that_claim_to_be_ours_are_taken_out_and_others_stay() {
        let raw = b"Received: x\r\nAuthentication-Results: mx.home.example;\r\n\tspf=pass\r\nX: 1\r\n\
            authentication-results: other.example; none\r\nAuthentication-Results: (broken\r\n\
            Authentication-Results\r\n : mx.home.example; dmarc=pass\r\n\r\n";
        let kept = mail::header_section::without_results(raw, |value| claims(value, "mx.home.example"));
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "Received: x\r\nX: 1\r\nauthentication-results: other.example; none\r\n\r\n"
        );
    }
}
