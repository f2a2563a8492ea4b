//! An SPF record as its terms (RFC 7208 sections 4.5, 4.6 and 12).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::SpfResult;
use super::macros::{MacroString, Purpose};

/// Most octets of a record; a longer one is an error. A DNS answer hardly holds as much.
const RECORD_OCTETS_MAX: usize = 16 * 1024;

/// A record whose syntax has been checked from end to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record<'t> {
    pub(crate) directives: Vec<Directive<'t>>,
    pub(crate) redirect: Option<MacroString>,
    pub(crate) explanation: Option<MacroString>,
}

/// A mechanism and what it means when it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directive<'t> {
    pub(crate) result: SpfResult,
    pub(crate) mechanism: Mechanism,
    /// The term as it is written.
    pub(crate) text: &'t str,
}

/// RFC 7208 section 5. A domain that is left out is the one whose record this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mechanism {
    All,
    Include(MacroString),
    A(Option<MacroString>, Prefixes),
    Mx(Option<MacroString>, Prefixes),
    Ptr(Option<MacroString>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(MacroString),
}

/// Lengths of prefixes for both kinds of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefixes {
    pub(crate) ip4: u8,
    pub(crate) ip6: u8,
}

/// Whether a TXT record says that it is an SPF record (RFC 7208 section 4.5).
pub(crate) fn is_spf(text: &[u8]) -> bool {
    let version = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"v=spf1"));
    version && matches!(text.get(6), None | Some(b' '))
}

/// Parses a record; says what is wrong with it.
pub(crate) fn parse(text: &[u8]) -> Result<Record<'_>, String> {
    if text.len() > RECORD_OCTETS_MAX {
        return Err(format!("it has more than {RECORD_OCTETS_MAX} octets"));
    }
    let text = str::from_utf8(text).ok().filter(|text| text.is_ascii());
    let text = text.ok_or("it has octets that are not ASCII")?;
    let mut record = Record::default();
    for term in text.get(6..).unwrap_or_default().split(' ').filter(|term| !term.is_empty()) {
        match modifier(term) {
            Some((name, value)) => take_modifier(&mut record, name, value)?,
            None => record.directives.push(directive(term)?),
        }
    }
    Ok(record)
}

/// Name and value, if the term is a modifier: a name, `=`, a macro string.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (first && rest).then_some((name, value))
}

fn take_modifier(record: &mut Record<'_>, name: &str, value: &str) -> Result<(), String> {
    let place = if name.eq_ignore_ascii_case("redirect") {
        &mut record.redirect
    } else if name.eq_ignore_ascii_case("exp") {
        &mut record.explanation
    } else {
        // Others are for other programs; their syntax is checked all the same.
        return MacroString::parse(value, Purpose::Term).map(drop);
    };
    if place.is_some() {
        return Err(format!("'{name}=' stands there twice"));
    }
    *place = Some(MacroString::parse_domain(value)?);
    Ok(())
}

fn directive(text: &str) -> Result<Directive<'_>, String> {
    let (result, term) = match text.chars().next() {
        Some('+') => (SpfResult::Pass, text.get(1..)),
        Some('-') => (SpfResult::Fail, text.get(1..)),
        Some('~') => (SpfResult::SoftFail, text.get(1..)),
        Some('?') => (SpfResult::Neutral, text.get(1..)),
        _ => (SpfResult::Pass, Some(text)),
    };
    let term = term.unwrap_or_default();
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, argument) = term.split_at(end);
    let mechanism = mechanism(name, argument);
    let mechanism = mechanism.map_err(|cause| format!("'{}': {cause}", text.escape_debug()))?;
    Ok(Directive { result, mechanism, text })
}

/// The names of all mechanisms. Case does not matter in them.
const MECHANISMS: [&str; 8] = ["ip4", "include", "all", "a", "mx", "ip6", "exists", "ptr"];

/// `argument` starts with `:` or `/`, or is empty.
fn mechanism(name: &str, argument: &str) -> Result<Mechanism, String> {
    let value = argument.strip_prefix(':');
    let required = || value.ok_or_else(|| "it needs a value".to_owned());
    match MECHANISMS.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or_default() {
        "all" if argument.is_empty() => Ok(Mechanism::All),
        "all" => Err("it takes no value".to_owned()),
        "include" => Ok(Mechanism::Include(MacroString::parse_domain(required()?)?)),
        "exists" => Ok(Mechanism::Exists(MacroString::parse_domain(required()?)?)),
        "a" => target(argument).map(|(domain, prefixes)| Mechanism::A(domain, prefixes)),
        "mx" => target(argument).map(|(domain, prefixes)| Mechanism::Mx(domain, prefixes)),
        "ptr" => match (argument, value) {
            ("", _) => Ok(Mechanism::Ptr(None)),
            (_, Some(value)) => Ok(Mechanism::Ptr(Some(MacroString::parse_domain(value)?))),
            _ => Err("it takes no prefix".to_owned()),
        },
        "ip4" => {
            let (address, length) = network(required()?, 32)?;
            Ok(Mechanism::Ip4(parse_ip4(address)?, length))
        }
        "ip6" => {
            let (address, length) = network(required()?, 128)?;
            let address = address.parse().map_err(|_| "it is no IPv6 address".to_owned())?;
            Ok(Mechanism::Ip6(address, length))
        }
        _ => Err("there is no such mechanism".to_owned()),
    }
}

/// `[":" domain-spec] ["/" ip4-length] ["//" ip6-length]`.
fn target(argument: &str) -> Result<(Option<MacroString>, Prefixes), String> {
    let mut prefixes = Prefixes { ip4: 32, ip6: 128 };
    let mut rest = argument;
    if let Some((before, length)) = split_length(rest, "//") {
        prefixes.ip6 = parse_length(length, 128)?;
        rest = before;
    }
    if let Some((before, length)) = split_length(rest, "/") {
        prefixes.ip4 = parse_length(length, 32)?;
        rest = before;
    }
    match rest.strip_prefix(':') {
        Some(domain) => Ok((Some(MacroString::parse_domain(domain)?), prefixes)),
        None if rest.is_empty() => Ok((None, prefixes)),
        None => Err("its prefix is malformed".to_owned()),
    }
}

/// What stands before and after a mark that is followed by digits up to the end.
fn split_length<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let (before, length) = text.rsplit_once(mark)?;
    let digits = !length.is_empty() && length.bytes().all(|octet| octet.is_ascii_digit());
    digits.then_some((before, length))
}

fn network(text: &str, most: u8) -> Result<(&str, u8), String> {
    match text.split_once('/') {
        Some((address, length)) => Ok((address, parse_length(length, most)?)),
        None => Ok((text, most)),
    }
}

fn parse_length(text: &str, most: u8) -> Result<u8, String> {
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    let length = text.parse().ok().filter(|length: &u8| plain && *length <= most);
    length.ok_or_else(|| format!("/{text} is no prefix of 0 to {most} bits"))
}

fn parse_ip4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "it is no IPv4 address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Record<'static>, String> {
        super::parse(format!("v=spf1 {text}").leak().as_bytes())
    }

    #[test]
    fn a_record_is_known_by_its_version() {
        for text in ["v=spf1", "V=SPF1 all", "v=spf1 "] {
            assert!(is_spf(text.as_bytes()), "{text}");
        }
        for text in ["v=spf10", "v=spf", "", " v=spf1", "v=spf1\tall", "spf2.0/pra"] {
            assert!(!is_spf(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn every_mechanism_and_modifier_is_read() {
        let record = parse(
            "+a  -mx:b.example/24//64 ~ptr ?ptr:c.example ip4:192.0.2.0/24 ip6:2001:db8::/32 \
             include:%{d} exists:%{i}.x.example a/0 MX//0 moo.cow-far_out=man:dog/cat all \
             redirect=r.example exp=e.example",
        )
        .unwrap();
        assert_eq!(record.directives.len(), 11);
        assert_eq!(record.directives[1].result, SpfResult::Fail);
        let Mechanism::Mx(Some(_), prefixes) = record.directives[1].mechanism else { panic!() };
        assert_eq!(prefixes, Prefixes { ip4: 24, ip6: 64 });
        assert_eq!(record.directives[9].mechanism, Mechanism::Mx(None, Prefixes { ip4: 32, ip6: 0 }));
        assert!(record.redirect.is_some() && record.explanation.is_some());
    }

    #[test]
    fn whatever_is_malformed_is_an_error() {
        let bad = [
            "a:",
            "a:/24",
            "a/33",
            "a/00",
            "a//129",
            "a/",
            "a//",
            "a/24/64",
            "a:a.b/24/64",
            "all:x",
            "all/8",
            "all.",
            "-all=",
            "=x",
            "+-all",
            "ip4",
            "ip4:",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4/032",
            "ip4:1.2.3.4//32",
            "ip4:1.2.3.4:8080",
            "ip6:",
            "ip6:1.2.3.4",
            "ip6:::1/129",
            "ip6:::1//33",
            "include",
            "include:",
            "include:a.b/24",
            "exists",
            "exists:",
            "exists:a.b/24",
            "ptr:",
            "ptr/0",
            "mx:",
            "redirect=",
            "exp=",
            "redirect=a.b redirect=a.b",
            "exp=a.b exp=a.b",
            "foo",
            "foo:bar",
            "x=%a",
            "a:a.b:80",
            "a\tb",
            "tree=%(p)",
            "default=%abc",
            "\u{e9}",
            "redirect=%{d}x",
            "-all;",
            "1x=y",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
        let long = "ip4:192.0.2.1 ".repeat(1200);
        assert!(parse(&long).is_err());
    }
}
