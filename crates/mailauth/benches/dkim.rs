//! DKIM as a receiver does it: a body hashed in reads of 64 KiB, in both forms (unit: octets of the body a
//! second), and one RSA-2048 signature over a small message verified with its key at hand. And as a sender does
//! it: a header section signed with a key of each kind.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a message that fails is not what is measured")]

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use mail::UnixTime;
use mailauth::dkim::sign::{KeyKind, SigningKey, body_hashes, sign};
use mailauth::dkim::{DkimResult, Signatures};
use mailauth::dns::{Answer, LookupError, Record, RecordType, Resolver};

const SMALL: usize = 4 * 1024;
const LARGE: usize = 1024 * 1024;
/// Octets of one read, as the driver of a session reads a body.
const READ_OCTETS: usize = 64 * 1024;

fn main() {
    divan::main();
}

#[divan::bench(args = [SMALL, LARGE])]
fn simple(bencher: Bencher<'_, '_>, octets: usize) {
    hash(bencher, "simple", &text(octets));
}

#[divan::bench(args = [SMALL, LARGE])]
fn relaxed(bencher: Bencher<'_, '_>, octets: usize) {
    hash(bencher, "relaxed", &text(octets));
}

/// A body that relaxed canonicalisation changes at every other octet.
#[divan::bench(args = [SMALL, LARGE])]
fn relaxed_tabs(bencher: Bencher<'_, '_>, octets: usize) {
    hash(bencher, "relaxed", &b"a\t".repeat(octets / 2));
}

fn hash(bencher: Bencher<'_, '_>, form: &str, body: &[u8]) {
    let header = format!("DKIM-Signature: {}; bh=AAAA; b=AAAA\r\nFrom: a@b.example\r\n", tags(form));
    let signatures = Signatures::parse(header.as_bytes());
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let mut hashes = signatures.body_hashes();
        for piece in black_box(body).chunks(READ_OCTETS) {
            hashes.update(piece);
        }
        hashes.finish()
    });
}

/// From the octets of a message to its verdict, all but the question to DNS.
#[divan::bench]
fn verify_rsa_2048(bencher: Bencher<'_, '_>) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let body = text(SMALL);
    let header = signed_header(&key, &body);
    let record = format!("v=DKIM1; p={}", STANDARD.encode(key.public_key().as_der().unwrap().as_ref()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let keys = runtime.block_on(Signatures::parse(&header).keys(&OneRecord(record)));
    bencher.bench_local(|| {
        let signatures = Signatures::parse(black_box(&header));
        let mut hashes = signatures.body_hashes();
        hashes.update(&body);
        let verdicts = signatures.verify(&header, &hashes.finish(), &keys, UnixTime::from_secs(2000));
        assert!(verdicts.iter().all(|verdict| verdict.result == DkimResult::Pass), "{verdicts:?}");
        verdicts
    });
}

#[divan::bench]
fn sign_rsa_2048(bencher: Bencher<'_, '_>) {
    sign_with(bencher, &[KeyKind::Rsa]);
}

#[divan::bench]
fn sign_ed25519(bencher: Bencher<'_, '_>) {
    sign_with(bencher, &[KeyKind::Ed25519]);
}

#[divan::bench]
fn sign_with_both(bencher: Bencher<'_, '_>) {
    sign_with(bencher, &[KeyKind::Rsa, KeyKind::Ed25519]);
}

/// From a finished header section and body hash to the fields.
fn sign_with(bencher: Bencher<'_, '_>, kinds: &[KeyKind]) {
    let new =
        |kind: &KeyKind| SigningKey::new("example.org", "sel", *kind, &kind.generate().unwrap()).unwrap();
    let keys: Vec<SigningKey> = kinds.iter().map(new).collect();
    let header = "Received: from example.org by mx.example.org; now\r\nFrom: A <a@example.org>\r\n\
        To: b@example.net\r\nSubject: hello\r\nDate: now\r\nMessage-ID: <1@example.org>\r\n\
        MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
    let mut hashes = body_hashes();
    hashes.update(&text(SMALL));
    let hashes = hashes.finish();
    let now = UnixTime::from_secs(2000);
    bencher.bench_local(|| sign(black_box(header.as_bytes()), &hashes, &keys, now).unwrap());
}

fn tags(form: &str) -> String {
    format!("v=1; a=rsa-sha256; c=relaxed/{form}; d=example.org; s=sel; h=from:to:subject:date")
}

/// A header whose fields are in relaxed form already but for the case of their names, so that hashing it
/// needs nothing of what is measured.
fn signed_header(key: &RsaKeyPair, body: &[u8]) -> Vec<u8> {
    let body_hash = STANDARD.encode(digest(&SHA256, body));
    let fields = "from:A <a@example.org>\r\nto:b@example.net\r\nsubject:hello\r\ndate:now\r\n";
    let own = format!("dkim-signature:{}; bh={body_hash}; b=", tags("relaxed"));
    let mut signature = vec![0; key.public_modulus_len()];
    let hash = digest(&SHA256, format!("{fields}{own}").as_bytes());
    key.sign_digest(&RSA_PKCS1_SHA256, &hash, &mut signature).unwrap();
    format!("{own}{}\r\n{fields}\r\n", STANDARD.encode(signature)).into_bytes()
}

/// Lines of words, in relaxed form.
fn text(octets: usize) -> Vec<u8> {
    let line = b"The quick brown fox jumps over the lazy dog and then over the next dog too\r\n";
    let mut text = line.repeat(octets.div_ceil(line.len()));
    text.truncate(octets - 2);
    while matches!(text.last(), Some(b' ' | b'\r' | b'\n')) {
        text.pop();
    }
    text.resize(octets - 2, b'x');
    text.extend(b"\r\n");
    text
}

/// A DNS that has one text for every name.
struct OneRecord(String);

impl Resolver for OneRecord {
    async fn lookup(&self, _: &str, kind: RecordType) -> Answer {
        match kind {
            RecordType::Txt => Ok(Arc::from([Record::Txt(self.0.clone().into_bytes())])),
            _ => Err(LookupError::NoRecords),
        }
    }
}
