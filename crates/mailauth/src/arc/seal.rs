//! Sealing: one more ARC set for a message that is handed on (RFC 8617 section 5.1).
//!
//! The set says what was found when the message came, signs the message as it is now, and closes the chain. What
//! was found of the chain before is the caller's to say: it takes DNS, and was done when the message came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail::{UnixTime, header};

use super::set::{ChainStatus, MESSAGE, RESULTS, SEAL, Set};
use super::{ArcResult, Chain, INSTANCE_MAX};
use crate::dkim::FinishedHashes;
use crate::dkim::canonical::{self, Canonicalization, Hasher};
use crate::dkim::fields::HeaderFields;
use crate::dkim::sign::{self, SignError, SigningKey};

const FORM: Canonicalization = Canonicalization::Relaxed;

/// The three fields of one more set, to be put above the header section; `None` when the chain takes no more: it
/// is sealed as failed already, is as long as it may be, or its fields can't be read. `header` is as it goes on in
/// all fields that are signed; `body` comes from [`sign::body_hashes`]; `results` is what stands behind
/// `Authentication-Results:`; `found` is what became of the chain before.
///
/// # Errors
/// [`SignError`]; then nothing is sealed.
pub fn seal(
    header: &[u8],
    body: &FinishedHashes,
    key: &SigningKey,
    results: &str,
    found: ArcResult,
    now: UnixTime,
) -> Result<Option<Vec<u8>>, SignError> {
    let Ok(sets) = Chain::parse(header).0 else { return Ok(None) };
    let before = sets.all();
    let closed = before.last().is_some_and(|set| set.seal.status == ChainStatus::Fail);
    let found = if before.is_empty() { ArcResult::None } else { found };
    if closed || before.len() >= usize::from(INSTANCE_MAX) || (found == ArcResult::None && !before.is_empty())
    {
        return Ok(None);
    }
    let instance = before.len() + 1;
    let results = format!("{RESULTS}: i={instance}; {}\r\n", results.trim());
    let message = message(header, body, key, instance, now)?;
    // A chain that is broken ends here, and its last seal covers its own set only (RFC 8617 section 5.1.2).
    let covered = if found == ArcResult::Fail { &[][..] } else { before };
    let start = format!(
        "{SEAL}: i={instance}; a={}; t={}; cv={};\r\n\td={}; s={};\r\n\tb=",
        key.algorithm().as_str(),
        now.as_secs(),
        found.as_str(),
        key.domain(),
        key.selector(),
    );
    let seal = closing(covered, [&results, &message], start, key)?;
    Ok(Some([seal, message, results].concat().into_bytes()))
}

/// The ARC-Message-Signature: what DKIM signs, and the DKIM signatures.
fn message(
    header: &[u8],
    body: &FinishedHashes,
    key: &SigningKey,
    instance: usize,
    now: UnixTime,
) -> Result<String, SignError> {
    let mut names = sign::names(header)?;
    let signatures = header::count(header, "DKIM-Signature");
    if signatures > sign::FIELDS_OF_A_NAME_MAX {
        return Err(SignError::TooManyFields("DKIM-Signature"));
    }
    names.extend(std::iter::repeat_n("DKIM-Signature", signatures));
    let mut field = format!(
        "{MESSAGE}: i={instance}; a={}; c=relaxed/relaxed;\r\n\td={}; s={}; t={};\r\n\t",
        key.algorithm().as_str(),
        key.domain(),
        key.selector(),
        now.as_secs(),
    );
    let body_hash = body.relaxed().ok_or(SignError::NoBodyHash)?;
    sign::put_names(&names, &mut field);
    field.push_str(&format!(";\r\n\tbh={};\r\n\tb=", STANDARD.encode(body_hash.as_ref())));
    let digest = sign::header_hash(&HeaderFields::new(header), &names, &field);
    sign::put_signature(&key.sign(&digest)?, &mut field);
    Ok(field)
}

/// The ARC-Seal (RFC 8617 section 5.1.1): over the sets before, the two other fields of its own, and itself.
fn closing(before: &[Set], own: [&str; 2], mut field: String, key: &SigningKey) -> Result<String, SignError> {
    let mut hasher = Hasher::new();
    for set in before {
        for kept in [&set.results, &set.message.kept, &set.seal.kept] {
            canonical::field(FORM, &kept.field(), &mut hasher);
        }
    }
    for text in own {
        for field in header::fields(text.as_bytes()) {
            canonical::field(FORM, &field, &mut hasher);
        }
    }
    if let Some(own) = header::fields(field.as_bytes()).next() {
        canonical::signature_field(FORM, &own, &(0..0), &mut hasher);
    }
    sign::put_signature(&key.sign(&hasher.finish())?, &mut field);
    Ok(field)
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::arc::ArcVerdict;
    use crate::dkim::sign::KeyKind;
    use crate::dkim::tests::wait;
    use crate::dns::zone::Zone;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
    const MESSAGE: &str = "DKIM-Signature: v=1; d=example.net; b=x\r\nFrom: a@example.net\r\nTo: b@example.org\r\n\
        Subject: x\r\nDate: d\r\n\r\nHello.\r\n";

    fn keys() -> &'static [SigningKey; 2] {
        static KEYS: OnceLock<[SigningKey; 2]> = OnceLock::new();
        KEYS.get_or_init(|| {
            ["one.example", "two.example"].map(|domain| {
                SigningKey::new(domain, "s", KeyKind::Rsa, &KeyKind::Rsa.generate().unwrap()).unwrap()
            })
        })
    }

    fn hashed(message: &[u8]) -> FinishedHashes {
        let mut hashes = sign::body_hashes();
        hashes.update(message.split_at(header::body_offset(message)).1);
        hashes.finish()
    }

    fn sealed(message: &[u8], key: usize, found: ArcResult) -> Option<Vec<u8>> {
        let head = message.split_at(header::body_offset(message)).0;
        let results = " mx.example.org; dkim=pass header.d=example.net;\r\n\tspf=pass\r\n";
        let set = seal(head, &hashed(message), &keys()[key], results, found, NOW).unwrap()?;
        Some([&set, message].concat())
    }

    fn verified(message: &[u8]) -> ArcVerdict {
        let zone = keys().iter().fold(Zone::default(), |zone, key| {
            zone.txt(&format!("s._domainkey.{}", key.domain()), &key.record().unwrap())
        });
        let (head, body) = message.split_at(header::body_offset(message));
        let chain = Chain::parse(head);
        let mut hashes = chain.body_hashes();
        hashes.update(body);
        let keys = wait(chain.keys(&zone));
        chain.verify(head, &hashes.finish(), &keys, NOW)
    }

    #[test]
    fn sets_of_two_forwarders_make_a_chain_that_holds() {
        let one = sealed(MESSAGE.as_bytes(), 0, ArcResult::None).unwrap();
        let verdict = verified(&one);
        assert_eq!((verdict.result, verdict.covers_from), (ArcResult::Pass, true), "{}", verdict.reason);
        let traced = [b"Received: from a by b; d\r\n", &one[..]].concat();
        let two = sealed(&traced, 1, ArcResult::Pass).unwrap();
        let verdict = verified(&two);
        assert_eq!(verdict.result, ArcResult::Pass, "{}", verdict.reason);
        assert_eq!(verdict.sealers, ["one.example", "two.example"]);
        assert_eq!(verdict.oldest_pass, Some(0));
    }

    #[test]
    fn what_is_changed_after_the_seal_breaks_the_chain() {
        let text = String::from_utf8(sealed(MESSAGE.as_bytes(), 0, ArcResult::None).unwrap()).unwrap();
        for (from, to) in [
            ("From: a@", "From: e@"),
            ("Hello.", "Hallo."),
            ("d=example.net; b=x", "d=example.net; b=y"),
            ("dkim=pass", "dkim=fail"),
            ("To: b@", "Cc: c@example.org\r\nTo: b@"),
        ] {
            assert_eq!(verified(text.replacen(from, to, 1).as_bytes()).result, ArcResult::Fail, "{from}");
        }
    }

    #[test]
    fn a_broken_chain_is_closed_once() {
        let one = sealed(MESSAGE.as_bytes(), 0, ArcResult::None).unwrap();
        let broken = String::from_utf8(one).unwrap().replace("Hello.", "Hallo.");
        let closed = sealed(broken.as_bytes(), 1, ArcResult::Fail).unwrap();
        let text = String::from_utf8(closed.clone()).unwrap();
        assert!(text.starts_with("ARC-Seal: i=2; a=rsa-sha256; t=1795500000; cv=fail;"), "{text}");
        assert!(verified(&closed).reason.contains("cv=fail"), "{}", verified(&closed).reason);
        assert_eq!(sealed(&closed, 0, ArcResult::Fail), None, "a closed chain takes no more");
    }

    #[test]
    fn a_chain_of_which_nothing_is_known_or_that_is_full_takes_no_set() {
        let mut message = sealed(MESSAGE.as_bytes(), 0, ArcResult::None).unwrap();
        assert_eq!(sealed(&message, 1, ArcResult::None), None);
        for _ in 1..INSTANCE_MAX {
            message = sealed(&message, 1, ArcResult::Pass).unwrap();
        }
        assert_eq!(verified(&message).result, ArcResult::Pass);
        assert_eq!(sealed(&message, 1, ArcResult::Pass), None);
        assert_eq!(sealed(b"ARC-Seal: i=1; nonsense\r\nFrom: a@b.example\r\n\r\n", 0, ArcResult::Pass), None);
    }
}
