//! Addresses as SMTP writes them, parsed, and made canonical for the look-up of a recipient: the forms that
//! most mail has, and the ones that take longer.
//! Unit: addresses a second.

#![allow(clippy::unwrap_used, reason = "an address that is refused is not what is measured")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mail::{Address, Domain};

const PLAIN: &str = "bob.smith@example.org";
const BOUNCE: &str = "bounces+SRS=Ab3dE=7Q=remote.example=news-2026_11@mta-17.eu-west-1.Lists.Remote.Example";
const QUOTED: &str = "\"bob \\\"the\\\" smith\"@example.org";
const INTERNATIONAL: &str = "dédé.müller@exämple.org";
const LITERAL: &str = "postmaster@[IPv6:2001:db8::25]";

fn main() {
    divan::main();
}

#[divan::bench(args = [PLAIN, BOUNCE, QUOTED, INTERNATIONAL, LITERAL])]
fn parse(bencher: Bencher<'_, '_>, text: &str) {
    let (local, _) = text.rsplit_once('@').unwrap();
    assert_eq!(Address::parse(text).unwrap().local(), local);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| Address::parse(black_box(text)));
}

#[divan::bench(args = [PLAIN, QUOTED, INTERNATIONAL])]
fn canonical(bencher: Bencher<'_, '_>, text: &str) {
    let address = Address::parse(text).unwrap();
    assert_eq!(Address::parse(&address.canonical()).unwrap().canonical(), address.canonical());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| black_box(&address).canonical());
}

#[divan::bench]
fn domain(bencher: Bencher<'_, '_>) {
    let text = "mta-17.eu-west-1.Lists.Remote.Example";
    assert_eq!(Domain::parse(text).unwrap().as_str(), text.to_ascii_lowercase());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| Domain::parse(black_box(text)));
}
