//! Messages of the RFCs, and messages signed here, one for each rule and one for what lies just past it.

use std::sync::OnceLock;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;

use super::canonical::BodyHasher;
use super::signature::AHEAD_SECS_MAX;
use super::*;
use crate::dns::zone::Zone;

/// RFC 8463 appendix A.2 (and A.3: the message with both signatures).
pub(crate) const RFC8463_RSA_KEY: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

pub(crate) const RFC8463_MESSAGE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
";

fn rfc8463_zone() -> Zone {
    Zone::default()
        .txt(
            "brisbane._domainkey.football.example.com",
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        )
        .txt("test._domainkey.football.example.com", &format!("v=DKIM1; k=rsa; p={RFC8463_RSA_KEY}"))
}

/// RFC 6376 appendix A.2, with the key of appendix C.
const RFC6376_MESSAGE: &str = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
";

const RFC6376_KEY: &str = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";

pub(crate) fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn verify_at(message: &[u8], zone: &Zone, now: u64) -> Vec<DkimVerdict> {
    let (head, body) = message.split_at(header::body_offset(message));
    let signatures = Signatures::parse(head);
    let mut hashes = signatures.body_hashes();
    body.chunks(7).for_each(|piece| hashes.update(piece));
    let keys = wait(signatures.keys(zone));
    signatures.verify(head, &hashes.finish(), &keys, UnixTime::from_secs(now))
}

#[test]
fn the_example_of_rfc_8463_passes_with_both_algorithms() {
    let verdicts = verify_at(&crlf(RFC8463_MESSAGE), &rfc8463_zone(), 1_528_637_909);
    let [ed25519, rsa] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    assert_eq!((ed25519.result, rsa.result), (DkimResult::Pass, DkimResult::Pass), "{verdicts:?}");
    assert_eq!(
        serde_json::to_value(ed25519).unwrap(),
        serde_json::json!({
            "result": "pass", "domain": "football.example.com", "selector": "brisbane",
            "agent": "@football.example.com", "algorithm": "ed25519-sha256", "key_bits": 256,
            "testing": false, "reason": "", "start": "/gCrinpc",
        })
    );
    assert_eq!((rsa.key_bits, rsa.start.as_str()), (Some(1024), "F45dVWDf"));
}

#[test]
fn the_example_of_rfc_6376_passes() {
    let zone = Zone::default().txt("brisbane._domainkey.example.com", RFC6376_KEY);
    let verdicts = verify_at(&crlf(RFC6376_MESSAGE), &zone, 1_795_500_000);
    assert_eq!((verdicts[0].result, verdicts[0].reason.as_str()), (DkimResult::Pass, ""));
    assert_eq!(verdicts[0].agent, "joe@football.example.com");
    let changed = RFC6376_MESSAGE.replace("Subject: Is", "Subject:  Is");
    assert_eq!(verify_at(&crlf(&changed), &zone, 0)[0].result, DkimResult::Fail);
}

/// A key that signs, for the tests of DKIM and ARC.
pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn ed25519() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::Ed25519(Ed25519KeyPair::generate().unwrap()))
    }

    pub(crate) fn rsa() -> &'static Self {
        static KEY: OnceLock<Signer> = OnceLock::new();
        KEY.get_or_init(|| Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(crate) fn record(&self) -> String {
        match self {
            Self::Rsa(key) => {
                format!("v=DKIM1; p={}", BASE64.encode(key.public_key().as_der().unwrap().as_ref()))
            }
            Self::Ed25519(key) => {
                format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(key.public_key().as_ref()))
            }
        }
    }

    /// The signature in base64.
    pub(crate) fn sign(&self, digest: &Digest) -> String {
        match self {
            Self::Rsa(key) => {
                let mut octets = vec![0; key.public_modulus_len()];
                key.sign_digest(&RSA_PKCS1_SHA256, digest, &mut octets).unwrap();
                BASE64.encode(octets)
            }
            Self::Ed25519(key) => BASE64.encode(key.sign(digest.as_ref()).as_ref()),
        }
    }
}

/// The stand-ins of a signature that is not made yet: valid base64, so that the field can be read.
pub(crate) const BODY_HASH: &str = "BODYHASH";
pub(crate) const SIGNATURE: &str = "SIGNATUR";

/// The hash of a body as `bh=` has it.
pub(crate) fn body_hash(form: canonical::Canonicalization, body: &[u8]) -> String {
    let mut hasher = BodyHasher::new(form);
    hasher.update(body);
    BASE64.encode(hasher.finish().as_ref())
}

/// The message with a DKIM-Signature of these tags at its top. Tags that can't be read stay as they are.
fn signed(signer: &Signer, tags: &str, message: &[u8]) -> Vec<u8> {
    let body = &message[header::body_offset(message)..];
    let mut field = format!("DKIM-Signature:{tags}\r\n");
    let parsed =
        |field: &str| Signature::parse(header::find(field.as_bytes(), "dkim-signature").unwrap().value);
    if let Ok(signature) = parsed(&field) {
        field = field.replace(BODY_HASH, &body_hash(signature.scope.body_form, body));
        let signature = parsed(&field).unwrap();
        let whole = [field.as_bytes(), message].concat();
        let fields = HeaderFields::new(&whole);
        let own = header::find(&whole, "dkim-signature").unwrap();
        field = field
            .replace(SIGNATURE, &signer.sign(&signature.scope.header_hash(&fields, &own, &signature.mark)));
    }
    [field.as_bytes(), message].concat()
}

const TAGS: &str = " v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=sel;\r\n\
    \tt=1000; x=3000; h=from:to:subject; bh=BODYHASH; b=SIGNATUR";
const MESSAGE: &str = "From: a@example.org\nTo: b@example.net\nSubject: hi  there\n\nA  body \n \n\n";
const NOW: u64 = 2000;

fn zone() -> Zone {
    Zone::default()
        .txt("sel._domainkey.example.org", &Signer::ed25519().record())
        .txt("rsa._domainkey.example.org", &Signer::rsa().record())
}

/// The verdict on [`MESSAGE`] signed with `tags`.
fn outcome(tags: &str) -> (DkimResult, String) {
    let message = signed(Signer::ed25519(), tags, &crlf(MESSAGE));
    let verdict = verify_at(&message, &zone(), NOW).remove(0);
    (verdict.result, verdict.reason)
}

fn outcome_with(old: &str, new: &str) -> (DkimResult, String) {
    assert!(TAGS.contains(old), "{old}");
    outcome(&TAGS.replace(old, new))
}

#[test]
fn what_is_signed_passes_with_all_forms_and_keys() {
    for form in ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple", "simple", "relaxed"]
    {
        for (signer, key) in [(Signer::ed25519(), "sel"), (Signer::rsa(), "rsa")] {
            let tags = TAGS.replace("relaxed/relaxed", form).replace("s=sel", &format!("s={key}"));
            let tags = if key == "rsa" { tags.replace("ed25519-sha256", "rsa-sha256") } else { tags };
            let verdict = verify_at(&signed(signer, &tags, &crlf(MESSAGE)), &zone(), NOW).remove(0);
            assert_eq!((verdict.result, verdict.reason.as_str()), (DkimResult::Pass, ""), "{form} {key}");
            assert_eq!(verdict.key_bits, Some(if key == "rsa" { 2048 } else { 256 }));
        }
    }
    // Without c= both are simple.
    assert_eq!(outcome_with(" c=relaxed/relaxed;", "").0, DkimResult::Pass);
    let simple = signed(Signer::ed25519(), &TAGS.replace(" c=relaxed/relaxed;", ""), &crlf(MESSAGE));
    let spaced = String::from_utf8(simple).unwrap().replace("A  body", "A body");
    assert_eq!(verify_at(spaced.as_bytes(), &zone(), NOW)[0].result, DkimResult::Fail);
}

#[test]
fn what_the_grammar_permits_passes() {
    for (old, new) in [
        ("b=SIGNATUR", "b=\r\n\tSIGNATUR\r\n\t ;\r\n "),
        ("b=SIGNATUR", "b = SIGNATUR ; unknown=x y; z=From:a|To:b"),
        (" v=1;", "\r\n\tv = 1\t;"),
        ("h=from:to:subject", "h = From :\r\n To\t: SUBJECT :from:x-none"),
        ("t=1000; x=3000; ", ""),
        ("t=1000", "q=dns/txt; t=1000"),
        ("t=1000", "q=x-other : dns/txt; t=1000"),
        ("d=example.org", "d=EXAMPLE.org; i=a@Example.ORG"),
        ("d=example.org", "d=example.org; i=\"a b\"@sub.example.org"),
        // RFC 6376 section 3.5: dkim-quoted-printable.
        ("d=example.org", "d=example.org; i=a=3Bb@sub.example.org"),
        ("d=example.org", "d=example.org; i=a=40example.org"),
        ("d=example.org", "d=example.org; i=@sub.example.org"),
    ] {
        let (result, reason) = outcome_with(old, new);
        assert_eq!((result, reason.as_str()), (DkimResult::Pass, ""), "{new}");
    }
}

#[test]
fn each_malformed_signature_is_neutral_and_says_why() {
    for (old, new, reason) in [
        (" v=1;", "", "v= is missing"),
        ("v=1", "v=2", "v= is not 1"),
        ("v=1", "v=1.0", "v= is not 1"),
        ("v=1", "V=1", "v= is missing"),
        (" a=ed25519-sha256;", "", "a= is missing"),
        ("a=ed25519-sha256", "a=ed25519-sha512", "a= is unknown"),
        ("a=ed25519-sha256", "a=ED25519-SHA256", "a= is unknown"),
        ("c=relaxed/relaxed", "c=relaxed/other", "c= is unknown"),
        ("c=relaxed/relaxed", "c=", "c= is unknown"),
        ("c=relaxed/relaxed", "c=relaxed/relaxed/simple", "c= is unknown"),
        (" d=example.org;", "", "d= is missing"),
        ("d=example.org", "d=", "d= is not a domain"),
        ("d=example.org", "d=org", "d= is not a domain"),
        ("d=example.org", "d=exam ple.org", "d= is not a domain"),
        ("d=example.org", "d=example..org", "d= is not a domain"),
        ("d=example.org", "d=example.org.", "d= is not a domain"),
        ("d=example.org", "d=-example.org", "d= is not a domain"),
        (" s=sel;", "", "s= is missing"),
        ("s=sel", "s=", "s= is not a selector"),
        ("s=sel", "s=a..b", "s= is not a selector"),
        ("t=1000", "t=", "t= is not a time"),
        ("t=1000", "t=10 00", "t= is not a time"),
        ("t=1000", "t=-1000", "t= is not a time"),
        ("x=3000", "x=later", "x= is not a time"),
        ("x=3000", "l=all", "l= is not a number"),
        ("x=3000", "q=dns/other", "q= has no dns/txt"),
        ("x=3000", "x=3000; x=3000", "a tag is given twice"),
        ("x=3000", "x=3000;", "a tag without a value"),
        ("x=3000", "x", "a tag without a value"),
        ("x=3000", "_=3000", "a tag has a name that is none"),
        ("h=from:to:subject; ", "", "h= is missing"),
        ("h=from:to:subject", "h=", "h= has a name that is none"),
        ("h=from:to:subject", "h=from::to", "h= has a name that is none"),
        ("h=from:to:subject", "h=from to", "h= has a name that is none"),
        ("h=from:to:subject", "h=to:subject", "h= is without From"),
        ("h=from:to:subject", "h=to:fromm", "h= is without From"),
        (" bh=BODYHASH;", "", "bh= is missing"),
        ("bh=BODYHASH", "bh=", "bh= is not base64"),
        ("bh=BODYHASH", "bh=*", "bh= is not base64"),
        ("; b=SIGNATUR", "", "b= is missing"),
        ("b=SIGNATUR", "b=", "b= is not base64"),
        ("b=SIGNATUR", "b=(sign)", "b= is not base64"),
        ("d=example.org", "d=example.org; i=example.org", "i= is not an identity"),
        ("d=example.org", "d=example.org; i=a@", "i= is not an identity"),
        ("d=example.org", "d=example.org; i=a=@example.org", "i= is not an identity"),
        ("d=example.org", "d=example.org; i=a=0D=0A@example.org", "i= is not an identity"),
        ("d=example.org", "d=example.org; i=a@example.net", "i= is not in the domain of d="),
        ("d=example.org", "d=example.org; i=a@example.org=40example.net", "i= is not in the domain of d="),
        ("d=example.org", "d=example.org; i=a@badexample.org", "i= is not in the domain of d="),
        ("d=example.org", "d=sub.example.org; i=a@example.org", "i= is not in the domain of d="),
    ] {
        assert_eq!(outcome_with(old, new), (DkimResult::Neutral, reason.to_owned()), "{new}");
    }
}

#[test]
fn times_are_checked_at_their_edges() {
    let pass = (DkimResult::Pass, String::new());
    assert_eq!(outcome_with("x=3000", &format!("x={NOW}")), pass);
    let expired = outcome_with("x=3000", &format!("x={}", NOW - 1));
    assert_eq!(expired, (DkimResult::Fail, "expired".to_owned()));
    assert_eq!(outcome_with("t=1000", "t=2999"), pass);
    let backwards = (DkimResult::Fail, "expires before it was signed".to_owned());
    assert_eq!(outcome_with("t=1000", "t=3000"), backwards);
    let ahead = NOW + AHEAD_SECS_MAX;
    assert_eq!(outcome_with("t=1000; x=3000", &format!("t={ahead}")), pass);
    let future = outcome_with("t=1000; x=3000", &format!("t={}", ahead + 1));
    assert_eq!(future, (DkimResult::Policy, "signed in the future".to_owned()));
    assert_eq!(outcome_with("x=3000", &format!("x={}", "9".repeat(76))), pass);
}

/// Security lesson: DKIM `l=`.
#[test]
fn a_signature_over_a_part_of_the_body_never_passes() {
    for length in ["0", "5", "100000", &"9".repeat(76)] {
        let (result, reason) = outcome_with("x=3000", &format!("l={length}"));
        assert_eq!((result, reason.as_str()), (DkimResult::Policy, "covers only a part of the body (l=)"));
    }
}

#[test]
fn sha_1_never_passes() {
    let (result, reason) = outcome_with("ed25519-sha256", "rsa-sha1");
    assert_eq!((result, reason.as_str()), (DkimResult::PermError, "rsa-sha1 is not accepted"));
}

#[test]
fn a_message_without_signatures_has_no_verdict() {
    assert!(verify_at(&crlf(MESSAGE), &zone(), NOW).is_empty());
    assert!(Signatures::parse(b"").is_empty());
}

/// What becomes of a signed message when `old` is replaced by `new` after signing.
fn changed(tags: &str, old: &str, new: &str) -> (DkimResult, String) {
    let message = String::from_utf8(signed(Signer::ed25519(), tags, &crlf(MESSAGE))).unwrap();
    assert!(message.contains(old), "{old}");
    let verdict = verify_at(message.replacen(old, new, 1).as_bytes(), &zone(), NOW).remove(0);
    (verdict.result, verdict.reason)
}

#[test]
fn changes_are_found_unless_the_form_allows_them() {
    let body = (DkimResult::Fail, "the body was changed".to_owned());
    let head = (DkimResult::Fail, "the signature is not that of the header and the key".to_owned());
    let pass = (DkimResult::Pass, String::new());
    assert_eq!(changed(TAGS, "A  body", "A bodY"), body);
    assert_eq!(changed(TAGS, "A  body \r\n", "\r\nA  body \r\n"), body);
    assert_eq!(changed(TAGS, "A  body \r\n", "A\tbody\r\n\t\r\n\r\n"), pass);
    assert_eq!(changed(TAGS, "hi  there", "hi here"), head);
    assert_eq!(changed(TAGS, "Subject: hi  there", "SUBJECT :\r\n hi\tthere "), pass);
    assert_eq!(changed(TAGS, "x=3000", "x=3001"), head);
    assert_eq!(changed(TAGS, "From: ", "X: y\r\nFrom: "), pass);
    let simple = TAGS.replace("relaxed/relaxed", "simple/simple");
    assert_eq!(changed(&simple, "A  body", "A body"), body);
    assert_eq!(changed(&simple, "hi  there", "hi there"), head);
    assert_eq!(changed(&simple, "Subject: ", "subject: "), head);
    assert_eq!(changed(&simple, "From: ", "X: y\r\nFrom: "), pass);
}

#[test]
fn fields_listed_more_often_than_they_are_there_can_t_be_added() {
    let head = (DkimResult::Fail, "the signature is not that of the header and the key".to_owned());
    // A second From below the signed one is what h= means; one above is not seen by the signature.
    assert_eq!(changed(TAGS, "To: ", "From: evil@example.com\r\nTo: "), head);
    assert_eq!(changed(TAGS, "From: ", "From: evil@example.com\r\nFrom: ").0, DkimResult::Pass);
    let oversigned = TAGS.replace("h=from", "h=from:from");
    assert_eq!(changed(&oversigned, "From: ", "From: evil@example.com\r\nFrom: "), head);
    let none = TAGS.replace("h=from", "h=cc:from");
    assert_eq!(changed(&none, "From: ", "Cc: evil@example.com\r\nFrom: "), head);
}

#[test]
fn a_signature_may_list_others_but_not_itself() {
    let tags = TAGS.replace("h=from", "h=dkim-signature:dkim-signature:from");
    let inner = signed(Signer::ed25519(), TAGS, &crlf(MESSAGE));
    let message = signed(Signer::ed25519(), &tags, &inner);
    let results: Vec<_> =
        verify_at(&message, &zone(), NOW).into_iter().map(|verdict| verdict.result).collect();
    assert_eq!(results, [DkimResult::Pass, DkimResult::Pass]);
    let message = String::from_utf8(message).unwrap().replace(
        " c=relaxed/relaxed; d=example.org; s=sel;\r\n\tt=1000; x=3000; h=from:to",
        " c=relaxed/relaxed; d=example.org; s=sel;\r\n\tt=1000; x=3000; h=to:from",
    );
    let results: Vec<_> =
        verify_at(message.as_bytes(), &zone(), NOW).into_iter().map(|verdict| verdict.result).collect();
    assert_eq!(results, [DkimResult::Fail, DkimResult::Fail]);
}

/// The verdict on [`MESSAGE`] when DNS holds `record` for its key.
fn with_record(tags: &str, record: &str) -> DkimVerdict {
    let record = record.replace("RECORD", &Signer::ed25519().record());
    let zone = Zone::default().txt("sel._domainkey.example.org", &record);
    verify_at(&signed(Signer::ed25519(), tags, &crlf(MESSAGE)), &zone, NOW).remove(0)
}

#[test]
fn keys_decide_as_their_flags_say() {
    let verdict = with_record(TAGS, "RECORD; t=y");
    assert_eq!((verdict.result, verdict.testing), (DkimResult::Pass, true));
    assert_eq!(with_record(TAGS, "RECORD; t=s").result, DkimResult::Pass);
    let below = TAGS.replace("d=example.org", "d=example.org; i=@sub.example.org");
    assert_eq!(with_record(&below, "RECORD").result, DkimResult::Pass);
    let verdict = with_record(&below, "RECORD; t=y:s");
    assert_eq!(verdict.result, DkimResult::PermError);
    assert_eq!(verdict.reason, "the key allows no domain below it (t=s)");
    let verdict = with_record(TAGS, "v=DKIM1; k=ed25519; p=");
    assert_eq!((verdict.result, verdict.reason.as_str()), (DkimResult::PermError, "key is revoked"));
    let verdict = with_record(TAGS, "RECORD; s=other");
    assert_eq!((verdict.result, verdict.reason.as_str()), (DkimResult::PermError, "key is not for mail"));
    let other = with_record(TAGS, "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    assert_eq!(other.result, DkimResult::Fail);
}

#[test]
fn no_answer_is_temporary_and_no_record_is_not() {
    let message = signed(Signer::ed25519(), TAGS, &crlf(MESSAGE));
    let verdict = verify_at(&message, &Zone::default().silent("sel._domainkey.example.org"), NOW).remove(0);
    assert_eq!(verdict.result, DkimResult::TempError);
    assert_eq!(verdict.reason, "DNS gives no answer for the key");
    let verdict = verify_at(&message, &Zone::default(), NOW).remove(0);
    assert_eq!((verdict.result, verdict.reason.as_str()), (DkimResult::PermError, "no key is published"));
}

#[test]
fn signatures_up_to_the_limit_are_verified_and_the_rest_counted() {
    let mut message = crlf(MESSAGE);
    for _ in 0..SIGNATURES_MAX {
        message = signed(Signer::ed25519(), TAGS, &message);
    }
    let verdicts = verify_at(&message, &zone(), NOW);
    assert_eq!(verdicts.len(), SIGNATURES_MAX);
    assert!(verdicts.iter().all(|verdict| verdict.result == DkimResult::Pass));
    message = signed(Signer::ed25519(), TAGS, &message);
    let verdicts = verify_at(&message, &zone(), NOW);
    assert_eq!(verdicts.len(), SIGNATURES_MAX + 1);
    let last = verdicts.last().unwrap();
    assert_eq!(last.result, DkimResult::Policy);
    assert_eq!(last.reason, "too many signatures: 1 not looked at");
}

#[test]
fn a_signature_of_the_longest_length_is_read_and_one_more_refused() {
    let value = |octets: usize| {
        let tags = TAGS.replace("BODYHASH", &"A".repeat(43)).replace("SIGNATUR", &"A".repeat(86));
        format!("{tags}; n={}", "x".repeat(octets - tags.len() - 4))
    };
    assert!(Signature::parse(value(FIELD_OCTETS_MAX).as_bytes()).is_ok());
    let refused = Signature::parse(value(FIELD_OCTETS_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(refused, Problem::syntax("signature is too long"));
}

#[test]
fn another_header_than_the_one_parsed_is_no_panic_and_no_pass() {
    let message = signed(Signer::ed25519(), TAGS, &crlf(MESSAGE));
    let (head, body) = message.split_at(header::body_offset(&message));
    let signatures = Signatures::parse(head);
    let mut hashes = signatures.body_hashes();
    hashes.update(body);
    let (hashes, keys) = (hashes.finish(), wait(signatures.keys(&zone())));
    for other in [b"".as_slice(), b"From: a\r\n\r\n", &head[1..]] {
        let verdicts = signatures.verify(other, &hashes, &keys, UnixTime::from_secs(NOW));
        assert_eq!(verdicts[0].result, DkimResult::PermError);
    }
    let verdicts = signatures.verify(head, &hashes, &Keys::default(), UnixTime::from_secs(NOW));
    assert_eq!(verdicts[0].result, DkimResult::TempError);
    let unfed = BodyHashes::default().finish();
    assert_eq!(signatures.verify(head, &unfed, &keys, UnixTime::from_secs(NOW))[0].result, DkimResult::Fail);
}

#[test]
fn questions_can_wait_on_any_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let signatures = is_send(Signatures::parse(&crlf(MESSAGE)));
    let zone = zone();
    wait(is_send(signatures.keys(&zone)));
}

#[test]
fn each_name_is_asked_once() {
    let message = signed(Signer::ed25519(), TAGS, &signed(Signer::ed25519(), TAGS, &crlf(MESSAGE)));
    let journal = crate::dns::Journal::new(zone());
    wait(Signatures::parse(&message).keys(&journal));
    assert_eq!(journal.asked().len(), 1);
}
