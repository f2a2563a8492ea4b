//! MTA-STS: the record in DNS and the policy that it announces (RFC 8461 section 3).

use serde::{Deserialize, Serialize};

/// Most octets of a policy file (RFC 8461 section 3.2 suggests a limit of this order).
pub const POLICY_OCTETS_MAX: usize = 64 * 1024;
/// Longest life of a policy in seconds: about a year (RFC 8461 section 3.2).
pub const MAX_AGE_MAX: u64 = 31_557_600;
/// Most mail hosts of a policy.
const HOSTS_MAX: usize = 100;
/// Most octets of a name and of a label (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// Most characters of a policy's id (RFC 8461 section 3.1).
const ID_CHARACTERS_MAX: usize = 32;

/// What the domain asks of who can't make a verified connection (RFC 8461 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `enforce`: mail is not delivered without a verified connection.
    Enforce,
    /// `testing`: mail is delivered all the same, and failures are reported.
    Testing,
    /// The domain has no policy any more.
    None,
}

/// An MTA-STS policy (RFC 8461 section 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What senders are to do who can't make a verified connection.
    pub mode: Mode,
    /// Names of mail hosts in lower case; `*.` in front stands for one label.
    pub mx: Vec<String>,
    /// The time that it may be kept, in seconds.
    pub max_age: u64,
}

/// The reason why a text is no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// The policy's id, from the TXT records of `_mta-sts` below a domain. `None` when there is not exactly one
/// record, or it breaks the grammar: the domain does not take part (RFC 8461 section 3.1).
#[must_use]
pub fn record_id(records: &[Vec<u8>]) -> Option<String> {
    let mut ours = records.iter().filter_map(|text| text.strip_prefix(b"v=STSv1;"));
    let text = std::str::from_utf8(ours.next()?).ok()?;
    if ours.next().is_some() {
        return None;
    }
    let mut fields: Vec<&str> = text.split(';').map(|field| field.trim_matches(BLANKS)).collect();
    // One delimiter may stand at the end.
    if fields.len() > 1 && fields.last().is_some_and(|last| last.is_empty()) {
        fields.pop();
    }
    let mut id = None;
    for field in fields {
        let (name, value) = field.split_once('=')?;
        if name == "id" {
            let fits = (1..=ID_CHARACTERS_MAX).contains(&value.len())
                && value.bytes().all(|c| c.is_ascii_alphanumeric());
            if !fits || id.replace(value).is_some() {
                return None;
            }
        } else if !is_extension_name(name)
            || value.is_empty()
            || !value.bytes().all(|c| c.is_ascii_graphic() && c != b'=')
        {
            return None;
        }
    }
    id.map(str::to_owned)
}

/// White space within a line of a policy, and around the fields of a record (WSP, RFC 5234 appendix B.1).
const BLANKS: [char; 2] = [' ', '\t'];
/// Most characters of the name of an extension (RFC 8461 sections 3.1 and 3.2).
const EXTENSION_NAME_MAX: usize = 32;

fn is_extension_name(name: &str) -> bool {
    (1..=EXTENSION_NAME_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.'))
}

impl Policy {
    /// Reads a policy file. Lines end in LF or CRLF; keys that are not known are passed over (RFC 8461
    /// section 3.2); of a key that may occur once, the first counts. Empty lines are let go, though the grammar has none.
    ///
    /// # Errors
    /// [`Malformed`]: the file is treated as if it could not be fetched. What breaks the grammar is no policy: else a
    /// misspelt host would refuse all that there are.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        if file.len() > POLICY_OCTETS_MAX {
            return Err(Malformed("the policy is too long"));
        }
        let text = std::str::from_utf8(file).map_err(|_| Malformed("the policy is not UTF-8"))?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().filter(|line| !line.trim_matches(BLANKS).is_empty()) {
            let (key, value) = field(line)?;
            match key {
                "version" => _ = version.get_or_insert(value),
                "mode" => _ = mode.get_or_insert(value),
                "max_age" => _ = max_age.get_or_insert(value),
                "mx" if mx.len() == HOSTS_MAX => return Err(Malformed("the policy has too many mx lines")),
                "mx" => mx.push(pattern(value)?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(Malformed("the policy is not of version STSv1"));
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(Malformed("the policy has no mode that is known")),
        };
        let max_age =
            max_age.filter(|text| (1..=10).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit()));
        let max_age = max_age.and_then(|text| text.parse::<u64>().ok());
        let max_age = max_age.ok_or(Malformed("the policy has no max_age"))?.min(MAX_AGE_MAX);
        if mx.is_empty() && mode != Mode::None {
            return Err(Malformed("the policy names no mail host"));
        }
        Ok(Self { mode, mx, max_age })
    }

    /// Whether its hosts are names by the grammar. One that was kept by an earlier version may have others.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.mx.iter().all(|host| pattern(host).is_ok())
    }

    /// Its lines, as a policy file has them.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let mode = match self.mode {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        };
        let mx = self.mx.iter().map(|host| format!("mx: {host}"));
        let first = ["version: STSv1".to_owned(), format!("mode: {mode}")];
        first.into_iter().chain(mx).chain([format!("max_age: {}", self.max_age)])
    }

    /// Whether it allows a mail host of this name: exactly, or by a wildcard for its first label
    /// (RFC 8461 section 4.1).
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let above = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, above)| above);
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(rest) => above == Some(rest),
            None => *pattern == host,
        })
    }
}

/// The key and the value of a line.
fn field(line: &str) -> Result<(&str, &str), Malformed> {
    let (key, value) = line.split_once(':').ok_or(Malformed("a line of the policy has no colon"))?;
    let value = value.trim_matches(BLANKS);
    if !is_extension_name(key) {
        return Err(Malformed("a line of the policy has a key that is none"));
    }
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(Malformed("a line of the policy has no value, or control characters in it"));
    }
    Ok((key, value))
}

/// A name, perhaps with a wildcard as its first label. It is the domain of RFC 5321 section 4.1.2: no label begins or ends
/// with a hyphen, and no dot stands at the end.
fn pattern(text: &str) -> Result<String, Malformed> {
    let name = text.to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    let label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= NAME_MAX && labels.split('.').all(label) {
        Ok(name)
    } else {
        Err(Malformed("an mx line of the policy has no name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(texts: &[&str]) -> Option<String> {
        record_id(&texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_record_has_one_id() {
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id(&["v=STSv1;id=1", "something else"]).as_deref(), Some("1"));
        assert_eq!(id(&["v=STSv1; new=thing; id=a1"]).as_deref(), Some("a1"));
        assert_eq!(id(&["v=STSv1; \t id=20160831085700Z  \t;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id(&["v=STSv1; id=a; more=a; e_x-t.2=(2)"]).as_deref(), Some("a"));
    }

    #[test]
    fn a_record_that_is_broken_or_not_alone_is_none() {
        let (fits, long) = ("x".repeat(32), "x".repeat(33));
        assert_eq!(id(&[&format!("v=STSv1; id={fits};")]), Some(fits.clone()));
        let too_long = format!("v=STSv1; id={long};");
        let (name, long_name) = (format!("v=STSv1; id=1; {fits}=1"), format!("v=STSv1; id=1; {long}=1"));
        assert!(id(&[&name]).is_some());
        for texts in [
            &["v=STSv1; id=1;", "v=STSv1; id=1;"][..],
            &[&too_long],
            &[&long_name],
            &["v=STSv1"],
            &["v=STSv10; id=1"],
            &["v=STSv1; ext=1"],
            &["v=STSv1; id=1; more="],
            &["v=STSv1; id=1; =more"],
            &["v=STSv1; id=1; more"],
            &["v=STSv1; id=1; 1%=a"],
            &["v=STSv1; id=1; test=="],
            &["v=STSv1; id=1; more=a b"],
            &["v=STSv1; id=1;;"],
            &["v=STSv1;; id=1"],
            &["v=STSv1; id = 1"],
            &["v=STSv1; ID=1"],
            &["v=STSv1;"],
            &["v=STSv1; id=;"],
            &["v=STSv1; id=a-b;"],
            &["v=STSv1; id=1; id=2;"],
            &["v=STSv2; id=1;"],
            &[" v=STSv1; id=1;"],
            &[],
        ] {
            assert_eq!(id(texts), None, "{texts:?}");
        }
    }

    const EXAMPLE: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
        mx: backupmx.example.com\r\nmax_age: 604800\r\n";

    #[test]
    fn the_example_of_the_rfc_is_read_with_either_line_end() {
        let policy = Policy::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age, policy.mx.len()), (Mode::Enforce, 604_800, 3));
        assert_eq!(Policy::parse(EXAMPLE.replace("\r\n", "\n").trim_end().as_bytes()), Ok(policy));
    }

    #[test]
    fn keys_that_are_not_known_are_passed_over_and_the_first_of_two_counts() {
        let policy =
            Policy::parse(format!("{EXAMPLE}mode: none\nmax_age: 1\nfuture: x:y\n").as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
    }

    #[test]
    fn an_age_beyond_a_year_is_cut() {
        let policy = Policy::parse(EXAMPLE.replace("604800", "9999999999").as_bytes()).unwrap();
        assert_eq!(policy.max_age, MAX_AGE_MAX);
    }

    #[test]
    fn a_policy_of_mode_none_needs_no_host() {
        let policy = Policy::parse(b"version: STSv1\nmode: none\nmax_age: 86400\n").unwrap();
        assert_eq!(policy, Policy { mode: Mode::None, mx: Vec::new(), max_age: 86_400 });
    }

    #[test]
    fn broken_policies_are_refused() {
        for (from, to) in [
            ("STSv1", "STSv2"),
            ("version", "verse"),
            ("enforce", "strict"),
            ("mode", "mood"),
            ("max_age: 604800", ""),
            ("604800", "-1"),
            ("604800", "99999999999"),
            ("mail.example.com", "mail..example.com"),
            ("mail.example.com", "a b"),
            ("*.example.net", "a.*.example.net"),
            ("mx: mail", "mx mail"),
            ("mx: mail", "mx : mail"),
            ("mx: mail", " mx: mail"),
            ("mail.example.com", "test.example-"),
            ("mail.example.com", "-mail.example.com"),
            ("mail.example.com", "mail-.example.com"),
            ("mail.example.com", "mail_1.example.com"),
            ("mail.example.com", "mail.example.com."),
            ("mail.example.com", ".example.com"),
            ("mail.example.com", "m\u{f8}x.example"),
            ("mail.example.com", ""),
            ("*.example.net", "*."),
            ("*.example.net", "*"),
            ("*.example.net", "*.*.example"),
            ("*.example.net", "**.example"),
            ("mode", "Mode"),
            ("STSv1", "STSv1\r\next:"),
            ("STSv1", "STSv1\r\n: x"),
            ("STSv1", "STSv1\r\n_bad: test"),
            ("STSv1", "STSv1\r\next: a\u{1}"),
        ] {
            assert!(Policy::parse(EXAMPLE.replace(from, to).as_bytes()).is_err(), "{from} is {to}");
        }
        assert!(Policy::parse(b"version: STSv1\nmode: testing\nmax_age: 1\n").is_err(), "no mx");
        assert!(Policy::parse(b"\xff").is_err());
    }

    /// Symptom: mail to a domain whose policy says `mx: test.example-` waited until it came back. Cause: the line was read as
    /// a host's name, which no host has. Analysis: RFC 8461 section 3.2 has a grammar; a file that breaks it is none.
    #[test]
    fn names_and_labels_of_hosts_are_bounded_and_spaces_are_where_the_grammar_has_them() {
        let with = |host: &str| Policy::parse(EXAMPLE.replace("mail.example.com", host).as_bytes());
        for (octets, good) in [(LABEL_MAX, true), (LABEL_MAX + 1, false)] {
            assert_eq!(with(&format!("{}.example", "x".repeat(octets))).is_ok(), good, "{octets}");
        }
        for (octets, good) in [(NAME_MAX, true), (NAME_MAX + 1, false)] {
            let name = format!("{}{}", "x.".repeat(octets / 2), if octets % 2 == 0 { "xx" } else { "x" });
            let name = &name[name.len() - octets..];
            assert_eq!(with(name).is_ok(), good, "{octets}: {name}");
        }
        for (octets, good) in [(EXTENSION_NAME_MAX, true), (EXTENSION_NAME_MAX + 1, false)] {
            let file = format!("{EXAMPLE}{}: 1\n", "x".repeat(octets));
            assert_eq!(Policy::parse(file.as_bytes()).is_ok(), good, "{octets}");
        }
        let kept = |host: &str| Policy { mode: Mode::Enforce, mx: vec![host.to_owned()], max_age: 1 };
        assert!(kept("*.example.com").is_well_formed() && !kept("test.example-").is_well_formed());
        let spaced =
            "version:STSv1\r\nmode:\tenforce\t\r\nmx:  \t *.example.com \nmax_age: 0 \n\nmore:ext e  ns ion";
        let policy = Policy::parse(spaced.as_bytes()).unwrap();
        assert_eq!(
            (policy.mode, policy.max_age, &policy.mx[..]),
            (Mode::Enforce, 0, &["*.example.com".to_owned()][..])
        );
    }

    #[test]
    fn size_and_number_of_hosts_are_bounded() {
        let filler = |octets: usize| format!("{EXAMPLE}x:{}", "x".repeat(octets - EXAMPLE.len() - 2));
        assert!(Policy::parse(filler(POLICY_OCTETS_MAX).as_bytes()).is_ok());
        assert!(Policy::parse(filler(POLICY_OCTETS_MAX + 1).as_bytes()).is_err());
        let hosts = |count: usize| EXAMPLE.to_owned() + &"mx: a.b\n".repeat(count - 3);
        assert!(Policy::parse(hosts(HOSTS_MAX).as_bytes()).is_ok());
        assert!(Policy::parse(hosts(HOSTS_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let policy = Policy::parse(EXAMPLE.as_bytes()).unwrap();
        for host in ["mail.example.com", "MAIL.example.com.", "a.example.net"] {
            assert!(policy.allows(host), "{host}");
        }
        for host in ["example.net", ".example.net", "a.b.example.net", "xexample.net", "www.example.com", ""]
        {
            assert!(!policy.allows(host), "{host}");
        }
    }
}
