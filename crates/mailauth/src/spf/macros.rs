//! Macro strings: domain-specs and explanations (RFC 7208 section 7).

use std::net::IpAddr;

/// Most parts of one macro string; a record is bounded anyway, this bounds the work of expanding it.
const PARTS_MAX: usize = 256;
/// Most octets of an expanded domain name (RFC 7208 section 7.3).
const NAME_OCTETS_MAX: usize = 253;
/// Most octets of an expanded explanation.
pub(crate) const EXPLANATION_OCTETS_MAX: usize = 1024;

/// A parsed macro string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MacroString {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Macro(Macro),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    /// The macro letter, in lower case.
    letter: char,
    /// Written as a capital: what it gives is escaped as in a URL.
    escaped: bool,
    /// How many of the right-hand parts to keep; all when `None`.
    keep: Option<usize>,
    reverse: bool,
    /// Where to split; at dots when empty.
    delimiters: String,
}

/// Values of the macros (RFC 7208 section 7.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    /// `s`, `l` and `o`: the sender's local part and domain.
    pub(crate) local: &'a str,
    pub(crate) sender_domain: &'a str,
    /// `d`: the domain whose record is evaluated.
    pub(crate) domain: &'a str,
    /// `i`, `c` and `v`.
    pub(crate) ip: IpAddr,
    /// `h`.
    pub(crate) helo: &'a str,
    /// `p`, where it is wanted: see [`MacroString::wants_validated_name`].
    pub(crate) validated: &'a str,
    /// `r`: this host.
    pub(crate) receiver: &'a str,
    /// `t`: seconds since 1970.
    pub(crate) now: u64,
}

/// The place where a macro string stands: it decides which macros are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A term of a record.
    Term,
    /// The text of an explanation, which may have spaces and the letters `c`, `r` and `t`.
    Explanation,
}

impl MacroString {
    /// Parses `text`.
    pub(crate) fn parse(text: &str, purpose: Purpose) -> Result<Self, String> {
        let is_plain = |octet: u8| octet != b'%' && is_literal(char::from(octet), purpose);
        if !text.is_empty() && text.bytes().all(is_plain) {
            // Nearly all are.
            return Ok(Self { parts: vec![Part::Literal(text.to_owned())] });
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first != '%' {
                if !is_literal(first, purpose) {
                    return Err(format!("{first:?} can't stand in '{}'", text.escape_debug()));
                }
                literal.push(first);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let (part, after) = parse_expand(rest, purpose).ok_or_else(|| bad_macro(text))?;
            match part {
                Part::Literal(more) => literal.push_str(&more),
                part @ Part::Macro(_) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                }
            }
            rest = after;
            if parts.len() > PARTS_MAX {
                return Err("it has too many macros".to_owned());
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Parses a domain-spec: a macro string that ends in a macro or in a name of the top level.
    pub(crate) fn parse_domain(text: &str) -> Result<Self, String> {
        let parsed = Self::parse(text, Purpose::Term)?;
        if ends_in_expand(text) || has_top_label(text) {
            Ok(parsed)
        } else {
            Err(format!("'{text}' is not the name of a domain"))
        }
    }

    /// Whether `p` occurs, which costs questions to DNS.
    pub(crate) fn wants_validated_name(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Macro(wanted) if wanted.letter == 'p'))
    }

    /// The text, at most `octets_max` long or cut.
    pub(crate) fn expand(&self, values: &Values<'_>, octets_max: usize) -> String {
        if let [Part::Literal(literal)] = self.parts.as_slice() {
            return literal.clone();
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Macro(wanted) => text.push_str(&wanted.expand(values)),
            }
            if text.len() > octets_max.saturating_mul(4) {
                break;
            }
        }
        text
    }

    /// The name of a domain, without a dot at the end; labels are dropped from the left until it fits
    /// (RFC 7208 section 7.3).
    pub(crate) fn expand_domain(&self, values: &Values<'_>) -> String {
        let mut text = self.expand(values, usize::MAX / 4);
        if text.ends_with('.') {
            text.pop();
        }
        let mut name = text.as_str();
        while name.len() > NAME_OCTETS_MAX {
            name = name.split_once('.').map_or("", |(_, rest)| rest);
        }
        if name.len() == text.len() { text } else { name.to_owned() }
    }
}

fn is_literal(c: char, purpose: Purpose) -> bool {
    c.is_ascii_graphic() || (purpose == Purpose::Explanation && c == ' ')
}

fn bad_macro(text: &str) -> String {
    format!("'{text}' has a malformed macro")
}

/// Parses what starts with `%`. Gives the rest behind it.
fn parse_expand(text: &str, purpose: Purpose) -> Option<(Part, &str)> {
    let after = text.strip_prefix('%')?;
    for (mark, meaning) in [("%", "%"), ("_", " "), ("-", "%20")] {
        if let Some(rest) = after.strip_prefix(mark) {
            return Some((Part::Literal(meaning.to_owned()), rest));
        }
    }
    let (inside, rest) = after.strip_prefix('{')?.split_once('}')?;
    let letter = inside.chars().next()?;
    let lower = letter.to_ascii_lowercase();
    let known = "slodiphv".contains(lower) || (purpose == Purpose::Explanation && "crt".contains(lower));
    if !known {
        return None;
    }
    let inside = inside.get(1..)?;
    let digits = inside.len() - inside.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, inside) = inside.split_at(digits);
    let keep = match digits {
        "" => None,
        // More digits than this keep everything, as the largest number does.
        digits => Some(digits.parse().unwrap_or(usize::MAX)),
    };
    if keep == Some(0) {
        return None;
    }
    let reversed = inside.strip_prefix(['r', 'R']);
    let delimiters = reversed.unwrap_or(inside);
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return None;
    }
    let escaped = letter.is_ascii_uppercase();
    let wanted = Macro {
        letter: lower,
        escaped,
        keep,
        reverse: reversed.is_some(),
        delimiters: delimiters.to_owned(),
    };
    Some((Part::Macro(wanted), rest))
}

/// Whether the text ends in `%{…}`, `%%`, `%_` or `%-`. The text has been parsed.
fn ends_in_expand(text: &str) -> bool {
    if !text.contains('%') {
        return false;
    }
    let mut rest = text;
    let mut last = false;
    while let Some(first) = rest.chars().next() {
        match parse_expand(rest, Purpose::Term).filter(|_| first == '%') {
            Some((_, after)) => {
                last = true;
                rest = after;
            }
            None => {
                last = false;
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    last
}

/// Whether the text ends in `.` and a top label, and perhaps another dot (RFC 7208 section 7.1).
fn has_top_label(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, label)) = text.rsplit_once('.') else { return false };
    let characters = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let edges = !label.starts_with('-') && !label.ends_with('-');
    let not_a_number = label.contains(|c: char| c.is_ascii_alphabetic() || c == '-');
    !label.is_empty() && characters && edges && not_a_number
}

impl Macro {
    fn expand(&self, values: &Values<'_>) -> String {
        let value = match self.letter {
            's' => format!("{}@{}", values.local, values.sender_domain),
            'l' => values.local.to_owned(),
            'o' => values.sender_domain.to_owned(),
            'd' => values.domain.to_owned(),
            'i' => dotted(values.ip),
            'p' => values.validated.to_owned(),
            'h' => values.helo.to_owned(),
            'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'c' => values.ip.to_string(),
            'r' => values.receiver.to_owned(),
            _ => values.now.to_string(),
        };
        let value = self.transform(&value);
        if self.escaped { url_escape(&value) } else { value }
    }

    fn transform(&self, value: &str) -> String {
        if self.keep.is_none() && !self.reverse && self.delimiters.is_empty() {
            return value.to_owned();
        }
        let delimiters = if self.delimiters.is_empty() { "." } else { &self.delimiters };
        let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
        if self.reverse {
            parts.reverse();
        }
        let from = parts.len().saturating_sub(self.keep.unwrap_or(usize::MAX));
        parts.get(from..).unwrap_or_default().join(".")
    }
}

/// An IPv4 address as ever, an IPv6 address as 32 digits with dots between (RFC 7208 section 7.3). Digits above
/// 9 are upper case, as the public suite has them; to DNS they are the same.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits = ip.octets().map(|octet| format!("{:X}.{:X}", octet >> 4, octet & 15));
            digits.join(".")
        }
    }
}

/// All but unreserved characters as `%XX` (RFC 3986 section 2.3).
fn url_escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            escaped.push_str(&format!("%{octet:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values {
        local: "strong-bad",
        sender_domain: "email.example.com",
        domain: "email.example.com",
        ip: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)),
        helo: "mx.example.org",
        validated: "mx.example.org",
        receiver: "us.example",
        now: 12,
    };

    fn expand(text: &str) -> String {
        MacroString::parse(text, Purpose::Explanation).unwrap().expand(&VALUES, 1024)
    }

    #[test]
    fn the_examples_of_rfc_7208_section_7_4() {
        let examples = [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ];
        for (text, expanded) in examples {
            assert_eq!(expand(text), expanded, "{text}");
        }
        let six = Values { ip: "2001:db8::cb01".parse().unwrap(), ..VALUES };
        let text = MacroString::parse("%{ir}.%{v}._spf.%{d2}", Purpose::Term).unwrap();
        assert_eq!(
            text.expand_domain(&six),
            "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn escapes_and_letters_of_explanations() {
        assert_eq!(expand("%%%_%-"), "% %20");
        assert_eq!(expand("%{S}"), "strong-bad%40email.example.com");
        assert_eq!(expand("%{c} %{r} %{t}"), "192.0.2.3 us.example 12");
        for letter in ["%{c}", "%{r}", "%{t}"] {
            assert!(MacroString::parse(letter, Purpose::Term).is_err(), "{letter}");
        }
    }

    #[test]
    fn malformed_macros_are_errors() {
        for text in
            ["%", "%a", "%{", "%{d", "%{x}", "%{}", "%{d0}", "%{dx}", "%{d!}", "%(d)", "a b", "\u{e9}"]
        {
            assert!(MacroString::parse(text, Purpose::Term).is_err(), "{text}");
        }
        assert!(MacroString::parse("%{d99999999999999999999999}", Purpose::Term).is_ok());
    }

    #[test]
    fn a_domain_ends_in_a_macro_or_a_top_label() {
        for good in ["a.b", "a.b.", "%{d}", "x%%", "a.%{d}", "foo:bar/baz.example.com", "a.c-d", "a.1c"] {
            assert!(MacroString::parse_domain(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "a.1", "a.-b", "a.b-", "%{d}a", "a..", "a.b:80", "a.b/24", ".", "%{d}."] {
            assert!(MacroString::parse_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_name_loses_labels_from_the_left() {
        let label = "x".repeat(60);
        let long = format!("{label}.{label}.{label}.{label}.{label}.example.com");
        let name = MacroString::parse_domain(&long).unwrap().expand_domain(&VALUES);
        assert_eq!(name, format!("{label}.{label}.{label}.example.com"));
    }
}
