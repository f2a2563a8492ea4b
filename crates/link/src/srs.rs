//! The sender rewriting scheme: `SRS0=HHHHHH=TT=domain=local@ours`, the reverse-path under which a message that is
//! forwarded leaves, so that the next host's SPF check meets a domain of ours and a bounce finds its way back.
//!
//! Home writes such addresses and opens them, Edge checks them. The form and the hash are those of Mehnle's
//! draft (draft-mehnle-srs) as libsrs2 and postsrsd have them: `TT` is the day in base 32, `HHHHHH` the start of
//! an HMAC-SHA-1, case folded; another forwarder's address becomes `SRS1`. A bounce may name it in any case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mail::{Address, Domain, UnixTime};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Days for which an address is good: libsrs2's.
pub const SRS_DAYS: u64 = 21;
/// Secrets that are looked at, and octets of one.
const SECRETS_MAX: usize = 8;
const SECRET_OCTETS_MAX: usize = 256;
/// Characters of the hash. Four are common; six cost little, and a guess at a right one is one mail to one stranger.
const HASH_CHARS: usize = 6;
/// Begins a secret that was taken over from postsrsd: what stands behind it is the secret.
const TAKEN_OVER: &str = "postsrsd:";
/// Characters of the hash that postsrsd writes when it is told nothing, and the fewest it takes.
const TAKEN_OVER_CHARS: usize = 4;
const DAY_SECS: u64 = 86_400;
const DAYS_MODULUS: u64 = 1024;
const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secrets: the first one writes, all open. One that begins with `postsrsd:` was taken over from there, and opens
/// addresses with as few characters of the hash as are usual there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct SrsSecrets(Vec<String>);

impl std::fmt::Debug for SrsSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SrsSecrets({})", self.0.len())
    }
}

/// What is wrong with the secrets: the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there have to be 1 to {SECRETS_MAX} secrets of 16 to {SECRET_OCTETS_MAX} characters each")]
pub struct SecretsError;

/// Octets of a secret, at least.
const SECRET_OCTETS_MIN: usize = 16;

/// The secret itself, and how many characters of its hash an address has at least.
fn unmarked(secret: &str) -> (&str, usize) {
    secret.strip_prefix(TAKEN_OVER).map_or((secret, HASH_CHARS), |secret| (secret, TAKEN_OVER_CHARS))
}

impl TryFrom<Vec<String>> for SrsSecrets {
    type Error = SecretsError;

    fn try_from(secrets: Vec<String>) -> Result<Self, SecretsError> {
        let fits =
            |secret: &String| (SECRET_OCTETS_MIN..=SECRET_OCTETS_MAX).contains(&unmarked(secret).0.len());
        let good = (1..=SECRETS_MAX).contains(&secrets.len()) && secrets.iter().all(fits);
        if good { Ok(Self(secrets)) } else { Err(SecretsError) }
    }
}

impl From<SrsSecrets> for Vec<String> {
    fn from(secrets: SrsSecrets) -> Self {
        secrets.0
    }
}

/// Why an address of this form leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrsError {
    /// It is older than [`SRS_DAYS`].
    #[error("the rewritten address has expired")]
    Expired,
    /// The hash was not made with a secret of this home.
    #[error("the rewritten address is wrong")]
    Wrong,
}

/// A rewritten local part, taken apart.
enum Parsed<'a> {
    /// `SRS0`: who sent it.
    First { hash: &'a str, day: &'a str, domain: &'a str, local: &'a str },
    /// `SRS1`: the forwarder before us, and its own address from the separator on.
    Again { hash: &'a str, domain: &'a str, rest: &'a str },
}

impl SrsSecrets {
    /// The address at `ours` that stands for `path`. `None` when it has no room for it in its 64 octets, or is
    /// written in a way that the scheme does not carry (quotes, octets above 127, an address literal).
    #[must_use]
    pub fn rewrite(&self, path: &Address, ours: &Domain, now: UnixTime) -> Option<Address> {
        let (local, domain) = (path.local(), path.domain().as_str());
        if !local.is_ascii() || local.starts_with('"') || path.domain().is_literal() {
            return None;
        }
        let (secret, _) = unmarked(self.0.first()?);
        let text = match tag(local) {
            Some(('0', rest)) => again(secret, domain, rest),
            Some((_, _)) => match parse(local) {
                Some(Parsed::Again { domain, rest, .. }) => again(secret, domain, rest),
                _ => first(secret, &day_text(now), domain, local),
            },
            None => first(secret, &day_text(now), domain, local),
        };
        Address::at(&text, ours).ok()
    }

    /// Whom a rewritten address stands for; `None` when it does not have that form.
    ///
    /// # Errors
    /// [`SrsError`].
    #[must_use]
    pub fn open(&self, address: &Address, now: UnixTime) -> Option<Result<Address, SrsError>> {
        let parsed = parse(address.local())?;
        Some(self.check(&parsed, now))
    }

    fn check(&self, parsed: &Parsed<'_>, now: UnixTime) -> Result<Address, SrsError> {
        let (hash, parts): (&str, Vec<&str>) = match parsed {
            Parsed::First { hash, day, domain, local } => (hash, vec![day, domain, local]),
            Parsed::Again { hash, domain, rest } => (hash, vec![domain, rest]),
        };
        let opens = |(secret, least): (&str, usize)| is_hash(hash, &hash_of(secret, &parts), least);
        if !self.0.iter().any(|secret| opens(unmarked(secret))) {
            return Err(SrsError::Wrong);
        }
        let (local, domain) = match parsed {
            Parsed::First { day, domain, local, .. } => {
                let day = day_number(day).ok_or(SrsError::Wrong)?;
                let age = (today(now) + DAYS_MODULUS - day) % DAYS_MODULUS;
                if age > SRS_DAYS {
                    return Err(SrsError::Expired);
                }
                ((*local).to_owned(), *domain)
            }
            Parsed::Again { domain, rest, .. } => (format!("SRS0{rest}"), *domain),
        };
        let domain = Domain::parse(domain).map_err(|_| SrsError::Wrong)?;
        Address::at(&local, &domain).map_err(|_| SrsError::Wrong)
    }
}

fn first(secret: &str, day: &str, domain: &str, local: &str) -> String {
    format!("SRS0={}={day}={domain}={local}", written(secret, &[day, domain, local]))
}

fn again(secret: &str, domain: &str, rest: &str) -> String {
    format!("SRS1={}={domain}={rest}", written(secret, &[domain, rest]))
}

/// The digit and what follows it, of a local part that begins with `SRS0` or `SRS1` and a separator.
fn tag(local: &str) -> Option<(char, &str)> {
    let (start, rest) = local.split_at_checked(4)?;
    let digit = start.chars().next_back().filter(|digit| matches!(digit, '0' | '1'))?;
    let known = start.get(..3).is_some_and(|srs| srs.eq_ignore_ascii_case("SRS"));
    (known && rest.starts_with(['=', '+', '-'])).then_some((digit, rest))
}

fn parse(local: &str) -> Option<Parsed<'_>> {
    let (digit, rest) = tag(local)?;
    let rest = rest.get(1..)?;
    let (hash, rest) = rest.split_once('=')?;
    if digit == '1' {
        let (domain, rest) = rest.split_once('=')?;
        return rest.starts_with(['=', '+', '-']).then_some(Parsed::Again { hash, domain, rest });
    }
    let (day, rest) = rest.split_once('=')?;
    let (domain, local) = rest.split_once('=')?;
    Some(Parsed::First { hash, day, domain, local })
}

/// The hash as it stands in an address of ours.
fn written(secret: &str, parts: &[&str]) -> String {
    let mut hash = hash_of(secret, parts);
    hash.truncate(HASH_CHARS);
    hash
}

/// The HMAC of all parts in lower case, in base 64.
fn hash_of(secret: &str, parts: &[&str]) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return String::new() };
    parts.iter().for_each(|part| mac.update(part.to_ascii_lowercase().as_bytes()));
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Whether this is the beginning of the hash, of `least` characters or more. Hosts on the way fold the case of a local
/// part: so does this. postsrsd writes the alphabet of RFC 4648 section 5 since 2.2.6, others that of section 4.
fn is_hash(given: &str, known: &str, least: usize) -> bool {
    let folded = |c: char| match c {
        '-' => '+',
        '_' => '/',
        c => c.to_ascii_lowercase(),
    };
    let given: String = given.chars().map(folded).collect();
    let known: String = known.trim_end_matches('=').chars().map(folded).collect();
    let same = |known: &str| bool::from(given.as_bytes().ct_eq(known.as_bytes()));
    given.len() >= least && known.get(..given.len()).is_some_and(same)
}

const fn today(now: UnixTime) -> u64 {
    (now.as_secs() / DAY_SECS) % DAYS_MODULUS
}

fn day_text(now: UnixTime) -> String {
    let digit = |place: u64| DIGITS.get(usize::try_from(place % 32).unwrap_or(0)).copied().unwrap_or(b'A');
    [digit(today(now) / 32), digit(today(now))].map(char::from).iter().collect()
}

fn day_number(text: &str) -> Option<u64> {
    let digit = |octet: u8| DIGITS.iter().position(|known| *known == octet.to_ascii_uppercase());
    match text.as_bytes() {
        [high, low] => u64::try_from(digit(*high)? * 32 + digit(*low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(20_781 * DAY_SECS + 5);

    fn secrets() -> SrsSecrets {
        SrsSecrets::try_from(vec!["a secret of 24 characters".to_owned(), "x".repeat(16)]).unwrap()
    }

    fn at(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn rewritten(path: &str) -> Option<String> {
        let ours = Domain::parse("example.org").unwrap();
        secrets().rewrite(&at(path), &ours, NOW).map(|address| address.to_string())
    }

    fn opened(address: &str, now: UnixTime) -> Option<Result<String, SrsError>> {
        secrets().open(&at(address), now).map(|opened| opened.map(|address| address.to_string()))
    }

    #[test]
    fn an_address_is_written_as_the_draft_has_it_and_opened_again() {
        // HMAC-SHA-1 of "4nexample.netbob+x" under the first secret; day 20,781 is 301 modulo 1024.
        assert_eq!(rewritten("Bob+x@example.net").unwrap(), KNOWN);
        assert_eq!(opened(KNOWN, NOW), Some(Ok("Bob+x@example.net".to_owned())));
        assert_eq!(opened(&KNOWN.to_lowercase(), NOW), Some(Ok("bob+x@example.net".to_owned())));
        assert_eq!(opened(&KNOWN.to_uppercase(), NOW), Some(Ok("BOB+X@example.net".to_owned())));
    }

    const KNOWN: &str = "SRS0=wXEk9r=JN=example.net=Bob+x@example.org";

    #[test]
    fn an_address_is_good_for_21_days() {
        let day = |days: u64| UnixTime::from_secs((20_781 + days) * DAY_SECS);
        assert!(opened(KNOWN, day(SRS_DAYS)).unwrap().is_ok());
        assert_eq!(opened(KNOWN, day(SRS_DAYS + 1)), Some(Err(SrsError::Expired)));
        let yesterday = UnixTime::from_secs(20_780 * DAY_SECS);
        assert_eq!(opened(KNOWN, yesterday), Some(Err(SrsError::Expired)));
    }

    #[test]
    fn what_was_not_written_here_leads_nowhere() {
        for (from, to) in [("=Bob", "=Eve"), ("example.net", "example.com"), ("=JN", "=JM"), ("wXE", "wXF")] {
            let forged = KNOWN.replacen(from, to, 1);
            assert_eq!(opened(&forged, NOW), Some(Err(SrsError::Wrong)), "{forged}");
        }
        for short in ["SRS0=wXEk=JN=example.net=Bob+x@example.org", "SRS0==JN=example.net=Bob+x@example.org"]
        {
            assert_eq!(opened(short, NOW), Some(Err(SrsError::Wrong)), "{short}");
        }
        for other in ["bob@example.org", "SRS0@example.org", "SRS0=a=b@example.org", "srs=a=b=c@example.org"]
        {
            assert_eq!(opened(other, NOW), None, "{other}");
        }
        let other = SrsSecrets::try_from(vec!["y".repeat(16)]).unwrap();
        assert_eq!(other.open(&at(KNOWN), NOW), Some(Err(SrsError::Wrong)));
        let newer = SrsSecrets::try_from(vec!["y".repeat(16), secrets().0[0].clone()]).unwrap();
        assert!(newer.open(&at(KNOWN), NOW).unwrap().is_ok(), "an older secret still opens");
    }

    /// Symptom: bounces to addresses that postsrsd had written before the move were refused. Cause: it writes four
    /// characters of the hash, since 2.2.6 in the other alphabet.
    #[test]
    fn addresses_that_postsrsd_wrote_are_opened_with_its_secret_when_it_is_marked() {
        let secret = "0123456789abcdef01234567";
        let parts = ["JN", "example.net", "bob29"];
        let hash = hash_of(secret, &parts);
        assert!(hash.get(..4).is_some_and(|start| start.contains(['+', '/'])), "{hash}");
        let others: String = hash
            .chars()
            .map(|c| {
                if c == '+' {
                    '-'
                } else if c == '/' {
                    '_'
                } else {
                    c
                }
            })
            .collect();
        let open = |secrets: &[&str], hash: &str| {
            let secrets =
                SrsSecrets::try_from(secrets.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
            let address = at(&format!("SRS0={hash}=JN=example.net=bob29@example.org"));
            secrets.open(&address, NOW).unwrap().is_ok()
        };
        let marked = format!("postsrsd:{secret}");
        let own = "x".repeat(16);
        for hash in [&hash, &others] {
            for (chars, by_own, by_marked) in
                [(3, false, false), (4, false, true), (5, false, true), (6, true, true), (27, true, true)]
            {
                let hash = &hash[..chars];
                assert_eq!(open(&[secret], hash), by_own, "{hash}");
                assert_eq!(open(&[&own, &marked], hash), by_marked, "{hash}");
            }
            assert!(!open(&[&own, &marked], &hash[..28]) && !open(&[&own, &marked], ""), "{hash}");
        }
        let writes = |secret: &str| {
            let secrets = SrsSecrets::try_from(vec![secret.to_owned()]).unwrap();
            secrets.rewrite(&at("bob29@example.net"), &Domain::parse("example.org").unwrap(), NOW)
        };
        assert!(writes(secret).is_some());
        assert_eq!(writes(secret), writes(&marked), "the mark is no part of the secret");
        assert!(SrsSecrets::try_from(vec![format!("postsrsd:{}", "x".repeat(15))]).is_err());
    }

    #[test]
    fn another_forwarders_address_goes_back_to_it_and_never_grows_again() {
        let again = rewritten("SRS0=HHHH=TT=a.example=al@fwd.example").unwrap();
        assert!(
            again.starts_with("SRS1=") && again.ends_with("=fwd.example==HHHH=TT=a.example=al@example.org")
        );
        assert_eq!(opened(&again, NOW), Some(Ok("SRS0=HHHH=TT=a.example=al@fwd.example".to_owned())));
        let third = rewritten("SRS1=HHHH=fwd.example==HHHH=TT=a.example=al@second.example").unwrap();
        assert!(third.ends_with("=fwd.example==HHHH=TT=a.example=al@example.org"), "{third}");
        assert_eq!(opened(&third, NOW), Some(Ok("SRS0=HHHH=TT=a.example=al@fwd.example".to_owned())));
    }

    #[test]
    fn what_has_no_room_or_no_plain_form_is_not_rewritten() {
        // "SRS0=HHHHHH=TT=example.net=" has 27 octets: 37 are left.
        assert!(rewritten(&format!("{}@example.net", "a".repeat(37))).is_some());
        assert_eq!(rewritten(&format!("{}@example.net", "a".repeat(38))), None);
        for path in ["\"a b\"@example.net", "ä@example.net", "a@[192.0.2.1]"] {
            assert_eq!(rewritten(path), None, "{path}");
        }
    }

    #[test]
    fn secrets_have_limits_and_are_not_shown() {
        let of = |count: usize, octets: usize| SrsSecrets::try_from(vec!["x".repeat(octets); count]);
        assert!(of(1, 16).is_ok() && of(8, 256).is_ok());
        assert!(of(0, 16).is_err() && of(9, 16).is_err() && of(1, 15).is_err() && of(1, 257).is_err());
        assert!(!format!("{:?}", secrets()).contains("secret of"));
    }
}
