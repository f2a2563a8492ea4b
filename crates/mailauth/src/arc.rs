//! The chain of those who handled a message and vouch for what they saw: ARC (RFC 8617), verified and sealed.
//!
//! The order of work is that of [`crate::dkim`], whose body hashes and keys are used: [`Chain::parse`] reads
//! the header section, [`Chain::keys`] asks DNS while the body streams by, [`Chain::verify`] gives one
//! [`ArcVerdict`] for the whole chain.

mod seal;
mod set;
#[cfg(test)]
mod tests;

use mail::UnixTime;
use mail::header::{self, Field};
use serde::Serialize;

use self::set::{ChainStatus, Set, Sets};
use crate::dkim::canonical::{self, Canonicalization, Hasher};
use crate::dkim::fields::HeaderFields;
use crate::dkim::signature::{Mark, Problem};
use crate::dkim::{BodyHashes, DkimResult, FinishedHashes, Keys};
use crate::dns::Resolver;

pub use self::seal::seal;
pub use self::set::INSTANCE_MAX;

/// What became of the chain (RFC 8617 section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ArcResult {
    /// The message has no chain.
    None,
    /// The chain holds.
    Pass,
    /// It is broken, or can't be verified now: then [`ArcVerdict::temporary`] is set.
    Fail,
}

impl ArcResult {
    /// As `cv=` and RFC 8601 write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

/// The verdict on a message's ARC chain (RFC 8617 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArcVerdict {
    /// The result for the whole chain.
    pub result: ArcResult,
    /// Why it does not, in fixed words and numbers; empty when it passes or there is none.
    pub reason: String,
    /// It failed only because DNS gives no answer now. RFC 8617 section 5.2 has no third result for this.
    pub temporary: bool,
    /// When the chain passes, the first instance from which on nobody has changed what was signed: 0 when
    /// nobody has since the first (RFC 8617 section 5.2, step 5).
    pub oldest_pass: Option<u8>,
    /// The last ARC-Message-Signature covers the author's field. Only then the chain says whose message it is.
    pub covers_from: bool,
    /// `d=` of each ARC-Seal, the first to seal first, in lower case. Empty when the sets are not well formed.
    /// Proven only when the chain passes.
    pub sealers: Vec<String>,
}

impl ArcVerdict {
    fn fail(problem: Problem, sealers: Vec<String>) -> Self {
        Self {
            result: ArcResult::Fail,
            temporary: problem.result == DkimResult::TempError,
            reason: problem.reason,
            oldest_pass: None,
            covers_from: false,
            sealers,
        }
    }
}

/// The ARC sets of a message's header section. Owns what it needs of it: at most [`INSTANCE_MAX`] sets of
/// three fields, of 16 KiB each.
#[derive(Debug, Clone)]
pub struct Chain(Result<Sets, Problem>);

impl Chain {
    /// Reads the ARC fields of a header section, with or without the empty line at its end.
    #[must_use]
    pub fn parse(header: &[u8]) -> Self {
        Self::of(header::fields(header))
    }

    /// The same of fields that were found already.
    pub(crate) fn of<'a>(fields: impl Iterator<Item = Field<'a>>) -> Self {
        Self(Sets::parse(fields))
    }

    /// Whether the message has no ARC field at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_ok_and(|sets| sets.all().is_empty())
    }

    /// Hashes of all body forms that the chain's signatures are over. The body is fed to them, in order.
    #[must_use]
    pub fn body_hashes(&self) -> BodyHashes {
        let meanings = self.wanted().iter().flat_map(|set| set.message.meanings());
        BodyHashes::for_forms(meanings.map(|scope| scope.body_form))
    }

    /// Asks for the keys, all at once: two for each set at most.
    pub async fn keys(&self, resolver: &impl Resolver) -> Keys {
        Keys::ask(self.marks(), resolver).await
    }

    /// Marks of the signatures whose keys are wanted.
    pub(crate) fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.wanted().iter().flat_map(|set| [&set.message.mark, &set.seal.mark])
    }

    /// The sets, when there is a point in verifying them.
    fn wanted(&self) -> &[Set] {
        match &self.0 {
            Ok(sets) if sets.check().is_ok() => sets.all(),
            _ => &[],
        }
    }

    /// The verdict (RFC 8617 section 5.2). `header` is the one that was parsed, octet for octet; `body` and
    /// `keys` were made by [`Chain::body_hashes`] and [`Chain::keys`].
    #[must_use]
    pub fn verify(&self, header: &[u8], body: &FinishedHashes, keys: &Keys, now: UnixTime) -> ArcVerdict {
        let wanted = if self.wanted().is_empty() { &[] } else { header };
        self.verify_in(&HeaderFields::new(wanted), body, keys, now)
    }

    /// The same of a header section whose fields were found already. They are looked at only where the chain is to be
    /// verified.
    pub(crate) fn verify_in(
        &self,
        fields: &HeaderFields<'_>,
        body: &FinishedHashes,
        keys: &Keys,
        now: UnixTime,
    ) -> ArcVerdict {
        let sets = match &self.0 {
            Ok(sets) => sets,
            Err(problem) => return ArcVerdict::fail(problem.clone(), Vec::new()),
        };
        if sets.all().is_empty() {
            return ArcVerdict {
                result: ArcResult::None,
                reason: String::new(),
                temporary: false,
                oldest_pass: None,
                covers_from: false,
                sealers: Vec::new(),
            };
        }
        let sealers = sets.all().iter().map(|set| set.seal.mark.domain.clone()).collect();
        let message = Message { fields, body, keys, now };
        match message.verify(sets) {
            Ok(oldest_pass) => ArcVerdict {
                result: ArcResult::Pass,
                reason: String::new(),
                temporary: false,
                oldest_pass: Some(oldest_pass),
                covers_from: sets.all().last().is_some_and(|set| set.message.scope.covers_from()),
                sealers,
            },
            Err(problem) => ArcVerdict::fail(problem, sealers),
        }
    }
}

/// The message that a chain is verified against.
struct Message<'a> {
    fields: &'a HeaderFields<'a>,
    body: &'a FinishedHashes,
    keys: &'a Keys,
    now: UnixTime,
}

impl Message<'_> {
    /// Steps 2 to 6 of RFC 8617 section 5.2: gives the oldest instance that passes.
    fn verify(&self, sets: &Sets) -> Result<u8, Problem> {
        sets.check()?;
        let mut newest_first = sets.all().iter().rev();
        let Some(newest) = newest_first.next() else { return Ok(0) };
        self.verify_message(newest)?;
        let oldest_pass = newest_first.find(|set| self.verify_message(set).is_err());
        self.verify_seals(sets.all())?;
        Ok(oldest_pass.map_or(0, |broken| broken.instance + 1))
    }

    /// One ARC-Message-Signature.
    fn verify_message(&self, set: &Set) -> Result<(), Problem> {
        let at = |problem| at(problem, "ARC-Message-Signature", set.instance);
        let signature = &set.message;
        signature.mark.check_algorithm().map_err(at)?;
        signature.scope.check_extent().map_err(at)?;
        signature.mark.check_time(self.now).map_err(at)?;
        signature.scope.check_time(signature.mark.signed_at, self.now).map_err(at)?;
        let key = self.keys.of(&signature.mark).map_err(at)?;
        let own = self.fields.at(signature.kept.offset, &signature.kept.raw);
        let own = own.ok_or_else(|| at(fail("another header than the one parsed")))?;
        let mut found = Err(fail("the body was changed"));
        for scope in signature.meanings() {
            if !self.body.matches(scope.body_form, &scope.body_hash) {
                continue;
            }
            let hash = scope.header_hash(self.fields, own, &signature.mark);
            if key.verifies(&hash, &signature.mark.octets) {
                return Ok(());
            }
            found = Err(fail("the signature is not that of the header and the key"));
        }
        found.map_err(at)
    }

    /// All ARC-Seals. Each covers the sets before it and its own (RFC 8617 section 5.1.1), so one hash goes
    /// along, of which each seal takes its copy.
    fn verify_seals(&self, sets: &[Set]) -> Result<(), Problem> {
        const FORM: Canonicalization = Canonicalization::Relaxed;
        let mut hasher = Hasher::new();
        for set in sets {
            let at = |problem| at(problem, "ARC-Seal", set.instance);
            let mark: &Mark = &set.seal.mark;
            mark.check_algorithm().map_err(at)?;
            mark.check_time(self.now).map_err(at)?;
            let key = self.keys.of(mark).map_err(at)?;
            canonical::field(FORM, &set.results.field(), &mut hasher);
            canonical::field(FORM, &set.message.kept.field(), &mut hasher);
            let mut own = hasher.clone();
            canonical::signature_field(FORM, &set.seal.kept.field(), &mark.place, &mut own);
            if !key.verifies(&own.finish(), &mark.octets) {
                return Err(at(fail("the seal is not that of the sets and the key")));
            }
            canonical::field(FORM, &set.seal.kept.field(), &mut hasher);
        }
        Ok(())
    }
}

impl Sets {
    /// What the seals say of the chain before them (RFC 8617 section 5.2, steps 2 and 3).
    fn check(&self) -> Result<(), Problem> {
        if self.all().last().is_some_and(|set| set.seal.status == ChainStatus::Fail) {
            return Err(fail("sealed as failed (cv=fail)"));
        }
        for set in self.all() {
            let right = if set.instance == 1 { ChainStatus::None } else { ChainStatus::Pass };
            if set.seal.status != right {
                return Err(at(fail("cv= is not what it must be"), "ARC-Seal", set.instance));
            }
        }
        Ok(())
    }
}

fn fail(reason: &str) -> Problem {
    Problem::new(DkimResult::Fail, reason)
}

fn at(mut problem: Problem, field: &str, instance: u8) -> Problem {
    problem.reason = format!("{field} {instance}: {}", problem.reason);
    problem
}
