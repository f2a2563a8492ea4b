//! MTA-STS: the record in DNS and the policy that it announces (RFC 8461 section 3).

use serde::{Deserialize, Serialize};

/// Most octets of a policy file (RFC 8461 section 3.2 suggests a limit of this order).
pub const POLICY_OCTETS_MAX: usize = 64 * 1024;
/// Longest life of a policy in seconds: about a year (RFC 8461 section 3.2).
pub const MAX_AGE_MAX: u64 = 31_557_600;
/// Most mail hosts of a policy.
const HOSTS_MAX: usize = 100;
/// Most characters of a policy's id (RFC 8461 section 3.1).
const ID_CHARACTERS_MAX: usize = 32;

/// What the domain asks of who can't make a verified connection (RFC 8461 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Not to deliver.
    Enforce,
    /// To deliver all the same.
    Testing,
    /// The domain has no policy any more.
    None,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What is asked for.
    pub mode: Mode,
    /// Names of mail hosts in lower case; `*.` in front stands for one label.
    pub mx: Vec<String>,
    /// How long it holds, in seconds.
    pub max_age: u64,
}

/// Why a policy is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// The policy's id, from the TXT records of `_mta-sts` below a domain. `None` when there is not exactly one
/// record, or it is broken: the domain does not take part (RFC 8461 section 3.1).
#[must_use]
pub fn record_id(records: &[Vec<u8>]) -> Option<String> {
    let mut ours = records.iter().filter(|text| text.starts_with(b"v=STSv1;"));
    let text = std::str::from_utf8(ours.next()?).ok()?;
    if ours.next().is_some() {
        return None;
    }
    let mut ids = text.split(';').filter_map(|field| field.trim().strip_prefix("id="));
    let id = ids.next()?;
    let fits = (1..=ID_CHARACTERS_MAX).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric());
    (fits && ids.next().is_none()).then(|| id.to_owned())
}

impl Policy {
    /// Reads a policy file. Lines end in LF or CRLF; keys that are not known are passed over (RFC 8461
    /// section 3.2); of a key that may occur once, the first counts.
    ///
    /// # Errors
    /// [`Malformed`]: the file is treated as if it could not be fetched.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        if file.len() > POLICY_OCTETS_MAX {
            return Err(Malformed("the policy is too long"));
        }
        let text = std::str::from_utf8(file).map_err(|_| Malformed("the policy is not UTF-8"))?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line.split_once(':').ok_or(Malformed("a line of the policy has no colon"))?;
            let value = value.trim();
            match key.trim() {
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

/// A name, perhaps with a wildcard as its first label.
fn pattern(text: &str) -> Result<String, Malformed> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    if name.len() <= 253 && labels.split('.').all(label) {
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
    }

    #[test]
    fn a_record_that_is_broken_or_not_alone_is_none() {
        let (fits, long) = ("x".repeat(32), "x".repeat(33));
        assert_eq!(id(&[&format!("v=STSv1; id={fits};")]), Some(fits));
        let too_long = format!("v=STSv1; id={long};");
        for texts in [
            &["v=STSv1; id=1;", "v=STSv1; id=1;"][..],
            &[&too_long],
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
        ] {
            assert!(Policy::parse(EXAMPLE.replace(from, to).as_bytes()).is_err(), "{from} is {to}");
        }
        assert!(Policy::parse(b"version: STSv1\nmode: testing\nmax_age: 1\n").is_err(), "no mx");
        assert!(Policy::parse(b"\xff").is_err());
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
