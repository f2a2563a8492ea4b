//! Whatever commands a client sends: what is answered is well-formed, and the same in whatever pieces they come.
//!
//! The first octet is the size of the pieces, and whether the client has logged in.
#![no_main]

#[path = "../src/imap_client.rs"]
#[allow(dead_code, reason = "other targets ask more of it")]
mod imap_client;
#[path = "../../crates/imap/tests/memory/mod.rs"]
#[allow(dead_code, reason = "the dialogues of the tests ask more of it")]
mod memory;

use imap::BAD_COMMANDS_MAX;
use imap_client::{Client, filled, responses};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let is_selected = first & 1 == 0;
    let begin =
        |memory: &memory::Memory| if is_selected { Client::selected(memory) } else { Client::new(memory) };
    let mut client = begin(&filled());
    let whole = client.send(data);
    let found = responses(&whole);
    let bad =
        found.iter().filter(|response| response.split(|octet| *octet == b' ').nth(1) == Some(&b"BAD"[..]));
    assert!(bad.count() <= BAD_COMMANDS_MAX as usize);
    let mut other = begin(&filled());
    let mut pieces = Vec::new();
    for piece in data.chunks(usize::from(first / 2).max(1)) {
        pieces.extend(other.send(piece));
    }
    assert!(
        whole == pieces,
        "{}\n---\n{}",
        String::from_utf8_lossy(&whole),
        String::from_utf8_lossy(&pieces)
    );
    assert_eq!(client.is_closed, other.is_closed);
});
