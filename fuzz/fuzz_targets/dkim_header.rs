//! Whatever the header and the body of a message hold: signatures are read within limits, none passes without
//! a key, and a body cut anywhere hashes the same. The first octet is the size of the pieces.
#![no_main]

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use mail::{UnixTime, header};
use mailauth::dkim::{DkimResult, SIGNATURES_MAX, Signatures};
use mailauth::dns::{Answer, Record, RecordType, Resolver};

/// A DNS that gives what the message has in its Key field.
struct Given(Vec<u8>);

impl Resolver for Given {
    async fn lookup(&self, _: &str, _: RecordType) -> Answer {
        Ok(Arc::from([Record::Txt(self.0.clone())]))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((size, message)) = data.split_first() else { return };
    let (head, body) = message.split_at(header::body_offset(message));
    let signatures = Signatures::parse(head);
    let mut whole = signatures.body_hashes();
    let mut pieces = whole.clone();
    whole.update(body);
    body.chunks(usize::from(*size).max(1)).for_each(|piece| pieces.update(piece));
    let resolver = Given(header::find(head, "key").map(|key| key.value.to_vec()).unwrap_or_default());
    let Poll::Ready(keys) = pin!(signatures.keys(&resolver)).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("waits for a resolver that does not");
    };
    let now = UnixTime::from_secs(1_795_500_000);
    let verdicts = signatures.verify(head, &whole.finish(), &keys, now);
    assert_eq!(verdicts, signatures.verify(head, &pieces.finish(), &keys, now));
    assert!(verdicts.len() <= SIGNATURES_MAX + 1);
    for verdict in verdicts {
        assert_eq!(verdict.result == DkimResult::Pass, verdict.reason.is_empty());
        assert!(verdict.result != DkimResult::Pass || verdict.key_bits.is_some());
    }
});
