//! Signatures of domains over messages: DKIM (RFC 6376, RFC 8301, RFC 8463).
//!
//! A message is verified in the order in which it comes in: [`Signatures::parse`] reads its header section,
//! [`Signatures::keys`] asks DNS while [`BodyHashes`] takes the body, and [`Signatures::verify`] puts the two
//! together into a [`DkimVerdict`] for each signature. [`sign`] makes them. The parts that ARC shares (tag lists, canonical forms,
//! keys, body hashes) are in the modules below.

mod body;
pub(crate) mod canonical;
pub(crate) mod fields;
pub(crate) mod join;
mod key;
pub mod sign;
pub(crate) mod signature;
pub(crate) mod tag_list;
#[cfg(test)]
pub(crate) mod tests;

use mail::UnixTime;
use mail::header::{self, Field};
use serde::Serialize;

pub use self::body::{BodyHashes, FinishedHashes};
use self::fields::HeaderFields;
use self::key::KeyRecord;
pub use self::key::Keys;
pub use self::signature::Algorithm;
use self::signature::{BASE64, FIELD_OCTETS_MAX, Mark, Problem, Scope, domain};
use self::tag_list::{TagList, quoted_printable};
use crate::dns::Resolver;

/// Most signatures of one message that are looked at, from the top. RFC 6376 section 6.1 allows a limit.
pub const SIGNATURES_MAX: usize = 10;

/// What became of a signature, in the words of RFC 8601 section 2.7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DkimResult {
    /// The message has no signature.
    None,
    /// The signature is right.
    Pass,
    /// It is wrong: the message was changed, the key is another, or it has expired.
    Fail,
    /// It may be right and yet does not count.
    Policy,
    /// The signature can't be read.
    Neutral,
    /// DNS gives no answer now.
    TempError,
    /// There is no key for it that can be used, or its algorithm is not accepted.
    PermError,
}

impl DkimResult {
    /// The word of RFC 8601 section 2.7.1.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// What is known of one signature. Texts are the signer's own words: valid names where the type says so below,
/// else to be quoted by whoever writes them out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DkimVerdict {
    /// The result, in the words of RFC 8601.
    pub result: DkimResult,
    /// `d=`, in lower case; empty when it is no domain.
    pub domain: String,
    /// `s=`; empty when the signature can't be read.
    pub selector: String,
    /// `i=`, or what stands for it: `@` and the domain; decoded. Not a safe word: the part before the `@` is free text
    /// without control characters. Empty when the signature can't be read.
    pub agent: String,
    /// `a=`; `None` when it can't be read or is not known.
    pub algorithm: Option<Algorithm>,
    /// The size of the key in bits, when there is one.
    pub key_bits: Option<u32>,
    /// The key says that the domain only tries DKIM out (`t=y`): the verdict is to have no effect (RFC 6376
    /// section 3.6.1).
    pub testing: bool,
    /// Why it does not pass, in fixed words that hold nothing of the message; empty when it passes.
    pub reason: String,
    /// The first eight characters of `b=`, as `header.b` (RFC 8601 section 2.7.1, RFC 6008); empty when the
    /// signature can't be read.
    pub start: String,
}

/// Characters of `b=` that tell signatures apart (RFC 6008 section 3).
const START_CHARS: usize = 8;

/// A DKIM-Signature field that was read.
#[derive(Debug, Clone)]
struct Signature {
    mark: Mark,
    scope: Scope,
    agent: String,
    /// The agent's domain is below the signer's, which a key may forbid.
    agent_below: bool,
}

impl Signature {
    fn parse(value: &[u8]) -> Result<Self, Problem> {
        if value.len() > FIELD_OCTETS_MAX {
            return Err(Problem::syntax("signature is too long"));
        }
        let tags = TagList::parse(value).map_err(Problem::syntax)?;
        match tags.value("v") {
            Some("1") => {}
            Some(_) => return Err(Problem::syntax("v= is not 1")),
            None => return Err(Problem::syntax("v= is missing")),
        }
        let mark = Mark::parse(&tags)?;
        let scope = Scope::parse(&tags)?;
        let agent = match tags.value("i") {
            Some(agent) => quoted_printable(agent),
            None => Some(format!("@{}", mark.domain)),
        };
        let no_identity = || Problem::syntax("i= is not an identity");
        let agent = agent.ok_or_else(no_identity)?;
        let place = agent.rsplit_once('@').and_then(|(_, place)| domain(place)).ok_or_else(no_identity)?;
        let agent_below = match place.strip_suffix(&mark.domain) {
            Some("") => false,
            Some(above) if above.ends_with('.') => true,
            _ => return Err(Problem::syntax("i= is not in the domain of d=")),
        };
        Ok(Self { mark, scope, agent, agent_below })
    }

    /// Whether the signature may pass, as far as it tells itself.
    fn check(&self) -> Result<(), Problem> {
        self.mark.check_algorithm()?;
        self.scope.check_extent()
    }

    /// All checks that need the message, in the order of RFC 6376 section 6.1.
    fn verify(&self, own: Option<&Field<'_>>, message: &Message<'_>, key: &KeyRecord) -> Result<(), Problem> {
        let own =
            own.ok_or_else(|| Problem::new(DkimResult::PermError, "another header than the one parsed"))?;
        if key.strict && self.agent_below {
            return Err(Problem::new(DkimResult::PermError, "the key allows no domain below it (t=s)"));
        }
        if !message.body.matches(self.scope.body_form, &self.scope.body_hash) {
            return Err(Problem::new(DkimResult::Fail, "the body was changed"));
        }
        let hash = self.scope.header_hash(message.fields, own, &self.mark);
        if !key.verifies(&hash, &self.mark.octets) {
            return Err(Problem::new(
                DkimResult::Fail,
                "the signature is not that of the header and the key",
            ));
        }
        Ok(())
    }
}

/// The message that a signature is verified against.
struct Message<'a> {
    fields: &'a HeaderFields<'a>,
    body: &'a FinishedHashes,
    keys: &'a Keys,
    now: UnixTime,
}

/// A signature field, where it stood and what it said.
#[derive(Debug, Clone)]
struct Found {
    offset: usize,
    raw: Vec<u8>,
    /// The verdict as far as it can be told without DNS.
    draft: DkimVerdict,
    signature: Result<Signature, Problem>,
}

impl Found {
    fn new(field: &Field<'_>) -> Self {
        let signature = Signature::parse(field.value);
        let raw = if signature.is_ok() { field.raw.to_vec() } else { Vec::new() };
        Self { offset: field.offset, raw, draft: draft(field.value, &signature), signature }
    }

    /// The signature, when it can pass.
    fn usable(&self) -> Option<&Signature> {
        self.signature.as_ref().ok().filter(|signature| signature.check().is_ok())
    }

    fn verdict(&self, message: &Message<'_>) -> DkimVerdict {
        let mut verdict = self.draft.clone();
        let outcome = self.signature.as_ref().map_err(Problem::clone).and_then(|signature| {
            signature.check()?;
            signature.mark.check_time(message.now)?;
            signature.scope.check_time(signature.mark.signed_at, message.now)?;
            let key = message.keys.of(&signature.mark)?;
            verdict.key_bits = Some(key.bits);
            verdict.testing = key.testing;
            signature.verify(message.fields.at(self.offset, &self.raw), message, key)
        });
        match outcome {
            Ok(()) => {
                verdict.result = DkimResult::Pass;
                verdict.reason.clear();
            }
            Err(problem) => {
                verdict.result = problem.result;
                verdict.reason = problem.reason;
            }
        }
        verdict
    }
}

/// What a field says of itself; of one that can't be read, what is valid in it.
fn draft(value: &[u8], signature: &Result<Signature, Problem>) -> DkimVerdict {
    let mut draft = DkimVerdict {
        result: DkimResult::Neutral,
        domain: String::new(),
        selector: String::new(),
        agent: String::new(),
        algorithm: None,
        key_bits: None,
        testing: false,
        reason: String::new(),
        start: String::new(),
    };
    match signature {
        Ok(signature) => {
            draft.domain.clone_from(&signature.mark.domain);
            draft.selector.clone_from(&signature.mark.selector);
            draft.agent.clone_from(&signature.agent);
            draft.algorithm = Some(signature.mark.algorithm);
            draft.start = start_of(&signature.mark.octets);
        }
        Err(_) if value.len() <= FIELD_OCTETS_MAX => {
            let tags = TagList::parse(value).ok();
            let value = |name| tags.as_ref().and_then(|tags| tags.value(name));
            draft.domain = value("d").and_then(domain).unwrap_or_default();
            draft.algorithm = value("a").and_then(Algorithm::parse);
        }
        Err(_) => {}
    }
    draft
}

fn start_of(octets: &[u8]) -> String {
    use base64::Engine as _;
    let head = octets.get(..START_CHARS).unwrap_or(octets);
    BASE64.encode(head).chars().take(START_CHARS).collect()
}

/// The signatures of a message's header section. Owns what it needs of it: at most [`SIGNATURES_MAX`] fields of
/// 16 KiB each.
#[derive(Debug, Clone)]
pub struct Signatures {
    found: Vec<Found>,
    /// Signatures beyond the limit.
    more: usize,
}

impl Signatures {
    /// Reads the DKIM-Signature fields of a header section, with or without the empty line at its end.
    #[must_use]
    pub fn parse(header: &[u8]) -> Self {
        Self::of(header::fields(header))
    }

    /// The same of fields that were found already.
    pub(crate) fn of<'a>(fields: impl Iterator<Item = Field<'a>>) -> Self {
        let mut signatures = fields.filter(|field| field.is("DKIM-Signature"));
        let found = signatures.by_ref().take(SIGNATURES_MAX).map(|field| Found::new(&field)).collect();
        Self { found, more: signatures.count() }
    }

    /// Whether the message has no signature at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Hashes of all body forms that the signatures are over. The body is fed to them, in order.
    #[must_use]
    pub fn body_hashes(&self) -> BodyHashes {
        BodyHashes::for_forms(self.usable().map(|signature| signature.scope.body_form))
    }

    /// Asks for the keys, all at once. What DNS does not answer shows in the verdicts.
    pub async fn keys(&self, resolver: &impl Resolver) -> Keys {
        Keys::ask(self.marks(), resolver).await
    }

    /// Marks of the signatures whose keys are wanted.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.usable().map(|signature| &signature.mark)
    }

    fn usable(&self) -> impl Iterator<Item = &Signature> {
        self.found.iter().filter_map(Found::usable)
    }

    /// The verdicts, in the order of the header, none for a message without signatures. `header` is the one
    /// that was parsed, octet for octet; `body` and `keys` were made by [`Signatures::body_hashes`] and
    /// [`Signatures::keys`]. Signatures beyond the limit have one verdict together, the last.
    #[must_use]
    pub fn verify(
        &self,
        header: &[u8],
        body: &FinishedHashes,
        keys: &Keys,
        now: UnixTime,
    ) -> Vec<DkimVerdict> {
        match self.is_empty() {
            true => Vec::new(),
            false => self.verify_in(&HeaderFields::new(header), body, keys, now),
        }
    }

    /// The same of a header section whose fields were found already.
    pub(crate) fn verify_in(
        &self,
        fields: &HeaderFields<'_>,
        body: &FinishedHashes,
        keys: &Keys,
        now: UnixTime,
    ) -> Vec<DkimVerdict> {
        let message = Message { fields, body, keys, now };
        let mut verdicts: Vec<DkimVerdict> = self.found.iter().map(|found| found.verdict(&message)).collect();
        if self.more > 0 {
            let unread = Err(Problem::new(DkimResult::Policy, ""));
            let reason = format!("too many signatures: {} not looked at", self.more);
            verdicts.push(DkimVerdict { result: DkimResult::Policy, reason, ..draft(b"", &unread) });
        }
        verdicts
    }
}
