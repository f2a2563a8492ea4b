//! What a signature says of itself, read once (RFC 6376 section 3.5). DKIM and both signatures of ARC share
//! most of it; what each of them demands beyond that is with their callers.

use std::ops::Range;

use aws_lc_rs::digest::Digest;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mail::UnixTime;
use mail::header::Field;
use serde::Serialize;

use super::DkimResult;
use super::canonical::{self, Canonicalization, Hasher};
use super::fields::HeaderFields;
use super::tag_list::{TagList, by_colon, is_white};

/// Octets of a signature field that is read; a longer one is refused.
pub(crate) const FIELD_OCTETS_MAX: usize = 16 * 1024;

/// How far a signature's own time may lie ahead of ours: clocks differ.
pub(crate) const AHEAD_SECS_MAX: u64 = 3600;

/// Signs and keys are written with or without padding, and not all clear the last bits.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The result of a signature that does not pass, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) result: DkimResult,
    pub(crate) reason: String,
}

impl Problem {
    pub(crate) fn new(result: DkimResult, reason: impl Into<String>) -> Self {
        Self { result, reason: reason.into() }
    }

    /// A signature that can't be read: RFC 8601 section 2.7.1 has "neutral" for syntax errors.
    pub(crate) fn syntax(reason: impl Into<String>) -> Self {
        Self::new(DkimResult::Neutral, reason)
    }
}

/// The signature algorithm, `a=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Algorithm {
    /// RSA with SHA-256 (RFC 6376 section 3.3.2).
    #[serde(rename = "rsa-sha256")]
    RsaSha256,
    /// RSA with SHA-1, which never passes (RFC 8301 section 3.1).
    #[serde(rename = "rsa-sha1")]
    RsaSha1,
    /// Ed25519 over SHA-256 (RFC 8463 section 3).
    #[serde(rename = "ed25519-sha256")]
    Ed25519Sha256,
}

impl Algorithm {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "rsa-sha256" => Some(Self::RsaSha256),
            "rsa-sha1" => Some(Self::RsaSha1),
            "ed25519-sha256" => Some(Self::Ed25519Sha256),
            _ => None,
        }
    }

    /// The algorithm's name, as written in `a=`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::RsaSha1 => "rsa-sha1",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// Who signed and with what: `a=`, `b=`, `d=`, `s=`, `t=`, in every signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) algorithm: Algorithm,
    /// The signature.
    pub(crate) octets: Vec<u8>,
    /// Where `b=` has its value, in the field's value.
    pub(crate) place: Range<usize>,
    /// `d=`, in lower case.
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) signed_at: Option<u64>,
}

impl Mark {
    pub(crate) fn parse(tags: &TagList<'_>) -> Result<Self, Problem> {
        let algorithm = Algorithm::parse(required(tags, "a", "a= is missing")?)
            .ok_or_else(|| Problem::syntax("a= is unknown"))?;
        let octets = base64(required(tags, "b", "b= is missing")?)
            .ok_or_else(|| Problem::syntax("b= is not base64"))?;
        let place = tags.tag("b").map(|tag| tag.place.clone()).unwrap_or_default();
        let domain = domain(required(tags, "d", "d= is missing")?)
            .ok_or_else(|| Problem::syntax("d= is not a domain"))?;
        let selector = selector(required(tags, "s", "s= is missing")?)
            .ok_or_else(|| Problem::syntax("s= is not a selector"))?;
        let signed_at = number(tags, "t").map_err(|()| Problem::syntax("t= is not a time"))?;
        let mark = Self { algorithm, octets, place, domain, selector, signed_at };
        if mark.key_name().len() > NAME_OCTETS_MAX {
            return Err(Problem::syntax("s= and d= are too long for a name"));
        }
        Ok(mark)
    }

    /// Where the key is published (RFC 6376 section 3.6.2.1).
    pub(crate) fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// Whether the algorithm may pass at all.
    pub(crate) fn check_algorithm(&self) -> Result<(), Problem> {
        if self.algorithm == Algorithm::RsaSha1 {
            return Err(Problem::new(DkimResult::PermError, "rsa-sha1 is not accepted"));
        }
        Ok(())
    }

    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), Problem> {
        if self.signed_at.is_some_and(|time| time > now.as_secs().saturating_add(AHEAD_SECS_MAX)) {
            return Err(Problem::new(DkimResult::Policy, "signed in the future"));
        }
        Ok(())
    }
}

/// What of the message a signature covers: `bh=`, `c=`, `h=`, `l=`, `x=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) header_form: Canonicalization,
    pub(crate) body_form: Canonicalization,
    pub(crate) body_hash: Vec<u8>,
    /// The signed fields, in lower case, in the order of `h=`.
    pub(crate) names: Vec<String>,
    /// `l=` is there: the signature covers only the start of the body.
    pub(crate) partial: bool,
    pub(crate) expires: Option<u64>,
}

impl Scope {
    /// Of a DKIM-Signature. Without From it says nothing of what people see (RFC 6376 section 5.4).
    pub(crate) fn parse(tags: &TagList<'_>) -> Result<Self, Problem> {
        let scope = Self::parse_any(tags)?;
        if scope.names.is_empty() {
            return Err(Problem::syntax("h= has a name that is none"));
        }
        if !scope.covers_from() {
            return Err(Problem::syntax("h= is without From"));
        }
        Ok(scope)
    }

    /// Whether the author's field is signed.
    pub(crate) fn covers_from(&self) -> bool {
        self.names.iter().any(|name| name == "from")
    }

    /// Of a signature that need not sign anything in particular.
    pub(crate) fn parse_any(tags: &TagList<'_>) -> Result<Self, Problem> {
        let body_hash = base64(required(tags, "bh", "bh= is missing")?)
            .ok_or_else(|| Problem::syntax("bh= is not base64"))?;
        let (header_form, body_form) = match tags.value("c") {
            None => (Canonicalization::Simple, Canonicalization::Simple),
            Some(forms) => forms_of(forms).ok_or_else(|| Problem::syntax("c= is unknown"))?,
        };
        let names = names_of(required(tags, "h", "h= is missing")?)?;
        let methods = tags.value("q").unwrap_or("dns/txt");
        if !by_colon(methods).any(|method| method == "dns/txt") {
            return Err(Problem::syntax("q= has no dns/txt"));
        }
        let partial = number(tags, "l").map_err(|()| Problem::syntax("l= is not a number"))?.is_some();
        let expires = number(tags, "x").map_err(|()| Problem::syntax("x= is not a time"))?;
        Ok(Self { header_form, body_form, body_hash, names, partial, expires })
    }

    /// Whether what is signed is enough to count: a part of the body is not, since anybody may append the rest.
    pub(crate) fn check_extent(&self) -> Result<(), Problem> {
        if self.partial {
            return Err(Problem::new(DkimResult::Policy, "covers only a part of the body (l=)"));
        }
        Ok(())
    }

    pub(crate) fn check_time(&self, signed_at: Option<u64>, now: UnixTime) -> Result<(), Problem> {
        let Some(expires) = self.expires else { return Ok(()) };
        if signed_at.is_some_and(|time| expires <= time) {
            return Err(Problem::new(DkimResult::Fail, "expires before it was signed"));
        }
        if now.as_secs() > expires {
            return Err(Problem::new(DkimResult::Fail, "expired"));
        }
        Ok(())
    }

    /// The hash over the signed fields and the signature's own field (RFC 6376 section 3.7), which starts at
    /// `own.offset`.
    pub(crate) fn header_hash(&self, fields: &HeaderFields<'_>, own: &Field<'_>, mark: &Mark) -> Digest {
        let mut hasher = Hasher::new();
        for field in fields.select(&self.names, own.offset) {
            canonical::field(self.header_form, field, &mut hasher);
        }
        canonical::signature_field(self.header_form, own, &mark.place, &mut hasher);
        hasher.finish()
    }
}

fn required<'a>(tags: &TagList<'a>, name: &str, missing: &'static str) -> Result<&'a str, Problem> {
    tags.value(name).ok_or_else(|| Problem::syntax(missing))
}

fn forms_of(value: &str) -> Option<(Canonicalization, Canonicalization)> {
    match value.split_once('/') {
        Some((header, body)) => Some((Canonicalization::parse(header)?, Canonicalization::parse(body)?)),
        None => Some((Canonicalization::parse(value)?, Canonicalization::Simple)),
    }
}

fn names_of(value: &str) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    if value.trim_matches(is_white).is_empty() {
        return Ok(names);
    }
    for name in by_colon(value) {
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(Problem::syntax("h= has a name that is none"));
        }
        names.push(name.to_ascii_lowercase());
    }
    Ok(names)
}

/// The number of a tag, if there is one. Digits only; the longest that fit are taken.
pub(crate) fn number(tags: &TagList<'_>, name: &str) -> Result<Option<u64>, ()> {
    let Some(value) = tags.value(name) else { return Ok(None) };
    if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(());
    }
    // `l=` may have 76 digits, more than any body has octets.
    Ok(Some(value.parse().unwrap_or(u64::MAX)))
}

/// Base64 with white space anywhere (RFC 6376 section 2.10); not empty.
pub(crate) fn base64(value: &str) -> Option<Vec<u8>> {
    let is_white = |octet: &u8| is_white(char::from(*octet));
    let octets = match value.bytes().any(|octet| is_white(&octet)) {
        true => BASE64.decode(value.bytes().filter(|octet| !is_white(octet)).collect::<Vec<u8>>()),
        false => BASE64.decode(value),
    };
    octets.ok().filter(|octets| !octets.is_empty())
}

const NAME_OCTETS_MAX: usize = 253;
const LABEL_OCTETS_MAX: usize = 63;

/// A domain of at least two labels (RFC 6376 section 3.5, `d=`), in lower case.
pub(crate) fn domain(value: &str) -> Option<String> {
    let valid = value.len() <= NAME_OCTETS_MAX
        && value.contains('.')
        && value.split('.').all(|label| is_label(label) && !label.contains('_'));
    valid.then(|| value.to_ascii_lowercase())
}

/// One label or more. An underscore is not in the grammar but in use.
pub(crate) fn selector(value: &str) -> Option<String> {
    let valid = value.len() <= NAME_OCTETS_MAX && value.split('.').all(is_label);
    valid.then(|| value.to_owned())
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_OCTETS_MAX).contains(&label.len())
        && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}
