//! What a server offers in its EHLO reply (RFC 5321 section 4.1.1.1).

/// The extensions that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The name the server gave itself.
    pub name: String,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// The largest message it takes, in octets, if it says so.
    pub size_max: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// AUTH (RFC 4954) with the mechanism PLAIN (RFC 4616).
    pub auth_plain: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// Most recipients of one transaction, if it says so: LIMITS with RCPTMAX (RFC 9422 section 4.2).
    pub recipients_max: Option<usize>,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
}

impl Extensions {
    /// From the text of an EHLO reply, lines split by `\n`.
    pub(super) fn parse(text: &str) -> Self {
        let mut lines = text.split('\n');
        let name = lines.next().and_then(|line| line.split(' ').next()).unwrap_or_default();
        let mut offered = Self { name: name.to_owned(), ..Self::default() };
        for line in lines {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => offered.pipelining = true,
                "SIZE" => {
                    offered.size = true;
                    // 0 says that there is no fixed limit (RFC 1870 section 3).
                    offered.size_max = words.next().and_then(|max| max.parse().ok()).filter(|max| *max > 0);
                }
                "8BITMIME" => offered.eight_bit_mime = true,
                "SMTPUTF8" => offered.smtputf8 = true,
                "CHUNKING" => offered.chunking = true,
                "DSN" => offered.dsn = true,
                "REQUIRETLS" => offered.require_tls = true,
                "AUTH" => offered.auth_plain |= words.any(|word| word.eq_ignore_ascii_case("PLAIN")),
                "STARTTLS" => offered.starttls = true,
                "LIMITS" => offered.recipients_max = words.find_map(recipients_max),
                "ENHANCEDSTATUSCODES" => offered.enhanced_status_codes = true,
                _ => {}
            }
        }
        offered
    }
}

/// The value of `RCPTMAX=`: one to six digits, and not 0. What is written otherwise says nothing.
fn recipients_max(word: &str) -> Option<usize> {
    let (name, value) = word.split_once('=')?;
    let formed = (1..=6).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    let known = name.eq_ignore_ascii_case("RCPTMAX") && formed;
    value.parse().ok().filter(|most| known && *most > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_found_in_any_case_and_the_first_line_is_only_a_name() {
        let offered = Extensions::parse("mx.example.org PIPELINING\nsize 1000\nStartTLS\n8bitmime \nX-ODD");
        assert_eq!(offered.name, "mx.example.org");
        assert!(!offered.pipelining);
        assert_eq!((offered.size, offered.size_max), (true, Some(1000)));
        assert!(offered.starttls && offered.eight_bit_mime);
        assert!(Extensions::parse("x\nauth LOGIN plain").auth_plain);
        assert!(!Extensions::parse("x\nAUTH LOGIN\nAUTH=PLAIN").auth_plain, "that form never was a standard");
        assert_eq!(Extensions::parse("x\nSIZE 0").size_max, None);
        let most = |words: &str| Extensions::parse(&format!("x\nLIMITS {words}")).recipients_max;
        assert_eq!((most("MAILMAX=5 rcptmax=100"), most("RCPTMAX=999999")), (Some(100), Some(999_999)));
        for odd in ["", "RCPTMAX", "RCPTMAX=", "RCPTMAX=0", "RCPTMAX=1000000", "RCPTMAX=+1", "XRCPTMAX=1"] {
            assert_eq!(most(odd), None, "{odd}");
        }
        assert_eq!(Extensions::parse("x\nSIZE 99999999999999999999").size_max, None);
    }
}
