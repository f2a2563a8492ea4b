//! Items sealed to Home's key and opened again: what Edge pays for each message while Home is away, and Home
//! when it is back. One key agreement each way is in it, whatever the size of the message.
//! Unit: octets of the message a second.

#![allow(clippy::unwrap_used, reason = "a message that can't be sealed is not what is measured")]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use link::Open;
use mail::{Address, Envelope, ItemId, ReversePath, UnixTime, Verdict};
use seal::{SealTo, Sealing, UnsealWith};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SMALL: usize = 4 * 1024;
const LARGE: usize = 25 * 1024 * 1024;
/// Octets of one piece, as the hand-off keeps them.
const PIECE_OCTETS: usize = 64 * 1024;

fn main() {
    divan::main();
}

#[divan::bench(args = [SMALL, LARGE], max_time = 3)]
fn seal(bencher: Bencher<'_, '_>, octets: usize) {
    let (private, public) = seal::generate_key();
    let (to, open, message) = (SealTo::parse(&public).unwrap(), open(), message(octets));
    let seal = || seal_item(&to, &open, black_box(&message));
    assert_opens(&private, &seal(), &message);
    bencher.counter(BytesCount::new(octets)).bench_local(seal);
}

#[divan::bench(args = [SMALL, LARGE], max_time = 3)]
fn unseal(bencher: Bencher<'_, '_>, octets: usize) {
    let (private, public) = seal::generate_key();
    let message = message(octets);
    let sealed = seal_item(&SealTo::parse(&public).unwrap(), &open(), &message);
    assert_opens(&private, &sealed, &message);
    let with = UnsealWith::parse(&private).unwrap();
    let mut out = Vec::with_capacity(octets);
    bencher.counter(BytesCount::new(octets)).bench_local(|| {
        out.clear();
        with.unseal_item(black_box(sealed.as_slice()), &mut out).unwrap().1.hops
    });
}

fn seal_item(to: &SealTo, open: &Open, message: &[u8]) -> Vec<u8> {
    let output = Vec::with_capacity(message.len() + message.len() / 1000 + 2048);
    let mut sealing = Sealing::begin(to, output, open).unwrap();
    message.chunks(PIECE_OCTETS).for_each(|piece| sealing.write(piece).unwrap());
    sealing.finish(&Verdict { hops: 4, ..Verdict::default() }).unwrap()
}

fn assert_opens(private: &str, sealed: &[u8], message: &[u8]) {
    let mut out = Vec::new();
    let (opened, verdict) = UnsealWith::parse(private).unwrap().unseal_item(sealed, &mut out).unwrap();
    assert_eq!((opened, verdict.hops), (open(), 4));
    assert!(out == message, "another message came out");
}

fn open() -> Open {
    let address = |text| Address::parse(text).unwrap();
    let envelope = Envelope {
        reverse_path: ReversePath::Address(address("alice@remote.example")),
        recipients: vec![address("bob@example.org").into()],
        body: mail::BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: None,
    };
    Open { item: ItemId::from_bytes([1; 16]), accepted: UnixTime::from_secs(1_795_500_000), envelope }
}

fn message(octets: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog\r\n".iter().copied().cycle().take(octets).collect()
}
