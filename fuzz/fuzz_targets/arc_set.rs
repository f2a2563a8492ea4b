//! Whatever ARC fields a header holds: the chain is read within limits, and only one whose seals can be
//! verified passes.
#![no_main]

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use mail::{UnixTime, header};
use mailauth::arc::{ArcResult, Chain, INSTANCE_MAX};
use mailauth::dns::{Answer, Record, RecordType, Resolver};

/// A DNS that gives what the message has in its Key field.
struct Given(Vec<u8>);

impl Resolver for Given {
    async fn lookup(&self, _: &str, _: RecordType) -> Answer {
        Ok(Arc::from([Record::Txt(self.0.clone())]))
    }
}

fuzz_target!(|message: &[u8]| {
    let (head, body) = message.split_at(header::body_offset(message));
    let chain = Chain::parse(head);
    let mut hashes = chain.body_hashes();
    hashes.update(body);
    let resolver = Given(header::find(head, "key").map(|key| key.value.to_vec()).unwrap_or_default());
    let Poll::Ready(keys) = pin!(chain.keys(&resolver)).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("waits for a resolver that does not");
    };
    let verdict = chain.verify(head, &hashes.finish(), &keys, UnixTime::from_secs(1_795_500_000));
    assert!(verdict.sealers.len() <= usize::from(INSTANCE_MAX));
    assert_eq!(verdict.result == ArcResult::None, chain.is_empty());
    assert_eq!(verdict.result == ArcResult::Pass, verdict.oldest_pass.is_some());
    assert_eq!(verdict.result == ArcResult::Fail, !verdict.reason.is_empty());
});
