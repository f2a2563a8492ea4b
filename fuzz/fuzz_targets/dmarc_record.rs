//! Whatever a From field and the DMARC records on the way up from it say: a check ends after a bounded number
//! of questions, passes only what is aligned, and applies nothing stricter than what is published.
//!
//! The first line is the value of the From field, the second the domain that SPF passed for, the third that of
//! a signature; each line behind them is a name in DNS and its text.
#![no_main]

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use mailauth::dmarc::{AUTHOR_DOMAINS_MAX, Authors, DmarcResult, Policy, Vouching, check};
use mailauth::dns::{Answer, LookupError, Record, RecordType, Resolver};

/// Questions of one walk up (RFC 9989 section 4.10).
const WALK_QUESTIONS: usize = 8;
/// A walk for each author's domain and each that vouches, and one question whether a name exists.
const QUESTIONS_MAX: usize = (AUTHOR_DOMAINS_MAX + 2) * WALK_QUESTIONS + AUTHOR_DOMAINS_MAX;

struct Zone {
    texts: HashMap<String, Vec<Record>>,
    questions: Mutex<usize>,
}

impl Resolver for Zone {
    async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        *self.questions.lock().unwrap() += 1;
        if name.starts_with("_dmarc.silent.") {
            return Err(LookupError::Temporary("timed out".to_owned()));
        }
        let found = self.texts.get(name).filter(|_| kind == RecordType::Txt);
        found.map(|records| records.as_slice().into()).ok_or(LookupError::NoSuchName)
    }
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|octet| *octet == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let header = [b"From: ", line(), b"\r\n"].concat();
    let (spf, signer) = (line(), line());
    let (spf, signer) = (String::from_utf8_lossy(spf), String::from_utf8_lossy(signer));
    let mut texts: HashMap<String, Vec<Record>> = HashMap::new();
    for record in lines {
        let at = record.iter().position(|octet| *octet == b' ').unwrap_or(record.len());
        let (name, text) = record.split_at(at);
        let name = String::from_utf8_lossy(name).into_owned();
        texts.entry(name).or_default().push(Record::Txt(text.trim_ascii_start().to_vec()));
    }
    let zone = Zone { texts, questions: Mutex::new(0) };
    let signers: &[&str] = &[&signer];
    let vouching = Vouching { spf: (!spf.is_empty()).then_some(&*spf), dkim: signers, unsure: false };
    let Poll::Ready(dmarc) =
        pin!(check(&zone, &header, vouching)).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("waits for a resolver that does not");
    };
    let asked = *zone.questions.lock().unwrap();
    assert!(asked <= QUESTIONS_MAX, "{asked} questions");
    assert!(dmarc.applied <= dmarc.policy);
    assert!(!dmarc.reason.is_empty());
    let aligned = dmarc.alignment.spf || dmarc.alignment.dkim;
    assert_eq!(dmarc.result == DmarcResult::Pass, aligned);
    let authors = Authors::of(&header);
    assert!(authors.domains.len() <= AUTHOR_DOMAINS_MAX);
    if authors.flaw.is_none() || dmarc.result != DmarcResult::PermError {
        assert!(authors.domains.contains(&dmarc.domain));
    } else {
        assert_eq!(dmarc.applied, Policy::None);
    }
    // With a flaw nothing passes, and what fails is some domain's own failure.
    assert!(authors.flaw.is_none() || !matches!(dmarc.result, DmarcResult::Pass | DmarcResult::None));
    if aligned || dmarc.result == DmarcResult::Fail {
        let found = dmarc.record_domain.expect("a verdict without a record");
        assert!(dmarc.domain == found || dmarc.domain.ends_with(&format!(".{found}")));
    }
});
