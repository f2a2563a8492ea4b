//! DMARC policy records (RFC 9989 section 4.7).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most octets of a record that are read.
const RECORD_OCTETS_MAX: usize = 16 * 1024;

/// What an owner wants done with mail that fails; later is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nothing is to be done with it.
    #[default]
    None,
    /// Treat it with suspicion.
    Quarantine,
    /// Refuse it.
    Reject,
}

impl Policy {
    /// The policy's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// One step down, for owners who only try it (`t=y`).
    #[must_use]
    pub const fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| policy.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How near the author's domain a domain has to be (`adkim`, `aspf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlignmentMode {
    /// Of the same organizational domain.
    #[default]
    Relaxed,
    /// The very same domain.
    Strict,
}

/// Whether the domain is a public suffix (`psd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Psd {
    /// The record does not say.
    #[default]
    Unknown,
    /// It is one: others have domains below it.
    Yes,
    /// It is not: it is an organizational domain.
    No,
}

/// A record, as far as a verdict needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DmarcRecord {
    pub(crate) policy: Policy,
    pub(crate) subdomain_policy: Option<Policy>,
    pub(crate) missing_policy: Option<Policy>,
    pub(crate) dkim_mode: AlignmentMode,
    pub(crate) spf_mode: AlignmentMode,
    pub(crate) psd: Psd,
    pub(crate) testing: bool,
    /// A policy that is missing or can't be understood, and no address for reports that would show that the
    /// owner wants DMARC at all.
    unusable: bool,
}

impl DmarcRecord {
    /// Parses a text; `None` when it is no DMARC record.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text.get(..RECORD_OCTETS_MAX.min(text.len()))?).ok()?;
        let mut tags = text.split(';').map(|tag| match tag.split_once('=') {
            Some((name, value)) => (name.trim_matches(WSP), value.trim_matches(WSP)),
            None => (tag.trim_matches(WSP), ""),
        });
        // The version comes first and is written exactly so.
        if tags.next()? != ("v", "DMARC1") {
            return None;
        }
        let mut record = Self::default();
        let (mut policy, mut invalid, mut reports) = (None, false, false);
        for (name, value) in tags {
            match name.to_ascii_lowercase().as_str() {
                "p" => take_policy(&mut policy, value, &mut invalid),
                "sp" => take_policy(&mut record.subdomain_policy, value, &mut invalid),
                "np" => take_policy(&mut record.missing_policy, value, &mut invalid),
                "adkim" => record.dkim_mode = mode(value),
                "aspf" => record.spf_mode = mode(value),
                "psd" => record.psd = psd(value),
                "t" => record.testing = value.eq_ignore_ascii_case("y"),
                "rua" => reports = value.split(',').any(|uri| is_uri(uri.trim_matches(WSP))),
                _ => {}
            }
        }
        record.policy = policy.unwrap_or_default();
        if invalid || policy.is_none() {
            // The owner is heard, and nothing is done to the mail; without reports there is no owner to hear.
            record.policy = Policy::None;
            record.subdomain_policy = None;
            record.missing_policy = None;
            record.unusable = !reports && record.psd != Psd::Yes;
        }
        Some(record)
    }

    /// Whether the record says what to do.
    pub(crate) const fn is_usable(&self) -> bool {
        !self.unusable
    }
}

const WSP: [char; 4] = [' ', '\t', '\r', '\n'];

/// The first tag of a name counts.
fn take_policy(place: &mut Option<Policy>, value: &str, invalid: &mut bool) {
    match Policy::parse(value) {
        Some(policy) => {
            place.get_or_insert(policy);
        }
        None => *invalid = true,
    }
}

fn mode(value: &str) -> AlignmentMode {
    if value.eq_ignore_ascii_case("s") { AlignmentMode::Strict } else { AlignmentMode::Relaxed }
}

fn psd(value: &str) -> Psd {
    match value {
        "y" | "Y" => Psd::Yes,
        "n" | "N" => Psd::No,
        _ => Psd::Unknown,
    }
}

fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
    })
}
