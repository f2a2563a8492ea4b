//! Chains sealed here, whole and broken at each place.

use std::fmt::Write as _;

use super::*;
use crate::dkim::tests::{BODY_HASH, SIGNATURE, Signer, body_hash, crlf, wait};
use crate::dns::Journal;
use crate::dns::zone::Zone;

const MESSAGE: &str = "From: a@example.org\nTo: b@example.net\nSubject: hi  there\n\nA  body \n \n\n";
const NOW: u64 = 2000;

/// What a sealer writes; `N` stands for the instance, `CV` for the status it must give.
#[derive(Clone)]
struct Sealer {
    results: String,
    message: String,
    seal: String,
}

impl Default for Sealer {
    fn default() -> Self {
        Self {
            results: " i=N; example.net; spf=pass".to_owned(),
            message: " i=N; a=ed25519-sha256; c=relaxed/relaxed; d=nN.example.org; s=sel; t=1000;\r\n\
                \th=from:to:subject; bh=BODYHASH; b=SIGNATUR"
                .to_owned(),
            seal: " i=N; a=ed25519-sha256; cv=CV; d=nN.example.org; s=sel; t=1000; b=SIGNATUR".to_owned(),
        }
    }
}

impl Sealer {
    fn results(old: &str, new: &str) -> Self {
        let sealer = Self::default();
        Self { results: replaced(&sealer.results, old, new), ..sealer }
    }

    fn message(old: &str, new: &str) -> Self {
        let sealer = Self::default();
        Self { message: replaced(&sealer.message, old, new), ..sealer }
    }

    fn seal(old: &str, new: &str) -> Self {
        let sealer = Self::default();
        Self { seal: replaced(&sealer.seal, old, new), ..sealer }
    }

    /// The message with the set of this instance at its top. What can't be read is left unsigned.
    fn add(&self, instance: u8, message: &[u8]) -> Vec<u8> {
        let status = if instance == 1 { "none" } else { "pass" };
        let fill = |text: &str| text.replace("CV", status).replace('N', &instance.to_string());
        let body = &message[header::body_offset(message)..];
        let hash = body_hash(Canonicalization::Relaxed, body);
        // The stand-in has an `N`, so it goes in last.
        let message_field = format!(
            "ARC-Message-Signature:{}\r\n",
            fill(&self.message.replace(BODY_HASH, "#H").replace(SIGNATURE, "#S")).replace("#H", &hash)
        );
        let seal_field = format!("ARC-Seal:{}\r\n", fill(&self.seal.replace(SIGNATURE, "#S")));
        let results_field = format!("ARC-Authentication-Results:{}\r\n", fill(&self.results));
        let seal_field = seal_field.replace("#S", SIGNATURE);

        let unsigned = message_field.replace("#S", SIGNATURE);
        let whole = [seal_field.as_bytes(), unsigned.as_bytes(), results_field.as_bytes(), message].concat();
        let message_field = message_field.replace("#S", &message_signature(&whole, instance));
        let whole =
            [seal_field.as_bytes(), message_field.as_bytes(), results_field.as_bytes(), message].concat();
        let seal_field = seal_field.replace(SIGNATURE, &seal_signature(&whole, instance));
        [seal_field.as_bytes(), message_field.as_bytes(), results_field.as_bytes(), message].concat()
    }
}

fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old}");
    text.replace(old, new)
}

fn message_signature(message: &[u8], instance: u8) -> String {
    let Ok(sets) = Sets::parse(header::fields(message)) else { return SIGNATURE.to_owned() };
    let signature = &sets.all()[usize::from(instance) - 1].message;
    let fields = HeaderFields::new(message);
    let own = fields.at(signature.kept.offset, &signature.kept.raw).unwrap();
    let scope = signature.meanings().pop().unwrap();
    Signer::ed25519().sign(&scope.header_hash(&fields, own, &signature.mark))
}

fn seal_signature(message: &[u8], instance: u8) -> String {
    let Ok(sets) = Sets::parse(header::fields(message)) else { return SIGNATURE.to_owned() };
    let form = Canonicalization::Relaxed;
    let mut hasher = Hasher::new();
    for set in sets.all() {
        canonical::field(form, &set.results.field(), &mut hasher);
        canonical::field(form, &set.message.kept.field(), &mut hasher);
        if set.instance == instance {
            canonical::signature_field(form, &set.seal.kept.field(), &set.seal.mark.place, &mut hasher);
        } else {
            canonical::field(form, &set.seal.kept.field(), &mut hasher);
        }
    }
    Signer::ed25519().sign(&hasher.finish())
}

fn zone(instances: u8) -> Zone {
    let name = |instance| format!("sel._domainkey.n{instance}.example.org");
    (1..=instances).fold(Zone::default(), |zone, at| zone.txt(&name(at), &Signer::ed25519().record()))
}

fn chain(length: u8) -> Vec<u8> {
    (1..=length).fold(crlf(MESSAGE), |message, instance| Sealer::default().add(instance, &message))
}

fn verify_with(message: &[u8], zone: &Zone) -> ArcVerdict {
    let (head, body) = message.split_at(header::body_offset(message));
    let chain = Chain::parse(head);
    let mut hashes = chain.body_hashes();
    body.chunks(5).for_each(|piece| hashes.update(piece));
    let keys = wait(chain.keys(zone));
    chain.verify(head, &hashes.finish(), &keys, UnixTime::from_secs(NOW))
}

fn verify(message: &[u8]) -> ArcVerdict {
    verify_with(message, &zone(INSTANCE_MAX))
}

fn reason(message: &[u8]) -> String {
    let verdict = verify(message);
    assert_eq!(verdict.result, ArcResult::Fail);
    assert_eq!(verdict.oldest_pass, None);
    assert!(!verdict.temporary);
    verdict.reason
}

/// The message, with the first `old` changed to `new`.
fn changed(message: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = str::from_utf8(message).unwrap();
    assert!(text.contains(old), "{old}");
    text.replacen(old, new, 1).into_bytes()
}

/// The message without the field of this name and instance, and that field.
fn without(message: &[u8], name: &str, instance: u8) -> (Vec<u8>, Vec<u8>) {
    let start = format!(" i={instance};");
    let found =
        header::fields(message).find(|field| field.is(name) && field.value.starts_with(start.as_bytes()));
    let field = found.unwrap();
    let end = field.offset + field.raw.len();
    ([&message[..field.offset], &message[end..]].concat(), field.raw.to_vec())
}

const NAMES: [&str; 3] = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];

#[test]
fn a_message_without_a_chain_has_none() {
    let verdict = verify(&crlf(MESSAGE));
    assert_eq!((verdict.result, verdict.oldest_pass), (ArcResult::None, None));
    assert!(Chain::parse(&crlf(MESSAGE)).is_empty());
    assert!(!Chain::parse(b"ARC-Seal: x\r\n").is_empty());
}

#[test]
fn whole_chains_pass_up_to_the_longest() {
    for length in [1, 2, 3, INSTANCE_MAX] {
        let verdict = verify(&chain(length));
        assert_eq!((verdict.result, verdict.reason.as_str()), (ArcResult::Pass, ""), "{length}");
        assert_eq!(verdict.oldest_pass, Some(0));
        let sealers: Vec<String> = (1..=length).map(|instance| format!("n{instance}.example.org")).collect();
        assert_eq!(verdict.sealers, sealers);
    }
    let verdict = verify(&chain(INSTANCE_MAX + 1));
    assert_eq!(verdict.result, ArcResult::Fail);
    assert!(verdict.reason.ends_with("i= is missing or not from 1 to 50"), "{}", verdict.reason);
}

#[test]
fn a_verdict_is_written_as_json() {
    assert_eq!(
        serde_json::to_value(verify(&chain(1))).unwrap(),
        serde_json::json!({
            "result": "pass", "reason": "", "temporary": false, "covers_from": true, "oldest_pass": 0, "sealers": ["n1.example.org"],
        })
    );
}

#[test]
fn fields_of_a_chain_may_stand_anywhere() {
    let mut message = chain(3);
    for (name, instance) in [(NAMES[0], 3), (NAMES[2], 1), (NAMES[1], 2), (NAMES[2], 2)] {
        let (rest, field) = without(&message, name, instance);
        message = [field, rest].concat();
    }
    assert_eq!(verify(&message).result, ArcResult::Pass);
}

#[test]
fn a_chain_with_a_field_missing_or_twice_fails() {
    for length in [1, 3] {
        for name in NAMES {
            for instance in 1..=length {
                let (rest, field) = without(&chain(length), name, instance);
                let why = reason(&rest);
                assert_eq!(why, format!("{name} {instance}: is missing"));
                let twice = [field.clone(), field, rest].concat();
                assert_eq!(reason(&twice), format!("{name} {instance}: is there twice"));
            }
        }
    }
}

#[test]
fn a_chain_with_a_set_missing_fails() {
    for missing in 1..=3 {
        let message = NAMES.iter().fold(chain(3), |message, name| without(&message, name, missing).0);
        if missing == 3 {
            assert_eq!(verify(&message).result, ArcResult::Pass);
        } else {
            assert_eq!(reason(&message), format!("set {missing} is missing"));
        }
    }
}

#[test]
fn sets_that_swapped_their_instances_fail() {
    let mut message = chain(2);
    for (old, new) in [(" i=2;", " i=0;"), (" i=1;", " i=2;"), (" i=0;", " i=1;")] {
        message = str::from_utf8(&message).unwrap().replace(old, new).into_bytes();
    }
    assert_eq!(reason(&message), "ARC-Seal 1: cv= is not what it must be");
}

#[test]
fn the_status_must_be_none_first_and_pass_then() {
    for (instance, status) in [(1, "pass"), (2, "none")] {
        let sealer = Sealer::seal("cv=CV", &format!("cv={status}"));
        let message = sealer.add(instance, &chain(instance - 1));
        assert_eq!(reason(&message), format!("ARC-Seal {instance}: cv= is not what it must be"));
    }
    let failed = Sealer::seal("cv=CV", "cv=fail");
    for instance in [1, 2, 3] {
        assert_eq!(reason(&failed.add(instance, &chain(instance - 1))), "sealed as failed (cv=fail)");
    }
    // A chain that failed before can't be mended by a later sealer.
    let message = Sealer::default().add(2, &failed.add(1, &crlf(MESSAGE)));
    assert_eq!(reason(&message), "ARC-Seal 1: cv= is not what it must be");
}

#[test]
fn changes_of_the_message_are_found_by_the_newest_signature() {
    let body = changed(&chain(2), "A  body", "B  body");
    assert_eq!(reason(&body), "ARC-Message-Signature 2: the body was changed");
    assert_eq!(verify(&changed(&chain(2), "A  body", "A body")).result, ArcResult::Pass);
    let head = changed(&chain(2), "hi  there", "hi you");
    let why = "ARC-Message-Signature 2: the signature is not that of the header and the key";
    assert_eq!(reason(&head), why);
    assert_eq!(verify(&changed(&chain(2), "hi  there", "hi there")).result, ArcResult::Pass);
}

#[test]
fn the_oldest_pass_is_the_first_after_the_last_change() {
    for changes in 1..4_u8 {
        let mut message = chain(changes);
        message = changed(&message, "A  body", "Another body");
        for instance in changes + 1..=4 {
            message = Sealer::default().add(instance, &message);
        }
        let verdict = verify(&message);
        assert_eq!((verdict.result, verdict.oldest_pass), (ArcResult::Pass, Some(changes + 1)));
    }
}

#[test]
fn each_seal_covers_the_sets_before_it() {
    let why = |instance| format!("ARC-Seal {instance}: the seal is not that of the sets and the key");
    // The results of the first set: only seals cover them.
    let message = changed(&chain(3), "i=1; example.net; spf=pass", "i=1; example.net; spf=fail");
    assert_eq!(reason(&message), why(1));
    let message = changed(&chain(3), "i=3; example.net; spf=pass", "i=3; example.net; spf=fail");
    assert_eq!(reason(&message), why(3));
    let (rest, field) = without(&chain(3), NAMES[2], 2);
    let other = changed(&field, "t=1000", "t=1001");
    assert_eq!(reason(&[other, rest.clone()].concat()), why(2));
    let spaced = changed(&field, "t=1000; ", "t=1000;\r\n\t ");
    assert_eq!(verify(&[spaced, rest].concat()).result, ArcResult::Pass);
    let (rest, field) = without(&chain(3), NAMES[1], 1);
    assert_eq!(reason(&[changed(&field, "t=1000", "t=1001"), rest].concat()), why(1));
}

#[test]
fn what_the_grammar_permits_passes() {
    for sealer in [
        Sealer::results(" i=N;", " (by us) i = N ;"),
        Sealer::results(" i=N;", "i=0N;"),
        Sealer::seal(" i=N;", "\r\n\ti\t= N ;"),
        Sealer::seal("b=SIGNATUR", "b=\r\n\tSIGNATUR ;\r\n\t"),
        Sealer::seal(" t=1000;", ""),
        Sealer::seal("t=1000", "unknown=x; v=7"),
        Sealer::seal(" i=N; a=ed25519-sha256;", " a=ed25519-sha256; i=N;"),
        Sealer::message("t=1000", "v=7; unknown=x"),
        Sealer::message(" i=N; a=ed25519-sha256;", " a=ed25519-sha256; i=N;"),
        Sealer::message("h=from:to", "h= From : TO:to:x-none:arc-authentication-results"),
        Sealer::message("c=relaxed/relaxed", "c=simple/relaxed"),
    ] {
        let message = Sealer::default().add(2, &sealer.add(1, &crlf(MESSAGE)));
        let verdict = verify(&message);
        assert_eq!((verdict.result, verdict.reason.as_str()), (ArcResult::Pass, ""), "{message:?}");
        assert_eq!(verdict.oldest_pass, Some(0));
    }
}

#[test]
fn a_signature_may_list_those_before_it_but_not_itself() {
    let sealer = Sealer::message("h=from", "h=from:arc-message-signature:arc-message-signature");
    assert_eq!(verify(&sealer.add(1, &crlf(MESSAGE))).result, ArcResult::Pass);
    let message = sealer.add(2, &chain(1));
    assert_eq!(verify(&message).oldest_pass, Some(0));
    // What a later sealer adds takes the free place: the list was longer than the fields.
    assert_eq!(verify(&Sealer::default().add(3, &message)).oldest_pass, Some(3));
}

#[test]
fn each_malformed_field_fails() {
    let cases = [
        (Sealer::results(" i=N;", ""), "ARC-Authentication-Results: i= is missing or not from 1 to 50"),
        (Sealer::results(" i=N;", " i=0;"), "ARC-Authentication-Results: i= is missing or not from 1 to 50"),
        (Sealer::message(" i=N;", ""), "ARC-Message-Signature: i= is missing or not from 1 to 50"),
        (Sealer::message("i=N", "i=0"), "ARC-Message-Signature: i= is missing or not from 1 to 50"),
        (Sealer::message("t=1000", "t=1000;"), "ARC-Message-Signature: a tag without a value"),
        (Sealer::message("h=from", "h=arc-seal:from"), "ARC-Message-Signature 1: h= has ARC-Seal"),
        (Sealer::message("h=from", "h=from: ARC-SEAL "), "ARC-Message-Signature 1: h= has ARC-Seal"),
        (Sealer::message("c=relaxed/relaxed", "c=x"), "ARC-Message-Signature 1: c= is unknown"),
        (Sealer::message("ed25519-sha256", "rsa-sha1"), "ARC-Message-Signature 1: rsa-sha1 is not accepted"),
        (Sealer::message("t=1000", "t=soon"), "ARC-Message-Signature 1: t= is not a time"),
        (Sealer::message("t=1000", "x=1999"), "ARC-Message-Signature 1: expired"),
        (Sealer::message("t=1000", "l=3"), "ARC-Message-Signature 1: covers only a part of the body (l=)"),
        (Sealer::message(" bh=BODYHASH;", ""), "ARC-Message-Signature 1: bh= is missing"),
        (Sealer::message("b=SIGNATUR", "b="), "ARC-Message-Signature 1: b= is not base64"),
        (Sealer::seal(" i=N;", ""), "ARC-Seal: i= is missing or not from 1 to 50"),
        (Sealer::seal("i=N", "i=51"), "ARC-Seal: i= is missing or not from 1 to 50"),
        (Sealer::seal("i=N", "I=N"), "ARC-Seal: i= is missing or not from 1 to 50"),
        (Sealer::seal(" cv=CV;", ""), "ARC-Seal 1: cv= is missing"),
        (Sealer::seal("cv=CV", "cv="), "ARC-Seal 1: cv= is unknown"),
        (Sealer::seal("cv=CV", "cv=None"), "ARC-Seal 1: cv= is unknown"),
        (Sealer::seal("t=1000", "h=from"), "ARC-Seal 1: has h="),
        (Sealer::seal("t=1000", "t=10 00"), "ARC-Seal 1: t= is not a time"),
        (Sealer::seal("t=1000", "t=5601"), "ARC-Seal 1: signed in the future"),
        (Sealer::seal("s=sel", "S=sel"), "ARC-Seal 1: s= is missing"),
        (Sealer::seal("s=sel", "s=sel; s=sel"), "ARC-Seal: a tag is given twice"),
        (Sealer::seal("t=1000", "_=1"), "ARC-Seal: a tag has a name that is none"),
        (Sealer::seal("d=nN.example.org", "d=n1 .example.org"), "ARC-Seal 1: d= is not a domain"),
        (Sealer::seal("ed25519-sha256", "rsa-sha512"), "ARC-Seal 1: a= is unknown"),
        (Sealer::seal("ed25519-sha256", "rsa-sha1"), "ARC-Seal 1: rsa-sha1 is not accepted"),
        (Sealer::seal("b=SIGNATUR", "b=*"), "ARC-Seal 1: b= is not base64"),
    ];
    for (sealer, why) in cases {
        assert_eq!(reason(&sealer.add(1, &crlf(MESSAGE))), why);
    }
}

#[test]
fn keys_that_can_t_be_used_break_the_chain_and_silence_is_temporary() {
    let key = "sel._domainkey.n1.example.org";
    let verdict = verify_with(&chain(1), &Zone::default());
    assert_eq!((verdict.result, verdict.temporary), (ArcResult::Fail, false));
    assert_eq!(verdict.reason, "ARC-Message-Signature 1: no key is published");
    let verdict = verify_with(&chain(1), &Zone::default().txt(key, "v=DKIM1; k=ed25519; p="));
    assert_eq!(verdict.reason, "ARC-Message-Signature 1: key is revoked");
    let verdict = verify_with(&chain(1), &Zone::default().silent(key));
    assert_eq!((verdict.result, verdict.temporary), (ArcResult::Fail, true));
    assert_eq!(verdict.reason, "ARC-Message-Signature 1: DNS gives no answer for the key");
    // The older seal is needed too.
    let other = Zone::default().txt("sel._domainkey.n2.example.org", &Signer::ed25519().record());
    assert_eq!(verify_with(&chain(2), &other).reason, "ARC-Seal 1: no key is published");
    assert!(verify_with(&chain(2), &other.silent(key)).temporary);
}

#[test]
fn a_broken_chain_asks_nothing() {
    let journal = Journal::new(zone(3));
    let (broken, _) = without(&chain(3), NAMES[0], 2);
    wait(Chain::parse(&broken).keys(&journal));
    wait(Chain::parse(&Sealer::seal("cv=CV", "cv=fail").add(3, &chain(2))).keys(&journal));
    assert!(journal.asked().is_empty());
    wait(Chain::parse(&chain(3)).keys(&journal));
    assert_eq!(journal.asked().len(), 3);
}

#[test]
fn a_field_that_is_too_long_breaks_the_chain() {
    let mut long = " n=".to_owned();
    for number in 0..2000 {
        write!(long, "\r\n {number:08}").unwrap();
    }
    let message = Sealer::seal(" t=1000;", &format!("{long};")).add(1, &crlf(MESSAGE));
    assert_eq!(reason(&message), "ARC-Seal is too long");
}

#[test]
fn another_header_than_the_one_parsed_fails() {
    let message = chain(1);
    let (head, body) = message.split_at(header::body_offset(&message));
    let chain = Chain::parse(head);
    let mut hashes = chain.body_hashes();
    hashes.update(body);
    let keys = wait(chain.keys(&zone(1)));
    let verdict = chain.verify(b"From: a\r\n\r\n", &hashes.finish(), &keys, UnixTime::from_secs(NOW));
    assert_eq!(verdict.result, ArcResult::Fail);
}

#[test]
fn a_signature_without_from_is_a_chain_that_proves_no_author() {
    for (names, covers) in [("h=from:to:subject", true), ("h=to", false), ("h=", false)] {
        let verdict = verify(&Sealer::message("h=from:to:subject", names).add(1, &crlf(MESSAGE)));
        assert_eq!(
            (verdict.result, verdict.covers_from),
            (ArcResult::Pass, covers),
            "{names}: {}",
            verdict.reason
        );
    }
}

#[test]
fn without_canonicalisation_simple_is_tried_and_then_relaxed() {
    let sealer = Sealer::message(" c=relaxed/relaxed;", "");
    let verdict = verify(&sealer.add(1, &crlf(MESSAGE)));
    assert_eq!((verdict.result, verdict.reason.as_str()), (ArcResult::Pass, ""));
}
