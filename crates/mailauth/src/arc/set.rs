//! ARC sets as a header section holds them: three fields for each instance (RFC 8617 section 4.2).

use std::collections::BTreeMap;

use mail::header::Field;

use super::{at, fail};
use crate::dkim::canonical::Canonicalization;
use crate::dkim::signature::{FIELD_OCTETS_MAX, Mark, Problem, Scope};
use crate::dkim::tag_list::{TagList, trim};

/// Most sets of a chain (RFC 8617 section 4.2.1).
pub const INSTANCE_MAX: u8 = 50;

pub(super) const RESULTS: &str = "ARC-Authentication-Results";
pub(super) const MESSAGE: &str = "ARC-Message-Signature";
pub(super) const SEAL: &str = "ARC-Seal";

/// A field, kept as it came.
#[derive(Debug, Clone)]
pub(super) struct KeptField {
    pub(super) raw: Vec<u8>,
    pub(super) offset: usize,
    /// Octets of `raw` before the colon, and where the value ends.
    name: usize,
    value: std::ops::Range<usize>,
}

impl KeptField {
    fn new(field: &Field<'_>) -> Self {
        let colon = field.raw.iter().position(|octet| *octet == b':').unwrap_or(field.raw.len());
        let start = (colon + 1).min(field.raw.len());
        Self {
            raw: field.raw.to_vec(),
            offset: field.offset,
            name: field.name.len(),
            value: start..(start + field.value.len()).min(field.raw.len()),
        }
    }

    pub(super) fn field(&self) -> Field<'_> {
        Field {
            name: self.raw.get(..self.name).unwrap_or_default(),
            value: self.raw.get(self.value.clone()).unwrap_or_default(),
            raw: &self.raw,
            offset: self.offset,
        }
    }
}

/// `cv=`: what a sealer found of the chain before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainStatus {
    None,
    Pass,
    Fail,
}

/// An ARC-Message-Signature: a signature like that of DKIM, without `v=` and with another meaning of `i=`
/// (RFC 8617 section 4.1.2).
#[derive(Debug, Clone)]
pub(super) struct MessageSignature {
    pub(super) kept: KeptField,
    pub(super) mark: Mark,
    pub(super) scope: Scope,
    /// `c=` is not there. RFC 8617 takes DKIM's default, simple; sealers that follow its drafts mean relaxed.
    pub(super) plain: bool,
}

impl MessageSignature {
    /// What may be meant, the RFC's own meaning first.
    pub(super) fn meanings(&self) -> Vec<Scope> {
        let mut meanings = vec![self.scope.clone()];
        if self.plain {
            let relaxed = Canonicalization::Relaxed;
            meanings.push(Scope { header_form: relaxed, body_form: relaxed, ..self.scope.clone() });
        }
        meanings
    }
}

/// An ARC-Seal (RFC 8617 section 4.1.3).
#[derive(Debug, Clone)]
pub(super) struct Seal {
    pub(super) kept: KeptField,
    pub(super) mark: Mark,
    pub(super) status: ChainStatus,
}

/// The three fields of an instance.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) instance: u8,
    pub(super) results: KeptField,
    pub(super) message: MessageSignature,
    pub(super) seal: Seal,
}

/// All sets, by instance, from 1 on without a gap.
#[derive(Debug, Clone)]
pub(super) struct Sets(Vec<Set>);

/// Fields of one instance, as they turn up.
#[derive(Default)]
struct Parts {
    results: Option<KeptField>,
    message: Option<MessageSignature>,
    seal: Option<Seal>,
}

impl Sets {
    pub(super) fn all(&self) -> &[Set] {
        &self.0
    }

    /// Sorts the ARC fields into sets. They may stand in any order (RFC 8617 section 5.1: the instance counts).
    ///
    /// # Errors
    /// Why there is no chain that could be verified: a field that can't be read, one too many or one missing.
    pub(super) fn parse<'a>(fields: impl Iterator<Item = Field<'a>>) -> Result<Self, Problem> {
        let mut parts: BTreeMap<u8, Parts> = BTreeMap::new();
        for field in fields {
            if field.is(RESULTS) {
                check_length(&field, RESULTS)?;
                let instance = instance_of_results(field.value).ok_or_else(|| unread(RESULTS))?;
                let slot = &mut parts.entry(instance).or_default().results;
                place(slot, KeptField::new(&field), RESULTS, instance)?;
            } else if field.is(MESSAGE) {
                let (instance, signature) = read(&field, MESSAGE, MessageSignature::parse)?;
                place(&mut parts.entry(instance).or_default().message, signature, MESSAGE, instance)?;
            } else if field.is(SEAL) {
                let (instance, seal) = read(&field, SEAL, Seal::parse)?;
                place(&mut parts.entry(instance).or_default().seal, seal, SEAL, instance)?;
            }
        }
        let mut sets = Vec::new();
        for (instance, expected) in parts.keys().zip(1u8..) {
            if *instance != expected {
                return Err(fail(&format!("set {expected} is missing")));
            }
        }
        for (instance, parts) in parts {
            let missing = |name| at(fail("is missing"), name, instance);
            sets.push(Set {
                instance,
                results: parts.results.ok_or_else(|| missing(RESULTS))?,
                message: parts.message.ok_or_else(|| missing(MESSAGE))?,
                seal: parts.seal.ok_or_else(|| missing(SEAL))?,
            });
        }
        Ok(Self(sets))
    }
}

fn unread(name: &str) -> Problem {
    fail(&format!("{name}: i= is missing or not from 1 to {INSTANCE_MAX}"))
}

fn check_length(field: &Field<'_>, name: &str) -> Result<(), Problem> {
    if field.raw.len() > FIELD_OCTETS_MAX {
        return Err(fail(&format!("{name} is too long")));
    }
    Ok(())
}

fn place<T>(slot: &mut Option<T>, part: T, name: &str, instance: u8) -> Result<(), Problem> {
    if slot.replace(part).is_some() {
        return Err(at(fail("is there twice"), name, instance));
    }
    Ok(())
}

/// Reads a field that is a tag list, and its instance.
fn read<T>(
    field: &Field<'_>,
    name: &str,
    parse: impl Fn(KeptField, &TagList<'_>) -> Result<T, Problem>,
) -> Result<(u8, T), Problem> {
    check_length(field, name)?;
    let tags = TagList::parse(field.value).map_err(|reason| fail(&format!("{name}: {reason}")))?;
    let instance = tags.value("i").and_then(instance).ok_or_else(|| unread(name))?;
    let part = parse(KeptField::new(field), &tags).map_err(|problem| at(problem, name, instance))?;
    Ok((instance, part))
}

impl MessageSignature {
    fn parse(kept: KeptField, tags: &TagList<'_>) -> Result<Self, Problem> {
        let mark = Mark::parse(tags)?;
        // A chain says who handled the message. That its author is not signed makes it no less a chain (the
        // public ARC suite has such); whoever builds on it asks `ArcVerdict::covers_from`.
        let scope = Scope::parse_any(tags)?;
        // The seal is made after the signature; one that is listed can only be that of another set. RFC 8617
        // section 4.1.2 forbids the other ARC fields here too, but they are signed in practice and do no harm.
        if scope.names.iter().any(|name| name.eq_ignore_ascii_case(SEAL)) {
            return Err(fail("h= has ARC-Seal"));
        }
        let plain = tags.value("c").is_none();
        Ok(Self { kept, mark, scope, plain })
    }
}

impl Seal {
    fn parse(kept: KeptField, tags: &TagList<'_>) -> Result<Self, Problem> {
        // What a seal covers is fixed; a list says that somebody meant it otherwise.
        if tags.value("h").is_some() {
            return Err(fail("has h="));
        }
        let status = match tags.value("cv") {
            Some("none") => ChainStatus::None,
            Some("pass") => ChainStatus::Pass,
            Some("fail") => ChainStatus::Fail,
            Some(_) => return Err(fail("cv= is unknown")),
            None => return Err(fail("cv= is missing")),
        };
        Ok(Self { kept, mark: Mark::parse(tags)?, status })
    }
}

/// One or two digits, from 1 to [`INSTANCE_MAX`].
fn instance(value: &str) -> Option<u8> {
    let digits = (1..=2).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    value.parse().ok().filter(|instance| digits && (1..=INSTANCE_MAX).contains(instance))
}

/// The instance that starts an ARC-Authentication-Results field (RFC 8617 sections 4.1.1 and 4.2.1): `i=1;`
/// with comments and white space around its parts.
fn instance_of_results(value: &[u8]) -> Option<u8> {
    // What follows may be in any charset; the first `;` ends what is read here, unless it is in a comment.
    let head = without_comments(value)?;
    let (name, number) = head.split_once('=')?;
    if trim(name) != "i" {
        return None;
    }
    instance(trim(number))
}

/// What stands before the first `;` outside of comments, without the comments (RFC 5322 section 3.2.2).
fn without_comments(value: &[u8]) -> Option<String> {
    let mut head = String::new();
    let mut depth = 0_usize;
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        match (octet, depth) {
            (b'(', _) => {
                // A comment parts words as a space does.
                head.push(' ');
                depth += 1;
            }
            (b')', 1..) => depth -= 1,
            (b'\\', 1..) => _ = octets.next(),
            (_, 1..) => {}
            (b';', 0) => return Some(head),
            (octet, 0) => head.push(char::from(*octet)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_from_1_to_50() {
        for (value, expected) in [
            ("1", Some(1)),
            ("01", Some(1)),
            ("50", Some(50)),
            ("51", None),
            ("0", None),
            ("00", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("001", None),
            ("1 0", None),
            ("a", None),
        ] {
            assert_eq!(instance(value), expected, "{value:?}");
        }
    }

    #[test]
    fn results_start_with_their_instance() {
        for (value, expected) in [
            (" i=1; a.example; spf=pass".as_bytes(), Some(1)),
            (b"\r\n\ti = 2 ;x", Some(2)),
            (b" (a; (b\\)) c) i (d)= (e)3(f);", Some(3)),
            (b"i=1;\xff", Some(1)),
            (b" a.example; i=1; spf=pass", None),
            (b" i=1", None),
            (b" I=1;", None),
            (b" i=1 2;", None),
            (b" i=1(;", None),
            (b" i=;", None),
            (b"", None),
        ] {
            assert_eq!(instance_of_results(value), expected, "{:?}", value.escape_ascii().to_string());
        }
    }
}
